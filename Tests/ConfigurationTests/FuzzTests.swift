import Configuration
import Foundation
import Kernel
import Testing

// Whatever a file holds, reading it ends, with values or with mistakes: never with a trap.
@Suite struct FuzzTests {
    /// How many seeds; `MERIDIAN_FUZZ_SEEDS` asks for more.
    static let seeds = ProcessInfo.processInfo.environment["MERIDIAN_FUZZ_SEEDS"].flatMap { UInt64($0) } ?? 500

    @Test func `spoiled files never trap`() {
        let pieces = [
            "&a ", "*a", "? ", "- ", ": ", "[", "]", "{", "}", "\"", "'", "|\n", ">\n", "#", "---\n", "...\n", "%YAML 1.2\n",
            "!!int ",
            "~", "null", "\t", "\r\n", "\u{0}", "\u{feff}", "日本", "\u{e000}", "-1", "99999999999999999999", "0x10", "1e9", "<<",
            "\n",
        ]
        for seed in 0..<Self.seeds {
            var random = SeededRandom(seed: seed)
            let site = spoil(Sample.site, pieces, &random)
            let federation = seed % 2 == 0 ? Sample.federation : spoil(Sample.federation, pieces, &random)
            _ = Sample.mistakes(federation: federation, site: site)
        }
    }

    @Test func `random text never traps`() {
        let alphabet = Array("ab1:-[]{}\"'&*!|>?%#,~ \n\n\n  \t\u{0}é")
        for seed in 0..<Self.seeds {
            var random = SeededRandom(seed: seed)
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
