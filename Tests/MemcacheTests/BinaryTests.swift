import Fuzzing
import Kernel
import Memcache
import Testing

/// The binary protocol: packets become text, and text replies packets (memcached's protocol_binary.h).
@Suite("Binary packets")
struct BinaryTests {
    private func understood(_ packets: [UInt8]...) -> [BinaryOutcome] {
        packets.flatMap { $0 }.withUnsafeBytes { BinaryOutcome.all(in: $0, arriving: [$0.count]) }
    }

    private func text(_ packet: [UInt8]) -> String? {
        guard case .text(let text) = understood(packet).first else { return nil }
        return text
    }

    private func answer(_ text: String, to packet: [UInt8]) -> [UInt8] {
        var translator = BinaryTranslator(itemBytesMax: 10_000)
        _ = packet.withUnsafeBytes { translator.next(in: $0, text: ByteQueue()) }
        let queue = ByteQueue()
        Array(text.utf8).withUnsafeBytes { BinaryReply.encode($0, for: translator.exchange, into: queue) }
        return [UInt8](queue.readable)
    }

    private let flagsAndTime: [UInt8] = [0xde, 0xad, 0xbe, 0xef, 0, 0, 0x0e, 0x10]
    private func counter(_ delta: UInt64, _ initial: UInt64, _ exptime: UInt32) -> [UInt8] {
        BinaryPackets.bytes(delta) + BinaryPackets.bytes(initial) + BinaryPackets.bytes(exptime)
    }

    @Test("every operation becomes the command that means the same")
    func commands() {
        for opcode: UInt8 in [0x00, 0x09, 0x0c, 0x0d] {
            #expect(text(BinaryPackets.request(opcode, key: "Hello")) == "mg Hello v f c\r\n")
        }
        let store = { BinaryPackets.request($0, key: "k", extras: flagsAndTime, value: "World", cas: $1) }
        #expect(text(store(0x01, 0)) == "ms k 5 c F3735928559 T3600\r\nWorld\r\n")
        #expect(text(store(0x01, 7)) == "ms k 5 c F3735928559 T3600 C7\r\nWorld\r\n")
        #expect(text(store(0x12, 0)) == "ms k 5 c F3735928559 T3600 ME\r\nWorld\r\n")
        #expect(text(store(0x03, 0)) == "ms k 5 c F3735928559 T3600 MR\r\nWorld\r\n")
        #expect(text(store(0x03, 9)) == "ms k 5 c F3735928559 T3600 C9\r\nWorld\r\n", "a CAS value makes a comparison of it")
        #expect(text(BinaryPackets.request(0x0e, key: "k", value: "!")) == "ms k 1 c MA\r\n!\r\n")
        #expect(text(BinaryPackets.request(0x1a, key: "k", value: "", cas: 3)) == "ms k 0 c MP C3\r\n\r\n")
        #expect(text(BinaryPackets.request(0x04, key: "k")) == "md k\r\n")
        #expect(text(BinaryPackets.request(0x14, key: "k", cas: 5)) == "md k C5\r\n")
        #expect(text(BinaryPackets.request(0x05, key: "n", extras: counter(1, 0, 3_600))) == "ma n v c D1 N3600 J0\r\n")
        #expect(text(BinaryPackets.request(0x06, key: "n", extras: counter(.max, 5, .max))) == "ma n v c D\(UInt64.max) MD\r\n")
        #expect(text(BinaryPackets.request(0x1c, key: "k", extras: [0, 0, 0, 9])) == "mg k f c T9\r\n")
        #expect(text(BinaryPackets.request(0x24, key: "k", extras: [255, 255, 255, 255])) == "mg k v f c T2147483647\r\n")
        #expect(text(BinaryPackets.request(0x08)) == "flush_all\r\n")
        #expect(text(BinaryPackets.request(0x18, extras: [0, 0, 0, 5])) == "flush_all 5\r\n")
        #expect(text(BinaryPackets.request(0x0a)) == "mn\r\n")
        #expect(text(BinaryPackets.request(0x10, key: "settings")) == "stats settings\r\n")
        #expect(text(BinaryPackets.request(0x10, key: "x\r\nflush_all")) == "stats ?\r\n")
    }

    @Test("a key that text cannot carry travels in base64; one that is too long for that is refused, and the connection lives")
    func keys() {
        #expect(text(BinaryPackets.request(0x00, key: "a b\n")) == "mg YSBiCg== b v f c\r\n")
        #expect(
            text(BinaryPackets.request(0x01, key: "a b", extras: flagsAndTime, value: "x"))
                == "ms YSBi 1 b c F3735928559 T3600\r\nx\r\n")
        let long = BinaryPackets.request(0x00, key: String(repeating: " ", count: 200))
        #expect(
            understood(long, BinaryPackets.request(0x0a)) == [
                .refused(reply: "CLIENT_ERROR bad command line format\r\n", swallow: 0), .text("mn\r\n"),
            ])
    }

    @Test("lengths that make no sense close the connection; an unknown operation does not")
    func shapes() {
        let noop = BinaryPackets.request(0x0a)
        let invalid = [BinaryOutcome.closed(reply: "CLIENT_ERROR bad command line format\r\n")]
        for packet in [
            BinaryPackets.request(0x00), BinaryPackets.request(0x00, key: "k", extras: [1]),
            BinaryPackets.request(0x00, key: "k", value: "v"),
            BinaryPackets.request(0x01, key: "k", value: "v"), BinaryPackets.request(0x05, key: "k", extras: flagsAndTime),
            BinaryPackets.request(0x0a, key: "k"), BinaryPackets.request(0x08, extras: [1]),
            BinaryPackets.request(0x1c, key: "k"),
            BinaryPackets.request(0x00, key: String(repeating: "k", count: 251)),
        ] { #expect(understood(packet, noop) == invalid) }
        let lie = BinaryPackets.request(0x00, key: "key", bodyBytes: 2)
        #expect(understood(lie, noop) == [.closed(reply: "ERROR\r\n")])
        #expect(
            understood(BinaryPackets.request(0x77, key: "k", value: "body"), noop) == [
                .refused(reply: "ERROR\r\n", swallow: 4), .text("mn\r\n"),
            ])
        #expect(
            understood(noop, Array("get key0123456789 key01234\r\n".utf8)) == [.text("mn\r\n"), .closed(reply: "")],
            "a connection does not change its protocol")
    }

    @Test("a value over the limit is refused as soon as its header is there; a set takes with it what was there")
    func tooLarge() {
        let value = String(repeating: "v", count: 10_000)
        let reply = "SERVER_ERROR object too large for cache\r\n"
        #expect(
            understood(BinaryPackets.request(0x01, key: "k", extras: flagsAndTime, value: value), BinaryPackets.request(0x0a))
                == [
                    .refusedStore(text: "md k\r\n", reply: reply, swallow: 10_000), .text("mn\r\n"),
                ])
        #expect(
            understood(BinaryPackets.request(0x02, key: "k", extras: flagsAndTime, value: value)) == [
                .refused(reply: reply, swallow: 10_000)
            ])
        let header = BinaryPackets.request(0x11, key: "k", extras: flagsAndTime, bodyBytes: .init(UInt32.max))
        #expect(understood(header) == [.refusedStore(text: "md k\r\n", reply: reply, swallow: Int(UInt32.max) - 9)])
    }

    @Test("replies are memcached's, byte for byte")
    func replies() {
        let get = BinaryPackets.request(0x00, key: "Hello")
        #expect(
            answer("VA 5 f3735928559 c1\r\nWorld\r\n", to: get)
                == BinaryPackets.reply(0, extras: [0xde, 0xad, 0xbe, 0xef], value: Array("World".utf8), cas: 1))
        #expect(answer("EN\r\n", to: get) == BinaryPackets.reply(0, 1, value: Array("Not found".utf8)))
        let getKey = BinaryPackets.request(0x0c, key: "Hello")
        #expect(
            answer("VA 5 f0 c1\r\nWorld\r\n", to: getKey)
                == BinaryPackets.reply(0x0c, key: "Hello", extras: [0, 0, 0, 0], value: Array("World".utf8), cas: 1))
        #expect(answer("EN\r\n", to: getKey) == BinaryPackets.reply(0x0c, 1, key: "Hello"))
        for opcode: UInt8 in [0x09, 0x0d] { #expect(answer("EN\r\n", to: BinaryPackets.request(opcode, key: "k")).isEmpty) }
        #expect(
            answer("VA 0 f0 c1\r\n\r\n", to: BinaryPackets.request(0x09, key: "k"))
                == BinaryPackets.reply(0x09, extras: [0, 0, 0, 0], cas: 1))
        let set = BinaryPackets.request(0x01, key: "k", extras: flagsAndTime)
        #expect(answer("HD c77\r\n", to: set) == BinaryPackets.reply(0x01, cas: 77))
        #expect(answer("EX c0\r\n", to: set) == BinaryPackets.reply(0x01, 2, value: Array("Data exists for key.".utf8)))
        #expect(
            answer("NS c0\r\n", to: BinaryPackets.request(0x02, key: "k", extras: flagsAndTime))
                == BinaryPackets.reply(0x02, 2, value: Array("Data exists for key.".utf8)))
        #expect(
            answer("NS c0\r\n", to: BinaryPackets.request(0x13, key: "k", extras: flagsAndTime))
                == BinaryPackets.reply(0x13, 1, value: Array("Not found".utf8)))
        #expect(
            answer("NS c0\r\n", to: BinaryPackets.request(0x0f, key: "k"))
                == BinaryPackets.reply(0x0f, 5, value: Array("Not stored.".utf8)))
        #expect(answer("HD c1\r\n", to: BinaryPackets.request(0x11, key: "k", extras: flagsAndTime)).isEmpty)
        #expect(
            answer("VA 2 c9\r\n42\r\n", to: BinaryPackets.request(0x05, key: "n", extras: counter(1, 0, 0)))
                == BinaryPackets.reply(0x05, value: [0, 0, 0, 0, 0, 0, 0, 42], cas: 9))
        #expect(
            answer(
                "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
                to: BinaryPackets.request(0x15, key: "n", extras: counter(1, 0, 0)))
                == BinaryPackets.reply(0x15, 6, value: Array("Non-numeric server-side value for incr or decr".utf8)))
        #expect(
            answer("SERVER_ERROR cache1 is unreachable: refused\r\n", to: set)
                == BinaryPackets.reply(0x01, 0x86, value: Array("cache1 is unreachable: refused".utf8)))
        #expect(
            answer("STAT pid 3\r\nSTAT x \r\nEND\r\n", to: BinaryPackets.request(0x10))
                == BinaryPackets.reply(0x10, key: "pid", value: Array("3".utf8)) + BinaryPackets.reply(0x10, key: "x")
                + BinaryPackets.reply(0x10))
        #expect(
            answer("VERSION 1.6.18\r\n", to: BinaryPackets.request(0x0b))
                == BinaryPackets.reply(0x0b, value: Array("1.6.18".utf8)))
        #expect(
            answer("MN\r\n", to: BinaryPackets.request(0x0a, opaque: 0xffff_ffff))
                == BinaryPackets.reply(0x0a, opaque: 0xffff_ffff))
    }

    @Test("what a server says although nobody asked for it is an error, not the end")
    func nonsense() {
        for text in ["ME k exp=-1\r\n", "hello\r\n", "VA 5\r\nab\r\n", ""] {
            #expect(
                answer(text, to: BinaryPackets.request(0x00, key: "k"))
                    == BinaryPackets.reply(0, 0x84, value: Array("Internal error".utf8)))
        }
    }

    @Test("the outcome does not depend on how the bytes arrive, and no bytes bring it down")
    func fuzz() {
        for seed in 1...RequestParserTests.fuzzSeeds {
            var random = SeededRandom(seed: seed)
            var bytes: [UInt8] = []
            for _ in 0..<1 + random.below(4) {
                bytes += BinaryPackets.request(
                    UInt8(random.below(0x27)), key: String(repeating: "k ", count: random.below(3)),
                    extras: [UInt8](repeating: UInt8(random.below(256)), count: [0, 4, 8, 20][random.below(4)]),
                    value: String(repeating: "v", count: random.below(10)), cas: UInt64(random.below(3)))
            }
            for _ in 0..<random.below(4) { bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
            bytes.withUnsafeBytes {
                Promise.binaryRequests.check($0)
                Promise.binaryReplies.check($0)
            }
        }
    }
}
