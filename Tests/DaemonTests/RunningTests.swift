import Configuration
import EventLoop
import Foundation
import Kernel
import Proxy
import Testing

@testable import Daemon

/// What a proxy runs on, reading after reading: a listener keeps its number for as long as it is open.
@Suite struct RunningTests {
    private func proxy(_ ports: [UInt16]) -> SiteProxy {
        SiteProxy(
            name: "n1", clients: ports.map { .tcp(HostPort(host: "127.0.0.1", port: $0)) },
            replication: HostPort(host: "127.0.0.1", port: 1), admin: .unix(path: "/a"), folder: "/f", authorityPath: "",
            certificatePath: "", keyPath: "", clientConnectionsMax: 1)
    }

    private let federation = Federation(
        name: "shop", flavour: .ketama, servers: [], slotCount: 256, itemBytesMax: 1 << 20, sites: [], crossing: [])

    private func site(_ proxy: SiteProxy) -> Site {
        Site(
            name: "north", primaries: [], backups: [], proxies: [proxy], loops: 2, durability: .memory, unreachable: .miss,
            flush: .local, times: SiteTimes(), segmentBytes: 1 << 20)
    }

    private func started(_ ports: [UInt16]) throws -> Running {
        let proxy = proxy(ports)
        return Running(federation: federation, site: site(proxy), proxy: proxy, doors: try ClientDoors(proxy))
    }

    private func taking(_ running: Running, _ ports: [UInt16]) -> Running {
        let proxy = proxy(ports)
        return running.taking(federation: federation, site: site(proxy), proxy: proxy)
    }

    @Test("Numbers stay with their addresses, in whatever order the file names them, and none is used twice")
    func numbers() throws {
        let first = try started([11, 12])
        #expect(first.open == [0, 1])
        let second = taking(first, [13, 12])
        #expect(second.open == [2, 1] && first.added(in: second) == [2])
        #expect(second.listeners[0]?.description == "127.0.0.1:11", "its clients are still here")
        #expect(second.openListeners.keys.sorted() == [1, 2])
        let third = taking(second, [11])
        #expect(third.open == [3] && second.added(in: third) == [3], "what comes back is another listener")
    }

    @Test("Several that come at once have numbers of their own")
    func several() throws {
        let next = taking(try started([11]), [12, 11, 13, 14])
        #expect(next.open == [1, 0, 2, 3])
        #expect(next.open.map { next.listeners[$0]?.description } == [12, 11, 13, 14].map { "127.0.0.1:\($0)" })
    }

    @Test("When one address is taken, those that were bound before it are free again")
    func allOrNothing() throws {
        let taken = try BoundSocket.tcp(host: "127.0.0.1", port: 0)[0][0]
        try taken.listen()
        defer { taken.close() }
        let free = try BoundSocket.tcp(host: "127.0.0.1", port: 0)[0][0]
        let port = free.port
        free.close()
        let listeners: [Int: ClientListener] = [
            0: .tcp(HostPort(host: "127.0.0.1", port: port)), 1: .tcp(HostPort(host: "127.0.0.1", port: taken.port)),
        ]
        #expect(throws: SocketError.self) {
            try ClientSockets([0, 1], of: listeners, loops: 2, policy: ClientPolicy())
        }
        let sockets = try ClientSockets([0], of: listeners, loops: 2, policy: ClientPolicy())
        #expect(sockets.tcp.map(\.count) == [1, 1])
        sockets.close()
    }

    @Test("A file with mistakes, and one that asks for a restart, come back as lines and nothing else")
    func refusals() throws {
        let running = try started([11])
        let identity = PeerIdentity(federation: "shop", site: "north", proxy: "n1")
        let mistakes = ConfigurationProblems([
            ConfigurationProblem(file: "north.yaml", line: 3, column: 1, message: "it is wrong", remedy: "Mend it")
        ])
        guard case .refused(let lines) = ReloadOutcome.preparing(running, identity, read: { throw mistakes }) else {
            Issue.record("a file with mistakes is taken")
            return
        }
        #expect(lines == ["north.yaml:3:1: it is wrong. Mend it."])
        var other = site(proxy([11, 12]))
        other.loops = 3
        let read: SiteReader = { [federation, other] in (federation, other) }
        guard case .refused(let reasons) = ReloadOutcome.preparing(running, identity, read: read) else {
            Issue.record("other loops are taken")
            return
        }
        #expect(reasons.count == 1 && reasons[0].hasPrefix("loops from=2 to=3 cannot change while the proxy runs. Stop all"))
    }
}
