import Kernel
import Testing

@testable import Proxy

/// The commands of one client: in order at the servers, in order in the replies.
@Suite struct PipelineTests {
    @Test("Commands on one path leave together, and their replies keep the order")
    func together() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\n1\r\nget k\r\nset k 0 0 1\r\n2\r\n")
        #expect(bench.commands("cache1") == "set k 0 0 1\r\n1\r\nget k\r\nset k 0 0 1\r\n2\r\n")
        bench.answer("cache1", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\nSTORED\r\n")
        #expect(bench.heard(client) == "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\nSTORED\r\n")
    }

    @Test("A read of another server's key waits for the write before it")
    func readWaits() {
        var plan = BenchPlan()
        plan.proxies = ["n1"]
        let bench = Bench.serving(plan)
        let client = bench.client()
        // The write's authority is the backup while the primary is away; the read would go there too, over the same path.
        bench.lose(bench.backend("cache1"))
        bench.ask(client, "set k 0 0 1\r\n1\r\nget k\r\n")
        #expect(bench.commands("backup1") == "set k 0 0 1\r\n1\r\nget k\r\n")
        bench.answer("backup1", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
        #expect(bench.heard(client) == "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
    }

    @Test("A write does not wait for reads of other keys at other servers")
    func writeOvertakesReads() {
        var plan = BenchPlan()
        plan.proxies = ["n1"]
        plan.primaries = 2
        let bench = Bench.serving(plan)
        let client = bench.client()
        let first = bench.key(at: "cache1")
        let second = bench.key(at: "cache2")
        let third = bench.key(at: "cache2", besides: second)
        bench.ask(client, "get \(first)\r\nget \(second)\r\nset \(third) 0 0 1\r\n1\r\n")
        #expect(bench.commands("cache1") == "get \(first)\r\n")
        #expect(bench.commands("cache2") == "get \(second)\r\nset \(third) 0 0 1\r\n1\r\n")
        // The replies keep the order all the same.
        bench.answer("cache2", "END\r\nSTORED\r\n")
        #expect(bench.heard(client) == "")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\nEND\r\nSTORED\r\n")
    }

    @Test("A write waits for an earlier read of its own key if it goes by another path, and for no other read")
    func writeWaitsForItsKey() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        _ = try bench.messages(link)
        let theirs = Bench.key(ownedBy: Bench.n2)
        let ours = Bench.key(ownedBy: Bench.n1)
        let client = bench.client()
        bench.ask(client, "get \(theirs)\r\nget \(ours)\r\nset \(theirs) 0 0 1\r\n1\r\n")
        #expect(bench.commands("cache1") == "get \(theirs)\r\nget \(ours)\r\n")
        #expect(try bench.words(link).isEmpty, "the owner's set might overtake this lane's read")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        guard case .forward(_, 1, _, let write) = try bench.words(link).first else {
            Issue.record("the write did not go while only the read of another key was under way")
            return
        }
        #expect(write.command == Array("set \(theirs) 0 0 1\r\n1\r\n".utf8))
    }

    @Test("A store that is refused for its size waits for what its client sent before, too")
    func refusedWaits() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        _ = try bench.messages(link)
        let theirs = Bench.key(ownedBy: Bench.n2)
        let client = bench.client()
        bench.ask(client, "get \(theirs)\r\nset \(theirs) 0 0 2000000\r\n")
        #expect(bench.commands("cache1") == "get \(theirs)\r\n")
        #expect(try bench.words(link).isEmpty, "the owner's delete might overtake this lane's read")
        bench.answer("cache1", "END\r\n")
        guard case .forward(let request, 1, _, let write) = try bench.words(link).first else {
            Issue.record("what was there was not deleted")
            return
        }
        #expect(write.command == Array("md \(theirs)\r\n".utf8) || write.command == Array("delete \(theirs)\r\n".utf8))
        bench.tell(
            link,
            .forwardReply(request: request, kind: 0, stamp: 0, reply: Array("SERVER_ERROR object too large for cache\r\n".utf8)))
        #expect(bench.heard(client) == "END\r\nSERVER_ERROR object too large for cache\r\n")
    }

    @Test("A client that ends its sending gets every reply, and then the end")
    func halfClosed() {
        let bench = Bench.serving()
        let client = bench.client()
        #expect(bench.ask(client, "version\r\nget a\r\nget b\r\nget unfinis") == "VERSION \(Meridian.protocolVersion)\r\n")
        bench.step(.ended(client))
        bench.settle()
        #expect(!bench.closed.contains(client))
        bench.answer("cache1", "VALUE a 0 1\r\n1\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE a 0 1\r\n1\r\nEND\r\n")
        #expect(!bench.closed.contains(client))
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        #expect(bench.closed.contains(client))
        let other = bench.client()
        bench.step(.ended(other))
        bench.settle()
        #expect(bench.closed.contains(other), "nothing is owed")
    }

    @Test("A gat of very many keys is done a few at a time")
    func manyTouches() {
        let bench = Bench.serving()
        let client = bench.client()
        let keys = (0..<150).map { "k\($0)" }
        bench.ask(client, "gat 60 \(keys.joined(separator: " "))\r\nversion\r\n")
        var heard = ""
        var rest = keys[...]
        while !rest.isEmpty {
            let asked = bench.commands("cache1").split(separator: "\r\n")
            #expect(!asked.isEmpty && asked.count <= Limits.touchesMax)
            #expect(asked.map(String.init) == rest.prefix(asked.count).map { "gat 60 \($0)" })
            for key in rest.prefix(asked.count) { bench.answer("cache1", "VALUE \(key) 0 1\r\nv\r\nEND\r\n") }
            rest = rest.dropFirst(asked.count)
            heard += bench.heard(client)
        }
        let values = keys.map { "VALUE \($0) 0 1\r\nv\r\n" }.joined()
        #expect(heard + bench.heard(client) == values + "END\r\nVERSION \(Meridian.protocolVersion)\r\n")
    }

    @Test("What follows a forwarded write waits for its reply: the owner's path is not this lane's")
    func forwardedHolds() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        _ = try bench.messages(link)
        let theirs = Bench.key(ownedBy: Bench.n2)
        let ours = Bench.key(ownedBy: Bench.n1)
        let client = bench.client()
        bench.ask(client, "set \(theirs) 0 0 1\r\n1\r\nset \(ours) 0 0 1\r\n2\r\n")
        #expect(bench.commands("cache1") == "", "the second set must not land before the first")
        guard case .forward(let request, 1, _, let write) = try bench.words(link).first else {
            Issue.record("the write was not forwarded")
            return
        }
        #expect(write.command == Array("set \(theirs) 0 0 1\r\n1\r\n".utf8))
        bench.tell(link, .forwardReply(request: request, kind: 0, stamp: 0, reply: Array("STORED\r\n".utf8)))
        #expect(bench.heard(client) == "STORED\r\n")
        #expect(bench.commands("cache1") == "set \(ours) 0 0 1\r\n2\r\n")
    }

    @Test("A quiet command's reply is awaited and withheld")
    func noreply() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1 noreply\r\n1\r\nget k\r\n")
        #expect(bench.commands("cache1") == "set k 0 0 1\r\n1\r\nget k\r\n", "no server is ever asked to be silent")
        bench.answer("cache1", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE k 0 1\r\n1\r\nEND\r\n")
    }

    @Test("A retrieval of many keys is one answer, in the client's order, without what is missing")
    func manyKeys() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a b c\r\n")
        #expect(bench.commands("cache1") == "get a b c\r\n")
        bench.answer("cache1", "VALUE a 0 1\r\n1\r\nVALUE c 0 1")
        bench.answer("cache1", "\r\n3\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE a 0 1\r\n1\r\nVALUE c 0 1\r\n3\r\nEND\r\n")
    }

    @Test("A retrieval of many keys asks each server once, and joins what they say in the client's order, twice if asked twice")
    func manyServers() {
        var plan = BenchPlan()
        plan.primaries = 2
        let bench = Bench.serving(plan)
        let client = bench.client()
        let keys = ["a", "b", "c", "d", "e", "f"]
        bench.ask(client, "gets \(keys.joined(separator: " ")) a\r\n")
        var answers = 0
        // The second server answers first.
        for name in ["cache2", "cache1"] {
            let asked = bench.commands(name)
            #expect(asked.hasPrefix("gets ") && asked.hasSuffix("\r\n") && asked.split(separator: "\r\n").count == 1)
            let names = asked.dropLast().split(separator: " ").dropFirst()
            answers += names.count
            bench.answer(name, names.map { "VALUE \($0) 0 1 9\r\n\($0)\r\n" }.joined() + "END\r\n")
        }
        #expect(answers == 7)
        let heard = bench.heard(client)
        let named = heard.split(separator: "\r\n").filter { $0.hasPrefix("VALUE ") }.map { String($0.split(separator: " ")[1]) }
        #expect(named == keys + ["a"])
        for name in ["cache1", "cache2"] { #expect(heard.contains(" 0 1 \(bench.token(9, of: name))\r\n")) }
        #expect(heard.hasSuffix("END\r\n"))
    }

    @Test("An error ends a retrieval of many keys where memcached would end it")
    func errorAmongMany() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a b c\r\nversion\r\n")
        bench.answer("cache1", "VALUE a 0 1\r\n1\r\nSERVER_ERROR out of memory writing get response\r\n")
        #expect(
            bench.heard(client)
                == "VALUE a 0 1\r\n1\r\nSERVER_ERROR out of memory writing get response\r\n"
                + "VERSION \(Meridian.protocolVersion)\r\n")
    }

    @Test("A server that answers a retrieval with a key that it was not asked for is dropped, and others are asked")
    func strangeKey() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a b\r\n")
        bench.answer("cache1", "VALUE a 0 1\r\n1\r\nVALUE x 0 1\r\n1\r\nEND\r\n")
        #expect(bench.lines.contains { $0.contains("it answered with a key that it was not asked for") })
        #expect(bench.commands("backup1") == "get b\r\n")
        bench.answer("backup1", "VALUE b 0 1\r\n2\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n")
    }

    @Test("What is answered here waits for its turn")
    func answeredHere() {
        let bench = Bench.serving()
        let client = bench.client()
        #expect(bench.ask(client, "get k\r\nversion\r\n") == "")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\nVERSION \(Meridian.protocolVersion)\r\n")
    }

    @Test("A client that left is forgotten; the replies it asked for are, too")
    func gone() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\n1\r\nget k\r\n")
        bench.lose(client)
        bench.answer("cache1", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
        #expect(bench.logged.map(\.kind) == [.intent, .commit], "its write is a write")
        let other = bench.client()
        #expect(bench.heard(other) == "")
    }

    @Test("Commands split at every byte mean the same")
    func everySplit() {
        let text = "set k 0 0 2\r\nhi\r\nget k\r\n"
        for cut in 1..<text.utf8.count {
            let bench = Bench.serving()
            let client = bench.client()
            bench.ask(client, String(text.prefix(cut)))
            bench.ask(client, String(text.dropFirst(cut)))
            #expect(bench.commands("cache1") == text, "cut at \(cut)")
        }
    }

    @Test("A server that is asked nothing is probed, and one that does not answer is given up before a client waits for it")
    func probed() {
        let bench = Bench.serving()
        bench.probesAreAnswered = false
        let client = bench.client()
        bench.advance(milliseconds: 1_200)
        #expect(bench.commands("cache1") == "mn\r\n")
        #expect(bench.commands("backup1") == "mn\r\n")
        bench.answer("backup1", "MN\r\n")
        bench.advance(milliseconds: 1_200)
        #expect(bench.lines.contains { $0.hasPrefix("memcached lost server=cache1") })
        #expect(!bench.lines.contains { $0.hasPrefix("memcached lost server=backup1") })
        bench.answer("backup1", "MN\r\n")
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("backup1").hasSuffix("get k\r\n"))
    }

    @Test("A server with a long line is not dead as long as it answers; one that is silent is, however short the line")
    func longLine() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a\r\nget b\r\nget c\r\n")
        let server = bench.backend("cache1")
        for key in ["a", "b"] {
            bench.advance(milliseconds: 900)
            bench.answer("cache1", "VALUE \(key) 0 1\r\nx\r\nEND\r\n")
        }
        bench.advance(milliseconds: 900)
        #expect(!bench.closed.contains(server), "it has answered all along")
        bench.advance(milliseconds: 200)
        #expect(bench.closed.contains(server))
    }
}
