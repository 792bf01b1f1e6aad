import Configuration
import Kernel
import Memcache
import Testing

@testable import Proxy

/// The site file is read anew while a lane runs: listeners, limits and the addresses of its servers.
@Suite struct ReconfigurationTests {
    private let first = ClientListener(.tcp(HostPort(host: "0.0.0.0", port: 11_211)))

    /// The bench's site file, changed, is read anew.
    private func reconfigure(_ bench: Bench, _ listeners: [Int: ClientListener]? = nil, _ change: (inout Site) -> Void = { _ in })
    {
        var site = bench.plan.site
        change(&site)
        bench.step(
            .reconfigured(bench.configuration.federation, site, listeners: listeners ?? bench.configuration.numberedListeners))
        bench.settle()
    }

    private func at(_ host: String) -> (Endpoint) -> Bool { { $0 == .backend(HostPort(host: host, port: 11_211)) } }

    /// The server at another address takes the connection, and says who it is.
    private func bringUp(_ bench: Bench, at host: String, pid: Int) throws -> ConnectionID {
        let id = try #require(bench.dialled(at(host)))
        bench.step(.connected(id))
        bench.settle()
        #expect(bench.heard(id) == "stats\r\n")
        bench.receive(id, Array("STAT pid \(pid)\r\nSTAT uptime 10\r\nSTAT time 1010\r\nEND\r\n".utf8))
        return id
    }

    // MARK: Limits

    @Test("Times hold from the next look on, for those who are there already, too")
    func times() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "mn\r\n")
        bench.advance(milliseconds: 10_000)
        #expect(!bench.closed.contains(client))
        reconfigure(bench) { $0.times.clientIdleMilliseconds = 2_000 }
        let young = bench.client()
        bench.ask(young, "mn\r\n")
        bench.advance(milliseconds: 1_500)
        #expect(bench.closed.contains(client) && !bench.closed.contains(young))
        reconfigure(bench)
        bench.advance(milliseconds: 60_000)
        #expect(!bench.closed.contains(young), "the limit is off again")
    }

    @Test("A lower memory-max makes memory tight at once, a higher one easy")
    func memory() {
        let bench = Bench.serving()
        let clients = (0..<8).map { _ in bench.client() }
        let value = String(repeating: "v", count: 1_000_000)
        for client in clients { bench.ask(client, "set k\(client.index) 0 0 1000009\r\n\(value)") }
        #expect(bench.paused.isEmpty)
        reconfigure(bench) { $0.clients.memoryBytesMax = 9 << 20 }
        #expect(!bench.paused.isEmpty)
        #expect(bench.node.status(at: bench.now).gauges["client_memory_max_bytes"] == Double(9 << 20))
        reconfigure(bench)
        bench.advance(milliseconds: 200)
        #expect(bench.paused.isEmpty)
        #expect(bench.closed.isDisjoint(with: clients))
    }

    @Test("What a flush does, and a read of servers that are gone, is what the file says now")
    func policies() {
        let bench = Bench.serving()
        let client = bench.client()
        reconfigure(bench) { $0.flush = .deny }
        #expect(bench.ask(client, "flush_all\r\n").hasPrefix("SERVER_ERROR flush_all is denied"))
        bench.lose(bench.backend("cache1"))
        bench.lose(bench.backend("backup1"))
        #expect(bench.ask(client, "get k\r\n") == "END\r\n")
        reconfigure(bench) { $0.unreachable = .error }
        #expect(bench.ask(client, "get k\r\n").hasPrefix("SERVER_ERROR"))
    }

    // MARK: Listeners

    @Test("Who came in where nobody asked stays in; who comes now is asked")
    func authentication() throws {
        let bench = Bench.serving()
        let inside = bench.client()
        var asking = first
        asking.authenticationPath = "/users"
        reconfigure(bench, [0: asking])
        bench.step(.credentials([0: try Credentials(file: Array("alice:secret\n".utf8))]))
        #expect(bench.ask(inside, "mn\r\n") == "MN\r\n")
        let stranger = bench.client()
        #expect(bench.ask(stranger, "mn\r\n") == "CLIENT_ERROR unauthenticated\r\n")
        #expect(bench.ask(stranger, "set who 0 0 12\r\nalice secret\r\n") == "STORED\r\n")
        reconfigure(bench, [0: first])
        #expect(bench.ask(bench.client(), "mn\r\n") == "MN\r\n")
    }

    @Test("A listener that came later has a number of its own, and one that is gone keeps its clients")
    func numbers() throws {
        let bench = Bench.serving()
        let inside = bench.client()
        let second = ClientListener(.tcp(HostPort(host: "0.0.0.0", port: 11_999)), authenticationPath: "/users")
        reconfigure(bench, [0: first, 7: second])
        bench.step(.credentials([7: try Credentials(file: Array("alice:secret\n".utf8))]))
        let stranger = bench.accept(.client(from: "10.0.0.9:5", listener: 7))
        #expect(bench.ask(stranger, "set who 0 0 11\r\nalice wrong\r\n") == "CLIENT_ERROR authentication failure\r\n")
        #expect(bench.lines.contains { $0.contains("authentication failed") && $0.contains("listener=0.0.0.0:11999") })
        #expect(bench.ask(inside, "mn\r\n") == "MN\r\n")
    }

    // MARK: Servers

    @Test("A server that is elsewhere is flushed before anything is asked of it, and what it cannot know is asked of the backup")
    func moved() throws {
        let bench = Bench.serving()
        let client = bench.client()
        reconfigure(bench) { $0.primaries[0].address.host = "newhost" }
        #expect(bench.lines.contains { $0.contains("memcached moves server=cache1 from=cache1:11211 to=newhost:11211") })
        let server = try bringUp(bench, at: "newhost", pid: 77)
        #expect(bench.heard(server) == "flush_all\r\n")
        bench.receive(server, Array("OK\r\n".utf8))
        bench.ask(client, "get k\r\n")
        #expect(bench.heard(server) == "get k\r\n")
        bench.receive(server, Array("END\r\n".utf8))
        #expect(bench.commands("backup1") == "get k\r\n", "it is recovering: a miss there says nothing")
        bench.answer("backup1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE k 0 1\r\nx\r\nEND\r\n")
    }

    @Test(
        "A server's name is looked up now and then; when it means another address, the server there is flushed before it is used")
    func nameMoved() throws {
        let bench = Bench.serving()
        let old = bench.backend("cache1")
        for _ in 0..<35 {
            bench.advance(milliseconds: 1_000)
            for name in ["cache1", "backup1"] where bench.commands(name) == "mn\r\n" { bench.answer(name, "MN\r\n") }
        }
        #expect(bench.lookedUp.filter { $0 == old }.count == 2, "at once, and 30 s later")
        bench.step(.moved(old))
        bench.settle()
        #expect(bench.closed.contains(old))
        #expect(bench.lines.contains { $0.contains("memcached moves server=cache1: cache1 means another address now") })
        let server = try bringUp(bench, at: "cache1", pid: 77)
        #expect(server != old)
        #expect(bench.heard(server) == "flush_all\r\n")
    }

    @Test("A server that comes back at another address is flushed, too: it may be another one")
    func cameBackElsewhere() throws {
        let bench = Bench.serving()
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.step(.moved(bench.backend("cache1")))
        let server = try bringUp(bench, at: "cache1", pid: 77)
        #expect(bench.heard(server) == "flush_all\r\n")
    }

    @Test("The same memcached under another address keeps what it holds")
    func renamed() throws {
        let bench = Bench.serving()
        reconfigure(bench) { $0.primaries[0].address.host = "alias" }
        let server = try bringUp(bench, at: "alias", pid: 1)
        #expect(bench.heard(server) == "")
        bench.ask(bench.client(), "get k\r\n")
        #expect(bench.heard(server) == "get k\r\n")
    }

    @Test("What was under way at the old address is answered as if its connection had broken")
    func underWay() throws {
        let bench = Bench.serving()
        let reader = bench.client()
        let writer = bench.client()
        bench.ask(reader, "get k\r\n")
        bench.ask(writer, "set k 0 0 1\r\nx\r\n")
        reconfigure(bench) { $0.primaries[0].address.host = "newhost" }
        #expect(bench.commands("backup1").contains("get k\r\n"))
        bench.answer("backup1", "STORED\r\nEND\r\n")
        #expect(bench.heard(reader) == "END\r\n")
        #expect(bench.heard(writer) == "STORED\r\n")
    }

    @Test("A backup that moves is flushed, too, and no primary counts on it any more")
    func movedBackup() throws {
        let bench = Bench.serving()
        reconfigure(bench) { $0.backups[0].address.host = "newhost" }
        let server = try bringUp(bench, at: "newhost", pid: 77)
        #expect(bench.heard(server) == "flush_all\r\n")
        bench.receive(server, Array("OK\r\n".utf8))
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        #expect(bench.heard(server) == "")
    }

    @Test("A server that moves on before it was reached is looked for at the last address only, and flushed there")
    func movedTwice() throws {
        let bench = Bench.serving()
        reconfigure(bench) { $0.primaries[0].address.host = "nowhere" }
        bench.lose(try #require(bench.dialled(at("nowhere"))), "connection refused", .absent)
        reconfigure(bench) { $0.primaries[0].address.host = "newhost" }
        let server = try bringUp(bench, at: "newhost", pid: 77)
        #expect(bench.heard(server) == "flush_all\r\n")
        // The connection breaks before the flush is answered: it is asked for again.
        bench.lose(server)
        bench.advance(milliseconds: 5_000)
        #expect(bench.heard(try bringUp(bench, at: "newhost", pid: 77)) == "flush_all\r\n")
    }

    @Test("A server whose address stays is not disturbed by all this")
    func undisturbed() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        reconfigure(bench) { $0.times.backendTimeoutMilliseconds = 500 }
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
    }

    @Test("A server that a sibling has met at its new address, emptied and refilled is not flushed again")
    func metBefore() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        let bench = Bench.serving(plan)
        bench.node.noteRefilled(bench.node.servers[0], 1, Array("77.1000".utf8))
        reconfigure(bench) { $0.primaries[0].address.host = "newhost" }
        let server = try bringUp(bench, at: "newhost", pid: 77)
        #expect(bench.heard(server) == "")
        #expect(bench.node.servers[0].isUp && !bench.node.servers[0].lacksItems)
    }

    @Test("A refill ends when its rate becomes zero, or one of its servers moves")
    func refills() throws {
        for change in [{ (site: inout Site) in site.refillKeysPerSecond = 0 }, { $0.backups[0].address.host = "newhost" }] {
            var plan = BenchPlan()
            plan.refillKeysPerSecond = 1_000
            let bench = Bench.serving(plan)
            bench.lose(bench.backend("cache1"))
            bench.advance(milliseconds: 1_000)
            bench.bringUp("cache1", pid: 2, startedAt: 2_000)
            bench.advance(milliseconds: 200)
            let refill = try #require(bench.node.refill)
            reconfigure(bench, nil, change)
            #expect(bench.node.refill == nil && bench.closed.contains(refill.list.connection))
        }
    }
}
