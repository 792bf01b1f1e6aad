import Testing

@testable import Memcache

@Suite("Numbers")
struct NumbersTests {
    private func read<Number>(_ text: String, _ reader: (UnsafeRawBufferPointer, inout Bool) -> Number?) -> (Number?, Bool) {
        var plain = true
        let number = Array(text.utf8).withUnsafeBytes { reader($0, &plain) }
        return (number, plain)
    }

    @Test("unsigned numbers wrap and are cut as C and memcached do it")
    func unsigned() {
        #expect(read("0", Numbers.unsigned64) == (0, true))
        #expect(read("18446744073709551615", Numbers.unsigned64) == (.max, true))
        #expect(read("18446744073709551616", Numbers.unsigned64).0 == nil)
        #expect(read("-1", Numbers.unsigned64).0 == nil)
        #expect(read("-18446744073709551615", Numbers.unsigned64) == (1, false))
        #expect(read("+5", Numbers.unsigned64) == (5, false))
        #expect(read("\t5\t-", Numbers.unsigned64) == (5, false))
        #expect(read("007", Numbers.unsigned64) == (7, false))
        #expect(read("4294967296", Numbers.unsigned32) == (0, false))
        #expect(read("4294967295", Numbers.unsigned32) == (.max, true))
        for text in ["", "-", "+", "x", "5x", "0x5", "5.0", "\t"] { #expect(read(text, Numbers.unsigned64).0 == nil, "\(text)") }
    }

    @Test("signed numbers are read in 64 bits and cut to 32")
    func signed() {
        #expect(read("-1", Numbers.signed32) == (-1, false))
        #expect(read("2147483648", Numbers.signed32) == (.min, false))
        #expect(read("4294967297", Numbers.signed32) == (1, false))
        #expect(read("9223372036854775807", Numbers.signed32) == (-1, false))
        #expect(read("9223372036854775808", Numbers.signed32).0 == nil)
        #expect(read("-9223372036854775808", Numbers.signed32) == (0, false))
        #expect(read("-9223372036854775809", Numbers.signed32).0 == nil)
        #expect(read("2592000", Numbers.signed32) == (2_592_000, true))
    }

    @Test("numbers in replies are digits and nothing else")
    func digits() {
        func read(_ text: String) -> UInt64? { Array(text.utf8).withUnsafeBytes { Numbers.digits($0) } }
        #expect(read("18446744073709551615") == .max)
        for text in ["", "+1", "-1", " 1", "1 ", "18446744073709551616", "000000000000000000001"] { #expect(read(text) == nil) }
    }
}
