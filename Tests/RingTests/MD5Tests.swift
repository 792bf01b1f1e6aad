import Testing

@testable import Ring

@Suite struct MD5Tests {
    // RFC 1321 appendix A.5, and one message of every length around the block's edges.
    @Test(arguments: [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a"
        ),
        (String(repeating: "x", count: 55), "04364420e25c512fd958a70738aa8f72"),
        (String(repeating: "x", count: 56), "668a72d5ba17f08e62dabcafad6db14b"),
        (String(repeating: "x", count: 57), "693037871c4a9d3d8685018905cb530a"),
        (String(repeating: "x", count: 63), "7dc2ca208106a2f703567bdff99d8981"),
        (String(repeating: "x", count: 64), "c1bb4f81d892b2d57947682aeb252456"),
        (String(repeating: "x", count: 65), "1bc932052302d074bdec39795fe00cf6"),
        (String(repeating: "x", count: 119), "ab347a5f68c8a443cfcddc633f12c24f"),
        (String(repeating: "x", count: 120), "fb98667f98096de92620b64f46e1c5b5"),
        (String(repeating: "x", count: 128), "d69cb61a6ee87200676eb0d4b90edbcb"),
        (String(repeating: "x", count: 250), "79c1514b2407bf4708dfb8ef4b6827d5"),
    ])
    func `digests are those of the RFC`(message: String, expected: String) {
        var message = message
        let words = message.withUTF8 { MD5.digest(UnsafeRawBufferPointer($0)) }
        var hex = ""
        for word in [words.0, words.1, words.2, words.3] {
            for shift in stride(from: 0, to: 32, by: 8) {
                let byte = String(word >> shift & 0xff, radix: 16)
                hex += byte.count == 1 ? "0\(byte)" : byte
            }
        }
        #expect(hex == expected)
    }
}
