import Configuration
import Foundation
import Kernel
import Testing

@testable import Proxy

/// `config get cluster`: what clients are told must be of use to them.
@Suite struct DiscoveryTests {
    private static let secret = ListenerTLS(certificatePath: "c", keyPath: "k")

    private func address(_ host: String, _ port: UInt16 = 11_211) -> HostPort { HostPort(host: host, port: port) }

    private func bench(_ listeners: [ClientListener], replication: String = "127.0.0.1") -> Bench {
        var plan = BenchPlan()
        plan.listeners = listeners
        plan.replicationHost = replication
        return Bench.serving(plan)
    }

    /// The entries that a client is told, once it may ask.
    private func entries(_ bench: Bench, from: String = "10.0.0.9:5", at local: HostPort? = nil, listener: Int = 0) -> String {
        let client = bench.accept(.client(from: from, at: local, listener: listener))
        guard let session = bench.node.sessions[client] else { return "no session" }
        let text = String(decoding: bench.node.discovery(.config, for: session), as: UTF8.self)
        return text.split(separator: "\r\n")[1].split(separator: "\n", omittingEmptySubsequences: false)[1].description
    }

    @Test("Discovery names every proxy of the site, the new way and the old")
    func discovery() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        let bench = Bench.serving(plan)
        _ = try bench.linkSibling()
        let client = bench.client()
        let reply = bench.ask(client, "config get cluster\r\n")
        let parts = reply.components(separatedBy: "\r\n")
        #expect(parts.count == 4 && parts[2] == "END" && parts[3].isEmpty)
        #expect(parts[0] == "CONFIG cluster 0 \(parts[1].utf8.count)")
        let lines = parts[1].split(separator: "\n")
        #expect(lines.count == 2 && lines[0] == "1" && lines[1].split(separator: " ").count == 2, "a version, and both proxies")
        let older = bench.ask(client, "get AmazonElastiCache:cluster\r\n")
        #expect(older == "VALUE AmazonElastiCache:cluster 0 \(parts[1].utf8.count)\r\n\(parts[1])\r\nEND\r\n")
    }

    @Test("A client is sent to listeners like the one that it came through: not to TLS or a password if it came without")
    func sameKind() {
        let bench = bench([
            ClientListener(.tcp(address("10.0.0.1", 1)), tls: Self.secret),
            ClientListener(.tcp(address("10.0.0.1", 2)), authenticationPath: "users"), .tcp(address("10.0.0.1", 3)),
            .tcp(address("127.0.0.1", 4)),
        ])
        for (listener, port) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
            #expect(entries(bench, at: address("10.0.0.1"), listener: listener) == "10.0.0.1|10.0.0.1|\(port)")
        }
    }

    @Test("A listener that would turn the client away is not named while there is another")
    func notAllowed() throws {
        let bench = bench([
            ClientListener(.tcp(address("10.0.0.1", 1)), allowed: [try Network("192.168.0.0/16")]), .tcp(address("10.0.0.1", 2)),
        ])
        #expect(entries(bench, at: address("10.0.0.1", 2), listener: 1) == "10.0.0.1|10.0.0.1|2")
        #expect(entries(bench, from: "192.168.0.9:5", at: address("10.0.0.1", 2), listener: 1) == "10.0.0.1|10.0.0.1|1")
    }

    @Test("Only who is on this machine is sent to loopback; who is elsewhere rather to a door of another kind")
    func loopback() {
        let bench = bench([.tcp(address("127.0.0.1", 1)), ClientListener(.tcp(address("10.0.0.1", 2)), tls: Self.secret)])
        #expect(entries(bench, from: "127.0.0.1:5", at: address("127.0.0.1", 1)) == "127.0.0.1|127.0.0.1|1")
        #expect(entries(bench, at: address("10.0.0.1", 2), listener: 1) == "10.0.0.1|10.0.0.1|2")
    }

    @Test("Whoever listens everywhere under a name is told with the address that the client has reached")
    func everywhere() {
        let named = bench([.tcp(address("0.0.0.0"))], replication: "vm")
        #expect(entries(named, at: address("10.0.0.1")) == "vm|10.0.0.1|11211")
        #expect(entries(named, from: "unix") == "vm|127.0.0.1|11211", "who came over a unix socket is on this machine")
    }

    @Test("What listens on IPv6 alone is not told with an IPv4 address")
    func sixAlone() {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.listeners = [.tcp(address("::"))]
        plan.replicationHost = "10.0.0.1"
        let bench = Bench.serving(plan)
        let told = entries(bench, from: "[fd00::9]:5", at: address("fd00::1"))
        #expect(told == "fd00::1|fd00::1|11211", "and of n2 nothing rather than an address where nobody listens")
    }

    @Test("A client that speaks binary is told, too")
    func binary() {
        let bench = bench([.tcp(address("10.0.0.1"))])
        let client = bench.client()
        let key = Array(LaneNode.discoveryKey.utf8)
        let size = UInt8(key.count)
        bench.receive(client, [0x80, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, size, 0, 0, 0, 7] + [UInt8](repeating: 0, count: 8) + key)
        let payload = "1\n10.0.0.1|10.0.0.1|11211\n"
        #expect(
            bench.sent(client)
                == [0x81, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, UInt8(4 + payload.utf8.count), 0, 0, 0, 7]
                + [UInt8](repeating: 0, count: 12) + Array(payload.utf8))
    }
}
