// Who writes a key. The key space is cut into slots by a hash of its own (independent of ketama's: a server's keys must
// spread over all lanes), and each slot belongs to the lane that draws the highest number for it (rendezvous hashing;
// Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996). Nobody keeps a table that could disagree.

import Kernel

/// Slots: fixed fractions of the key space, the unit of ownership.
public enum Slots {
    /// Most slots of a federation.
    public static let countMax = 65_536

    /// The slot of a key. `count` is a power of two. Every proxy of a federation must agree: the hash never changes.
    public static func slot(of key: UnsafeRawBufferPointer, count: Int) -> Int {
        precondition(count > 0 && count & (count - 1) == 0, "\(count) slots; must be a power of two")
        return Int(truncatingIfNeeded: hash(key)) & (count - 1)
    }

    /// The same for a key as text; for cold paths.
    public static func slot(of key: String, count: Int) -> Int {
        var key = key
        return key.withUTF8 { slot(of: UnsafeRawBufferPointer($0), count: count) }
    }

    /// Eight bytes a step, a 64 x 64 bit multiplication folded; the length goes in first, so that zeros at the end count.
    private static func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
        var hash = UInt64(key.count) &* 0x9e37_79b9_7f4a_7c15
        var offset = 0
        while key.count - offset >= 8 {
            hash = fold(hash ^ UInt64(littleEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var rest: UInt64 = 0
        while offset < key.count {
            rest = rest << 8 | UInt64(key[offset])
            offset += 1
        }
        return scrambled(fold(hash ^ rest))
    }

    /// Both halves of a product, combined.
    @inline(__always)
    private static func fold(_ value: UInt64) -> UInt64 {
        let product = (value ^ 0xa076_1d64_78bd_642f).multipliedFullWidth(by: 0xe703_7ed1_a0b4_28db)
        return product.high ^ product.low
    }

    /// SplitMix64's finaliser: every input bit reaches every output bit.
    @inline(__always)
    static func scrambled(_ value: UInt64) -> UInt64 {
        var mixed = value
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Ownership of slots by lanes. The order in which lanes are listed never matters.
public enum Rendezvous {
    /// The lane that owns a slot; nil when there is no lane.
    public static func owner(of slot: Int, among lanes: [LaneID]) -> LaneID? {
        var best: (score: UInt64, lane: LaneID)?
        for lane in lanes {
            let score = score(of: slot, for: lane)
            guard let leader = best else {
                best = (score, lane)
                continue
            }
            if score > leader.score || score == leader.score && lane < leader.lane { best = (score, lane) }
        }
        return best?.lane
    }

    /// All lanes, the owner first, then who takes over when those before are gone.
    public static func ranked(of slot: Int, among lanes: [LaneID]) -> [LaneID] {
        lanes.map { (score: score(of: slot, for: $0), lane: $0) }
            .sorted { $0.score != $1.score ? $0.score > $1.score : $0.lane < $1.lane }
            .map(\.lane)
    }

    private static func score(of slot: Int, for lane: LaneID) -> UInt64 {
        Slots.scrambled(Slots.scrambled(UInt64(lane.raw) &+ 0x9e37_79b9_7f4a_7c15) ^ UInt64(slot))
    }
}
