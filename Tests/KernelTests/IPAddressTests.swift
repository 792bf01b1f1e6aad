import Testing

@testable import Kernel

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("10.0.0.1", "10.0.0.1"), ("255.255.255.255", "255.255.255.255"), ("::", "0:0:0:0:0:0:0:0"), ("::1", "0:0:0:0:0:0:0:1"),
        ("fd00::", "fd00:0:0:0:0:0:0:0"), ("FD00::1:2", "fd00:0:0:0:0:0:1:2"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1::8", "1:0:0:0:0:0:0:8"), ("1:2:3:4:5:6::8", "1:2:3:4:5:6:0:8"), ("64:ff9b::10.0.0.1", "64:ff9b:0:0:0:0:a00:1"),
        ("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:a00:1", "10.0.0.1"),
    ])
    func `an address is read, and an IPv4 address in IPv6 clothes is what it means`(text: String, expected: String) {
        #expect(IPAddress(text)?.description == expected)
    }

    @Test(arguments: [
        "", "10", "10.0.0", "10.0.0.0.0", "10.0.0.256", "10.0.0.-1", "10.0.0.01", "010.0.0.1", "10.0.0.+1", "10..0.1",
        " 10.0.0.1",
        ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7::8", "12345::", "g::", "::1%eth0", "1:",
        ":1", "::10.0.0.1.2", "10.0.0.1::", "example.net", "::+1", "::1:", "١٠.0.0.1",
    ])
    func `what is no address is not taken for one`(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func `random text never traps, and what is read is read again the same`() {
        let alphabet = Array("0123456789abcdef:.:.:::")
        var read = 0
        for seed in 0..<20_000 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            let text = String((0..<random.below(20)).map { _ in alphabet[random.below(alphabet.count)] })
            guard let address = IPAddress(text) else { continue }
            read += 1
            #expect(IPAddress(address.description) == address, "\(text)")
        }
        #expect(read > 0, "no text was an address: this test shows nothing")
    }
}
