import Kernel

/// What the first record of every segment says about the log that the segment belongs to (`Docs/log-format.md` section 4).
public struct SegmentHeader: Sendable, Equatable {
    /// The segment's number.
    public var segment: UInt64
    /// The lane whose log this is.
    public var lane: LaneID
    /// The federation's name, in UTF-8.
    public var federation: [UInt8]
    /// Bytes of each segment.
    public var segmentBytes: Int

    /// Makes a header of its parts.
    public init(segment: UInt64, lane: LaneID, federation: String, segmentBytes: Int) {
        self.segment = segment
        self.lane = lane
        self.federation = [UInt8](federation.utf8)
        self.segmentBytes = segmentBytes
    }

    /// The header as a record.
    public var record: LogRecord {
        LogRecord(
            kind: .segmentHeader, position: Position(segment), version: Version(stamp: LogFormat.magic, origin: lane),
            clientFlags: LogFormat.version, reference: UInt64(segmentBytes), key: federation)
    }

    /// Reads the header from the beginning of a segment file, however long the segment is; nil where there is none.
    public init?(beginning bytes: UnsafeRawBufferPointer) {
        guard case .record(let head) = RecordCoding.examine(bytes, at: 0, address: nil),
            head.kind == .segmentHeader, head.version.stamp == LogFormat.magic, let segmentBytes = Int(exactly: head.reference)
        else { return nil }
        segment = head.position.raw
        lane = head.version.origin
        federation = RecordCoding.record(head, bytes, at: 0).key
        self.segmentBytes = segmentBytes
    }

    /// Nil if `record`, found at the beginning of this segment, is this header; else what differs and what to do.
    func mismatch(_ record: LogRecord) -> LogDamage? {
        let found = LogOffset(startOf: segment, segmentBytes: segmentBytes)
        func damage(_ what: String, _ remedy: String = LogDamage.restore) -> LogDamage {
            LogDamage(segment: segment, offset: found, what: what, remedy: remedy)
        }
        if record.kind != .segmentHeader || record.version.stamp != LogFormat.magic {
            return damage("the segment does not begin with a header")
        }
        if record.clientFlags != LogFormat.version {
            return damage(
                "the log's format is version \(record.clientFlags), this program's is \(LogFormat.version)",
                "start the program that wrote it, drain the proxy there, and move the lane's folder away")
        }
        if record.reference != UInt64(segmentBytes) {
            return damage(
                "the log's segments have \(record.reference) bytes, the site file says \(segmentBytes)",
                "set the site file's segment size back; to change it, drain the proxy and move the lane's folder away")
        }
        if record.position.raw != segment {
            return damage("the file holds segment \(record.position.raw)", "give the file back the number of its segment")
        }
        if record.version.origin != lane {
            return damage(
                "the log belongs to lane \(record.version.origin), this is \(lane)",
                "point the site file at this proxy's own folder; a log cannot move to another lane")
        }
        if record.key != federation {
            return damage(
                "the log belongs to federation \(String(decoding: record.key, as: UTF8.self)), this is \(name)",
                "point the site file at this federation's folder; a log cannot move to another federation")
        }
        return nil
    }

    /// The federation's name as text.
    var name: String { String(decoding: federation, as: UTF8.self) }
}
