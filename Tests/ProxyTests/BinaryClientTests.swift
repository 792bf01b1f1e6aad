import Kernel
import Memcache
import Replication
import Testing
import WriteLog

@testable import Proxy

/// Clients that speak the binary protocol: the same sessions, slots and lanes as for text.
@Suite struct BinaryClientTests {
    private func request(_ opcode: UInt8, _ key: String = "", _ extras: [UInt8] = [], _ value: String = "", opaque: UInt32 = 7)
        -> [UInt8]
    {
        let body = extras + Array(key.utf8) + Array(value.utf8)
        return [0x80, opcode, 0, UInt8(key.utf8.count), UInt8(extras.count), 0, 0, 0] + big(UInt32(body.count)) + big(opaque)
            + big(UInt64(0)) + body
    }

    private func reply(
        _ opcode: UInt8, _ status: UInt8 = 0, key: String = "", extras: [UInt8] = [], value: String = "", opaque: UInt32 = 7,
        cas: UInt64 = 0
    ) -> [UInt8] {
        let body = extras + Array(key.utf8) + Array(value.utf8)
        return [0x81, opcode, 0, UInt8(key.utf8.count), UInt8(extras.count), 0, 0, status] + big(UInt32(body.count)) + big(opaque)
            + big(cas) + body
    }

    private func big<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    private let noFlags: [UInt8] = [0, 0, 0, 0]

    @Test("Quiet retrievals answer with what is there, in order, and the noop behind them ends them")
    func quietPipeline() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.receive(client, request(0x09, "a", opaque: 1) + request(0x0d, "b", opaque: 2) + request(0x0a, opaque: 3))
        #expect(bench.commands("cache1") == "mg a v f c\r\nmg b v f c\r\n")
        #expect(bench.sent(client).isEmpty, "the noop waits for what came before it")
        bench.answer("cache1", "EN\r\nVA 1 f0 c5\r\nx\r\n")
        #expect(
            bench.sent(client)
                == reply(0x0d, key: "b", extras: noFlags, value: "x", opaque: 2, cas: bench.token(5, of: "cache1"))
                + reply(0x0a, opaque: 3))
    }

    @Test("A value too large to be copied is passed on, logged and read like any other, and so is what stands behind it")
    func largeValues() {
        var plan = BenchPlan()
        plan.sharedBytesMin = 1_000
        plan.segmentBytes = 8 << 20
        let bench = Bench.serving(plan)
        let client = bench.client()
        let value = (0..<30_000).map { "\($0) " }.joined()
        let set = request(0x01, "k", [0, 0, 3, 0, 0, 0, 0, 0], value)
        bench.receive(client, Array(set[..<70_000]))
        bench.receive(client, Array(set[70_000...] + request(0x00, "k") + request(0x0e, "k", [], value)))
        let stored = "ms k \(value.utf8.count) c F768 T0\r\n\(value)\r\nmg k v f c\r\n"
        let appended = "ms k \(value.utf8.count) c MA\r\n\(value)\r\nmg k "
        #expect(bench.commands("cache1").hasPrefix(stored + appended))
        #expect(bench.commands("backup1") == "ms k \(value.utf8.count) c F768 T0\r\n\(value)\r\n")
        bench.answer("cache1", "HD c9\r\nVA \(value.utf8.count) f768 c9\r\n\(value)\r\n")
        let token = bench.token(9, of: "cache1")
        #expect(bench.sent(client) == reply(0x01, cas: token) + reply(0x00, extras: [0, 0, 3, 0], value: value, cas: token))
        #expect(bench.logged.first?.payload == Array(value.utf8))
    }

    @Test("A set is ordered, logged and answered with its CAS value; a get behind it sees it")
    func setThenGet() {
        let bench = Bench.serving()
        let client = bench.client()
        let set = request(0x01, "k", [0, 0, 3, 0, 0, 0, 0, 0], "value")
        bench.receive(client, set + request(0x00, "k"))
        #expect(bench.commands("cache1").hasPrefix("ms k 5 c F768 T0\r\nvalue\r\n"))
        bench.answer("cache1", "HD c9\r\nVA 5 f768 c9\r\nvalue\r\n")
        let token = bench.token(9, of: "cache1")
        #expect(bench.sent(client) == reply(0x01, cas: token) + reply(0x00, extras: [0, 0, 3, 0], value: "value", cas: token))
        #expect(bench.logged.map(\.kind).prefix(2) == [.intent, .commit])
        #expect(bench.logged.first?.payload == Array("value".utf8))
        #expect(bench.logged.first?.clientFlags == 768)
    }

    @Test("A packet that had to wait for a write of another server is done when that is answered")
    func waits() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.hasBackup = false
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        _ = try bench.messages(link)
        let (ours, theirs) = (Bench.key(ownedBy: Bench.n1), Bench.key(ownedBy: Bench.n2))
        let client = bench.client()
        bench.receive(client, request(0x04, theirs) + request(0x00, ours))
        #expect(bench.commands("cache1") == "")
        guard case .forward(let number, _, _, let write) = try bench.words(link).first else {
            Issue.record("not forwarded")
            return
        }
        #expect(write.command == Array("md \(theirs)\r\n".utf8))
        bench.tell(link, .forwardReply(request: number, kind: ReplyKind.nf.wireCode, stamp: 0, reply: Array("NF\r\n".utf8)))
        #expect(bench.commands("cache1") == "mg \(ours) v f c\r\n")
        #expect(bench.sent(client) == reply(0x04, 1, value: "Not found"))
    }

    @Test("stats detail: on and off are one empty packet, a dump is one statistic, another word is not found")
    func statsDetail() {
        let bench = Bench.serving()
        let client = bench.client()
        for (what, answer) in [
            ("detail on", reply(0x10)), ("detail off", reply(0x10)),
            ("detail dump", reply(0x10, key: "detailed", value: "END\r\n") + reply(0x10)),
            ("detail foo", reply(0x10, 1, value: "Not found")), ("detail", reply(0x10, 1, value: "Not found")),
        ] {
            bench.receive(client, request(0x10, what))
            #expect(bench.sent(client) == answer, "\(what)")
        }
    }

    @Test("quit is answered and quitq is not; both close")
    func quits() {
        let bench = Bench.serving()
        let (loud, silent) = (bench.client(), bench.client())
        bench.receive(loud, request(0x07))
        bench.receive(silent, request(0x17))
        #expect(bench.sent(loud) == reply(0x07))
        #expect(bench.sent(silent).isEmpty)
        #expect(bench.closed.contains(loud) && bench.closed.contains(silent))
    }

    @Test("A value over the limit is refused, what a set was to replace goes, and the connection lives")
    func tooLarge() {
        var plan = BenchPlan()
        plan.itemBytesMax = 1_024
        let bench = Bench.serving(plan)
        let client = bench.client()
        bench.receive(client, request(0x01, "k", [0, 0, 0, 0, 0, 0, 0, 0], String(repeating: "v", count: 2_000)) + request(0x0a))
        #expect(bench.commands("cache1") == "md k\r\n")
        bench.answer("cache1", "HD\r\n")
        #expect(bench.sent(client) == reply(0x01, 3, value: "Too large.") + reply(0x0a))
    }

    @Test("A server that cannot be reached is a miss for a read, and a failure that names it for a write")
    func unreachable() {
        var plan = BenchPlan()
        plan.hasBackup = false
        let bench = Bench.serving(plan)
        bench.lose(bench.backend("cache1"))
        let client = bench.client()
        bench.receive(client, request(0x00, "k"))
        #expect(bench.sent(client) == reply(0x00, 1, value: "Not found"))
        bench.receive(client, request(0x04, "k"))
        let answer = bench.sent(client)
        #expect(answer.prefix(8) == [0x81, 0x04, 0, 0, 0, 0, 0, 0x86])
        #expect(String(decoding: answer.dropFirst(24), as: UTF8.self).contains("cache1"))
    }
}
