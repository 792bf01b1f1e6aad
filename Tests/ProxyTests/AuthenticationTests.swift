import Configuration
import Kernel
import Memcache
import Testing

@testable import Proxy

/// Clients of a listener that asks who they are, beside those of one that does not.
@Suite struct AuthenticationTests {
    private static let users = "alice:secret\nbob:swordfish\n"
    private let login = "set who 0 0 12\r\nalice secret\r\n"

    private func bench(_ users: String? = users) throws -> Bench {
        var plan = BenchPlan()
        plan.listeners = [
            .tcp(HostPort(host: "0.0.0.0", port: 11_211)),
            ClientListener(.tcp(HostPort(host: "0.0.0.0", port: 11_212)), authenticationPath: "/users"),
        ]
        let bench = Bench.serving(plan)
        if let users { bench.step(.credentials([1: try Credentials(file: Array(users.utf8))])) }
        return bench
    }

    private func client(_ bench: Bench) -> ConnectionID { bench.accept(.client(from: "10.0.0.9:5", listener: 1)) }

    private func say(_ bench: Bench, _ client: ConnectionID, _ text: String) -> String {
        bench.receive(client, Array(text.utf8))
        return String(decoding: bench.sent(client), as: UTF8.self)
    }

    private func packet(_ opcode: UInt8, _ key: String = "", _ value: String = "") -> [UInt8] {
        let body = Array(key.utf8) + Array(value.utf8)
        return [0x80, opcode, 0, UInt8(key.utf8.count), 0, 0, 0, 0, 0, 0, 0, UInt8(body.count)] + [UInt8](repeating: 0, count: 12)
            + body
    }

    /// Status and words of the packets that came back.
    private func say(_ bench: Bench, _ client: ConnectionID, _ packets: [UInt8]...) -> [String] {
        bench.receive(client, packets.flatMap { $0 })
        var rest = bench.sent(client)[...]
        var found: [String] = []
        while rest.count >= 24 {
            let start = rest.startIndex
            let bodyBytes = Int(rest[start + 11])
            found.append("\(rest[start + 7]) " + String(decoding: rest.dropFirst(24).prefix(bodyBytes), as: UTF8.self))
            rest = rest.dropFirst(24 + bodyBytes)
        }
        return found
    }

    @Test("Who sends the line of its set and not the block has as much time as for any other request")
    func halfway() throws {
        let bench = try bench()
        let slow = client(bench)
        let silent = client(bench)
        #expect(say(bench, slow, "set who 0 0 12\r\n") == "")
        bench.advance(milliseconds: bench.configuration.site.times.clientRequestMilliseconds + 1_000)
        #expect(bench.closed == [slow], "who has begun nothing is merely idle")
        #expect(say(bench, silent, login) == "STORED\r\n")
        bench.advance(milliseconds: 2 * bench.configuration.site.times.clientRequestMilliseconds)
        #expect(!bench.closed.contains(silent))
    }

    @Test("A stranger's bytes are no excuse: its line, and its block, also one that is refused, have their time together")
    func dripping() throws {
        let bench = try bench()
        let patience = bench.configuration.site.times.clientRequestMilliseconds
        let openings = ["", "set who 0 0 2000\r\n", "set who 0 0 1000000\r\n"]
        let drippers = openings.map { opening in
            let client = client(bench)
            #expect(say(bench, client, opening + "s") == "")
            return client
        }
        for _ in 0..<12 {
            bench.advance(milliseconds: patience / 10)
            for client in drippers where !bench.closed.contains(client) { _ = say(bench, client, "s") }
        }
        #expect(bench.closed == Set(drippers))
    }

    @Test("A text client is let in by its first set, and is then a client like any other")
    func text() throws {
        let bench = try bench()
        let client = client(bench)
        #expect(say(bench, client, "get k\r\n") == "CLIENT_ERROR unauthenticated\r\n")
        #expect(bench.commands("cache1") == "", "nothing of a stranger reaches a server")
        #expect(say(bench, client, login + "get k\r\n") == "STORED\r\n")
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(String(decoding: bench.sent(client), as: UTF8.self) == "END\r\n")
        _ = say(bench, client, login)
        #expect(bench.commands("cache1").contains("who"), "a second one is a set")
    }

    @Test("A client that said who it is in text goes on in text: a byte of the binary protocol is an unknown command")
    func staysText() throws {
        let bench = try bench()
        let client = client(bench)
        #expect(say(bench, client, login) == "STORED\r\n")
        bench.receive(client, [0x80, 0x0d] + Array("\r\n".utf8))
        #expect(bench.sent(client) == Array("ERROR\r\n".utf8))
        #expect(say(bench, client, "mn\r\n") == "MN\r\n")
    }

    @Test("Of the answers to what arrives together only the last is given")
    func last() throws {
        let bench = try bench()
        let client = client(bench)
        #expect(say(bench, client, "get k\r\nget k\r\nset k 0 0 3\r\na b\r\n") == "CLIENT_ERROR authentication failure\r\n")
        #expect(say(bench, client, "get k\r\n" + login + "mn\r\n") == "STORED\r\nMN\r\n")
    }

    @Test("The listener beside it asks for nothing")
    func open() throws {
        let bench = try bench()
        #expect(say(bench, bench.client(), "mn\r\n") == "MN\r\n")
    }

    @Test("Where no pairs were read nobody gets in")
    func nobody() throws {
        let bench = try bench(nil)
        #expect(say(bench, client(bench), login) == "CLIENT_ERROR authentication failure\r\n")
    }

    @Test("New pairs hold at once for who comes, and who is in stays in")
    func replaced() throws {
        let bench = try bench()
        let (inside, outside) = (client(bench), client(bench))
        #expect(say(bench, inside, login) == "STORED\r\n")
        bench.step(.credentials([1: try Credentials(file: Array("alice:fresh\n".utf8))]))
        #expect(say(bench, outside, login) == "CLIENT_ERROR authentication failure\r\n")
        #expect(say(bench, outside, "set k 0 0 11\r\nalice fresh\r\n") == "STORED\r\n")
        #expect(say(bench, inside, "mn\r\n") == "MN\r\n")
    }

    @Test("SASL lets a binary client in; anything else before it is refused and closes")
    func sasl() throws {
        let bench = try bench()
        let client = client(bench)
        #expect(
            say(bench, client, packet(0x20), packet(0x0b), packet(0x21, "PLAIN", "\0alice\0secret"), packet(0x0a)) == [
                "0 PLAIN", "0 1.6.18", "0 Authenticated", "0 ",
            ])
        let stranger = self.client(bench)
        #expect(say(bench, stranger, packet(0x00, "k"), packet(0x0a)) == ["32 Auth failure."])
        #expect(bench.closed.contains(stranger) && !bench.closed.contains(client))
    }

    @Test("A step goes on where an auth began; another attempt takes back what was given, as memcached does")
    func steps() throws {
        let bench = try bench()
        let good = "\0bob\0swordfish"
        #expect(say(bench, client(bench), packet(0x22, "PLAIN", good)) == ["32 Auth failure."])
        #expect(
            say(bench, client(bench), packet(0x21, "PLAIN"), packet(0x22, "PLAIN", "\0bob\0x"), packet(0x22, "PLAIN", good)) == [
                "33 ", "32 Auth failure.", "0 Authenticated",
            ])
        let twice = client(bench)
        #expect(
            say(bench, twice, packet(0x21, "PLAIN", good), packet(0x21, "PLAIN", good), packet(0x21, "PLAIN", good)) == [
                "0 Authenticated", "32 Auth failure.", "0 Authenticated",
            ])
        #expect(say(bench, twice, packet(0x20), packet(0x0a)) == ["0 PLAIN", "32 Auth failure."])
        #expect(bench.closed.contains(twice))
    }

    @Test("A login waits its turn behind what was asked before")
    func order() throws {
        let bench = try bench()
        let client = client(bench)
        _ = say(bench, client, packet(0x21, "PLAIN", "\0alice\0secret"))
        #expect(say(bench, client, packet(0x00, "k"), packet(0x21, "PLAIN", "\0alice\0x")) == [])
        bench.answer("cache1", "EN\r\n")
        let replies = bench.sent(client)
        #expect(replies.prefix(2) == [0x81, 0x00] && replies.dropFirst(24 + 9).prefix(2) == [0x81, 0x21])
    }

    @Test("Failures are counted and told, a line in ten seconds, and what was shown is in none")
    func complaints() throws {
        let bench = try bench()
        let client = client(bench)
        for _ in 0..<5 { _ = say(bench, client, "set k 0 0 13\r\nalice hunter2\r\n") }
        bench.advance(milliseconds: 11_000)
        _ = say(bench, client, "set k 0 0 13\r\nhunter2 alice\r\n")
        let lines = bench.lines.filter { $0.contains("authentication") }
        #expect(
            lines == [
                "client authentication failed address=10.0.0.9:5 listener=0.0.0.0:11212",
                "client authentication failed address=10.0.0.9:5 listener=0.0.0.0:11212 (4 more since the last such line)",
            ])
        #expect(!bench.lines.contains { $0.contains("hunter2") || $0.contains("alice") })
        _ = say(bench, client, login)
        #expect(bench.node.counters.authentications == 7 && bench.node.counters.authenticationsFailed == 6)
    }

    @Test("A stranger that reads nothing is paused after little, and served again when it reads")
    func bounded() throws {
        let bench = try bench()
        let client = client(bench)
        let versions = (0..<6_000).flatMap { _ in packet(0x0b) }
        bench.node.connections.incoming(client).append(versions)
        bench.step(.received(client))
        // A turn takes only so many commands of one client.
        for _ in 0..<10 { bench.step(.deadline) }
        let waiting = bench.node.connections.outgoing(client).count
        #expect(waiting >= 16 << 10 && waiting < 17 << 10, "\(waiting) bytes wait")
        let left = bench.node.connections.incoming(client).count
        bench.settle()
        #expect(left > 100_000)
        _ = bench.sent(client)
        bench.step(.drained(client))
        #expect(bench.node.connections.incoming(client).count < left)
    }
}
