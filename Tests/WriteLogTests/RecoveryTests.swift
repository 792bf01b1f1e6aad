import Kernel
import Testing
import WriteLog

/// Torn tails are truncated, damage is told from them, and nothing stale comes back (`Docs/log-format.md` section 6).
@Suite struct RecoveryTests {
    @Test("Every record of a log over many segments comes back in order", arguments: 0..<20)
    func wholeLog(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let log = MemoryLog.random(&random, records: 120)
        let (records, outcome) = try log.recover()
        #expect(same(log.records, records))
        #expect(outcome.tail == log.writer.tail)
        #expect(outcome.tornBytes == 0)
        #expect(outcome.discarded.isEmpty)
        #expect(outcome.firstSegment == 0)
    }

    @Test("A log whose oldest segments were deleted recovers from the first that is left")
    func trimmed() throws {
        var random = SeededRandom(seed: 5)
        var log = MemoryLog.random(&random, records: 120)
        for segment in 0..<3 { log.segments[UInt64(segment)] = nil }
        let (records, outcome) = try log.recover()
        #expect(outcome.firstSegment == 3)
        #expect(outcome.tail == log.writer.tail)
        #expect(same(records, log.records.filter { $0.offset >= LogOffset(3 * 4096) }))
    }

    @Test("No log at all begins at the beginning")
    func empty() throws {
        let scanner = LogScanner(lane: MemoryLog.lane, federation: "shop", segmentBytes: 4096)
        #expect(scanner.finish() == LogScanner.Outcome(firstSegment: 0, tail: .zero, tornBytes: 0, discarded: []))
    }

    @Test("A record cut at any of its bytes is a torn tail, and the log goes on in its place")
    func tornAtEveryByte() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent, content: .value, key: Array("kept".utf8), payload: [1, 2, 3]))
        log.sync()
        let torn = log.append(LogRecord(kind: .intent, key: Array("torn".utf8), payload: [UInt8](repeating: 0xee, count: 90)))
        let end = log.writer.tail - 2  // the last two are padding
        for cut in torn.raw..<end.raw {
            var broken = log
            broken.forget(LogOffset(cut)..<log.writer.tail)
            let (records, outcome) = try broken.recover()
            #expect(outcome.tail == torn, "cut at \(cut)")
            #expect(same(records, log.records.prefix(1)))
            try broken.restart()
            let again = broken.append(LogRecord(kind: .abort))
            #expect(again == torn)
            #expect(try broken.recover().records.count == 2)
            #expect(try broken.recover().outcome.tornBytes == 0)
        }
    }

    @Test("Pages that a power failure wrote without those before them belong to the torn tail, and never come back")
    func holes() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent, key: Array("kept".utf8)))
        log.sync()
        let hole = log.append(LogRecord(kind: .intent, key: Array("lost".utf8)))
        let behind = log.append(LogRecord(kind: .intent, key: Array("stale".utf8)))
        log.forget(hole..<behind)
        let (records, outcome) = try log.recover()
        #expect(records.count == 1)
        #expect(outcome.tail == hole)
        #expect(outcome.tornBytes == log.writer.tail - hole - 3)  // three bytes of padding behind "stale"
        // The new record takes the hole exactly, so that the stale one would be next.
        try log.restart()
        log.append(LogRecord(kind: .intent, key: Array("lost".utf8)))
        #expect(log.writer.tail == behind)
        #expect(same(try log.recover().records, log.records))
    }

    @Test("A whole unsynced segment behind a hole goes with the torn tail")
    func holeBeforeSegments() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent, key: Array("kept".utf8)))
        log.sync()
        let hole = log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 1, count: 1000)))
        for _ in 0..<10 { log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 2, count: 1000))) }
        #expect(log.writer.segment >= 2)
        log.forget(hole..<(hole + 8))
        let outcome = try log.recover().outcome
        #expect(outcome.tail == hole)
        #expect(outcome.discarded == (1...(log.segments.keys.max()!)).reversed())
        try log.restart()
        #expect(log.segments.keys.sorted() == [0, 1])
        for _ in 0..<10 { log.append(LogRecord(kind: .abort)) }
        #expect(same(try log.recover().records, log.records))
    }

    @Test("A hole where a later record, even in a later segment, says that it was synced is damage")
    func provenHole() throws {
        var log = MemoryLog()
        let hole = log.append(LogRecord(kind: .intent, key: Array("synced".utf8)))
        log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 1, count: 3700)))
        log.sync()
        log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 1, count: 1000)))
        #expect(log.writer.segment == 1)
        log.forget(hole..<LogOffset(4096))
        let damage = #expect(throws: LogDamage.self) { _ = try log.recover() }
        #expect(damage?.segment == 0)
        #expect(damage?.offset == hole)
        #expect(damage?.description.hasPrefix("log segment 0 at @72: ") == true)
    }

    @Test("Any flipped bit below what was synced and proven is damage, and never a tail", arguments: 0..<4)
    func flippedBits(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var log = MemoryLog.random(&random, records: 16)
        log.sync()
        let proven = log.writer.tail
        log.writer.appendProof()
        log.flush()
        let bits = proven.raw * 8
        for _ in 0..<600 {
            let bit = random.next() % bits
            var broken = log
            broken.change(LogOffset(bit / 8)) { $0 ^ 1 << UInt8(bit % 8) }
            #expect(throws: LogDamage.self, "seed \(seed), bit \(bit)") { _ = try broken.recover() }
        }
    }

    @Test("Whatever is wrong above what was synced, recovery keeps all that was synced and invents nothing", arguments: 0..<150)
    func powerFailures(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var log = MemoryLog.random(&random, records: 10 + random.below(60))
        let synced = log.writer.synced
        // Any of the unsynced sectors may be missing.
        var address = synced
        while address < log.writer.tail {
            let next = min(log.writer.tail, LogOffset((address.raw / 512 + 1) * 512))
            if random.chance(0.3) { log.forget(address..<next) }
            address = next
        }
        let (records, outcome) = try log.recover()
        #expect(outcome.tail >= synced)
        #expect(same(records, log.records.prefix(records.count)))
        #expect(records.count >= log.records.count { $0.offset < synced })
        let survivors = records
        try log.restart()
        for _ in 0..<20 { log.append(.random(&random, payloadMax: 900)) }
        let again = try log.recover()
        #expect(same(again.records, log.records))
        #expect(same(Array(again.records.prefix(survivors.count)), survivors))
    }

    @Test("A missing segment is damage")
    func missingSegment() throws {
        var random = SeededRandom(seed: 8)
        var log = MemoryLog.random(&random, records: 60)
        log.segments[1] = nil
        let damage = #expect(throws: LogDamage.self) { _ = try log.recover() }
        #expect(damage?.segment == 1)
        #expect(damage?.what.contains("missing") == true)
    }

    @Test("A log of another lane, federation or segment size is refused, with what to do")
    func otherLogs() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent))
        func refusal(lane: LaneID = MemoryLog.lane, federation: String = "shop", segment: UInt64 = 0) -> LogDamage? {
            #expect(throws: LogDamage.self) {
                var scanner = LogScanner(lane: lane, federation: federation, segmentBytes: 4096)
                try log.segments[0]!.withUnsafeBytes { try scanner.scan(segment: segment, bytes: $0) { _, _ in } }
            }
        }
        #expect(refusal(lane: LaneID(raw: 9))?.what == "the log belongs to lane s1p2l3, this is s0p0l9")
        #expect(refusal(federation: "bank")?.what == "the log belongs to federation shop, this is bank")
        #expect(refusal(federation: "bank")?.remedy.contains("site file") == true)
        #expect(
            log.segments[0]!.withUnsafeBytes { SegmentHeader(beginning: $0) }
                == SegmentHeader(segment: 0, lane: MemoryLog.lane, federation: "shop", segmentBytes: 4096))
    }

    @Test("A segment under another's number is neither replayed nor overwritten")
    func renamed() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent))
        log.sync()
        log.append(LogRecord(kind: .intent))
        log.segments = [5: log.segments[0]!]
        let damage = #expect(throws: LogDamage.self) { _ = try log.recover() }
        #expect(damage?.segment == 5)
    }

    @Test("An image of a record inside a value proves nothing")
    func imagesInValues() throws {
        var log = MemoryLog()
        for _ in 0..<10 { log.append(LogRecord(kind: .intent)) }
        log.sync()
        let image = log.append(LogRecord(kind: .intent))  // says that all before it was synced
        let bytes = Array(log.segments[0]![Int(image.raw)..<Int(log.writer.tail.raw)])
        var victim = MemoryLog()
        victim.append(LogRecord(kind: .abort))
        let torn = victim.append(LogRecord(kind: .intent, payload: bytes + bytes + bytes))
        let inside = Int(torn.raw) + LogFormat.headBytes
        #expect(try victim.segments[0]!.withUnsafeBytes { try LogRecord.decode($0, at: inside) } != nil)
        victim.forget(torn..<(torn + 8))
        let outcome = try victim.recover().outcome
        #expect(outcome.tail == torn)
    }

    @Test("Stray bytes behind a segment's last record are torn, and the log goes on in the next segment")
    func strayBytes() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 9, count: 2000 - 64)))
        log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 9, count: 4096 - 72 - 2000 - 64 - 16)))
        log.change(LogOffset(4090)) { _ in 1 }
        #expect(try log.recover().outcome.tail == LogOffset(4080))
        try log.restart()
        #expect(log.append(LogRecord(kind: .abort)) == LogOffset(4096 + 72))
        #expect(same(try log.recover().records, log.records))
    }
}
