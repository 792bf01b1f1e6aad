import Kernel
import Testing
import WriteLog

/// Addresses, segments and room.
@Suite struct WriterTests {
    private let empty = UnsafeRawBufferPointer(start: nil, count: 0)

    @Test("A new log wants its first segment and a spare, one at a time")
    func wantsSegments() {
        var writer = LogWriter(tail: .zero, segmentBytes: 4096, lane: MemoryLog.lane, federation: "shop")
        #expect(writer.segmentWanted == 0)
        #expect(!writer.hasRoom(forBytes: 64))
        writer.noteAsked(segment: 0)
        #expect(writer.segmentWanted == nil)
        writer.notePrepared(segment: 0)
        #expect(writer.hasRoom(forBytes: 64))
        #expect(writer.segmentWanted == 1)
        writer.noteAsked(segment: 1)
        writer.notePrepared(segment: 1)
        #expect(writer.segmentWanted == nil)
    }

    @Test("A segment that could not be made is wanted again")
    func wantsAgain() {
        var writer = LogWriter(tail: .zero, segmentBytes: 4096, lane: MemoryLog.lane, federation: "shop")
        writer.noteAsked(segment: 0)
        writer.noteFailed(segment: 0)
        #expect(writer.segmentWanted == 0)
    }

    @Test("When the disk is full, new writes stop while there is still room for the outcomes of old ones")
    func reserve() {
        var writer = LogWriter(tail: .zero, segmentBytes: 4096, lane: MemoryLog.lane, federation: "shop")
        writer.notePrepared(segment: 0)
        var appended = 0
        while writer.hasRoom(forBytes: 128) {
            writer.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 7, count: 64)))
            appended += 1
        }
        #expect(appended > 10)
        let rest = 4096 - Int(writer.tail.raw)
        #expect(rest >= 1024)
        #expect(rest - 128 < 1024)
        #expect(writer.hasRoom(forBytes: 128, owed: rest - 128))
        #expect(!writer.hasRoom(forBytes: 128, owed: rest - 120))
        while writer.hasRoom(forBytes: 64, owed: 0) { writer.append(LogRecord(kind: .abort)) }
        #expect(writer.tail == LogOffset(4096))
        writer.notePrepared(segment: 1)
        #expect(writer.hasRoom(forBytes: 128))
    }

    @Test("What hasRoom allows can be appended, with all that is owed, whatever the sizes")
    func roomIsTrue() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<300 {
            var log = MemoryLog(segmentBytes: 4096)
            for _ in 0..<random.below(40) { log.append(.random(&random, payloadMax: 500)) }
            var writer = log.writer
            let record = LogRecord.random(&random, payloadMax: 3000)
            let bytes = LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.payload.count)
            let owed = random.below(4096) & ~7
            guard writer.hasRoom(forBytes: bytes, owed: owed) else { continue }
            writer.append(record)
            var left = owed
            while left >= 64 {
                let outcome = LogRecord(kind: .commit, payload: [UInt8](repeating: 1, count: random.below(left - 63)))
                writer.append(outcome)  // traps where there is no room
                left -= LogRecord.encodedBytes(keyBytes: 0, payloadBytes: outcome.payload.count)
            }
        }
    }

    @Test("A record that is longer than a segment takes never has room")
    func tooLong() {
        let log = MemoryLog(segmentBytes: 4096)
        #expect(log.writer.recordBytesMax == 4096 - 320)
        #expect(log.writer.hasRoom(forBytes: log.writer.recordBytesMax, owed: 0))
        #expect(!log.writer.hasRoom(forBytes: log.writer.recordBytesMax + 8, owed: 0))
    }

    @Test("The pending bytes end at the tail, and what the shell has taken is flushed")
    func flushed() {
        var writer = LogWriter(tail: .zero, segmentBytes: 4096, lane: MemoryLog.lane, federation: "shop")
        writer.notePrepared(segment: 0)
        let offset = writer.append(LogRecord(kind: .abort))
        #expect(offset == LogOffset(72))
        #expect(writer.tail == LogOffset(136))
        #expect(writer.flushed == .zero)
        writer.pending.consume(136)
        #expect(writer.flushed == LogOffset(136))
        #expect(writer.synced == .zero)
        writer.noteSynced(LogOffset(136))
        #expect(writer.synced == LogOffset(136))
        writer.noteSynced(LogOffset(72))
        #expect(writer.synced == LogOffset(136))
    }

    @Test("Records never cross a segment's end, and every rest of a segment is filled, of 8 bytes as of 72")
    func segmentEnds() throws {
        for rest in stride(from: 0, through: 160, by: 8) {
            var log = MemoryLog(segmentBytes: 4096)
            log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 9, count: 2000 - 64)))
            log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 9, count: 4096 - 72 - 2000 - 64 - rest)))
            #expect(log.writer.tail == LogOffset(rest < 64 ? 4096 : 4096 - UInt64(rest)))
            let offset = log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 8, count: 104)))
            #expect(offset == LogOffset(4096 + 72), "rest \(rest)")
            let recovered = try log.recover()
            #expect(same(log.records, recovered.records), "rest \(rest)")
            #expect(recovered.outcome.tail == log.writer.tail)
        }
    }

    @Test("An idle lane proves what was synced once, and not again until something was appended")
    func proofs() {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent))
        #expect(!log.writer.wantsProof)
        log.sync()
        #expect(log.writer.wantsProof)
        log.writer.appendProof()
        log.flush()
        #expect(!log.writer.wantsProof)
        log.sync()
        #expect(!log.writer.wantsProof)
        log.append(LogRecord(kind: .intent))
        log.sync()
        #expect(log.writer.wantsProof)
    }
}
