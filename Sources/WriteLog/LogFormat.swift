// The log's vocabulary and limits (`Docs/log-format.md`): what a record can be, how long anything may get, and how
// addresses fall into segments.

import Kernel

/// Limits and constants of the log's format.
public enum LogFormat {
    /// The version that this code writes and the only one that it reads.
    public static let version: UInt32 = 1
    /// `MERIDLOG`, read as a little-endian number; stands 24 bytes into every segment.
    public static let magic: UInt64 = 0x474f_4c44_4952_454d
    /// Bytes of a record before its key.
    public static let headBytes = 64
    /// Records begin at multiples of this many bytes.
    public static let alignmentBytes = 8
    /// Longest key, in bytes; binary keys too.
    public static let keyBytesMax = 250
    /// Longest payload, in bytes, where segments are large enough.
    public static let payloadBytesMax = 128 * 1024 * 1024
    /// Smallest segment, in bytes.
    public static let segmentBytesMin = 4 * 1024
    /// Largest segment, in bytes.
    public static let segmentBytesMax = 1024 * 1024 * 1024
    /// Longest segment header, in bytes with padding.
    public static let headerBytesMax = LogRecord.encodedBytes(keyBytes: keyBytesMax, payloadBytes: 0)
    /// Bytes kept free in prepared segments for the outcomes of writes under way, so that a disk that fills up stops new
    /// writes before it stops the outcomes of old ones. At most a quarter of a segment.
    public static let outcomeReserveBytes = 4 * 1024 * 1024
    /// Bytes that a cursor asks for at a time, unless one record is longer.
    public static let readBytes = 256 * 1024

    /// Longest record, in bytes with padding, that fits a segment beside its header.
    public static func recordBytesMax(segmentBytes: Int) -> Int { segmentBytes - headerBytesMax }

    /// True for a power of two within the limits.
    public static func isSegmentSize(_ bytes: Int) -> Bool {
        bytes >= segmentBytesMin && bytes <= segmentBytesMax && bytes & (bytes - 1) == 0
    }
}

/// What a record says (`Docs/log-format.md` section 3).
public enum RecordKind: UInt8, Sendable, CaseIterable {
    /// First record of every segment.
    case segmentHeader = 1
    /// A local write whose outcome is known to be its payload once memcached takes it.
    case intent = 2
    /// A local conditional or derived write, outcome unknown; no payload.
    case derivedIntent = 3
    /// The intent at `reference` landed with its payload and has this position.
    case commit = 4
    /// The intent at `reference` landed with this record's content and has this position.
    case commitValue = 5
    /// The intent at `reference` became nothing.
    case abort = 6
    /// A record from elsewhere is about to be applied; `reference` is its position in its lane.
    case applied = 7
    /// Every applied record and every write below the address in `reference` has landed.
    case landed = 8
    /// The site numbered `clientFlags` has acknowledged everything up to this position.
    case acknowledged = 9
    /// No version above this one's stamp has been given.
    case ceiling = 10
    /// The server named by the key is in the state `clientFlags`, with the incarnation in the payload.
    case backendState = 11
    /// Nothing: fills a segment, or carries what is synced.
    case pad = 12
    /// The rings in the payload are in effect.
    case rings = 13
}

/// What a write made of the item.
public enum Content: UInt8, Sendable, CaseIterable {
    /// The record is not about an item.
    case none = 0
    /// The item has this payload, flags and expiry.
    case value = 1
    /// The item is gone.
    case tombstone = 2
    /// The item has this expiry.
    case touch = 3
}

/// How a record is to be treated.
public struct RecordFlags: OptionSet, Sendable, Hashable {
    /// The bits as stored.
    public let rawValue: UInt8
    /// Wraps stored bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Never streamed to other sites.
    public static let local = RecordFlags(rawValue: 1)
    /// Streamed as a tombstone, whatever it is here.
    public static let invalidate = RecordFlags(rawValue: 2)
    /// The key holds arbitrary bytes and must be sent to memcached in a form that takes them.
    public static let binaryKey = RecordFlags(rawValue: 4)
    /// Every flag that this version knows.
    public static let known: RecordFlags = [.local, .invalidate, .binaryKey]
}

extension LogOffset {
    /// Where a segment begins.
    public init(startOf segment: UInt64, segmentBytes: Int) { self.init(segment * UInt64(segmentBytes)) }

    /// The segment that holds this address.
    public func segment(segmentBytes: Int) -> UInt64 { raw / UInt64(segmentBytes) }

    /// Bytes from the beginning of its segment.
    public func within(segmentBytes: Int) -> Int { Int(raw % UInt64(segmentBytes)) }

    /// The address so many bytes further on.
    public static func + (offset: LogOffset, bytes: Int) -> LogOffset { LogOffset(offset.raw + UInt64(bytes)) }

    /// The address so many bytes before.
    public static func - (offset: LogOffset, bytes: Int) -> LogOffset { LogOffset(offset.raw - UInt64(bytes)) }

    /// Bytes from a lower address to a higher one.
    public static func - (higher: LogOffset, lower: LogOffset) -> Int { Int(higher.raw - lower.raw) }

    /// The 24 bits that tie a record to its address.
    var place: UInt32 { UInt32(truncatingIfNeeded: raw / UInt64(LogFormat.alignmentBytes)) & 0xff_ffff }
}
