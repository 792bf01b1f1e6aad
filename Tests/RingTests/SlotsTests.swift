import Kernel
import Ring
import Testing

@Suite struct SlotsTests {
    let keys = sampleKeys(50_000)

    // Golden: two versions of the daemon in one group must agree on who writes a key.
    @Test(arguments: [
        ("", 17412),
        ("foo", 37382),
        ("memc.sess.key.abc123", 21370),
        ("eightbyt", 39976),
        ("日本語のキー", 35900),
    ])
    func `the slot of a key never changes`(key: String, slot: Int) {
        #expect(Slots.slot(of: key, count: 65_536) == slot)
    }

    @Test func `slots get equal shares of the keys`() {
        var counts = [Int](repeating: 0, count: 64)
        for key in keys { counts[Slots.slot(of: key, count: 64)] += 1 }
        let fair = keys.count / 64
        #expect(counts.allSatisfy { $0 > fair * 8 / 10 && $0 < fair * 12 / 10 }, "\(counts)")
    }

    @Test func `keys that end in zeros or differ in length only fall apart`() {
        let slots = (0..<40).map { length in
            [UInt8](repeating: 0, count: length).withUnsafeBytes { Slots.slot(of: $0, count: 65_536) }
        }
        #expect(Set(slots).count == 40)
    }

    @Test func `a server's keys spread over all slots`() {
        let ring = Continuum(flavour: .ketama, servers: servers(4))
        var counts = [Int](repeating: 0, count: 16)
        let mine = keys.filter { ring.server(for: $0) == 0 }
        for key in mine { counts[Slots.slot(of: key, count: 16)] += 1 }
        let fair = mine.count / 16
        #expect(counts.allSatisfy { $0 > fair * 8 / 10 && $0 < fair * 12 / 10 }, "\(counts)")
    }
}

@Suite struct RendezvousTests {
    let lanes = (1...3).flatMap { proxy in
        (0..<2).map { LaneID(site: SiteID(1), proxy: UInt8(proxy), lane: UInt8($0)) }
    }

    @Test func `nobody owns a slot where nobody lives`() {
        #expect(Rendezvous.owner(of: 5, among: []) == nil)
        #expect(Rendezvous.ranked(of: 5, among: []).isEmpty)
    }

    @Test func `the order in which lanes are listed does not matter`() {
        var random = SeededRandom(seed: 1)
        for slot in 0..<256 {
            let shuffled = lanes.shuffled(using: &random)
            #expect(Rendezvous.owner(of: slot, among: lanes) == Rendezvous.owner(of: slot, among: shuffled))
            #expect(Rendezvous.ranked(of: slot, among: lanes) == Rendezvous.ranked(of: slot, among: shuffled))
        }
    }

    @Test func `the owner is the first in rank`() {
        for slot in 0..<256 {
            #expect(Rendezvous.owner(of: slot, among: lanes) == Rendezvous.ranked(of: slot, among: lanes).first)
        }
    }

    @Test func `slots spread over the lanes`() {
        var counts: [LaneID: Int] = [:]
        for slot in 0..<1_024 { counts[Rendezvous.owner(of: slot, among: lanes) ?? lanes[0], default: 0] += 1 }
        #expect(counts.count == lanes.count)
        #expect(counts.values.allSatisfy { $0 > 110 && $0 < 240 }, "\(counts)")
    }

    @Test func `a lane that goes takes only its own slots along, each to the next in rank`() {
        for gone in lanes {
            let rest = lanes.filter { $0 != gone }
            for slot in 0..<1_024 {
                let before = Rendezvous.ranked(of: slot, among: lanes)
                let after = Rendezvous.owner(of: slot, among: rest)
                #expect(after == (before[0] == gone ? before[1] : before[0]))
            }
        }
    }
}
