import Kernel
import Memcache
import Testing

/// The list of a memcached's keys, line by line.
@Suite struct KeyListingTests {
    private func next(_ text: String) -> KeyListing { Array(text.utf8).withUnsafeBytes { KeyListing.next(in: $0) } }

    private func decoded(_ escaped: String) -> [UInt8]? {
        let queue = ByteQueue()
        queue.append("before ")
        guard Array(escaped.utf8).withUnsafeBytes({ KeyListing.decode($0, into: queue) }) else {
            #expect(queue.count == 7, "nothing is left of what was no key")
            return nil
        }
        return Array(queue.readable.dropFirst(7))
    }

    @Test("A line tells a key, as memcached 1.6.18 wrote it")
    func line() {
        let line = "key=a%25b%7F%C3%A4%2Fx exp=-1 la=1795408672 cas=500001 fetch=no cls=1 size=68\n"
        #expect(next(line + "key=") == .key(Span(start: 4, count: 18), bytes: line.utf8.count))
        #expect(decoded("a%25b%7F%C3%A4%2Fx") == [97, 37, 98, 0x7f, 0xc3, 0xa4, 47, 120])
    }

    @Test("A line that has not arrived whole is waited for; one without an end is not")
    func incomplete() {
        #expect(next("") == .incomplete)
        #expect(next("key=abc exp=-1 la=1") == .incomplete)
        let endless = String(repeating: "k", count: KeyListing.lineBytesMax)
        #expect(next(endless) == .refused("a line of more than 2048 bytes", bytes: KeyListing.lineBytesMax))
    }

    @Test("The end, and what is said instead of a list")
    func others() {
        #expect(next("END\r\nmore") == .end(bytes: 5))
        #expect(
            next("BUSY currently processing crawler request\r\n")
                == .refused("BUSY currently processing crawler request", bytes: 43))
        #expect(next("key=\n") == .refused("key=", bytes: 5))
    }

    @Test("What is no key is not decoded", arguments: ["", "%4", "%", "a%g1", String(repeating: "a", count: 251)])
    func noKey(escaped: String) {
        #expect(decoded(escaped) == nil)
    }

    @Test("The longest key, every byte of it escaped, fits a line")
    func longest() {
        let escaped = String(repeating: "%FF", count: 250)
        #expect(decoded(escaped)?.count == 250)
        let line = "key=\(escaped) exp=-1234567890123 la=1234567890123 cas=18446744073709551615 fetch=yes cls=63 size=1048576\n"
        #expect(next(line) == .key(Span(start: 4, count: 750), bytes: line.utf8.count))
    }
}
