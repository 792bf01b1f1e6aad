// Recovery of a whole log, whoever holds its bytes: the disk shell hands in files, the simulator its own.
//
//     segment   7: r r r r     8: r r r ? 0 r 0     9: H r 0 0
//                                       ^ end: torn unless a record behind it, here or in 9, proves that it was synced

import Kernel

/// Walks the segments of a log from the lowest number and finds its tail.
public struct LogScanner {
    private let lane: LaneID
    private let federation: String
    private let segmentBytes: Int
    private var first: UInt64?
    private var last: UInt64?
    /// Where records stopped; no later segment may prove that something had been there.
    private var end: LogOffset?
    /// What was found at the end.
    private var tornBytes = 0
    private var laterBytes = false

    /// Expects the log of this lane.
    public init(lane: LaneID, federation: String, segmentBytes: Int) {
        precondition(LogFormat.isSegmentSize(segmentBytes), "segments of \(segmentBytes) bytes")
        self.lane = lane
        self.federation = federation
        self.segmentBytes = segmentBytes
    }

    /// What a log turned out to hold.
    public struct Outcome: Sendable, Equatable {
        /// The lowest segment that exists; the tail's when there is none.
        public var firstSegment: UInt64
        /// Where the log ends.
        public var tail: LogOffset
        /// Bytes behind the tail that were not zero, in the tail's segment.
        public var tornBytes: Int
        /// Segments behind the tail's to be deleted before anything is appended, highest first.
        public var discarded: [UInt64]

        /// Makes an outcome of its parts.
        public init(firstSegment: UInt64, tail: LogOffset, tornBytes: Int, discarded: [UInt64]) {
            self.firstSegment = firstSegment
            self.tail = tail
            self.tornBytes = tornBytes
            self.discarded = discarded
        }
    }

    /// Walks the next segment and hands each record, save headers and pads, to `replay`.
    public mutating func scan(
        segment: UInt64, bytes: UnsafeRawBufferPointer, replay: (LogRecord, LogOffset) -> Void
    ) throws(LogDamage) {
        if let last, segment != last + 1 {
            let missing = LogOffset(startOf: last + 1, segmentBytes: segmentBytes)
            throw LogDamage(segment: last + 1, offset: missing, what: "the segment's file is missing, segment \(segment) exists")
        }
        if first == nil { first = segment }
        last = segment
        if let end {
            try search(segment: segment, bytes: bytes, end: end)
        } else {
            try walk(segment: segment, bytes: bytes, replay: replay)
        }
    }

    /// The log's tail, once all segments were scanned.
    public func finish() -> Outcome {
        guard let first, let last else { return Outcome(firstSegment: 0, tail: .zero, tornBytes: 0, discarded: []) }
        let tail = end ?? LogOffset(startOf: last + 1, segmentBytes: segmentBytes)
        let kept = tail.segment(segmentBytes: segmentBytes)
        let discarded = laterBytes && kept < last ? ((kept + 1)...last).reversed() : []
        return Outcome(firstSegment: first, tail: tail, tornBytes: tornBytes, discarded: Array(discarded))
    }

    private mutating func walk(
        segment: UInt64, bytes: UnsafeRawBufferPointer, replay: (LogRecord, LogOffset) -> Void
    ) throws(LogDamage) {
        let header = SegmentHeader(segment: segment, lane: lane, federation: federation, segmentBytes: segmentBytes)
        var reader = SegmentReader(segment: segment, segmentBytes: segmentBytes, isLast: true, bytes: bytes)
        while let (offset, record) = try reader.next() {
            switch record.kind {
            case .segmentHeader: if let damage = header.mismatch(record) { throw damage }
            case .pad: break
            default: replay(record, offset)
            }
        }
        if !reader.isFull {
            end = reader.tail
            tornBytes = reader.tornBytes
        }
    }

    private mutating func search(segment: UInt64, bytes: UnsafeRawBufferPointer, end: LogOffset) throws(LogDamage) {
        guard RecordCoding.lastNonzero(bytes, from: 0) != nil else { return }
        laterBytes = true
        if let witness = SegmentReader.proof(that: end, wasSyncedIn: bytes, segment: segment, segmentBytes: segmentBytes) {
            throw LogDamage(
                segment: end.segment(segmentBytes: segmentBytes), offset: end,
                what: "no record, although the one at \(witness) in segment \(segment) says that this place had been synced")
        }
    }
}
