// What is wrong with a log, where, and what an operator can do about it. A damaged log is never repaired by guessing.

import Kernel

/// A log that does not hold what was written to it, or is not the log that was asked for.
public struct LogDamage: Error, Sendable, Equatable, CustomStringConvertible {
    /// The segment, where it is known.
    public var segment: UInt64?
    /// The address of the bad place; without a segment, the bytes from the beginning of what was decoded.
    public var offset: LogOffset
    /// What was found there.
    public var what: String
    /// What to do about it.
    public var remedy: String

    /// Names a bad place.
    public init(segment: UInt64?, offset: LogOffset, what: String, remedy: String = LogDamage.restore) {
        self.segment = segment
        self.offset = offset
        self.what = what
        self.remedy = remedy
    }

    /// What to do where the disk has lost or changed bytes.
    public static let restore =
        "check this disk; restore the lane's folder from a copy, or move it away so that this proxy starts with an empty log "
        + "and takes its index from its siblings (records that no other site has yet acknowledged are then lost)"

    /// `log segment 12 at @805306432: … ; remedy`
    public var description: String {
        let place = segment.map { "log segment \($0) at \(offset)" } ?? "log record at \(offset)"
        return "\(place): \(what); \(remedy)"
    }
}

/// Why bytes are not a record.
enum RecordFault: Error, Equatable {
    case cut
    case length(UInt32)
    case place
    case kind(UInt8)
    case content(UInt8)
    case flags(UInt8)
    case keyLength(Int)
    case payloadLength(Int)
    case checksum
    case padding
    case strayBytes

    var what: String {
        switch self {
        case .cut: "a record reaches past the end"
        case .length(let length): "a record's length of \(length) is impossible"
        case .place: "a record belongs to another address"
        case .kind(let kind): "a record's kind \(kind) is unknown"
        case .content(let content): "a record's content \(content) is unknown"
        case .flags(let flags): "a record's flags \(flags) are unknown"
        case .keyLength(let bytes): "a record's key of \(bytes) bytes is too long"
        case .payloadLength(let bytes): "a record's payload of \(bytes) bytes is too long"
        case .checksum: "a record's checksum does not match its bytes"
        case .padding: "a record's padding is not zero"
        case .strayBytes: "bytes that are no record where zeros must be"
        }
    }
}
