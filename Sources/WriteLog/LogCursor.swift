// Reads a log back in order, for streaming what another site has missed, without holding more than a chunk of it.
//
//     wanted ──▶ shell reads ──▶ feed ──▶ next, next, next … nil ──▶ wanted …
//
// Unlike recovery, it reads only what is known to have been written, so anything but a record is damage.

import Kernel

/// A place in a log that moves on record by record, fed with chunks read from it.
public struct LogCursor {
    /// Where the next record is looked for.
    public private(set) var offset: LogOffset
    /// Records from here on are not read; a record boundary.
    public private(set) var end: LogOffset

    private let segmentBytes: Int
    /// Bytes of the log from `offset` on, behind `consumed` ones that have been read.
    private var buffer: [UInt8] = []
    private var consumed = 0
    /// Bytes that the record at `offset` takes, once its head is here.
    private var needed = LogFormat.headBytes

    /// Starts at the address of a record or of a segment's beginning, and reads up to `end`.
    public init(from offset: LogOffset, to end: LogOffset, segmentBytes: Int) {
        precondition(LogFormat.isSegmentSize(segmentBytes), "segments of \(segmentBytes) bytes")
        self.offset = offset
        self.end = end
        self.segmentBytes = segmentBytes
    }

    /// True when everything up to `end` has been read.
    public var isAtEnd: Bool { offset >= end }

    /// Moves the end on: the log has been written further.
    public mutating func extend(to end: LogOffset) { self.end = max(self.end, end) }

    /// The bytes to read and feed next, all within one segment; nil when there are enough for a record or nothing is left to read.
    public var wanted: (offset: LogOffset, count: Int)? {
        let held = buffer.count - consumed
        guard !isAtEnd, held < needed else { return nil }
        let from = offset + held
        let segmentRest = segmentBytes - from.within(segmentBytes: segmentBytes)
        // At most to the end, though a record that is not wholly below it is not read.
        let count = min(max(needed - held, LogFormat.readBytes), segmentRest, end > from ? end - from : 0)
        return count > 0 ? (from, count) : nil
    }

    /// Takes bytes read at the wanted address: all that were wanted, or fewer.
    public mutating func feed(_ at: LogOffset, _ bytes: [UInt8]) throws(LogDamage) {
        precondition(at == wanted?.offset, "log cursor at \(offset) fed \(at), wanted \(String(describing: wanted))")
        if bytes.isEmpty { throw damage("nothing could be read") }
        buffer.removeFirst(consumed)
        consumed = 0
        buffer.append(contentsOf: bytes)
    }

    /// The next record, save headers and pads, with its address; nil when more bytes are wanted or the end is reached.
    public mutating func next() throws(LogDamage) -> (offset: LogOffset, record: LogRecord)? {
        while !isAtEnd {
            let segmentRest = segmentBytes - offset.within(segmentBytes: segmentBytes)
            if segmentRest < LogFormat.headBytes {
                skip(segmentRest)
                continue
            }
            let held = buffer.count - consumed
            guard held >= LogFormat.headBytes else { return nil }
            needed = try recordBytes(segmentRest: segmentRest)
            guard held >= needed else { return nil }
            let (at, record) = try take()
            if record.kind != .segmentHeader && record.kind != .pad { return (at, record) }
        }
        return nil
    }

    /// Bytes that the record at `offset` says it takes.
    private func recordBytes(segmentRest: Int) throws(LogDamage) -> Int {
        var length = 0
        for place in (0..<4).reversed() { length = length << 8 | Int(buffer[consumed + place]) }
        let bytes = RecordCoding.padded(length)
        if length == 0 { throw damage("nothing was written where the log goes on") }
        if length < LogFormat.headBytes || bytes > segmentRest { throw damage(RecordFault.length(UInt32(length)).what) }
        if offset + bytes > end { throw damage("a record reaches past \(end), the end of what was written") }
        return bytes
    }

    private mutating func take() throws(LogDamage) -> (LogOffset, LogRecord) {
        let finding = buffer.withUnsafeBytes { bytes -> Result<(LogRecord, Int), RecordFault> in
            switch RecordCoding.examine(bytes, at: consumed, address: offset) {
            case .nothing: .failure(.strayBytes)
            case .fault(let fault): .failure(fault)
            case .record(let head): .success((RecordCoding.record(head, bytes, at: consumed), head.paddedBytes))
            }
        }
        switch finding {
        case .failure(let fault): throw damage(fault.what)
        case .success(let (record, bytes)):
            let at = offset
            consumed += bytes
            offset = offset + bytes
            needed = LogFormat.headBytes
            return (at, record)
        }
    }

    /// Passes over the zeros at a segment's end, whether they were read or not.
    private mutating func skip(_ bytes: Int) {
        consumed = min(consumed + bytes, buffer.count)
        offset = offset + bytes
        needed = LogFormat.headBytes
    }

    private func damage(_ what: String) -> LogDamage {
        LogDamage(segment: offset.segment(segmentBytes: segmentBytes), offset: offset, what: what)
    }
}
