import Kernel
import Memcache
import Testing

@Suite("Requests on their way to a backend")
struct RequestEncodingTests {
    private func sent(_ text: String, cas: UInt64? = nil) throws -> String {
        try withRequest(text) { request, bytes in
            let queue = ByteQueue()
            request.encode(from: bytes, cas: cas, into: queue)
            return String(decoding: queue.readable, as: UTF8.self)
        }
    }

    @Test("a plain request goes as it came")
    func plain() throws {
        for text in [
            "get k\r\n", "gets a b\r\n", "set k 1 2 3\r\nabc\r\n", "cas k 1 2 3 4\r\nabc\r\n", "incr k 5\r\n", "delete k\r\n",
            "touch k 9\r\n",
            "gat 5 k\r\n", "mg k v t O5\r\n", "ms k 2 T5 F6\r\nhi\r\n", "md k I\r\n", "ma k D5 MD\r\n", "me k\r\n", "mn\r\n",
            "version\r\n",
            "stats\r\n", "stats items\r\n", "flush_all\r\n", "flush_all 5\r\n", "verbosity 1\r\n", "quit\r\n",
        ] { #expect(try sent(text) == text) }
    }

    @Test("what would silence the reply stays behind")
    func noisy() throws {
        #expect(try sent("set k 1 -1 3 noreply\r\nabc\r\n") == "set k 1 -1 3\r\nabc\r\n")
        #expect(try sent("delete k noreply\r\n") == "delete k\r\n")
        #expect(try sent("delete k 0 noreply\r\n") == "delete k\r\n")
        #expect(try sent("incr k 5 noreply\r\n") == "incr k 5\r\n")
        #expect(try sent("touch k 5 noreply\r\n") == "touch k 5\r\n")
        #expect(try sent("flush_all noreply\r\n") == "flush_all\r\n")
        #expect(try sent("ms Zm9v 2 b q T5 k\r\nhi\r\n") == "ms Zm9v 2 b T5 k\r\nhi\r\n")
        #expect(try sent("mg k q v Oq\r\n") == "mg k v Oq\r\n")
    }

    @Test("what is oddly written is written plainly, so that no server can read it differently")
    func odd() throws {
        #expect(try sent("  get   a  b \n") == "get a b\r\n")
        #expect(try sent("bget a\r\n") == "get a\r\n", "a name that newer servers have dropped")
        #expect(try sent("set k +5 4294967297 \t3\r\nabc\r\n") == "set k 5 1 3\r\nabc\r\n")
        #expect(try sent("set k 0 0 3 maybe\r\nabc\r\n") == "set k 0 0 3\r\nabc\r\n")
        #expect(try sent("mg k v\u{0}junk\r\n") == "mg k v\r\n")
        #expect(try sent("gat +5 a\r\n") == "gat 5 a\r\n")
        #expect(try sent("ms k +2 T+5\nhi\r\n") == "ms k 2 T5\r\nhi\r\n")
    }

    @Test("a client's CAS value is put back into the backend's terms")
    func casReplaced() throws {
        #expect(try sent("cas k 0 0 2 999\r\nhi\r\n", cas: 5) == "cas k 0 0 2 5\r\nhi\r\n")
        #expect(try sent("ms k 2 C999 k\r\nhi\r\n", cas: 5) == "ms k 2 C5 k\r\nhi\r\n")
        #expect(try sent("md k C999 q\r\n", cas: 5) == "md k C5\r\n")
    }

    @Test("a meta reply without a value repeats opaque and key in the order of the request")
    func metaReply() throws {
        func reply(_ text: String) throws -> String {
            try withRequest(text) { request, bytes in
                let queue = ByteQueue()
                request.encodeMetaReply("EN", from: bytes, into: queue)
                return String(decoding: queue.readable, as: UTF8.self)
            }
        }
        #expect(try reply("mg k v\r\n") == "EN\r\n")
        #expect(try reply("mg k k v O12 q\r\n") == "EN kk O12\r\n")
        #expect(try reply("mg Zm9v b O1 k\r\n") == "EN O1 kZm9v b\r\n")
        #expect(try reply("me k\r\n") == "EN\r\n")
    }

    @Test("silence is kept exactly as memcached keeps it")
    func suppression() throws {
        func suppressed(_ text: String) throws -> Set<ReplyKind> {
            let kinds: [ReplyKind] = [
                .stored, .notStored, .hd, .en, .ns, .nf, .ex, .va, .deleted, .number, .clientError, .serverError,
            ]
            return try withRequest(text) { request, _ in Set(kinds.filter { request.silence?.covers($0) ?? false }) }
        }
        #expect(try suppressed("set k 0 0 0 noreply\r\n\r\n").count == 12, "classic noreply silences errors too")
        #expect(try suppressed("set k 0 0 0\r\n\r\n").isEmpty)
        #expect(try suppressed("mg k q\r\n") == [.en])
        #expect(try suppressed("ms k 0 q\r\n\r\n") == [.hd])
        #expect(try suppressed("md k q\r\n") == [.hd], "NF is told by 1.6.18")
        #expect(try suppressed("ma k q\r\n") == [.hd, .va])
        #expect(try suppressed("mg k\r\n").isEmpty)
    }
}
