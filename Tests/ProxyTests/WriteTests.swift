import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// One write at its owner: log, servers, outcome, reply (`Docs/architecture.md`).
@Suite struct WriteTests {
    @Test("A set is in the log before any memcached has it, and answered when the primary has")
    func logFirst() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.type(client, "set k 5 0 2\r\nhi\r\n")
        // Nothing was obeyed yet: the turn writes the log first, then the sockets.
        let intent = bench.pendingRecords.last
        #expect(intent?.kind == .intent)
        #expect(intent?.key == Array("k".utf8))
        #expect(intent?.payload == Array("hi".utf8))
        #expect(intent?.clientFlags == 5)
        #expect(!bench.node.connections.outgoing(bench.backend("cache1")).isEmpty)
        #expect(bench.commands("cache1") == "", "and no socket was written")
        bench.settle()
        #expect(bench.commands("cache1") == "set k 5 0 2\r\nhi\r\n")
        #expect(bench.commands("backup1") == "set k 5 0 2\r\nhi\r\n", "a set is certain: the backup gets it at once")
        #expect(bench.heard(client) == "")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        #expect(bench.logged.map(\.kind) == [.intent, .commit])
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "")
    }

    @Test("A delete of a key that is not there is a tombstone all the same")
    func deleteOfNothing() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "delete k\r\n")
        bench.answer("cache1", "NOT_FOUND\r\n")
        #expect(bench.heard(client) == "NOT_FOUND\r\n")
        #expect(bench.logged.map(\.kind) == [.intent, .commit])
        #expect(bench.logged[0].content == .tombstone)
    }

    @Test(
        "What memcached may have heard of late, and counts the time of from then, is written again (seed 607583)",
        arguments: [("set k 0 100 2\r\nhi\r\n", "ms k 2 T95\r\nhi\r\n"), ("touch k 100\r\n", "mg k T95\r\n")])
    func late(_ asked: String, _ writtenAgain: String) {
        for isLate in [false, true] {
            let bench = Bench.serving()
            let client = bench.client()
            bench.ask(client, asked)
            _ = bench.commands("cache1") + bench.commands("backup1")
            if isLate { bench.pause(milliseconds: 5_000) }
            let reply = asked.hasPrefix("set") ? "STORED\r\n" : "TOUCHED\r\n"
            bench.answer("cache1", reply)
            bench.answer("backup1", asked.hasPrefix("set") ? reply : "HD\r\n")
            bench.advance(milliseconds: 50)
            #expect(bench.heard(client) == reply)
            #expect(bench.commands("cache1") == (isLate ? writtenAgain : ""))
        }
    }

    @Test("A record of another site that memcached may have heard of late is written again; one that never expires is not")
    func lateLanding() throws {
        for expires in [false, true] {
            let bench = Bench.serving(BenchPlan(elsewhere: ["south"]))
            let stream = try bench.openStream()
            var record = Bench.record("k", "hi", position: 1, seconds: 3)
            record.expiry = expires ? bench.now.wallMicroseconds + 100_000_000 : 0
            bench.tell(stream, .record(record))
            _ = bench.commands("cache1") + bench.commands("backup1")
            bench.pause(milliseconds: 5_000)
            bench.answer("cache1", "HD\r\n")
            bench.answer("backup1", "HD\r\n")
            bench.advance(milliseconds: 50)
            #expect(bench.commands("cache1") == (expires ? "ms k 2 T95\r\nhi\r\n" : ""))
        }
    }

    @Test("A failed condition leaves nothing in the log and nothing on the backup")
    func failedCondition() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "add k 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "add k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "NOT_STORED\r\n")
        #expect(bench.heard(client) == "NOT_STORED\r\n")
        #expect(bench.logged.map(\.kind) == [.derivedIntent, .abort])
        #expect(bench.commands("backup1") == "")
    }

    @Test("An incr becomes what it made: read back behind it, and stored on the backup")
    func postImage() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "incr n 1\r\n")
        #expect(bench.commands("cache1") == "incr n 1\r\nmg n u s v f t c\r\n")
        bench.answer("cache1", "8\r\n")
        #expect(bench.heard(client) == "", "the outcome is not known before the post-image is")
        bench.answer("cache1", "VA 1 s1 f7 t100 c9\r\n8\r\n")
        #expect(bench.heard(client) == "8\r\n")
        #expect(bench.commands("backup1") == "ms n 1 F7 T100\r\n8\r\n")
        let outcome = bench.logged.last
        #expect(outcome?.kind == .commitValue)
        #expect(outcome?.payload == Array("8".utf8))
        #expect(outcome?.clientFlags == 7)
        #expect(outcome?.expiryMicroseconds == bench.now.wallMicroseconds + 100_000_000)
    }

    @Test("A set that memcached refuses took the old value with it: a tombstone, on both servers")
    func refused() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        _ = bench.commands("cache1") + bench.commands("backup1")
        bench.answer("cache1", "SERVER_ERROR out of memory storing object\r\n")
        #expect(bench.heard(client) == "SERVER_ERROR out of memory storing object\r\n")
        #expect(bench.logged.last?.content == .tombstone)
        #expect(bench.commands("backup1") == "md k\r\n")
        #expect(bench.commands("cache1") == "md k\r\n")
    }

    @Test("What grows beyond the item limit, where memcached's own limit is higher, is deleted here and everywhere, and said so")
    func growsTooLarge() {
        var plan = BenchPlan()
        plan.itemBytesMax = 1_024
        let bench = Bench.serving(plan)
        let client = bench.client()
        bench.ask(client, "append k 0 0 1\r\n!\r\n")
        _ = bench.commands("cache1")
        let value = String(repeating: "v", count: 1_025)
        bench.answer("cache1", "STORED\r\nVA 1025 s1025 f0 t-1 c1\r\n\(value)\r\n")
        #expect(bench.heard(client) == "SERVER_ERROR object too large for cache\r\n")
        #expect(bench.commands("cache1") == "md k\r\n")
        #expect(bench.commands("backup1").contains("md k\r\n"))
        #expect(bench.logged.last?.content == .tombstone)
    }

    @Test("A derived write whose connection breaks is answered with an error and never sent again")
    func derivedLost() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "incr n 1\r\n")
        #expect(bench.commands("cache1").hasPrefix("incr n 1\r\n"))
        bench.lose(bench.backend("cache1"))
        #expect(
            bench.heard(client)
                == "SERVER_ERROR server cache1 (cache1:11211) did not answer: connection reset; the outcome is unknown\r\n")
        #expect(bench.logged.map(\.kind) == [.derivedIntent], "a restart must still know of the doubt")
        // What the site holds is read: from the server that is left, and where that has nothing, from the other when it is back.
        bench.advance(milliseconds: 200)
        #expect(bench.commands("backup1") == "mg n u s v f t c\r\n")
        bench.answer("backup1", "EN\r\n")
        bench.advance(milliseconds: 800)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 200)
        #expect(bench.commands("backup1") == "mg n u s v f t c\r\n")
        bench.answer("backup1", "EN\r\n")
        #expect(bench.commands("cache1") == "mg n u s v f t c\r\n")
        bench.answer("cache1", "VA 1 s1 f0 t-1 c1\r\n8\r\n")
        #expect(bench.commands("cache1") + bench.commands("backup1") == "ms n 1\r\n8\r\nms n 1\r\n8\r\n")
        #expect(bench.node.observations?.contains { if case .inDoubt = $0 { true } else { false } } == true)
    }

    @Test("A set whose primary breaks is decided by the backup, which was sent the same")
    func certainLost() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.lose(bench.backend("cache1"))
        #expect(bench.heard(client) == "")
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        #expect(bench.logged.map(\.kind) == [.intent, .commit])
        #expect(bench.node.servers[0].missed[Array("k".utf8)] == .missed, "the primary gets it when it is back")
    }

    @Test("With no server at all a write is refused by name, and a read is a miss; nothing hangs")
    func nobodyThere() {
        let bench = Bench.serving()
        for name in ["cache1", "backup1"] { bench.lose(bench.backend(name)) }
        let client = bench.client()
        #expect(
            bench.ask(client, "set k 0 0 1\r\nx\r\n")
                == "SERVER_ERROR server cache1 (cache1:11211) is unreachable: connection reset\r\n")
        #expect(bench.ask(client, "get k\r\n") == "END\r\n")
        #expect(bench.logged.isEmpty)
        var plan = BenchPlan()
        plan.unreachable = .error
        let strict = Bench.serving(plan)
        for name in ["cache1", "backup1"] { strict.lose(strict.backend(name)) }
        #expect(strict.ask(strict.client(), "get k\r\n").hasPrefix("SERVER_ERROR server cache1"))
    }

    @Test("A server that does not answer in time is dropped, and its clients hear of it")
    func silence() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "incr n 1\r\n")
        bench.advance(milliseconds: 900)
        #expect(bench.heard(client) == "")
        bench.advance(milliseconds: 300)
        #expect(bench.heard(client).contains("did not answer within 1000 ms"))
    }

    @Test("A reply that was never asked for means that server and lane are out of step: the connection goes")
    func outOfStep() {
        let bench = Bench.serving()
        let connection = bench.backend("cache1")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.closed.contains(connection))
    }

    @Test(
        "Absurd expiries are not a way to stop the process",
        arguments: ["9223372036854775807", "2147483647", "-1", "-9223372036854775808"])
    func absurdExpiry(exptime: String) {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 \(exptime) 1\r\nx\r\n")
        if bench.commands("cache1").isEmpty { return }  // refused, as memcached does
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
    }

    @Test("A deletion that makes up for a refused outcome is missed by the server that is lost with it")
    func lostTidying() {
        var plan = BenchPlan()
        plan.itemBytesMax = 500_000
        let bench = Bench.serving(plan)
        bench.ask(bench.client(), "append k 0 0 1\r\nx\r\n")
        _ = bench.commands("cache1")
        let large = String(repeating: "v", count: 500_001)
        bench.answer("cache1", "STORED\r\nVA 500001 s500001 f0 t-1 c1\r\n\(large)\r\n")
        #expect(bench.commands("cache1").hasPrefix("md k"))
        bench.lose(bench.backend("cache1"))
        #expect(bench.node.servers[0].isBehind)
    }

}
