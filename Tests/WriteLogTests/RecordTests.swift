import Kernel
import Testing
import WriteLog

/// One record's bytes, as `Docs/log-format.md` section 2 gives them.
@Suite struct RecordTests {
    static let sample = LogRecord(
        kind: .commitValue, content: .value, flags: [.local, .binaryKey], position: Position(0x0102_0304_0506_0708),
        version: Version(stamp: 0x1112_1314_1516_1718, origin: LaneID(raw: 0x0001_0203)), clientFlags: 0x2122_2324,
        expiryMicroseconds: 0x3132_3334_3536_3738, reference: 0x4142_4344_4546_4748, key: Array("key".utf8),
        payload: Array("value".utf8))

    @Test("A record has the documented bytes")
    func goldenRecord() {
        var log = MemoryLog(segmentBytes: 4096)
        log.append(LogRecord(kind: .pad))
        log.sync()
        let offset = log.append(Self.sample)
        // 72 bytes of header ("shop"), 64 of the empty pad.
        #expect(offset == LogOffset(136))
        let bytes = Array(log.segments[0]![136..<(136 + 72)])
        let golden: [UInt8] =
            [72, 0, 0, 0] + Array(bytes[4..<8]) + [5, 1, 3, 0] + [0x24, 0x23, 0x22, 0x21]
            + [8, 7, 6, 5, 4, 3, 2, 1] + [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]
            + [3, 2, 1, 0] + [5] + [17, 0, 0] + [0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31]
            + [0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41] + [136, 0, 0, 0, 0, 0, 0, 0]
            + Array("keyvalue".utf8)
        #expect(bytes == golden)
        // The checksum by an independent, bit-by-bit CRC-32C.
        #expect(Array(bytes[4..<8]) == littleEndian(bitwiseCRC32C(bytes[8...])))
        #expect(Array(bytes[4..<8]) == [0xaa, 0x07, 0xad, 0x01])
    }

    @Test("A segment begins with the documented header")
    func goldenHeader() {
        var log = MemoryLog(segmentBytes: 4096)
        log.append(LogRecord(kind: .ceiling))
        let bytes = Array(log.segments[0]![..<72])
        #expect(Array(bytes[..<4]) == [68, 0, 0, 0])
        #expect(Array(bytes[4..<8]) == littleEndian(bitwiseCRC32C(bytes[8..<68])))
        #expect(Array(bytes[8..<16]) == [1, 0, 4, 0, 1, 0, 0, 0])
        #expect(Array(bytes[16..<24]) == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(Array(bytes[24..<32]) == Array("MERIDLOG".utf8))
        #expect(Array(bytes[32..<40]) == [3, 2, 1, 0, 0, 0, 0, 0])
        #expect(Array(bytes[40..<48]) == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(Array(bytes[48..<56]) == [0, 16, 0, 0, 0, 0, 0, 0])
        #expect(Array(bytes[56...]) == [0, 0, 0, 0, 0, 0, 0, 0] + Array("shop".utf8) + [0, 0, 0, 0])
    }

    @Test("Whatever a record holds comes back, from every length of key and payload")
    func roundTrips() throws {
        var random = SeededRandom(seed: 1)
        for _ in 0..<500 {
            var log = MemoryLog(segmentBytes: 8192)
            let record = LogRecord.random(&random, payloadMax: 600)
            let offset = log.append(record)
            let size = LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.payload.count)
            let found = try log.segments[0]!.withUnsafeBytes { bytes in
                try LogRecord.decode(bytes, at: Int(offset.raw), address: offset)
            }
            #expect(found?.record == record)
            #expect(found?.bytes == size)
            #expect(size % 8 == 0)
            #expect(log.writer.tail == offset + size)
        }
    }

    @Test("Nothing was written where there are zeros")
    func zeros() throws {
        for count in [0, 8, 56, 64, 4096] {
            let bytes = [UInt8](repeating: 0, count: count)
            #expect(try bytes.withUnsafeBytes { try LogRecord.decode($0, at: 0) } == nil)
        }
    }

    @Test("Every flipped bit of a record is noticed, its padding's too")
    func flippedBits() throws {
        var log = MemoryLog(segmentBytes: 4096)
        var record = Self.sample
        record.payload = Array("values".utf8)
        let offset = log.append(record)
        let bytes = Array(log.segments[0]![Int(offset.raw)..<Int(log.writer.tail.raw)])
        for bit in 0..<(bytes.count * 8) {
            var broken = bytes
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            let damage = #expect(throws: LogDamage.self, "bit \(bit)") {
                try broken.withUnsafeBytes { _ = try LogRecord.decode($0, at: 0, address: offset) }
            }
            #expect(damage?.offset == offset)
        }
    }

    @Test("A record that stands at another address than its own is not one")
    func misplaced() throws {
        var log = MemoryLog(segmentBytes: 4096)
        let offset = log.append(Self.sample)
        let bytes = Array(log.segments[0]![Int(offset.raw)...])
        #expect(throws: LogDamage.self) {
            try bytes.withUnsafeBytes { _ = try LogRecord.decode($0, at: 0, address: offset + 8) }
        }
    }

    @Test("A record cut short is damage, at every length")
    func cut() throws {
        var log = MemoryLog(segmentBytes: 4096)
        let offset = log.append(Self.sample)
        let bytes = Array(log.segments[0]![Int(offset.raw)..<Int(log.writer.tail.raw)])
        for count in 1..<bytes.count {
            #expect(throws: LogDamage.self, "\(count) bytes") {
                try bytes[..<count].withUnsafeBytes { _ = try LogRecord.decode($0, at: 0) }
            }
        }
    }

    private func littleEndian(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }

    /// CRC-32C as RFC 3720 defines it, one bit at a time: nothing in common with the kernel's tables.
    private func bitwiseCRC32C(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var remainder: UInt32 = 0xffff_ffff
        for byte in bytes {
            remainder ^= UInt32(byte)
            for _ in 0..<8 { remainder = remainder & 1 == 1 ? remainder >> 1 ^ 0x82f6_3b78 : remainder >> 1 }
        }
        return ~remainder
    }
}
