import Kernel
import Testing

/// The published test vectors of CRC-32C, and the definition.
@Suite struct CRC32CTests {
    private func checksum(_ bytes: [UInt8], seed: UInt32 = 0) -> UInt32 {
        bytes.withUnsafeBytes { CRC32C.checksum($0, seed: seed) }
    }

    @Test("RFC 3720 section B.4, and the usual check value")
    func vectors() {
        #expect(checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
        #expect(checksum((0..<32).map { $0 }) == 0x46dd_794e)
        #expect(checksum((0..<32).reversed().map { $0 }) == 0x113f_db5c)
        let read: [UInt8] = [
            0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28,
            0, 0, 0,
            0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        ]
        #expect(checksum(read) == 0xd996_3a56)
        #expect(checksum(Array("123456789".utf8)) == 0xe306_9283)
        #expect(checksum([]) == 0)
    }

    @Test(
        "Any length, at any alignment, gives what the definition gives bit by bit, whole or in two parts; by table as in hardware"
    )
    func definition() {
        var random = SeededRandom(seed: 2)
        for length in 0..<200 {
            let start = random.below(8)
            let bytes = (0..<(start + length)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            var remainder: UInt32 = 0xffff_ffff
            for byte in bytes[start...] {
                remainder ^= UInt32(byte)
                for _ in 0..<8 { remainder = remainder & 1 == 1 ? remainder >> 1 ^ 0x82f6_3b78 : remainder >> 1 }
            }
            let whole = bytes.withUnsafeBytes { CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[start...])) }
            #expect(whole == ~remainder)
            #expect(bytes.withUnsafeBytes { CRC32C.checksumByTable(UnsafeRawBufferPointer(rebasing: $0[start...])) } == whole)
            let middle = start + random.below(length + 1)
            #expect(checksum(Array(bytes[middle...]), seed: checksum(Array(bytes[start..<middle]))) == ~remainder)
        }
    }

    @Test("Zeros are summed up without looking at them")
    func zeros() {
        var random = SeededRandom(seed: 5)
        for count in Array(0..<70) + [4_095, 4_096, 65_537, 1_000_003] {
            let seed = UInt32(truncatingIfNeeded: random.next())
            #expect(CRC32C.checksum(zeros: count, seed: seed) == checksum([UInt8](repeating: 0, count: count), seed: seed))
            #expect(CRC32C.checksum(zeros: count) == checksum([UInt8](repeating: 0, count: count)))
        }
    }
}
