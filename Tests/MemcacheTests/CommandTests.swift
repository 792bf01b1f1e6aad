import Kernel
import Memcache
import Testing

@Suite("The proxy's own commands")
struct CommandTests {
    private func text(_ build: (ByteQueue) -> Void) -> String {
        let queue = ByteQueue()
        build(queue)
        return String(decoding: queue.readable, as: UTF8.self)
    }

    private func withKey(_ key: String, _ body: (UnsafeRawBufferPointer) -> Void) { Array(key.utf8).withUnsafeBytes(body) }

    @Test("commands about a key are meta commands")
    func plainKey() {
        withKey("k") { key in
            #expect(text { Command.store(key: key, flags: 0, exptime: 0, value: key, into: $0) } == "ms k 1\r\nk\r\n")
            #expect(
                text { Command.store(key: key, flags: 768, exptime: -1, mode: .add, value: key, into: $0) }
                    == "ms k 1 F768 T-1 ME\r\nk\r\n")
            #expect(text { Command.delete(key: key, into: $0) } == "md k\r\n")
            #expect(text { Command.touch(key: key, exptime: 60, into: $0) } == "mg k T60\r\n")
            #expect(text { Command.readBack(key: key, into: $0) } == "mg k u s v f t c\r\n")
            #expect(text { Command.look(key: key, into: $0) } == "me k\r\n")
            #expect(text { Command.get(key: key, withCAS: true, into: $0) } == "gets k\r\n")
            #expect(text { Command.getAndTouch(key: key, exptime: -1, withCAS: false, into: $0) } == "gat -1 k\r\n")
        }
    }

    @Test("a key that text cannot carry goes in base64")
    func binaryKey() {
        withKey("a b") { key in
            #expect(
                text { Command.store(key: key, flags: 1, exptime: 2, value: key, into: $0) } == "ms YSBi 3 b F1 T2\r\na b\r\n")
            #expect(text { Command.delete(key: key, into: $0) } == "md YSBi b\r\n")
            #expect(text { Command.touch(key: key, exptime: 60, into: $0) } == "mg YSBi b T60\r\n")
            #expect(text { Command.readBack(key: key, into: $0) } == "mg YSBi b u s v f t c\r\n")
            #expect(text { Command.look(key: key, into: $0) } == "mg YSBi b u\r\n")
        }
    }

    @Test("how a key travels depends on its bytes and its length")
    func carriage() {
        func carriage(_ key: String) -> KeyCarriage { Array(key.utf8).withUnsafeBytes { KeyRules.carriage(of: $0) } }
        #expect(carriage("k") == .text)
        #expect(carriage("tab\tand\u{1}") == .text, "memcached's text protocol takes them")
        #expect(carriage("cr\rk") == .base64, "text would do, but a carriage return invites mistakes")
        #expect(carriage(String(repeating: "k", count: 250)) == .text)
        #expect(carriage(String(repeating: "\r", count: 250)) == .text, "too long for base64")
        #expect(carriage(String(repeating: "k", count: 251)) == .none)
        #expect(carriage(String(repeating: " ", count: 186)) == .base64)
        #expect(carriage(String(repeating: " ", count: 187)) == .none)
        #expect(carriage("") == .none)
        #expect(carriage("\u{0}") == .base64)
    }

    @Test("an exptime goes to absolute time and back, and never outlives it")
    func exptime() {
        #expect(Exptime.absolute(0, nowSeconds: 1_000) == 0)
        #expect(Exptime.absolute(-1, nowSeconds: 1_000) == 1)
        #expect(Exptime.absolute(2_592_000, nowSeconds: 1_000) == 2_593_000)
        #expect(Exptime.absolute(2_592_001, nowSeconds: 1_000) == 2_592_001, "an absolute time, in 1970")
        #expect(Exptime.wire(endsAtSeconds: 0, nowSeconds: 1_000) == 0)
        #expect(Exptime.wire(endsAtSeconds: 1_000, nowSeconds: 1_000) == -1)
        #expect(Exptime.wire(endsAtSeconds: 1_001, nowSeconds: 1_000) == 1)
        #expect(Exptime.wire(endsAtSeconds: 1_700_000_000 + 2_592_001, nowSeconds: 1_700_000_000) == 1_702_592_001)
        #expect(Exptime.wire(endsAtSeconds: 9_000_000_000, nowSeconds: 1_700_000_000) == 2_147_483_647)
    }
}
