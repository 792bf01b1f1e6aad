// Gives records their addresses and lays their bytes into one queue, which the shell writes to the segment files.
//
//     log   … on disk …│ written, not synced │ pending          │ prepared, empty …
//                      synced                flushed            tail            end of prepared segments
//
// The writer does no I/O: it is told what was synced and which segments exist.

import Kernel

/// The appending end of one lane's log.
public struct LogWriter {
    /// Bytes appended and not yet written by the shell; the last of them is the one before `tail`.
    public let pending: ByteQueue
    /// Where the next record goes, unless it needs another segment. Always a multiple of 8, and at least a head away from its
    /// segment's end.
    public private(set) var tail: LogOffset
    /// Everything below is known to be on the disk. Never above `flushed`.
    public private(set) var synced: LogOffset
    /// Bytes of a segment.
    public let segmentBytes: Int

    private let lane: LaneID
    private let federation: [UInt8]
    /// All segments from the tail's up to, not including, this one exist at full size. May be the tail's own: then there
    /// is no room at all.
    private var preparedEnd: UInt64
    /// The segment that the shell is making.
    private var asked: UInt64?
    /// True while the last record is a proof: another would prove nothing new.
    private var endsInProof = false

    /// Continues a log at its recovered tail. Everything below the tail must be on the disk (`LogFolder` sees to it), and the
    /// tail's segment must exist unless the tail is at its beginning.
    public init(tail: LogOffset, segmentBytes: Int, lane: LaneID, federation: String) {
        precondition(LogFormat.isSegmentSize(segmentBytes), "segments of \(segmentBytes) bytes")
        precondition(tail.raw % UInt64(LogFormat.alignmentBytes) == 0, "log tail \(tail)")
        precondition(federation.utf8.count <= LogFormat.keyBytesMax, "federation name of \(federation.utf8.count) bytes")
        // Recovery may stop in the zeros at a segment's end, where no head fits.
        let rest = segmentBytes - tail.within(segmentBytes: segmentBytes)
        let tail = rest < LogFormat.headBytes ? tail + rest : tail
        pending = ByteQueue()
        self.tail = tail
        synced = tail
        self.segmentBytes = segmentBytes
        self.lane = lane
        self.federation = [UInt8](federation.utf8)
        let segment = tail.segment(segmentBytes: segmentBytes)
        preparedEnd = tail.within(segmentBytes: segmentBytes) == 0 ? segment : segment + 1
    }

    /// Everything below was handed to the kernel.
    public var flushed: LogOffset { tail - pending.count }

    /// The segment that the tail is in.
    public var segment: UInt64 { tail.segment(segmentBytes: segmentBytes) }

    /// Longest record, in bytes with padding.
    public var recordBytesMax: Int { LogFormat.recordBytesMax(segmentBytes: segmentBytes) }

    /// Everything below `offset` is on the disk.
    public mutating func noteSynced(_ offset: LogOffset) {
        precondition(offset <= flushed, "log synced to \(offset) but written to \(flushed)")
        synced = max(synced, offset)
    }

    // MARK: Segments

    /// The next segment to prepare: the tail's or one spare ahead; nil if both exist or one has been asked for.
    /// Whoever asks says so with `noteAsked`.
    public var segmentWanted: UInt64? {
        asked == nil && preparedEnd <= segment + 1 ? preparedEnd : nil
    }

    /// The shell has been asked to make this segment.
    public mutating func noteAsked(segment: UInt64) {
        precondition(segment == segmentWanted, "log segment \(segment) asked for, \(String(describing: segmentWanted)) wanted")
        asked = segment
    }

    /// The segment exists at full size, all of it zero.
    public mutating func notePrepared(segment: UInt64) {
        if asked == segment { asked = nil }
        if segment == preparedEnd { preparedEnd += 1 }
    }

    /// The segment could not be made; it is wanted again.
    public mutating func noteFailed(segment: UInt64) {
        if asked == segment { asked = nil }
    }

    /// True if a record of so many padded bytes can be appended, and after it records of `owed` padded bytes in all: the
    /// outcomes of writes under way. Without `owed`, `LogFormat.outcomeReserveBytes`, at most a quarter of a segment.
    public func hasRoom(forBytes bytes: Int, owed: Int? = nil) -> Bool {
        guard bytes <= recordBytesMax else { return false }
        let target = place(forBytes: bytes)
        guard target.segment < preparedEnd else { return false }
        let reserve = owed ?? min(LogFormat.outcomeReserveBytes, segmentBytes / 4)
        if segmentBytes - target.start - bytes >= reserve { return true }
        return target.segment + 1 < preparedEnd && reserve <= recordBytesMax
    }

    /// The segment that takes a record, and where in it the record starts.
    private func place(forBytes bytes: Int) -> (segment: UInt64, start: Int) {
        let used = tail.within(segmentBytes: segmentBytes)
        if used == 0 { return (segment, headerBytes) }
        return bytes <= segmentBytes - used ? (segment, used) : (segment + 1, headerBytes)
    }

    private var headerBytes: Int { LogRecord.encodedBytes(keyBytes: federation.count, payloadBytes: 0) }

    // MARK: Records

    /// Appends a record and returns its address. There must be room for it in prepared segments.
    @discardableResult
    public mutating func append(_ record: LogRecord) -> LogOffset {
        record.key.withUnsafeBytes { key in
            record.payload.withUnsafeBytes { payload in
                append(
                    kind: record.kind, content: record.content, flags: record.flags, position: record.position,
                    version: record.version, clientFlags: record.clientFlags, expiryMicroseconds: record.expiryMicroseconds,
                    reference: record.reference, key: key, payload: payload)
            }
        }
    }

    /// Appends a record of bytes that somebody else owns, and returns its address. A payload that begins a block is shared with it,
    /// and not copied.
    @discardableResult
    public mutating func append(
        kind: RecordKind, content: Content = .none, flags: RecordFlags = [], position: Position = .zero,
        version: Version = .zero, clientFlags: UInt32 = 0, expiryMicroseconds: UInt64 = 0, reference: UInt64 = 0,
        key: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer, of block: ByteBlock? = nil
    ) -> LogOffset {
        precondition(key.count <= LogFormat.keyBytesMax, "log key of \(key.count) bytes")
        precondition(payload.count <= LogFormat.payloadBytesMax, "log payload of \(payload.count) bytes")
        let head = RecordHead(
            length: LogFormat.headBytes + key.count + payload.count, kind: kind, content: content, flags: flags,
            keyBytes: key.count, clientFlags: clientFlags, position: position, version: version,
            expiryMicroseconds: expiryMicroseconds, reference: reference, synced: synced)
        precondition(head.paddedBytes <= recordBytesMax, "log record of \(head.paddedBytes) bytes in segments of \(segmentBytes)")
        let target = place(forBytes: head.paddedBytes)
        precondition(target.segment < preparedEnd, "log segment \(target.segment) is not prepared (tail \(tail))")
        if target.segment != segment { fillSegment() }
        if tail.within(segmentBytes: segmentBytes) == 0 { beginSegment() }
        endsInProof = false
        return encode(head) { address, queue in
            if let block {
                RecordCoding.encode(head, at: address, key: key, payload: block, into: queue)
            } else {
                RecordCoding.encode(head, at: address, key: key, payload: payload, into: queue)
            }
        }
    }

    /// True when everything is on the disk and no record says so yet: an idle lane then calls `appendProof` (`Docs/log-format.md` section 6).
    public var wantsProof: Bool {
        synced == tail && !endsInProof && tail.within(segmentBytes: segmentBytes) != 0
            && hasRoom(forBytes: LogFormat.headBytes)
    }

    /// Appends an empty pad, which carries what is synced: from then on, damage below it is told from a torn tail.
    public mutating func appendProof() {
        append(LogRecord(kind: .pad))
        endsInProof = true
    }

    @inline(__always)
    private mutating func encode(_ head: RecordHead, _ record: (LogOffset, ByteQueue) -> Void) -> LogOffset {
        let offset = tail
        record(offset, pending)
        tail = offset + head.paddedBytes
        let rest = segmentBytes - tail.within(segmentBytes: segmentBytes)
        if rest < LogFormat.headBytes {
            pending.append(zeros: rest)
            tail = tail + rest
        }
        return offset
    }

    private mutating func beginSegment() {
        let header = SegmentHeader(
            segment: segment, lane: lane, federation: String(decoding: federation, as: UTF8.self), segmentBytes: segmentBytes
        ).record
        let head = RecordHead(
            length: LogFormat.headBytes + header.key.count, kind: header.kind, content: .none, flags: [],
            keyBytes: header.key.count, clientFlags: header.clientFlags, position: header.position, version: header.version,
            expiryMicroseconds: 0, reference: header.reference, synced: synced)
        header.key.withUnsafeBytes { key in
            _ = encode(head) {
                RecordCoding.encode(head, at: $0, key: key, payload: UnsafeRawBufferPointer(start: nil, count: 0), into: $1)
            }
        }
    }

    /// Fills the rest of the segment with one pad record.
    private mutating func fillSegment() {
        let rest = segmentBytes - tail.within(segmentBytes: segmentBytes)
        let head = RecordHead(
            length: rest, kind: .pad, content: .none, flags: [], keyBytes: 0, clientFlags: 0, position: .zero, version: .zero,
            expiryMicroseconds: 0, reference: 0, synced: synced)
        _ = encode(head) { RecordCoding.encodeZeros(head, at: $0, into: $1) }
    }
}
