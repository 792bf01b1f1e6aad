import Kernel
import Testing
import WriteLog

/// Reading a log back in chunks of any size.
@Suite struct CursorTests {
    /// Reads a log with a cursor, in chunks of at most `chunk` bytes, and returns what it yields.
    private func read(
        _ log: MemoryLog, _ cursor: inout LogCursor, chunk: () -> Int
    ) throws -> [(offset: LogOffset, record: LogRecord)] {
        var found: [(LogOffset, LogRecord)] = []
        while true {
            while let (offset, record) = try cursor.next() { found.append((offset, record)) }
            guard let (offset, count) = cursor.wanted else { return found }
            let within = offset.within(segmentBytes: log.segmentBytes)
            #expect(within + count <= log.segmentBytes)
            #expect(offset + count <= cursor.end)
            let bytes = log.segments[offset.segment(segmentBytes: log.segmentBytes)]![within..<(within + count)]
            try cursor.feed(offset, Array(bytes.prefix(max(1, chunk()))))
        }
    }

    @Test("Chunks of any size yield every record, across segments", arguments: 0..<30)
    func anyChunks(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let log = MemoryLog.random(&random, records: 100)
        let most = [1, 7, 64, 300, 5000][random.below(5)]
        var cursor = LogCursor(from: .zero, to: log.writer.tail, segmentBytes: 4096)
        var draw = random
        let found = try read(log, &cursor) { 1 + draw.below(most) }
        #expect(same(log.records, found))
        #expect(cursor.isAtEnd)
        #expect(cursor.wanted == nil)
    }

    @Test("A cursor can start at any segment and at any record, and goes on when its end is moved on")
    func startsAnywhere() throws {
        var random = SeededRandom(seed: 77)
        let log = MemoryLog.random(&random, records: 100)
        for start in log.records.map(\.offset) + [LogOffset(4096), LogOffset(8192)] {
            let middle = log.records[log.records.firstIndex { $0.offset >= start }!].offset
            var cursor = LogCursor(from: start, to: middle, segmentBytes: 4096)
            #expect(try read(log, &cursor) { 500 }.isEmpty)
            cursor.extend(to: log.writer.tail)
            let found = try read(log, &cursor) { 500 }
            #expect(same(log.records.filter { $0.offset >= start }, found))
        }
    }

    @Test("Records longer than a chunk are asked for whole")
    func longRecords() throws {
        var log = MemoryLog(segmentBytes: 1 << 20)
        let payload = [UInt8](repeating: 5, count: 700_000)
        log.append(LogRecord(kind: .intent, payload: payload))
        var cursor = LogCursor(from: .zero, to: log.writer.tail, segmentBytes: 1 << 20)
        var wishes: [Int] = []
        var found: [LogRecord] = []
        while let (offset, count) = cursor.wanted {
            wishes.append(count)
            try cursor.feed(offset, Array(log.segments[0]![Int(offset.raw)..<(Int(offset.raw) + count)]))
            while let (_, record) = try cursor.next() { found.append(record) }
        }
        #expect(wishes.count == 2)
        #expect(found == [LogRecord(kind: .intent, payload: payload)])
    }

    @Test("Zeros, a flipped bit and an empty answer are damage that names the place")
    func damage() throws {
        var random = SeededRandom(seed: 4)
        let log = MemoryLog.random(&random, records: 40)
        let victim = log.records[20].offset
        var hole = log
        hole.forget(victim..<(victim + 8))
        var flipped = log
        flipped.change(victim + 30) { $0 ^ 4 }
        for broken in [hole, flipped] {
            var cursor = LogCursor(from: .zero, to: log.writer.tail, segmentBytes: 4096)
            let damage = #expect(throws: LogDamage.self) { _ = try read(broken, &cursor) { 100 } }
            #expect(damage?.offset == victim)
            #expect(damage?.segment == victim.segment(segmentBytes: 4096))
        }
        var cursor = LogCursor(from: .zero, to: log.writer.tail, segmentBytes: 4096)
        #expect(throws: LogDamage.self) { try cursor.feed(.zero, []) }
    }
}
