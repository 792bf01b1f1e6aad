// Base64 as memcached's meta commands use it for keys (RFC 4648 section 4), with memcached's leniency: bytes outside the
// alphabet are skipped, and what follows the padded block is ignored.

/// Encodes and decodes keys.
public enum Base64 {
    @inline(__always)
    private static func letter(_ six: UInt8) -> UInt8 {
        switch six {
        case 0..<26: six + 65
        case 26..<52: six + 71
        case 52..<62: six - 4
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }

    /// The six bits of a letter; padding counts as zero; nil outside the alphabet.
    @inline(__always)
    private static func six(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 65...90: byte - 65
        case 97...122: byte - 71
        case 48...57: byte + 4
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        case UInt8(ascii: "="): 0
        default: nil
        }
    }

    /// How many letters `count` bytes take.
    public static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Hands each letter of the encoded bytes to `emit`.
    @inline(__always)
    public static func encode(_ bytes: UnsafeRawBufferPointer, _ emit: (UInt8) -> Void) {
        var at = 0
        while at < bytes.count {
            let left = bytes.count - at
            let first = bytes[at]
            let second = left > 1 ? bytes[at + 1] : 0
            let third = left > 2 ? bytes[at + 2] : 0
            emit(letter(first >> 2))
            emit(letter(first << 4 & 0x3f | second >> 4))
            emit(left > 1 ? letter(second << 2 & 0x3f | third >> 6) : UInt8(ascii: "="))
            emit(left > 2 ? letter(third & 0x3f) : UInt8(ascii: "="))
            at += 3
        }
    }

    /// Decodes into `room`, which must have at least as many bytes as `text`; the number of bytes decoded, or nil where
    /// memcached refuses the text (also when nothing comes out of it).
    public static func decode(_ text: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) -> Int? {
        var letters = 0
        for byte in text where six(byte) != nil { letters += 1 }
        if letters == 0 || letters % 4 != 0 { return nil }
        var block: UInt32 = 0
        var filled = 0
        var padding = 0
        var count = 0
        for byte in text {
            guard let bits = six(byte) else { continue }
            if byte == UInt8(ascii: "=") { padding += 1 }
            block = block << 6 | UInt32(bits)
            filled += 1
            if filled < 4 { continue }
            if padding > 2 { return nil }
            let kept = 3 - padding
            for place in 0..<kept { room[count + place] = UInt8(truncatingIfNeeded: block >> UInt32(16 - 8 * place)) }
            count += kept
            if padding > 0 { break }
            block = 0
            filled = 0
        }
        return count
    }
}
