// The small numbers that name things. Each is a type of its own, so that a position can never be taken for a version,
// nor a site for a proxy (style 7).

/// A site of the federation; the number comes from the federation file and never changes for a site.
public struct SiteID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// 1 to 255.
    public let raw: UInt8
    /// Wraps a site's number.
    public init(_ raw: UInt8) { self.raw = raw }
    /// Orders by number.
    public static func < (a: SiteID, b: SiteID) -> Bool { a.raw < b.raw }
    /// `s1`
    public var description: String { "s\(raw)" }
}

/// One lane of one proxy of one site: the unit that owns slots, stamps versions and keeps a log.
///
/// A lane is one event loop; a proxy process runs one or more. Packed into 32 bits as the tie-break of versions.
public struct LaneID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// `site << 16 | proxy << 8 | lane`
    public let raw: UInt32
    /// Wraps a packed value, as found in logs and frames.
    public init(raw: UInt32) { self.raw = raw }
    /// Packs the three parts.
    public init(site: SiteID, proxy: UInt8, lane: UInt8) {
        raw = UInt32(site.raw) << 16 | UInt32(proxy) << 8 | UInt32(lane)
    }
    /// The site that the lane belongs to.
    public var site: SiteID { SiteID(UInt8(truncatingIfNeeded: raw >> 16)) }
    /// The proxy's number within its site.
    public var proxy: UInt8 { UInt8(truncatingIfNeeded: raw >> 8) }
    /// The lane's number within its proxy, from 0.
    public var lane: UInt8 { UInt8(truncatingIfNeeded: raw) }
    /// Orders by site, proxy, lane.
    public static func < (a: LaneID, b: LaneID) -> Bool { a.raw < b.raw }
    /// `s1p2l0`
    public var description: String { "\(site)p\(proxy)l\(lane)" }
}

/// Where a committed record stands in its lane: 1, 2, 3 … without gaps, in commit order.
/// Acks, resumes and lag are counted in it. 0 means "none yet".
public struct Position: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The count itself.
    public let raw: UInt64
    /// Wraps a count.
    public init(_ raw: UInt64) { self.raw = raw }
    /// Before the first record.
    public static let zero = Position(0)
    /// The one after this.
    public var next: Position { Position(raw + 1) }
    /// Orders by count.
    public static func < (a: Position, b: Position) -> Bool { a.raw < b.raw }
    /// `#17`
    public var description: String { "#\(raw)" }
}

/// A byte address in a lane's log: bytes ever appended before it, over all segments. Segment `n` holds the addresses
/// from `n * segmentBytes` up to the next multiple; no record crosses that line.
public struct LogOffset: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Bytes from the log's beginning.
    public let raw: UInt64
    /// Wraps a byte count.
    public init(_ raw: UInt64) { self.raw = raw }
    /// The log's beginning.
    public static let zero = LogOffset(0)
    /// Orders by address.
    public static func < (a: LogOffset, b: LogOffset) -> Bool { a.raw < b.raw }
    /// `@4096`
    public var description: String { "@\(raw)" }
}

/// A connection of a lane. The generation makes an event for a connection that has since been closed, and whose
/// index has been used again, recognisable as late.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    /// The place in the connection table.
    public let index: UInt32
    /// How often that place has been used.
    public let generation: UInt32
    /// Makes an id of both parts; only the connection table does.
    public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }
    /// `c12.3`
    public var description: String { "c\(index).\(generation)" }
}
