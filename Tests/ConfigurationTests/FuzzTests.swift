import Configuration
import Kernel
import Testing

// Whatever a file holds, reading it ends, with values or with mistakes: never with a trap.
@Suite struct FuzzTests {
    @Test func `spoiled files never trap`() {
        var random = SeededRandom(seed: 17)
        let pieces = [
            "&a ", "*a", "? ", "- ", ": ", "[", "]", "{", "}", "\"", "'", "|\n", ">\n", "#", "---\n", "...\n", "%YAML 1.2\n",
            "!!int ",
            "~", "null", "\t", "\r\n", "\u{0}", "\u{feff}", "日本", "\u{e000}", "-1", "99999999999999999999", "0x10", "1e9", "<<",
            "\n",
        ]
        for round in 0..<3_000 {
            let site = spoil(Sample.site, pieces, &random)
            let federation = round % 2 == 0 ? Sample.federation : spoil(Sample.federation, pieces, &random)
            _ = Sample.mistakes(federation: federation, site: site)
        }
    }

    @Test func `random text never traps`() {
        var random = SeededRandom(seed: 23)
        let alphabet = Array("ab1:-[]{}\"'&*!|>?%#,~ \n\n\n  \t\u{0}é")
        for _ in 0..<2_000 {
            let text = String((0..<random.below(200)).map { _ in alphabet[random.below(alphabet.count)] })
            #expect(!Sample.mistakes(federation: text, site: text).isEmpty)
        }
    }

    private func spoil(_ text: String, _ pieces: [String], _ random: inout SeededRandom) -> String {
        var characters = Array(text)
        for _ in 0...random.below(4) {
            let at = random.below(characters.count)
            switch random.below(3) {
            case 0: characters.remove(at: at)
            case 1: characters.insert(contentsOf: pieces[random.below(pieces.count)], at: at)
            default:
                let end = min(characters.count, at + random.below(30))
                let copy = Array(characters[at..<end])
                characters.insert(contentsOf: copy, at: random.below(characters.count))
            }
        }
        return String(characters)
    }
}
