// The log's readers, given bytes that nobody wrote: a record, nothing, or damage that says where; never beyond the bytes.
// The first byte of an input says whether the records' lengths, places and checksums are put right before they are read,
// since no fuzzer finds a checksum by trying.

import Kernel
import WriteLog

private let segmentBytes = LogFormat.segmentBytesMin

extension Promise {
    package static let logRecord = Promise(
        "log-record", "one record at any offset of any bytes: a record, nothing, or damage; never beyond the bytes",
        bytesMax: 1_024, seeds: LogSeeds.records
    ) { bytes in
        guard let mode = bytes.first else { return }
        var rest = Array(bytes.dropFirst())
        if mode & 1 == 0 { LogSeal.mend(&rest, from: .zero) }
        rest.withUnsafeBytes { bytes in
            for offset in 0...bytes.count {
                guard let found = try? LogRecord.decode(bytes, at: offset) else { continue }
                precondition(found.bytes >= LogFormat.headBytes && offset + found.bytes <= bytes.count)
                precondition(LogFormat.headBytes + found.record.key.count + found.record.payload.count <= found.bytes)
            }
        }
    }

    package static let logRecovery = Promise(
        "log-recovery", "up to four segments, the first with the number in the second byte: a tail within them, or damage there",
        bytesMax: 2 + 4 * segmentBytes, seeds: LogSeeds.logs
    ) { bytes in
        guard bytes.count > 1 else { return }
        let first = UInt64(bytes[1])
        let segments = LogSeal.segments(of: bytes.dropFirst(2), first: first, mended: bytes[0] & 1 == 0)
        recover(segments, first: first)
    }

    private static func recover(_ segments: [[UInt8]], first: UInt64) {
        var scanner = LogScanner(lane: LogSeeds.lane, federation: LogSeeds.federation, segmentBytes: segmentBytes)
        let start = LogOffset(startOf: first, segmentBytes: segmentBytes)
        var last = start
        for (index, segment) in segments.enumerated() {
            do {
                try segment.withUnsafeBytes { bytes in
                    try scanner.scan(segment: first + UInt64(index), bytes: bytes) { record, offset in
                        precondition(offset > last, "records in order")
                        precondition(record.kind != .pad && record.kind != .segmentHeader)
                        last = offset
                    }
                }
            } catch let damage as LogDamage {
                precondition(damage.segment.map { $0 >= first && $0 < first + UInt64(segments.count) } == true)
                return
            } catch {
                preconditionFailure("\(error)")
            }
        }
        let outcome = scanner.finish()
        precondition(segments.isEmpty || outcome.tail >= start && outcome.tail >= last)
        precondition(outcome.tail <= start + segments.count * segmentBytes || segments.isEmpty)
        precondition(outcome.tail.raw % 8 == 0)
    }

    package static let logCursor = Promise(
        "log-cursor", "a log read back in chunks of any size: the same records, or damage, whatever the chunks",
        bytesMax: 2 + 4 * segmentBytes, seeds: LogSeeds.logs
    ) { bytes in
        guard bytes.count > 1 else { return }
        let log = LogSeal.segments(of: bytes.dropFirst(2), first: 0, mended: bytes[0] & 1 == 0).flatMap { $0 }
        let whole = read(log, from: .zero, chunk: { _ in .max })
        let pieces = read(log, from: .zero, chunk: { 1 + Int(log[$0]) * 8 })
        precondition(whole == pieces, "what is read depends on the chunks")
    }

    /// What a cursor made of a log.
    struct Reading: Equatable {
        var offsets: [LogOffset] = []
        var records: [LogRecord] = []
        var damage: LogDamage?
    }

    /// Reads a log to its end, or to its damage; `chunk` says how much is read at an offset at most.
    static func read(_ log: [UInt8], from start: LogOffset, chunk: (Int) -> Int) -> Reading {
        var reading = Reading()
        var cursor = LogCursor(from: start, to: LogOffset(UInt64(log.count)), segmentBytes: segmentBytes)
        do throws(LogDamage) {
            while true {
                while let (offset, record) = try cursor.next() {
                    precondition(offset >= reading.offsets.last ?? start && offset < cursor.end)
                    reading.offsets.append(offset)
                    reading.records.append(record)
                }
                guard let (offset, count) = cursor.wanted else { return reading }
                let from = Int(offset.raw)
                try cursor.feed(offset, Array(log[from..<from + min(count, chunk(from))]))
            }
        } catch {
            reading.damage = error
            return reading
        }
    }

    static let logRoundTrip = Promise(
        "log-round-trip", "a script of appends, syncs and a power failure: what was synced comes back, nothing else ever does",
        bytesMax: 256,
        seeds: [
            [9, 1, 40, 200, 2, 3, 250, 90, 0, 7, 8, 9, 1, 1, 1, 1],
            Array(repeating: 250, count: 120) + [0, 0] + Array(repeating: 77, count: 60),
        ]
    ) { bytes in
        var script = bytes.makeIterator()
        var tape = LogTape()
        let cut = Int(script.next() ?? 0)
        while let operation = script.next() {
            if operation == 0 {
                tape.writer.noteSynced(tape.writer.flushed)
            } else if operation == 1, tape.writer.wantsProof {
                tape.prove()
            } else if tape.bytes.count < 8 * segmentBytes {
                tape.append(LogSeeds.record(operation, script.next() ?? 0, script.next() ?? 0))
            }
        }
        tape.checkReading()
        tape.losePower(keeping: cut)
    }
}

/// A log in memory, as a shell would have written it.
private struct LogTape {
    var writer = LogWriter(tail: .zero, segmentBytes: segmentBytes, lane: LogSeeds.lane, federation: LogSeeds.federation)
    var bytes: [UInt8] = []
    var offsets: [LogOffset] = []
    var records: [LogRecord] = []

    init() { prepare() }

    private mutating func prepare() {
        while let segment = writer.segmentWanted {
            writer.noteAsked(segment: segment)
            writer.notePrepared(segment: segment)
        }
    }

    private mutating func flush() {
        bytes += writer.pending.bytes(at: 0, count: writer.pending.count)
        writer.pending.removeAll()
        prepare()
    }

    mutating func append(_ record: LogRecord) {
        precondition(
            writer.hasRoom(forBytes: LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.payload.count)))
        offsets.append(writer.append(record))
        records.append(record)
        flush()
    }

    mutating func prove() {
        writer.appendProof()
        flush()
    }

    /// A cursor reads what was appended.
    func checkReading() {
        let reading = Promise.read(bytes, from: .zero, chunk: { 1 + $0 % 700 })
        precondition(reading.damage == nil && reading.offsets == offsets && reading.records == records)
    }

    /// The machine loses its power: of what was not synced, so many 256ths are on the disk. Recovery finds what was there whole.
    mutating func losePower(keeping share: Int) {
        let synced = Int(writer.synced.raw)
        let kept = synced + (bytes.count - synced) * share / 256
        let whole = offsets.indices.filter { index in
            let record = records[index]
            let end = offsets[index] + LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.payload.count)
            return end.raw <= kept
        }
        let segments = LogSeal.segments(of: bytes[..<kept], first: 0, mended: false)
        var scanner = LogScanner(lane: LogSeeds.lane, federation: LogSeeds.federation, segmentBytes: segmentBytes)
        var found: [LogRecord] = []
        for (number, segment) in segments.enumerated() {
            segment.withUnsafeBytes { bytes in
                do throws(LogDamage) {
                    try scanner.scan(segment: UInt64(number), bytes: bytes) { record, _ in found.append(record) }
                } catch {
                    preconditionFailure("a torn tail is taken for damage: \(error)")
                }
            }
        }
        // A record whose last bytes happen to be zeros is whole although they were not written.
        precondition(found.count >= whole.count && found.elementsEqual(records.prefix(found.count)), "recovery lost records")
        precondition(segments.isEmpty || scanner.finish().tail.raw >= UInt64(synced), "recovery cut off what was synced")
    }
}

/// Makes bytes into logs.
private enum LogSeal {
    /// Bytes as segments, the last one filled up with zeros.
    static func segments(of bytes: some Collection<UInt8>, first: UInt64, mended: Bool) -> [[UInt8]] {
        var segments: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty && segments.count < 16 {
            var segment = Array(rest.prefix(segmentBytes))
            segment += [UInt8](repeating: 0, count: segmentBytes - segment.count)
            rest = rest.dropFirst(segmentBytes)
            let start = LogOffset(startOf: first + UInt64(segments.count), segmentBytes: segmentBytes)
            if mended { mend(&segment, from: start) }
            segments.append(segment)
        }
        return segments
    }

    /// Puts the place, the padding and the checksum of one record after the other right, as far as their lengths lead.
    static func mend(_ bytes: inout [UInt8], from start: LogOffset) {
        var at = 0
        while at + LogFormat.headBytes <= bytes.count {
            let length = Int(bytes[at]) | Int(bytes[at + 1]) << 8
            let padded = (length + 7) & ~7
            guard length >= LogFormat.headBytes, at + padded <= bytes.count else { return }
            bytes[at + 2] = 0
            bytes[at + 3] = 0
            let place = (start + at).raw / UInt64(LogFormat.alignmentBytes)
            for byte in 0..<3 { bytes[at + 37 + byte] = UInt8(truncatingIfNeeded: place >> (8 * byte)) }
            for padding in length..<padded { bytes[at + padding] = 0 }
            let checksum = bytes[(at + 8)..<(at + length)].withUnsafeBytes { CRC32C.checksum($0) }
            for byte in 0..<4 { bytes[at + 4 + byte] = UInt8(truncatingIfNeeded: checksum >> (8 * byte)) }
            at += padded
        }
    }
}

/// Logs to begin with.
private enum LogSeeds {
    static let lane = LaneID(site: SiteID(1), proxy: 2, lane: 3)
    static let federation = "shop"

    /// Any record but a header or a pad, of three bytes.
    static func record(_ shape: UInt8, _ keyBytes: UInt8, _ payloadBytes: UInt8) -> LogRecord {
        let kinds = RecordKind.allCases.filter { $0 != .segmentHeader && $0 != .pad }
        return LogRecord(
            kind: kinds[Int(shape) % kinds.count], content: Content.allCases[Int(shape) / 16 % 4],
            flags: RecordFlags(rawValue: shape & 7), position: Position(UInt64(payloadBytes)),
            version: Version(stamp: 1 + UInt64(shape) << 40, origin: lane), clientFlags: UInt32(keyBytes) << 24,
            expiryMicroseconds: UInt64(payloadBytes) << 50, reference: UInt64(shape) * 8,
            key: (0..<Int(keyBytes)).prefix(LogFormat.keyBytesMax).map { UInt8(truncatingIfNeeded: $0) },
            payload: (0..<Int(payloadBytes) * 3).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    }

    /// A log of so many records.
    private static func log(_ count: UInt8) -> [UInt8] {
        var tape = LogTape()
        for index in 0..<count {
            tape.append(record(index &* 37, index &* 11, index &* 23))
            if index % 3 == 0 { tape.writer.noteSynced(tape.writer.flushed) }
        }
        if tape.writer.wantsProof { tape.prove() }
        return tape.bytes
    }

    /// Each record by itself, mended and as it is.
    static let records: [[UInt8]] = {
        // Behind the segment's header, which is a record too.
        let bytes = log(1).prefix(600)
        return [[0] + bytes, [1] + bytes]
    }()

    static let logs: [[UInt8]] = [[0, 0] + log(4), [0, 0] + log(16), [1, 0] + log(9), [0, 7] + log(3)]
}
