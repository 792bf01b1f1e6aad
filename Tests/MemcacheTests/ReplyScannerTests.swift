import Memcache
import Testing

@Suite("Replies")
struct ReplyScannerTests {
    private func scan<Result>(
        _ text: String, _ shape: ReplyShape, _ body: (ReplyScan, UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        try Array(text.utf8).withUnsafeBytes { try body(ReplyScanner.scan($0, expecting: shape), $0) }
    }

    private func kind(_ text: String, _ shape: ReplyShape) -> ReplyKind? {
        scan(text, shape) { scan, _ in if case .reply(let reply) = scan { reply.kind } else { nil } }
    }

    private func isMalformed(_ text: String, _ shape: ReplyShape) -> Bool {
        scan(text, shape) { scan, _ in if case .malformed = scan { true } else { false } }
    }

    @Test("one line each")
    func lines() {
        for (text, expected) in [
            ("STORED", ReplyKind.stored), ("NOT_STORED", .notStored), ("EXISTS", .exists), ("NOT_FOUND", .notFound),
            ("DELETED", .deleted),
            ("TOUCHED", .touched), ("OK", .ok), ("RESET", .reset), ("18446744073709551615", .number), ("0", .number),
            ("VERSION 1.6.18", .version), ("ERROR", .error), ("ERROR: shutdown not enabled", .error),
            ("CLIENT_ERROR bad", .clientError),
            ("SERVER_ERROR out of memory", .serverError),
        ] {
            #expect(kind(text + "\r\n", .line) == expected)
            #expect(kind(text + "\r\nSTORED\r\n", .line) == expected, "what follows belongs to the next")
        }
        for text in ["", "STORED ", "stored", "12x", "-1", "VALUE k 0 1", "END", "HD", "18446744073709551616"] {
            #expect(isMalformed(text + "\r\n", .line), "\(text)")
        }
        #expect(isMalformed("STORED\n", .line), "memcached ends its lines with CRLF")
        #expect(isMalformed(String(repeating: "x", count: 2_048), .line), "no line is so long")
    }

    @Test("a retrieval is a value and END, END alone, or an error")
    func retrieval() {
        scan("VALUE key 768 5 99\r\nhe\r\no\r\nEND\r\nmore", .retrieval) { scan, bytes in
            guard case .reply(let reply) = scan else {
                Issue.record("not understood")
                return
            }
            #expect(reply.kind == .value && reply.flags == 768 && reply.cas == 99 && reply.size == 5)
            #expect([UInt8](reply.key.of(bytes)) == Array("key".utf8))
            #expect([UInt8](reply.value.of(bytes)) == Array("he\r\no".utf8))
            #expect([UInt8](reply.casDigits.of(bytes)) == Array("99".utf8))
            #expect(reply.headBytes == 20 && reply.blockBytes == 27 && reply.bytes == 32)
        }
        #expect(kind("END\r\n", .retrieval) == .end)
        #expect(kind("SERVER_ERROR x\r\n", .retrieval) == .serverError)
        #expect(kind("VALUE k 0 1\r\nx\r\nSERVER_ERROR x\r\n", .retrieval) == .serverError)
        for text in [
            "VALUE k 0 1\r\nxyzEND\r\n", "VALUE k 0 1\r\nx\r\nVALUE k 0 1\r\nx\r\nEND\r\n", "VALUE k 0\r\n", "VALUE k x 1\r\n",
            "VALUE k 0 1 2 3\r\n",
            "VALUE k 4294967296 1\r\n", "VALUE k 0 99999999999\r\n", "STORED\r\n", "VALUE\r\n", "VALUE k 0 1 x\r\n",
        ] { #expect(isMalformed(text, .retrieval), "\(text)") }
    }

    @Test("a meta reply tells its flags")
    func meta() {
        scan("VA 3 s3 t-1 f7 c123 kZm9v b Oabc W X h0\r\nabc\r\n", .meta) { scan, bytes in
            guard case .reply(let reply) = scan else {
                Issue.record("not understood")
                return
            }
            #expect(reply.kind == .va && reply.size == 3 && reply.ttl == -1 && reply.flags == 7 && reply.cas == 123)
            #expect(reply.isWin && reply.isStale && !reply.isWinTaken && reply.base64Key)
            #expect([UInt8](reply.key.of(bytes)) == Array("Zm9v".utf8))
            #expect([UInt8](reply.opaque.of(bytes)) == Array("Oabc".utf8))
            #expect([UInt8](reply.value.of(bytes)) == Array("abc".utf8))
            #expect(reply.bytes == bytes.count)
        }
        scan("HD t4294967290\r\n", .meta) { scan, _ in
            guard case .reply(let reply) = scan else {
                Issue.record("not understood")
                return
            }
            #expect(reply.ttl == 4_294_967_290)
        }
        for (text, expected) in [
            ("HD", ReplyKind.hd), ("EN", .en), ("NS", .ns), ("NF k1", .nf), ("EX O1", .ex), ("MN", .mn),
            ("ME k exp=-1 la=0", .me),
            ("CLIENT_ERROR x", .clientError),
        ] { #expect(kind(text + "\r\n", .meta) == expected) }
        for text in ["H", "HDx", "XX", "VA", "VA x", "HD tx", "HD c-1", "HD 5", "HD f4294967296", "STORED", "VA 3 \r\nabcd"] {
            #expect(isMalformed(text + "\r\n", .meta), "\(text)")
        }
    }

    @Test("stats are lines until END")
    func stats() {
        scan("STAT pid 17\r\nSTAT version 1.6.18\r\nSTAT empty \r\nEND\r\nrest", .stats) { scan, bytes in
            guard case .reply(let reply) = scan else {
                Issue.record("not understood")
                return
            }
            #expect(reply.kind == .end && reply.bytes == bytes.count - 4)
            var cursor = StatCursor(reply, in: bytes)
            var pairs: [String] = []
            while let (name, value) = cursor.next() {
                pairs.append(
                    String(decoding: name.of(bytes), as: UTF8.self) + "=" + String(decoding: value.of(bytes), as: UTF8.self))
            }
            #expect(pairs == ["pid=17", "version=1.6.18", "empty="])
        }
        #expect(kind("RESET\r\n", .stats) == .reset)
        #expect(kind("OK\r\n", .stats) == .ok)
        #expect(kind("END\r\n", .stats) == .end)
        #expect(kind("STAT a b\r\nSERVER_ERROR out of memory writing stats\r\n", .stats) == .serverError)
        #expect(isMalformed("STAT a b\r\nVALUE\r\n", .stats))
    }

    @Test("every reply waits for its last byte and no longer, and says how much it wants")
    func everyPrefix() {
        for (text, shape) in [
            ("STORED\r\n", ReplyShape.line), ("VALUE key 0 5\r\nhello\r\nEND\r\n", .retrieval), ("END\r\n", .retrieval),
            ("VALUE key 0 1\r\nh\r\nSERVER_ERROR x\r\n", .retrieval), ("VA 5 t5\r\nhello\r\n", .meta), ("HD\r\n", .meta),
            ("STAT a b\r\nSTAT c d\r\nEND\r\n", .stats), ("CLIENT_ERROR bad\r\n", .meta),
        ] {
            Array(text.utf8).withUnsafeBytes { bytes in
                var wanted = 1
                for count in 0..<bytes.count {
                    guard
                        case .incomplete(let more) = ReplyScanner.scan(
                            UnsafeRawBufferPointer(rebasing: bytes[0..<count]), expecting: shape)
                    else {
                        Issue.record("understood after \(count) bytes of \(text)")
                        return
                    }
                    #expect(more > count && more <= bytes.count && more >= wanted, "\(count) of \(text)")
                    wanted = more
                }
                guard case .reply(let reply) = ReplyScanner.scan(bytes, expecting: shape) else {
                    Issue.record("not understood: \(text)")
                    return
                }
                #expect(reply.bytes == bytes.count)
            }
        }
    }
}
