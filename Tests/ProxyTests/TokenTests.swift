import Kernel
import Testing

@testable import Proxy

/// CAS tokens: a token from one server, or from before its restart, never matches anything on another.
@Suite struct TokenTests {
    private let tag = Token.tag(server: "cache1", incarnation: Array("7.1000".utf8))

    @Test("A token is the server's number with a tag that the way back takes off; 0 means none and stays 0")
    func thereAndBack() {
        let numbers: [UInt64] = [1, 5, 1 << 47, (1 << 48) - 1]
        for cas in numbers {
            let token = Token.shown(cas, tag: tag)
            #expect(token != cas && token < 1 << 63, "clients may have nothing but signed numbers")
            #expect(Token.sent(token, tag: tag) == cas)
        }
        #expect(Token.shown(0, tag: tag) == 0 && Token.sent(0, tag: tag) == 0)
    }

    @Test("A tag belongs to one server and one incarnation")
    func tags() {
        let others = [("cache2", "7.1000"), ("cache1", "8.1000"), ("cache1", "7.1001")]
        for (name, incarnation) in others { #expect(Token.tag(server: name, incarnation: Array(incarnation.utf8)) != tag) }
        #expect(tag >> Token.tagShift > 0)
    }

    @Test("No token becomes 0 on its way to a server: a comparison must not become none")
    func neverNothing() {
        #expect(Token.sent(tag, tag: tag) == .max)
    }

    @Test("cas goes to the server with the server's own number, and its reply's token comes back tagged")
    func compareAndSwap() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "gets k\r\n")
        _ = bench.commands("cache1")
        bench.answer("cache1", "VALUE k 0 1 7\r\nx\r\nEND\r\n")
        let token = bench.token(7, of: "cache1")
        #expect(bench.heard(client) == "VALUE k 0 1 \(token)\r\nx\r\nEND\r\n")
        bench.ask(client, "cas k 0 0 1 \(token)\r\ny\r\n")
        #expect(bench.commands("cache1") == "cas k 0 0 1 7\r\ny\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        _ = bench.commands("backup1")
        bench.answer("backup1", "HD\r\n")
        bench.ask(client, "ms k 1 C\(token) c\r\nz\r\n")
        #expect(bench.commands("cache1") == "ms k 1 C7 c\r\nz\r\n")
        bench.answer("cache1", "HD c9\r\n")
        #expect(bench.heard(client) == "HD c\(bench.token(9, of: "cache1"))\r\n")
    }

    @Test("A token from the primary, used when the backup decides, is no number that the backup ever gave")
    func afterFailOver() {
        let bench = Bench.serving()
        let client = bench.client()
        let token = bench.token(7, of: "cache1")
        bench.lose(bench.backend("cache1"))
        bench.ask(client, "cas k 0 0 1 \(token)\r\ny\r\n")
        let words = bench.commands("backup1").split(separator: "\r\n")[0].split(separator: " ")
        #expect(words.prefix(5) == ["cas", "k", "0", "0", "1"])
        #expect(UInt64(words[5]).map { $0 >> Token.tagShift > 0 } == true)
    }

    @Test("A token from before a restart is no number that the server has given since")
    func afterRestart() {
        let bench = Bench.serving()
        let client = bench.client()
        let token = bench.token(7, of: "cache1")
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.token(7, of: "cache1") != token)
        bench.ask(client, "md k C\(token)\r\n")
        let asked = bench.commands("backup1") + bench.commands("cache1")
        #expect(asked.contains("md k C") && !asked.contains("md k C7\r\n"))
    }

    @Test("A write that another lane passed on comes to the server without its tag, too")
    func passedOn() throws {
        let token = Token.shown(7, tag: tag)
        let command = Array("cas k 0 0 1 \(token)\r\ny\r\n".utf8)
        let write = Write(
            effect: .conditionalStore, shape: .line, key: Array("k".utf8), command: command, payloadStart: command.count - 3,
            payloadCount: 1, exptime: 0)
        let arrived = try #require(Write.arrived(write.forwarded, sharedBytesMin: 1))
        #expect(arrived.comparesCAS)
        let queue = ByteQueue()
        arrived.append(comparing: tag, to: queue)
        #expect(String(decoding: queue.bytes(at: 0, count: queue.count), as: UTF8.self) == "cas k 0 0 1 7\r\ny\r\n")
    }
}
