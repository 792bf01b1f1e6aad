// Short words as numbers, so that one comparison recognises a word in place. The numbers are written out because the
// compiler cannot fold a string into one; `WordTests` holds each against its text.

/// Up to eight bytes as a number, the first one lowest.
enum Word {
    /// The word of a token; 0 when it is longer than eight bytes.
    @inline(__always)
    static func of(_ token: Token, in bytes: UnsafeRawBufferPointer) -> UInt64 {
        of(bytes, from: token.start, count: token.count)
    }

    /// The word of a whole buffer; 0 when it is longer than eight bytes.
    @inline(__always)
    static func of(_ text: UnsafeRawBufferPointer) -> UInt64 { of(text, from: 0, count: text.count) }

    /// The word of the first `count` bytes, at most eight; 0 when there are not so many.
    @inline(__always)
    static func prefix(_ count: Int, of text: UnsafeRawBufferPointer) -> UInt64 {
        text.count < count ? 0 : of(text, from: 0, count: count)
    }

    /// The word of `count` bytes, at most eight, from `start` on; 0 when they are not there.
    @inline(__always)
    static func at(_ start: Int, count: Int, in bytes: UnsafeRawBufferPointer) -> UInt64 {
        start + count <= bytes.count ? of(bytes, from: start, count: count) : 0
    }

    @inline(__always)
    private static func of(_ bytes: UnsafeRawBufferPointer, from start: Int, count: Int) -> UInt64 {
        if count > 8 { return 0 }
        if start + 8 <= bytes.count {
            let eight = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self))
            return count == 8 ? eight : eight & (1 << UInt64(8 * count) - 1)
        }
        var word: UInt64 = 0
        for place in 0..<count { word |= UInt64(bytes[start + place]) << UInt64(8 * place) }
        return word
    }

    /// True when the bytes read exactly so; for words of more than eight bytes.
    @inline(__always)
    static func isEqual(_ text: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
        if text.count != word.utf8CodeUnitCount { return false }
        for place in 0..<text.count where text[place] != word.utf8Start[place] { return false }
        return true
    }
}

extension Word {
    @inline(__always) static var zero: UInt64 { 0x0030 }
    @inline(__always) static var deletedReply: UInt64 { 0x0044_4554_454c_4544 }
    @inline(__always) static var endReply: UInt64 { 0x0044_4e45 }
    @inline(__always) static var endLine: UInt64 { 0x000a_0d44_4e45 }
    @inline(__always) static var existsReply: UInt64 { 0x5354_5349_5845 }
    @inline(__always) static var okReply: UInt64 { 0x4b4f }
    @inline(__always) static var resetReply: UInt64 { 0x0054_4553_4552 }
    @inline(__always) static var storedReply: UInt64 { 0x4445_524f_5453 }
    @inline(__always) static var touchedReply: UInt64 { 0x0044_4548_4355_4f54 }
    @inline(__always) static var add: UInt64 { 0x0064_6461 }
    @inline(__always) static var append: UInt64 { 0x646e_6570_7061 }
    @inline(__always) static var b: UInt64 { 0x0062 }
    @inline(__always) static var bget: UInt64 { 0x7465_6762 }
    @inline(__always) static var cas: UInt64 { 0x0073_6163 }
    @inline(__always) static var cluster: UInt64 { 0x0072_6574_7375_6c63 }
    @inline(__always) static var config: UInt64 { 0x6769_666e_6f63 }
    @inline(__always) static var decr: UInt64 { 0x7263_6564 }
    @inline(__always) static var delete: UInt64 { 0x6574_656c_6564 }
    @inline(__always) static var gat: UInt64 { 0x0074_6167 }
    @inline(__always) static var gatStart: UInt64 { 0x2074_6167 }
    @inline(__always) static var gats: UInt64 { 0x7374_6167 }
    @inline(__always) static var gatsStart: UInt64 { 0x0020_7374_6167 }
    @inline(__always) static var get: UInt64 { 0x0074_6567 }
    @inline(__always) static var getStart: UInt64 { 0x2074_6567 }
    @inline(__always) static var gets: UInt64 { 0x7374_6567 }
    @inline(__always) static var getsStart: UInt64 { 0x0020_7374_6567 }
    @inline(__always) static var incr: UInt64 { 0x7263_6e69 }
    @inline(__always) static var ma: UInt64 { 0x616d }
    @inline(__always) static var md: UInt64 { 0x646d }
    @inline(__always) static var me: UInt64 { 0x656d }
    @inline(__always) static var mg: UInt64 { 0x676d }
    @inline(__always) static var mn: UInt64 { 0x6e6d }
    @inline(__always) static var ms: UInt64 { 0x736d }
    @inline(__always) static var noreply: UInt64 { 0x0079_6c70_6572_6f6e }
    @inline(__always) static var prepend: UInt64 { 0x0064_6e65_7065_7270 }
    @inline(__always) static var quit: UInt64 { 0x7469_7571 }
    @inline(__always) static var replace: UInt64 { 0x0065_6361_6c70_6572 }
    @inline(__always) static var set: UInt64 { 0x0074_6573 }
    @inline(__always) static var shutdown: UInt64 { 0x6e77_6f64_7475_6873 }
    @inline(__always) static var stats: UInt64 { 0x0073_7461_7473 }
    @inline(__always) static var touch: UInt64 { 0x0068_6375_6f74 }
    @inline(__always) static var version: UInt64 { 0x006e_6f69_7372_6576 }
    @inline(__always) static var valueStart: UInt64 { 0x2045_554c_4156 }
    @inline(__always) static var errorStart: UInt64 { 0x0052_4f52_5245 }
    @inline(__always) static var statStart: UInt64 { 0x0020_5441_5453 }
    @inline(__always) static var itemStart: UInt64 { 0x0020_4d45_5449 }
    @inline(__always) static var versionStart: UInt64 { 0x204e_4f49_5352_4556 }
    @inline(__always) static var clientErrorStart: UInt64 { 0x455f_544e_4549_4c43 }
    @inline(__always) static var serverErrorStart: UInt64 { 0x455f_5245_5652_4553 }
    @inline(__always) static var httpStart: UInt64 { 0x002f_5054_5448 }
}
