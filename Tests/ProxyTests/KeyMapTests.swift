import Kernel
import Testing

@testable import Proxy

/// The table of keys, held against Swift's own dictionary.
@Suite struct KeyMapTests {
    /// Few enough that they are found, replaced and taken out again and again; of all lengths, the empty key among them.
    private func key(_ random: inout SeededRandom) -> [UInt8] {
        let number = random.below(300)
        return number == 0 ? [] : Array("\(number)".utf8) + Array(repeating: UInt8(ascii: "k"), count: number % 40)
    }

    @Test("Whatever is put in, changed and taken out, it holds what a dictionary holds", arguments: 1...20)
    func likeADictionary(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var table = KeyMap<Int>()
        var model: [[UInt8]: Int] = [:]
        for step in 0..<4_000 {
            let key = key(&random)
            switch random.below(7) {
            case 0, 1:
                table[key] = step
                model[key] = step
            case 2:
                table[key, default: 0] += 1
                model[key, default: 0] += 1
            case 3:
                table[key] = nil
                model[key] = nil
            case 4:
                #expect(table.value(of: key, orInsert: step) == model[key] ?? step)
                model[key] = model[key] ?? step
            case 5:
                table.removeValue(forKey: key) { $0 % 2 == 0 }
                if let value = model[key], value % 2 == 0 { model[key] = nil }
            default:
                if let place = table.find(key), step % 3 == 0 {
                    #expect(table[place] == model[key])
                    table.remove(place)
                    model[key] = nil
                }
            }
            #expect(table[key] == model[key] && table.has(key) == (model[key] != nil) && table.count == model.count)
        }
        #expect(Dictionary(uniqueKeysWithValues: table.map { ($0.key, $0.value) }) == model)
        #expect(Set(table.keys) == Set(model.keys) && table.values.sorted() == model.values.sorted())
        table.keep { $0 % 3 == 0 }
        #expect(Dictionary(uniqueKeysWithValues: table.map { ($0.key, $0.value) }) == model.filter { $0.value % 3 == 0 })
        table.removeAll()
        #expect(table.isEmpty && table[[]] == nil)
    }

    @Test("Taking keys out closes every gap, also around the end of the table")
    func gaps() {
        var table = KeyMap<Int>()
        for round in 0..<50 {
            let keys = (0..<10).map { Array("key \(round) \($0)".utf8) }  // ten of sixteen places
            for (number, key) in keys.enumerated() { table[key] = number }
            for (number, key) in keys.enumerated() {
                table[key] = nil
                for later in keys.indices where later > number { #expect(table[keys[later]] == later) }
            }
            #expect(table.isEmpty)
        }
    }

    @Test("A table that was large becomes small again, and loses nothing by it")
    func shrinks() {
        var table = KeyMap<Int>()
        for number in 0..<20_000 { table[Array("key \(number)".utf8)] = number }
        for number in 0..<19_900 {
            table[Array("key \(number)".utf8)] = nil
            if number % 997 == 0 { #expect(table.count == 19_999 - number) }
        }
        #expect(table.places <= 1_024 && table.count == 100)
        for number in 0..<20_000 { #expect(table[Array("key \(number)".utf8)] == (number < 19_900 ? nil : number)) }
    }

    @Test("A value of a reference leaves with its key")
    func references() {
        final class Held {}
        var table = KeyMap<Held>()
        weak var gone: Held?
        do {
            let held = Held()
            gone = held
            table[Array("a".utf8)] = held
        }
        #expect(gone != nil)
        table[Array("a".utf8)] = nil
        #expect(gone == nil)
    }

    @Test("Hashes depend on every byte, on the length, and on the secret")
    func hashes() {
        let one = KeyHash(secret: (1, 2))
        var seen: Set<UInt64> = []
        for length in 0..<40 {
            for place in -1..<length {
                var key = [UInt8](repeating: 0, count: length)
                if place >= 0 { key[place] = 1 }
                seen.insert(key.withUnsafeBytes { one.sip($0) })
            }
        }
        #expect(seen.count == 40 + 39 * 40 / 2, "no two of them are alike")
        #expect(KeyHash(secret: (1, 3)).hash([1]) != one.hash([1]))
        #expect(KeyHash(secret: (1, 2)).hash([1]) == one.hash([1]))
    }

    /// SipHash-1-3 of 0, 1, 2 … under the key 00 01 … 0f, from a second implementation of the paper, written for this test in the
    /// plainest way.
    @Test("The hash is SipHash-1-3")
    func sipHash() {
        let secret: (UInt64, UInt64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
        for length in 0..<64 {
            let message = (0..<length).map { UInt8($0) }
            #expect(message.withUnsafeBytes { KeyHash(secret: secret).sip($0) } == plain(message, secret), "\(length) bytes")
        }
    }

    private func plain(_ message: [UInt8], _ secret: (UInt64, UInt64)) -> UInt64 {
        var v: [UInt64] = [
            secret.0 ^ 0x736f_6d65_7073_6575, secret.1 ^ 0x646f_7261_6e64_6f6d, secret.0 ^ 0x6c79_6765_6e65_7261,
            secret.1 ^ 0x7465_6462_7974_6573,
        ]
        func left(_ word: UInt64, _ by: Int) -> UInt64 { word << by | word >> (64 - by) }
        func round() {
            v[0] &+= v[1]
            v[2] &+= v[3]
            v[1] = left(v[1], 13) ^ v[0]
            v[3] = left(v[3], 16) ^ v[2]
            v[0] = left(v[0], 32)
            v[2] &+= v[1]
            v[0] &+= v[3]
            v[1] = left(v[1], 17) ^ v[2]
            v[3] = left(v[3], 21) ^ v[0]
            v[2] = left(v[2], 32)
        }
        var padded = message
        while padded.count % 8 != 7 { padded.append(0) }
        padded.append(UInt8(truncatingIfNeeded: message.count))
        for start in stride(from: 0, to: padded.count, by: 8) {
            let word = padded[start..<start + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            v[3] ^= word
            round()
            v[0] ^= word
        }
        v[2] ^= 0xff
        for _ in 0..<3 { round() }
        return v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}
