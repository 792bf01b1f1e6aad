import Memcache
import Testing

@Suite("Base64 keys")
struct Base64Tests {
    private func encoded(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        bytes.withUnsafeBytes { Base64.encode($0) { text.append($0) } }
        return text
    }

    private func decoded(_ text: [UInt8]) -> [UInt8]? {
        var room = [UInt8](repeating: 0, count: text.count)
        let count = text.withUnsafeBytes { text in room.withUnsafeMutableBytes { Base64.decode(text, into: $0) } }
        return count.map { Array(room[0..<$0]) }
    }

    @Test("RFC 4648 section 10")
    func vectors() {
        for (plain, text) in [
            ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ] {
            #expect(encoded(Array(plain.utf8)) == Array(text.utf8))
            #expect(decoded(Array(text.utf8)) == Array(plain.utf8))
        }
    }

    @Test("every byte at every place comes back")
    func roundTrip() {
        for length in 1...7 {
            for byte in UInt8.min...UInt8.max {
                let key = (0..<length).map { UInt8(truncatingIfNeeded: Int(byte) + $0 * 37) }
                let text = encoded(key)
                #expect(text.count == Base64.encodedCount(length))
                #expect(decoded(text) == key)
            }
        }
    }

    @Test("memcached's leniency: strangers are skipped, and padding ends the text")
    func lenient() {
        #expect(decoded(Array("Z-m9v".utf8)) == Array("foo".utf8))
        #expect(decoded(Array("Zg==Zm9v".utf8)) == Array("f".utf8))
        for text in ["", "Zm9", "Zm9vYg", "====", "A===", "-", "Zm9v="] { #expect(decoded(Array(text.utf8)) == nil, "\(text)") }
    }
}
