import Kernel
import Ring
import Testing

@Suite struct RingFingerprintTests {
    let here = RingFingerprint(flavour: .ketama, servers: servers(3), slotCount: 1_024)

    private func there(
        flavour: RingFlavour = .ketama, slotCount: Int = 1_024, _ servers: [(String, UInt32)]
    ) -> RingFingerprint {
        RingFingerprint(
            flavour: flavour, servers: servers.map { RingServer(name: $0.0, weight: $0.1) }, slotCount: slotCount)
    }

    @Test func `equal rings do not differ, in whatever order they list their servers`() {
        #expect(here.difference(from: there([("cache3", 1), ("cache1", 1), ("cache2", 1)])) == nil)
    }

    @Test func `a ring that lists a name twice does not differ from itself, and does from one that lists it once`() {
        let twice = there([("cache1", 1), ("cache1", 3)])
        #expect(twice.difference(from: twice) == nil)
        #expect(twice.difference(from: there([("cache1", 1)])) != nil)
        #expect(there([("cache1", 1)]).difference(from: twice) != nil)
    }

    @Test func `a weight that differs is named`() {
        let other = there([("cache1", 1), ("cache2", 3), ("cache3", 1)])
        #expect(here.difference(from: other) == "server cache2: weight 1 here, 3 there")
    }

    @Test func `a server that only one side has is named`() {
        let other = there([("cache1", 1), ("cache2", 1), ("cache9", 2)])
        #expect(
            here.difference(from: other)
                == "server cache3: weight 1 here, absent there; server cache9: absent here, weight 2 there")
    }

    @Test func `slots and flavour are compared`() {
        let same = [("cache1", UInt32(1)), ("cache2", 1), ("cache3", 1)]
        #expect(here.difference(from: there(slotCount: 512, same)) == "slots: 1024 here, 512 there")
        #expect(here.difference(from: there(flavour: .magentModulo, same)) == "ring hash: ketama here, magent-modulo there")
    }

    @Test func `the order of a modulo ring is compared`() {
        let one = there(flavour: .magentModulo, [("a", 1), ("b", 1)])
        let two = there(flavour: .magentModulo, [("b", 1), ("a", 1)])
        #expect(one.difference(from: two) == "server 1 of the list: a here, b there")
    }

    @Test func `a wholly different ring gives a short message`() {
        let other = there((1...40).map { ("other\($0)", 1) })
        #expect(here.difference(from: other)?.hasSuffix("and 40 more") == true)
    }

    // Golden bytes: the format in the head of RingFingerprint.swift.
    @Test func `the bytes are those of the format`() throws {
        let one = there(slotCount: 256, [("ab", 2)])
        let bytes: [UInt8] = [1, 0, 0, 1, 0, 0, 1, 0, 2, 0, 0, 0, 2, 0x61, 0x62]
        #expect(one.encode() == bytes)
        #expect(try RingFingerprint.decode(bytes) == one)
    }

    @Test(arguments: RingFlavour.allCases)
    func `what is encoded comes back`(flavour: RingFlavour) throws {
        let ring = RingFingerprint(flavour: flavour, servers: servers(50, weight: 7).reversed(), slotCount: 4_096)
        #expect(try RingFingerprint.decode(ring.encode()) == ring)
        #expect(try RingFingerprint.decode(ring.encode()[...]) == ring)
    }

    @Test func `bytes cut short are refused at every length`() {
        let bytes = here.encode()
        for length in 0..<bytes.count {
            #expect(throws: RingFingerprintError.truncated) { try RingFingerprint.decode(bytes.prefix(length)) }
        }
    }

    @Test func `each kind of damage is told apart`() {
        var bytes = here.encode()
        #expect(throws: RingFingerprintError.trailing(bytes: 1)) { try RingFingerprint.decode(bytes + [0]) }
        bytes[1] = 9
        #expect(throws: RingFingerprintError.flavour(9)) { try RingFingerprint.decode(bytes) }
        bytes[0] = 2
        #expect(throws: RingFingerprintError.format(2)) { try RingFingerprint.decode(bytes) }
        #expect(throws: RingFingerprintError.slots(3)) { try RingFingerprint.decode([1, 0, 3, 0, 0, 0, 0, 0]) }
        #expect(throws: RingFingerprintError.slots(1 << 31)) { try RingFingerprint.decode([1, 0, 0, 0, 0, 128, 0, 0]) }
        #expect(throws: RingFingerprintError.servers(65_535)) { try RingFingerprint.decode([1, 0, 4, 0, 0, 0, 255, 255]) }
        let badName: [UInt8] = [1, 0, 4, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0xff]
        #expect(throws: RingFingerprintError.name(server: 0)) { try RingFingerprint.decode(badName) }
    }

    @Test func `random bytes never trap`() {
        var random = SeededRandom(seed: 5)
        let golden = here.encode()
        for _ in 0..<3_000 {
            var bytes = golden
            for _ in 0...random.below(4) { bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
            if let ring = try? RingFingerprint.decode(bytes.prefix(random.below(bytes.count + 1))) {
                _ = here.difference(from: ring)
            }
        }
    }
}
