// MD5 (RFC 1321), because the ketama rings of the world are defined by it; nothing here relies on it for security.
// A client's every key passes through `firstWord`, so a digest allocates nothing: the message goes block by block
// through sixteen words on the stack, and the four rounds are written out.

/// The message digest that ketama rings place servers and keys with.
enum MD5 {
    /// Bytes of a block.
    private static let blockBytes = 64
    /// Bytes of a block before the message's length in bits.
    private static let lengthOffset = 56

    private typealias Block = InlineArray<16, UInt32>

    /// The first four bytes of the digest, read least significant first: ketama's hash of a key.
    static func firstWord(_ message: UnsafeRawBufferPointer) -> UInt32 { digest(message).0 }

    /// The sixteen bytes of the digest as four words, each read least significant byte first.
    static func digest(_ message: UnsafeRawBufferPointer) -> (UInt32, UInt32, UInt32, UInt32) {
        var state: (UInt32, UInt32, UInt32, UInt32) = (0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476)
        var offset = 0
        while message.count - offset >= blockBytes {
            mix(load(message, from: offset, words: 16), into: &state)
            offset += blockBytes
        }
        finish(message, from: offset, into: &state)
        return state
    }

    /// The last block or two: what is left of the message, a one bit, zeros, the length.
    @inline(__always)
    private static func finish(
        _ message: UnsafeRawBufferPointer, from offset: Int, into state: inout (UInt32, UInt32, UInt32, UInt32)
    ) {
        let rest = message.count - offset
        var words = load(message, from: offset, words: rest / 4)
        var last: UInt32 = 0x80
        for byte in stride(from: message.count - 1, through: offset + rest / 4 * 4, by: -1) {
            last = last << 8 | UInt32(message[byte])
        }
        words[rest / 4] = last
        if rest >= lengthOffset {
            mix(words, into: &state)
            words = Block(repeating: 0)
        }
        let bits = UInt64(message.count) << 3
        words[14] = UInt32(truncatingIfNeeded: bits)
        words[15] = UInt32(truncatingIfNeeded: bits >> 32)
        mix(words, into: &state)
    }

    /// The first `words` words of a block, the others zero.
    @inline(__always)
    private static func load(_ message: UnsafeRawBufferPointer, from offset: Int, words count: Int) -> Block {
        var words = Block(repeating: 0)
        for index in 0..<count {
            words[index] = UInt32(littleEndian: message.loadUnaligned(fromByteOffset: offset + index * 4, as: UInt32.self))
        }
        return words
    }

    @inline(__always)
    private static func step1(
        _ a: inout UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32, _ word: UInt32, _ turn: UInt32, _ constant: UInt32
    ) { add(&a, d ^ (b & (c ^ d)), b, word, turn, constant) }

    @inline(__always)
    private static func step2(
        _ a: inout UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32, _ word: UInt32, _ turn: UInt32, _ constant: UInt32
    ) { add(&a, c ^ (d & (b ^ c)), b, word, turn, constant) }

    @inline(__always)
    private static func step3(
        _ a: inout UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32, _ word: UInt32, _ turn: UInt32, _ constant: UInt32
    ) { add(&a, b ^ c ^ d, b, word, turn, constant) }

    @inline(__always)
    private static func step4(
        _ a: inout UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32, _ word: UInt32, _ turn: UInt32, _ constant: UInt32
    ) { add(&a, c ^ (b | ~d), b, word, turn, constant) }

    @inline(__always)
    private static func add(
        _ a: inout UInt32, _ mixed: UInt32, _ b: UInt32, _ word: UInt32, _ turn: UInt32, _ constant: UInt32
    ) {
        let sum = a &+ mixed &+ word &+ constant
        a = (sum &<< turn | sum &>> (32 &- turn)) &+ b
    }

    /// The four rounds of RFC 1321 section 3.4; the constants are the integer parts of 2^32 |sin(i)|.
    private static func mix(_ words: Block, into state: inout (UInt32, UInt32, UInt32, UInt32)) {
        var (a, b, c, d) = state
        step1(&a, b, c, d, words[0], 7, 0xd76a_a478)
        step1(&d, a, b, c, words[1], 12, 0xe8c7_b756)
        step1(&c, d, a, b, words[2], 17, 0x2420_70db)
        step1(&b, c, d, a, words[3], 22, 0xc1bd_ceee)
        step1(&a, b, c, d, words[4], 7, 0xf57c_0faf)
        step1(&d, a, b, c, words[5], 12, 0x4787_c62a)
        step1(&c, d, a, b, words[6], 17, 0xa830_4613)
        step1(&b, c, d, a, words[7], 22, 0xfd46_9501)
        step1(&a, b, c, d, words[8], 7, 0x6980_98d8)
        step1(&d, a, b, c, words[9], 12, 0x8b44_f7af)
        step1(&c, d, a, b, words[10], 17, 0xffff_5bb1)
        step1(&b, c, d, a, words[11], 22, 0x895c_d7be)
        step1(&a, b, c, d, words[12], 7, 0x6b90_1122)
        step1(&d, a, b, c, words[13], 12, 0xfd98_7193)
        step1(&c, d, a, b, words[14], 17, 0xa679_438e)
        step1(&b, c, d, a, words[15], 22, 0x49b4_0821)
        step2(&a, b, c, d, words[1], 5, 0xf61e_2562)
        step2(&d, a, b, c, words[6], 9, 0xc040_b340)
        step2(&c, d, a, b, words[11], 14, 0x265e_5a51)
        step2(&b, c, d, a, words[0], 20, 0xe9b6_c7aa)
        step2(&a, b, c, d, words[5], 5, 0xd62f_105d)
        step2(&d, a, b, c, words[10], 9, 0x0244_1453)
        step2(&c, d, a, b, words[15], 14, 0xd8a1_e681)
        step2(&b, c, d, a, words[4], 20, 0xe7d3_fbc8)
        step2(&a, b, c, d, words[9], 5, 0x21e1_cde6)
        step2(&d, a, b, c, words[14], 9, 0xc337_07d6)
        step2(&c, d, a, b, words[3], 14, 0xf4d5_0d87)
        step2(&b, c, d, a, words[8], 20, 0x455a_14ed)
        step2(&a, b, c, d, words[13], 5, 0xa9e3_e905)
        step2(&d, a, b, c, words[2], 9, 0xfcef_a3f8)
        step2(&c, d, a, b, words[7], 14, 0x676f_02d9)
        step2(&b, c, d, a, words[12], 20, 0x8d2a_4c8a)
        step3(&a, b, c, d, words[5], 4, 0xfffa_3942)
        step3(&d, a, b, c, words[8], 11, 0x8771_f681)
        step3(&c, d, a, b, words[11], 16, 0x6d9d_6122)
        step3(&b, c, d, a, words[14], 23, 0xfde5_380c)
        step3(&a, b, c, d, words[1], 4, 0xa4be_ea44)
        step3(&d, a, b, c, words[4], 11, 0x4bde_cfa9)
        step3(&c, d, a, b, words[7], 16, 0xf6bb_4b60)
        step3(&b, c, d, a, words[10], 23, 0xbebf_bc70)
        step3(&a, b, c, d, words[13], 4, 0x289b_7ec6)
        step3(&d, a, b, c, words[0], 11, 0xeaa1_27fa)
        step3(&c, d, a, b, words[3], 16, 0xd4ef_3085)
        step3(&b, c, d, a, words[6], 23, 0x0488_1d05)
        step3(&a, b, c, d, words[9], 4, 0xd9d4_d039)
        step3(&d, a, b, c, words[12], 11, 0xe6db_99e5)
        step3(&c, d, a, b, words[15], 16, 0x1fa2_7cf8)
        step3(&b, c, d, a, words[2], 23, 0xc4ac_5665)
        step4(&a, b, c, d, words[0], 6, 0xf429_2244)
        step4(&d, a, b, c, words[7], 10, 0x432a_ff97)
        step4(&c, d, a, b, words[14], 15, 0xab94_23a7)
        step4(&b, c, d, a, words[5], 21, 0xfc93_a039)
        step4(&a, b, c, d, words[12], 6, 0x655b_59c3)
        step4(&d, a, b, c, words[3], 10, 0x8f0c_cc92)
        step4(&c, d, a, b, words[10], 15, 0xffef_f47d)
        step4(&b, c, d, a, words[1], 21, 0x8584_5dd1)
        step4(&a, b, c, d, words[8], 6, 0x6fa8_7e4f)
        step4(&d, a, b, c, words[15], 10, 0xfe2c_e6e0)
        step4(&c, d, a, b, words[6], 15, 0xa301_4314)
        step4(&b, c, d, a, words[13], 21, 0x4e08_11a1)
        step4(&a, b, c, d, words[4], 6, 0xf753_7e82)
        step4(&d, a, b, c, words[11], 10, 0xbd3a_f235)
        step4(&c, d, a, b, words[2], 15, 0x2ad7_d2bb)
        step4(&b, c, d, a, words[9], 21, 0xeb86_d391)
        state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d)
    }
}
