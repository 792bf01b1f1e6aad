// The keys that this lane's clients read most, now. One read in 64 is looked at, at random distances, and the keys so seen are counted in
// a fixed number of places (Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k elements in data
// streams", 2005): a key without a place takes that of the key with the lowest count, and its count, too, which is noted as
// what it may be wrong by. Each second a sixteenth of everything is forgotten, so that counts are of the last quarter of a minute.
//
//     reads ─ 1 of 64 ─▶ places: [key, count, of which inherited] × 64 ─ a sixteenth less each second ─▶ rate, share

import Kernel

/// A key and how much it is read.
struct HotKey {
    var key: [UInt8]
    /// Estimated.
    var readsPerSecond: Double
    /// Of all reads, from 0 to 1.
    var share: Double
}

/// What is read most: a bounded sketch.
struct HotKeys {
    private struct Place {
        var key: [UInt8]
        var count: Double
        /// Of the count, what another key left behind.
        var inherited: Double

        /// What is certain.
        var seen: Double { count - inherited }
    }

    /// What is kept of every count each second.
    private static let kept = 15.0 / 16

    private var random: SeededRandom
    /// Reads until the next one that is looked at.
    private var left: Int
    private var places: [Place] = []
    /// Invariant: where each key of `places` is.
    private var placeOf = KeyMap<Int>()
    /// All samples, forgotten like the counts.
    private var total = 0.0
    /// How much time the counts stand for, in periods of forgetting.
    private var periods = 0.0
    private var forgottenAt: UInt64
    /// Keys that are read from both servers, if the site wants it so.
    private(set) var inTurn: [[UInt8]] = []

    init(seed: UInt64, at monotonic: UInt64) {
        // Not the lane's own numbers: sampling must not change what else the lane draws.
        random = SeededRandom(seed: seed ^ 0x686f_7420_6b65_7973)
        left = 1 + random.below(2 * Limits.hotSampleReads - 1)
        forgottenAt = monotonic
    }

    /// Counts a read; true when it is to be looked at.
    @inline(__always)
    mutating func isNextSample() -> Bool {
        left -= 1
        return left == 0
    }

    /// Looks at a read.
    mutating func take(_ key: UnsafeRawBufferPointer) {
        left = 1 + random.below(2 * Limits.hotSampleReads - 1)
        total += 1
        let key = Array(key)
        if let known = placeOf[key] {
            places[known].count += 1
        } else if places.count < Limits.hotKeysMax {
            placeOf[key] = places.count
            places.append(Place(key: key, count: 1, inherited: 0))
        } else if let lowest = places.indices.min(by: { places[$0].count < places[$1].count }) {
            placeOf[places[lowest].key] = nil
            placeOf[key] = lowest
            places[lowest] = Place(key: key, count: places[lowest].count + 1, inherited: places[lowest].count)
        }
    }

    /// Lets what is long ago count less, once a second.
    mutating func forget(at monotonic: UInt64) {
        guard monotonic >= forgottenAt + Limits.hotForgetMicroseconds else { return }
        // After a pause as long as that, nothing is left of what was before.
        let elapsed = min((monotonic - forgottenAt) / Limits.hotForgetMicroseconds, 256)
        forgottenAt = monotonic - (monotonic - forgottenAt) % Limits.hotForgetMicroseconds
        for _ in 0..<elapsed {
            periods = (periods + 1) * Self.kept
            total *= Self.kept
            for place in places.indices {
                places[place].count *= Self.kept
                places[place].inherited *= Self.kept
            }
        }
        inTurn = hottest(at: monotonic, most: Limits.hotInTurnMax)
            .filter { $0.readsPerSecond >= Limits.hotReadsPerSecondMin && $0.share * 100 >= Limits.hotSharePercentMin }
            .map(\.key)
    }

    /// True for a key that is read from both its servers.
    func isHot(_ key: UnsafeRawBufferPointer) -> Bool {
        inTurn.contains { $0.count == key.count && $0.elementsEqual(key) }
    }

    /// All reads in a second, estimated.
    func readsPerSecond(at monotonic: UInt64) -> Double { rate(total, at: monotonic) }

    /// The keys that are certain to be read more than by chance, the hottest first.
    func hottest(at monotonic: UInt64, most: Int) -> [HotKey] {
        let found = places.filter { $0.seen >= Limits.hotSamplesMin }
            .sorted { $0.seen == $1.seen ? $0.key.lexicographicallyPrecedes($1.key) : $0.seen > $1.seen }
        return found.prefix(most).map {
            HotKey(key: $0.key, readsPerSecond: rate($0.seen, at: monotonic), share: $0.seen / total)
        }
    }

    /// Reads in a second, of a count of samples.
    private func rate(_ samples: Double, at monotonic: UInt64) -> Double {
        let recent = Double(monotonic - min(forgottenAt, monotonic)) / Double(Limits.hotForgetMicroseconds)
        let seconds = max(1, periods + recent) * Double(Limits.hotForgetMicroseconds) / 1_000_000
        return samples * Double(Limits.hotSampleReads) / seconds
    }
}
