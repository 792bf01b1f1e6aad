// Latencies, counted in buckets that grow with what they count: below 128 µs every microsecond has its own, and above, every
// power of two has 64 of them. So any percentile is right to within 1%, and recording is a shift and an addition.
//
//     0 1 2 … 127 │ 128 130 … 254 │ 256 260 … 508 │ …
//       exact         steps of 2      steps of 4

/// A log-linear histogram of microseconds.
struct Histogram {
    /// Buckets of each power of two, from the second on; a power of two itself.
    private static let steps = 64
    /// Bits of a number below `2 * steps`, which has a bucket of its own.
    private static let exactBits = 7
    /// Longest latency that is told from longer ones: more than an hour.
    private static let microsecondsMax: UInt64 = 1 << 32

    private var counts = [UInt64](repeating: 0, count: Histogram.bucket(of: Histogram.microsecondsMax) + 1)
    /// How many were recorded.
    private(set) var count: UInt64 = 0
    /// The longest.
    private(set) var longest: UInt64 = 0
    private var sum: UInt64 = 0

    /// Counts one latency.
    mutating func record(_ microseconds: UInt64) {
        counts[Self.bucket(of: min(microseconds, Self.microsecondsMax))] += 1
        count += 1
        sum += microseconds
        if microseconds > longest { longest = microseconds }
    }

    /// The mean; 0 when nothing was recorded.
    var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// The latency that a share (0…1) of the recorded ones does not exceed, to the middle of its bucket; 0 for none.
    func quantile(_ share: Double) -> Double {
        guard count > 0 else { return 0 }
        let rank = max(1, UInt64((share * Double(count)).rounded(.up)))
        var passed: UInt64 = 0
        for (bucket, counted) in counts.enumerated() {
            passed += counted
            if passed >= rank { return min(Self.middle(of: bucket), Double(longest)) }
        }
        return Double(longest)
    }

    /// The bucket that counts a number.
    private static func bucket(of microseconds: UInt64) -> Int {
        let bits = UInt64.bitWidth - microseconds.leadingZeroBitCount
        guard bits > exactBits else { return Int(microseconds) }
        // The highest seven bits say which step; how many are left says which power of two.
        let shift = bits - exactBits
        return Int(microseconds >> UInt64(shift)) + shift * steps
    }

    /// The number in the middle of a bucket: the inverse of `bucket(of:)`.
    private static func middle(of bucket: Int) -> Double {
        guard bucket >= 2 * steps else { return Double(bucket) }
        let shift = bucket / steps - 1
        let first = (bucket - shift * steps) << shift
        return Double(first) + Double((1 << shift) - 1) / 2
    }
}
