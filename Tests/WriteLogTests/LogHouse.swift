// What the log's tests share: a log in memory that grows as a shell would let it grow, and bytes to break.

import Kernel
import WriteLog

/// A lane's log in memory: the writer, and the segments that a shell would have written.
struct MemoryLog {
    static let lane = LaneID(site: SiteID(1), proxy: 2, lane: 3)
    static let federation = "shop"

    let segmentBytes: Int
    var writer: LogWriter
    var segments: [UInt64: [UInt8]] = [:]
    /// What was appended, save headers and pads.
    var records: [(offset: LogOffset, record: LogRecord)] = []

    init(segmentBytes: Int = LogFormat.segmentBytesMin, tail: LogOffset = .zero) {
        self.segmentBytes = segmentBytes
        writer = LogWriter(tail: tail, segmentBytes: segmentBytes, lane: Self.lane, federation: Self.federation)
        prepare()
    }

    /// Makes the segments that the writer wants.
    mutating func prepare() {
        while let segment = writer.segmentWanted {
            writer.noteAsked(segment: segment)
            if segments[segment] == nil { segments[segment] = [UInt8](repeating: 0, count: segmentBytes) }
            writer.notePrepared(segment: segment)
        }
    }

    /// Does what the shell does after a turn: all pending bytes go into the segments.
    mutating func flush() {
        var address = writer.flushed
        while !writer.pending.isEmpty {
            let within = address.within(segmentBytes: segmentBytes)
            let piece = writer.pending.readable
            let count = min(piece.count, segmentBytes - within)
            segments[address.segment(segmentBytes: segmentBytes)]!
                .replaceSubrange(within..<(within + count), with: piece[..<count])
            writer.pending.consume(count)
            address = address + count
        }
        prepare()
    }

    @discardableResult
    mutating func append(_ record: LogRecord) -> LogOffset {
        let offset = writer.append(record)
        records.append((offset, record))
        flush()
        return offset
    }

    mutating func sync() { writer.noteSynced(writer.flushed) }

    /// A log of random records, synced now and then.
    static func random(_ random: inout SeededRandom, records: Int, segmentBytes: Int = LogFormat.segmentBytesMin) -> MemoryLog {
        var log = MemoryLog(segmentBytes: segmentBytes)
        for _ in 0..<records {
            log.append(.random(&random, payloadMax: segmentBytes / 4))
            if random.chance(0.2) { log.sync() }
        }
        return log
    }

    /// Recovers as the disk shell does, from the lowest segment to the highest.
    func recover() throws(LogDamage) -> (records: [(offset: LogOffset, record: LogRecord)], outcome: LogScanner.Outcome) {
        var scanner = LogScanner(lane: Self.lane, federation: Self.federation, segmentBytes: segmentBytes)
        var found: [(LogOffset, LogRecord)] = []
        for segment in segments.keys.sorted() {
            let result = segments[segment]!.withUnsafeBytes { bytes in
                Result { () throws(LogDamage) in
                    try scanner.scan(segment: segment, bytes: bytes) { record, offset in found.append((offset, record)) }
                }
            }
            try result.get()
        }
        return (found, scanner.finish())
    }

    /// Changes one byte of the log.
    mutating func change(_ address: LogOffset, _ change: (UInt8) -> UInt8) {
        let segment = address.segment(segmentBytes: segmentBytes)
        let within = address.within(segmentBytes: segmentBytes)
        segments[segment]![within] = change(segments[segment]![within])
    }

    /// Overwrites everything between two addresses with zeros, as if the kernel had never written these pages.
    mutating func forget(_ range: Range<LogOffset>) {
        for address in range.lowerBound.raw..<range.upperBound.raw { change(LogOffset(address)) { _ in 0 } }
    }

    /// Mends the log as the disk shell does after recovery, and goes on.
    mutating func restart() throws(LogDamage) {
        let (found, outcome) = try recover()
        for segment in outcome.discarded { segments[segment] = nil }
        let last = outcome.tail.segment(segmentBytes: segmentBytes)
        if segments[last] != nil {
            forget(outcome.tail..<LogOffset(startOf: last + 1, segmentBytes: segmentBytes))
        }
        records = found
        writer = LogWriter(tail: outcome.tail, segmentBytes: segmentBytes, lane: Self.lane, federation: Self.federation)
        prepare()
    }
}

extension LogRecord {
    /// Any record but a header or a pad, of any shape that a writer accepts.
    static func random(_ random: inout SeededRandom, payloadMax: Int) -> LogRecord {
        let kinds = RecordKind.allCases.filter { $0 != .segmentHeader && $0 != .pad }
        return LogRecord(
            kind: kinds[random.below(kinds.count)], content: Content.allCases[random.below(4)],
            flags: RecordFlags(rawValue: UInt8(random.below(8))), position: Position(random.next()),
            version: Version(stamp: random.next(), origin: LaneID(raw: UInt32(truncatingIfNeeded: random.next()))),
            clientFlags: UInt32(truncatingIfNeeded: random.next()), expiryMicroseconds: random.next(), reference: random.next(),
            key: .random(&random, random.below(LogFormat.keyBytesMax + 1)),
            payload: .random(&random, random.below(payloadMax + 1)))
    }
}

extension [UInt8] {
    /// So many random bytes.
    static func random(_ random: inout SeededRandom, _ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }
}

/// A name for a failure that says where in a log it was.
func same(
    _ a: [(offset: LogOffset, record: LogRecord)], _ b: some Sequence<(offset: LogOffset, record: LogRecord)>
) -> Bool {
    a.elementsEqual(b) { $0.offset == $1.offset && $0.record == $1.record }
}
