// `stats`: memcached's usual names, summed over the site's servers where that means something, and the proxy's own.

import Kernel
import Memcache

extension LaneNode {
    /// Names whose values are summed over all servers.
    private static let summed: Set<String> = [
        "curr_items", "total_items", "bytes", "limit_maxbytes", "evictions", "reclaimed", "expired_unfetched",
        "evicted_unfetched",
    ]

    private static func detailReply(_ name: String) -> StaticString {
        switch name {
        case "reset": "RESET\r\n"
        case "settings", "items", "slabs", "conns", "sizes": "END\r\n"
        default: "ERROR\r\n"
        }
    }

    func stats(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard session.slots.isEmpty else { return false }
        counters.commandsOther += 1
        if !request.key.isEmpty {
            answer(session, Self.detailReply(String(decoding: request.key.of(bytes), as: UTF8.self)))
            return true
        }
        let work = StatsWork(client: session.connection, reply: session.expectReply(path: -1, isWrite: false))
        let reachable = servers.filter(\.acceptsWrites)
        work.outstanding = reachable.count + 1
        for server in reachable { ask(server, .stats(work), .stats) { Command.stats(into: $0) } }
        statsAnswered(work)
        return true
    }

    func addStats(_ work: StatsWork, _ reply: Reply, _ bytes: UnsafeRawBufferPointer) {
        var stats = StatCursor(reply, in: bytes)
        while let (name, value) = stats.next() {
            let name = String(decoding: name.of(bytes), as: UTF8.self)
            guard Self.summed.contains(name), let number = UInt64(String(decoding: value.of(bytes), as: UTF8.self)) else {
                continue
            }
            work.sums[name, default: 0] &+= number
        }
    }

    func statsAnswered(_ work: StatsWork) {
        work.outstanding -= 1
        guard work.outstanding == 0 else { return }
        let own: [(String, UInt64)] = [
            ("uptime", (monotonic - startedAt) / 1_000_000), ("time", now.wallMicroseconds / 1_000_000),
            ("curr_connections", UInt64(sessions.count)), ("total_connections", counters.connectionsAccepted),
            ("cmd_get", counters.commandsGet), ("cmd_set", counters.commandsSet), ("get_hits", counters.getHits),
            ("get_misses", counters.getMisses), ("threads", UInt64(configuration.site.loops)),
        ]
        var text = ""
        for (name, value) in own + work.sums.sorted(by: { $0.key < $1.key }) { text += "STAT \(name) \(value)\r\n" }
        text += "STAT version \(Meridian.protocolVersion)\r\nEND\r\n"
        Array(text.utf8).withUnsafeBytes { deliver(work.client, work.reply, .end, $0) }
    }
}
