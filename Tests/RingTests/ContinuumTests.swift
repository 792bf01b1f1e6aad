import Kernel
import Ring
import Testing

@Suite struct ContinuumTests {
    let keys = sampleKeys(20_000)

    private func names(_ ring: Continuum) -> [String] { keys.map { ring.servers[ring.server(for: $0)].name } }

    private func shares(_ ring: Continuum) -> [Double] {
        var counts = [Int](repeating: 0, count: ring.servers.count)
        for key in keys { counts[ring.server(for: key)] += 1 }
        return counts.map { Double($0) / Double(keys.count) }
    }

    @Test(arguments: [RingFlavour.ketama, .magentKetama])
    func `the order in which servers are listed does not matter to ketama`(flavour: RingFlavour) {
        let listed = (1...9).map { RingServer(name: "10.0.0.\($0):11211", weight: UInt32($0)) }
        let expected = names(Continuum(flavour: flavour, servers: listed))
        var random = SeededRandom(seed: 3)
        for _ in 0..<5 {
            #expect(names(Continuum(flavour: flavour, servers: listed.shuffled(using: &random))) == expected)
        }
    }

    @Test func `the order matters to the modulo rule`() {
        let listed = servers(4)
        let forwards = names(Continuum(flavour: .magentModulo, servers: listed))
        #expect(names(Continuum(flavour: .magentModulo, servers: listed.reversed())) != forwards)
    }

    @Test(arguments: 2...9)
    func `magent's ketama places a key whose hash is 0 by the modulo rule`(count: Int) {
        // Found by search: md5 of this key begins with 00000000.
        let key = "user:02018863030"
        let listed = servers(count)
        let modulo = Continuum(flavour: .magentModulo, servers: listed).server(for: key)
        #expect(Continuum(flavour: .magentKetama, servers: listed).server(for: key) == modulo)
    }

    @Test func `a key is the same key as bytes and as text`() {
        let ring = Continuum(flavour: .ketama, servers: servers(5))
        #expect(keys.allSatisfy { ring.server(for: Array($0.utf8)) == ring.server(for: $0) })
    }

    @Test(arguments: [RingFlavour.ketama, .magentKetama], [2, 5, 10])
    func `an added server takes its share and nothing else moves`(flavour: RingFlavour, count: Int) {
        let before = names(Continuum(flavour: flavour, servers: servers(count)))
        let after = names(Continuum(flavour: flavour, servers: servers(count + 1)))
        let moved = zip(before, after).filter { $0.0 != $0.1 }
        // The number of digests per server may change by rounding, so a few keys may move between old servers.
        let toNew = moved.filter { $0.1 == "cache\(count + 1)" }.count
        #expect(Double(moved.count - toNew) / Double(keys.count) < 0.03)
        let fair = 1 / Double(count + 1)
        let share = Double(moved.count) / Double(keys.count)
        #expect(share > 0.6 * fair && share < 1.4 * fair, "\(share) of the keys moved; fair is \(fair)")
    }

    @Test func `a server gets keys in proportion to its weight`() {
        let weighted = [RingServer(name: "small", weight: 1), RingServer(name: "big", weight: 4)]
        let share = shares(Continuum(flavour: .ketama, servers: weighted))[1]
        #expect(share > 0.7 && share < 0.9, "weight 4 of 5 got \(share)")
    }

    @Test func `weights count only relative to each other`() {
        let ones = names(Continuum(flavour: .ketama, servers: servers(4, weight: 1)))
        #expect(names(Continuum(flavour: .ketama, servers: servers(4, weight: 250))) == ones)
    }

    @Test(arguments: RingFlavour.allCases)
    func `a lone server has every key`(flavour: RingFlavour) {
        let ring = Continuum(flavour: flavour, servers: servers(1))
        #expect(keys.allSatisfy { ring.server(for: $0) == 0 })
    }

    @Test func `a server too light for a point gets no key and says so`() {
        let ring = Continuum(
            flavour: .ketama, servers: [RingServer(name: "feather", weight: 1), RingServer(name: "lead", weight: 1_000)])
        #expect(ring.pointCounts[0] == 0)
        #expect(keys.allSatisfy { ring.server(for: $0) == 1 })
    }

    @Test func `a large ring answers as the rule says`() {
        // The coarse index against the rule itself: the first point not less than the hash.
        let ring = Continuum(flavour: .ketama, servers: servers(200))
        let share = shares(ring)
        #expect(share.min() ?? 0 > 0.001)
        #expect(share.max() ?? 1 < 0.012)
    }

    @Test func `keys of any bytes and every length are placed`() {
        let ring = Continuum(flavour: .ketama, servers: servers(3))
        let modulo = Continuum(flavour: .magentModulo, servers: servers(3))
        var random = SeededRandom(seed: 11)
        for length in 0...300 {
            let key = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            key.withUnsafeBytes { bytes in
                #expect((0..<3).contains(ring.server(for: bytes)))
                #expect((0..<3).contains(modulo.server(for: bytes)))
                #expect((0..<1_024).contains(Slots.slot(of: bytes, count: 1_024)))
            }
        }
    }
}
