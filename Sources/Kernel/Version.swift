/// A version: hybrid logical clock time with the lane as tie-break. One total order over all records of a federation
/// (`federation.md` sections 1 and 9).
///
/// The stamp holds microseconds since 1970 in its upper 52 bits and a counter in the lower 12. The counter carries into
/// the microseconds, so a burst never runs out of versions.
public struct Version: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// `microseconds << 12 | counter`
    public let stamp: UInt64
    /// Who stamped it.
    public let origin: LaneID

    /// Makes a version of a stamp and the lane that gave it.
    public init(stamp: UInt64, origin: LaneID) {
        self.stamp = stamp
        self.origin = origin
    }

    /// Below every version that a lane ever stamps.
    public static let zero = Version(stamp: 0, origin: LaneID(raw: 0))

    /// Orders by stamp, then by lane.
    public static func < (a: Version, b: Version) -> Bool {
        a.stamp != b.stamp ? a.stamp < b.stamp : a.origin < b.origin
    }

    /// `1732272000000000.5/s1p1l0`
    public var description: String { "\(stamp >> 12).\(stamp & 0xfff)/\(origin)" }
}

/// A lane's hybrid logical clock. Stamps rise strictly; receiving a stamp moves the clock past it; nothing is ever
/// stamped above the ceiling that the log has made durable, so that a clock set back never reissues a version.
public struct HybridClock: Sendable {
    /// The highest stamp given or seen.
    public private(set) var last: UInt64

    /// Starts at a floor: after a restart, the persisted ceiling.
    public init(floor: UInt64 = 0) { last = floor }

    /// The stamp of a wall clock reading, its counter at zero.
    public static func stamp(atWall microseconds: UInt64) -> UInt64 { microseconds << 12 }

    /// The wall clock time in a stamp, in microseconds since 1970.
    public static func wall(of stamp: UInt64) -> UInt64 { stamp >> 12 }

    /// The next stamp: past everything given or seen, and not behind the wall clock.
    public mutating func tick(at now: Instant) -> UInt64 {
        last = max(last + 1, Self.stamp(atWall: now.wallMicroseconds))
        return last
    }

    /// Moves past a stamp that somebody else gave.
    public mutating func observe(_ stamp: UInt64) { last = max(last, stamp) }

    /// A stamp that every later tick exceeds.
    public mutating func floorForLaterTicks(at now: Instant) -> UInt64 {
        last = max(last, Self.stamp(atWall: now.wallMicroseconds) - 1)
        return last
    }
}
