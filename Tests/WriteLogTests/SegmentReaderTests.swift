import Kernel
import Testing
import WriteLog

/// Walking one segment by itself.
@Suite struct SegmentReaderTests {
    private func walk(
        _ bytes: [UInt8], segment: UInt64 = 0, isLast: Bool
    ) throws -> (count: Int, tail: LogOffset, tornBytes: Int, isFull: Bool) {
        try bytes.withUnsafeBytes { bytes in
            var reader = SegmentReader(segment: segment, segmentBytes: 4096, isLast: isLast, bytes: bytes)
            var count = 0
            while try reader.next() != nil { count += 1 }
            #expect(try reader.next() == nil)
            return (count, reader.tail, reader.tornBytes, reader.isFull)
        }
    }

    @Test("Headers and pads are records too, and a full segment's tail is the next one's beginning")
    func full() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 1, count: 2000)))
        log.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 2, count: 3000)))
        let first = try walk(log.segments[0]!, isLast: false)
        #expect(first == (3, LogOffset(4096), 0, true))
        let second = try walk(log.segments[1]!, segment: 1, isLast: true)
        #expect(second == (2, log.writer.tail, 0, false))
    }

    @Test("A segment that ends early is damage when the log goes on behind it")
    func endsEarly() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent))
        #expect(try walk(log.segments[0]!, isLast: true).tail == log.writer.tail)
        let damage = #expect(throws: LogDamage.self) { _ = try walk(log.segments[0]!, isLast: false) }
        #expect(damage?.offset == log.writer.tail)
        #expect(damage?.what == "nothing was written, and the log goes on in a later segment")
    }

    @Test("A torn header leaves the whole segment to be written again")
    func tornHeader() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent))
        log.forget(LogOffset(64)..<LogOffset(72))
        let walked = try walk(log.segments[0]!, isLast: true)
        #expect(walked.tail == .zero)
        #expect(walked.tornBytes > 64)
    }

    @Test("Another length than a segment's is damage")
    func wrongLength() throws {
        var log = MemoryLog()
        log.append(LogRecord(kind: .intent))
        let damage = #expect(throws: LogDamage.self) { _ = try walk(Array(log.segments[0]!.dropLast()), isLast: true) }
        #expect(damage?.what == "the segment has 4095 bytes instead of 4096")
    }

    @Test("Records of another address are no records here")
    func otherAddress() throws {
        var writer = LogWriter(tail: LogOffset(64), segmentBytes: 4096, lane: MemoryLog.lane, federation: "shop")
        writer.append(LogRecord(kind: .intent))
        let bytes = [UInt8](writer.pending.readable)
        let walked = try walk(bytes + [UInt8](repeating: 0, count: 4096 - bytes.count), isLast: true)
        #expect(walked.tail == .zero)
        #expect(walked.count == 0)
    }
}
