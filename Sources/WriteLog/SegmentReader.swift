// Walks one whole segment's bytes, as recovery does, and decides what the place where the records stop is: the log's end,
// a torn tail, or damage (`Docs/log-format.md` section 6).

import Kernel

/// The records of one segment, in order.
public struct SegmentReader {
    /// Number of the segment.
    public let segment: UInt64
    /// Once `next` has returned nil: where the records stop; at or beyond the segment's end if it is full.
    public private(set) var tail: LogOffset
    /// Once `next` has returned nil: bytes from the tail through the last one that is not zero.
    public private(set) var tornBytes = 0

    private let segmentBytes: Int
    private let isLast: Bool
    // Borrowed from whoever walks the segment, who keeps it alive for as long as the reader; never stored elsewhere.
    private let bytes: UnsafeRawBufferPointer
    private var cursor = 0
    private var ended = false

    /// Starts at the beginning of a segment's bytes, which must outlive the reader. `isLast` says that no later segment was
    /// written to, so that the log may end here.
    public init(segment: UInt64, segmentBytes: Int, isLast: Bool, bytes: UnsafeRawBufferPointer) {
        self.segment = segment
        self.segmentBytes = segmentBytes
        self.isLast = isLast
        self.bytes = bytes
        tail = LogOffset(startOf: segment, segmentBytes: segmentBytes)
    }

    /// True once the walk has come to the segment's end, with no room for another record.
    public var isFull: Bool { ended && cursor == segmentBytes }

    /// The next record, headers and pads included; nil at the end of what was written.
    public mutating func next() throws(LogDamage) -> (offset: LogOffset, record: LogRecord)? {
        if ended { return nil }
        guard bytes.count == segmentBytes else {
            throw damage(at: 0, "the segment has \(bytes.count) bytes instead of \(segmentBytes)")
        }
        if cursor == segmentBytes { return end() }
        let offset = tail
        switch RecordCoding.examine(bytes, at: cursor, address: offset) {
        case .record(let head):
            let record = RecordCoding.record(head, bytes, at: cursor)
            if (cursor == 0) != (head.kind == .segmentHeader) {
                throw damage(at: cursor, "the segment's header is not its first record")
            }
            cursor += head.paddedBytes
            tail = tail + head.paddedBytes
            return (offset, record)
        case .nothing where segmentBytes - cursor < LogFormat.headBytes:
            cursor = segmentBytes
            tail = LogOffset(startOf: segment + 1, segmentBytes: segmentBytes)
            return end()
        case .nothing: return try stop("nothing was written")
        case .fault(let fault): return try stop(fault.what)
        }
    }

    /// The first valid record behind an address that says that the address had been synced; nil without one.
    ///
    /// Searches a segment's bytes from the place behind `end`, or all of them when `end` is in an earlier segment.
    public static func proof(
        that end: LogOffset, wasSyncedIn bytes: UnsafeRawBufferPointer, segment: UInt64, segmentBytes: Int
    ) -> LogOffset? {
        let start = LogOffset(startOf: segment, segmentBytes: segmentBytes)
        var cursor = end < start ? 0 : end - start + LogFormat.alignmentBytes
        while cursor + LogFormat.headBytes <= bytes.count {
            if case .record(let head) = RecordCoding.examine(bytes, at: cursor, address: start + cursor), head.synced > end {
                return start + cursor
            }
            cursor += LogFormat.alignmentBytes
        }
        return nil
    }

    private mutating func stop(_ what: String) throws(LogDamage) -> (offset: LogOffset, record: LogRecord)? {
        if !isLast { throw damage(at: cursor, "\(what), and the log goes on in a later segment") }
        if cursor == 0, let other = SegmentHeader(beginning: bytes), other.segment != segment {
            throw LogDamage(
                segment: segment, offset: tail, what: "the file holds segment \(other.segment)",
                remedy: "give the file back the number of its segment")
        }
        if let witness = Self.proof(that: tail, wasSyncedIn: bytes, segment: segment, segmentBytes: segmentBytes) {
            throw damage(at: cursor, "\(what), although the record at \(witness) says that this place had been synced")
        }
        tornBytes = RecordCoding.lastNonzero(bytes, from: cursor).map { $0 + 1 - cursor } ?? 0
        return end()
    }

    private mutating func end() -> (offset: LogOffset, record: LogRecord)? {
        ended = true
        return nil
    }

    private func damage(at cursor: Int, _ what: String) -> LogDamage {
        LogDamage(segment: segment, offset: LogOffset(startOf: segment, segmentBytes: segmentBytes) + cursor, what: what)
    }
}
