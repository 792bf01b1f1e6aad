import CMachine

/// CRC-32C (Castagnoli polynomial, reflected 0x82f63b78; RFC 3720 section B.4): by the processor's own instruction where it has one, and
/// else by table, eight bytes a step.
public enum CRC32C {
    private static let isInHardware = meridian_has_crc32c() != 0

    /// Eight tables of 256: `tables[k * 256 + b]` is byte `b` followed by `k` zero bytes.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var remainder = UInt32(byte)
            for _ in 0..<8 { remainder = remainder & 1 == 1 ? remainder >> 1 ^ 0x82f6_3b78 : remainder >> 1 }
            tables[byte] = remainder
        }
        for byte in 0..<256 {
            for k in 1..<8 {
                let previous = tables[(k - 1) * 256 + byte]
                tables[k * 256 + byte] = previous >> 8 ^ tables[Int(previous & 0xff)]
            }
        }
        return tables
    }()

    /// The checksum of `bytes`; hand in an earlier result as `seed` to continue it.
    public static func checksum(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
        isInHardware ? ~meridian_crc32c(~seed, bytes.baseAddress, bytes.count) : checksumByTable(bytes, seed: seed)
    }

    /// The same on any processor.
    package static func checksumByTable(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
        var crc = ~seed
        tables.withUnsafeBufferPointer { table in
            var offset = 0
            let words = bytes.count & ~7
            while offset < words {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ UInt64(crc)
                crc =
                    table[7 * 256 + Int(word & 0xff)] ^ table[6 * 256 + Int(word >> 8 & 0xff)]
                    ^ table[5 * 256 + Int(word >> 16 & 0xff)] ^ table[4 * 256 + Int(word >> 24 & 0xff)]
                    ^ table[3 * 256 + Int(word >> 32 & 0xff)] ^ table[2 * 256 + Int(word >> 40 & 0xff)]
                    ^ table[1 * 256 + Int(word >> 48 & 0xff)] ^ table[Int(word >> 56)]
                offset += 8
            }
            while offset < bytes.count {
                crc = crc >> 8 ^ table[Int((crc ^ UInt32(bytes[offset])) & 0xff)]
                offset += 1
            }
        }
        return ~crc
    }

    /// The checksum of so many zero bytes; hand in an earlier result as `seed` to continue it. As quick for many as for few: the register
    /// is a polynomial, which a zero bit multiplies by x, and powers of x are squared.
    public static func checksum(zeros count: Int, seed: UInt32 = 0) -> UInt32 {
        precondition(count >= 0, "a checksum of \(count) zeros")
        var power: UInt32 = 0x0080_0000  // x to the 8th: one byte. The highest bit is x to the 0th.
        var factor: UInt32 = 0x8000_0000
        var left = count
        while left > 0 {
            if left & 1 == 1 { factor = product(factor, power) }
            power = product(power, power)
            left >>= 1
        }
        return ~product(~seed, factor)
    }

    /// The product of two polynomials, modulo that of the checksum.
    private static func product(_ one: UInt32, _ other: UInt32) -> UInt32 {
        var sum: UInt32 = 0
        var shifted = other
        for bit in 0..<32 {
            if one >> UInt32(31 - bit) & 1 == 1 { sum ^= shifted }
            shifted = shifted & 1 == 1 ? shifted >> 1 ^ 0x82f6_3b78 : shifted >> 1
        }
        return sum
    }
}
