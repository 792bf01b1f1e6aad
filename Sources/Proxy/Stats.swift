// `stats` and its subcommands: memcached's usual names, of the pool where that means something, and the proxy's own.
//
//     stats, settings, items, slabs ─▶ asked of every reachable server ─▶ merged ─▶ the proxy's own on top
//                                      others: what they last said    ─┘
//     sizes, conns, proxy, servers, replication, reset ─▶ answered here

import Configuration
import Kernel
import Memcache
import Status

extension LaneNode {
    func stats(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard session.slots.isEmpty else { return false }
        var words = KeyCursor(request, in: bytes)
        let what = words.next().map { String(decoding: $0.of(bytes), as: UTF8.self) } ?? ""
        if let gathered = GatheredStats(rawValue: what) {
            gather(gathered, for: session)
        } else if what == "detail" {
            detail(words.next().map { String(decoding: $0.of(bytes), as: UTF8.self) }, session)
        } else {
            answer(session, Array(ownStats(what).utf8))
        }
        return true
    }

    private func gather(_ what: GatheredStats, for session: ClientSession) {
        let work = StatsWork(client: session.connection, reply: session.expectRead(bytes: 0, path: -1), what: what)
        let reachable = servers.filter(\.acceptsWrites)
        work.outstanding = reachable.count + 1
        for server in reachable { ask(server, .stats(work), .stats) { Command.stats(what.rawValue, into: $0) } }
        statsAnswered(work)
    }

    /// A server has said something of itself.
    func noteStats(_ what: GatheredStats, of server: BackendServer, _ reply: Reply, _ bytes: UnsafeRawBufferPointer) {
        guard !reply.kind.isError else { return }
        var stats = StatCursor(reply, in: bytes)
        var rows: [(String, String)] = []
        while let (name, value) = stats.next() {
            rows.append((String(decoding: name.of(bytes), as: UTF8.self), String(decoding: value.of(bytes), as: UTF8.self)))
        }
        statAnswers.note(rows, of: server.definition.name, to: what, at: monotonic)
    }

    /// What the servers last said, be it just now, or before they were lost.
    private func merged(_ what: GatheredStats) -> [(String, String)] {
        var known = statAnswers
        known.merge(process.otherAnswers)
        let answers = servers.compactMap { known.rows(of: $0.definition.name, to: what) }
        guard !answers.isEmpty else { return what.rowsOfNobody }
        var merge = StatsMerge()
        for rows in answers { for (name, value) in rows { merge.add(name, value, of: what) } }
        return merge.rows
    }

    func statsAnswered(_ work: StatsWork) {
        work.outstanding -= 1
        guard work.outstanding == 0 else { return }
        var lines = StatLines()
        switch work.what {
        case .general: lines.add(generalStats)
        case .settings: lines.add(settings)
        case .items, .slabs: break
        }
        lines.add(merged(work.what))
        Array(lines.text.utf8).withUnsafeBytes { deliver(work.client, work.reply, .end, $0) }
    }

    // MARK: The proxy's own

    /// A proxy keeps no figures by the keys' prefixes: there is never anything to dump. Clients that ask wait for what memcached says.
    private func detail(_ what: String?, _ session: ClientSession) {
        switch what {
        case "on", "off": answer(session, "OK\r\n")
        case "dump":
            let empty: [UInt8] = Array("END\r\n".utf8)
            guard let exchange = session.exchange else { return answer(session, empty) }
            // In the binary protocol the whole text is the value of one statistic.
            let queue = ByteQueue()
            empty.withUnsafeBytes { BinaryReply.encodeStat("detailed", $0, for: exchange, into: queue) }
            send(session, [UInt8](queue.readable))
        default: answer(session, "CLIENT_ERROR usage: stats detail on|off|dump\r\n")
        }
    }

    private func ownStats(_ what: String) -> String {
        var lines = StatLines()
        switch what {
        case "conns": lines.add(connectionStats)
        case "proxy": lines.add(proxyStats)
        case "servers": lines.add(serverStats)
        case "replication": lines.add(replicationStats)
        case "extstore": break
        // A histogram of all items: memcached keeps none unless it is told to.
        case "sizes": lines.add([("sizes_status", "disabled")])
        case "reset":
            resetStats()
            effects.actions.append(.resetStats)
            return "RESET\r\n"
        // A proxy lists no keys: they are not its own. The words are those of `memcached -X`, and so is what the settings say.
        case "cachedump": return "CLIENT_ERROR stats cachedump not allowed\r\n"
        default: return "ERROR\r\n"
        }
        return lines.text
    }

    /// Counts from now on, for clients; /metrics goes on rising.
    func resetStats() { statsBaseline = totals }

    /// What all loops of the process have counted, by name.
    private var totals: [String: UInt64] {
        process.otherLanes.reduce(into: counters.named) { $0.merge($1.counters) { $0 &+ $1 } }
    }

    private var generalStats: [(String, String)] {
        let now = totals
        func count(_ name: String) -> String { "\((now[name] ?? 0) - min(now[name] ?? 0, statsBaseline[name] ?? 0))" }
        return [
            ("pid", "\(process.pid)"), ("uptime", "\((monotonic - startedAt) / 1_000_000)"),
            ("time", "\(self.now.wallMicroseconds / 1_000_000)"), ("version", Meridian.protocolVersion),
            ("libevent", process.eventLibrary), ("pointer_size", "64"),
            ("rusage_user", Self.seconds(process.userMicroseconds)), ("rusage_system", Self.seconds(process.systemMicroseconds)),
            ("max_connections", "\(clientPlaces)"), ("curr_connections", "\(allClientCount)"),
            ("total_connections", count("connections_accepted")), ("rejected_connections", "\(process.clientsRejected)"),
            ("connection_structures", "\(allClientCount)"), ("cmd_get", count("commands_get")),
            ("cmd_set", count("commands_set")), ("cmd_flush", count("commands_flush")), ("cmd_touch", count("commands_touch")),
            ("cmd_meta", count("commands_meta")), ("get_hits", count("get_hits")), ("get_misses", count("get_misses")),
            ("delete_misses", count("delete_misses")), ("delete_hits", count("delete_hits")),
            ("incr_misses", count("incr_misses")), ("incr_hits", count("incr_hits")), ("decr_misses", count("decr_misses")),
            ("decr_hits", count("decr_hits")), ("cas_misses", count("cas_misses")), ("cas_hits", count("cas_hits")),
            ("cas_badval", count("cas_bad_values")), ("touch_hits", count("touch_hits")),
            ("touch_misses", count("touch_misses")), ("auth_cmds", count("authentications")),
            ("auth_errors", count("authentications_failed")), ("bytes_read", count("client_bytes_read")),
            ("bytes_written", count("client_bytes_written")), ("accepting_conns", isAccepting ? "1" : "0"),
            ("listen_disabled_num", "\(process.listenersPaused)"), ("idle_kicks", count("clients_closed_idle")),
            ("threads", "\(configuration.site.loops)"),
        ]
    }

    /// Clients of all loops: of this one those of now, whoever asks among them.
    private var allClientCount: Int { process.clientsElsewhere + sessions.count }

    /// connections-max, or what open files allow.
    private var clientPlaces: Int { process.clientPlaces == 0 ? ownProxy.clientConnectionsMax : process.clientPlaces }

    /// Clients past the limit are told so; only those that are made to wait are not accepted.
    private var isAccepting: Bool { configuration.site.clients.excess == .refuse || allClientCount < clientPlaces }

    private static func seconds(_ microseconds: UInt64) -> String {
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        return "\(microseconds / 1_000_000).\(fraction)"
    }

    /// This proxy, as the site file has it.
    private var ownProxy: SiteProxy {
        guard let own = configuration.site.proxies.first(where: { $0.name == configuration.identity.proxy }) else {
            preconditionFailure("proxy \(configuration.identity.proxy) is not in its site's file")
        }
        return own
    }

    private var settings: [(String, String)] {
        var address: HostPort?
        var path: String?
        for listener in ownProxy.clients {
            switch listener.address {
            case .tcp(let tcp): address = address ?? tcp
            case .unix(let unix): path = path ?? unix
            }
        }
        let asksWho = ownProxy.clients.contains { $0.authenticationPath != nil } ? "yes" : "no"
        return [
            ("maxconns", "\(ownProxy.clientConnectionsMax)"), ("tcpport", "\(address?.port ?? 0)"), ("udpport", "0"),
            ("inter", address?.host ?? "NULL"), ("verbosity", "0"), ("domain_socket", path ?? "NULL"),
            ("num_threads", "\(configuration.site.loops)"), ("cas_enabled", "yes"), ("binding_protocol", "auto-negotiate"),
            ("auth_enabled_sasl", asksWho), ("auth_enabled_ascii", asksWho),
            ("item_size_max", "\(configuration.federation.itemBytesMax)"),
            ("maxconns_fast", configuration.site.clients.excess == .refuse ? "yes" : "no"),
            ("flush_enabled", configuration.site.flush == .deny ? "no" : "yes"),
            ("dump_enabled", "no"), ("idle_timeout", "\(configuration.site.times.clientIdleMilliseconds / 1_000)"),
            ("ssl_enabled", ownProxy.clients.contains { $0.tls != nil } ? "yes" : "no"),
        ]
    }

    /// As memcached writes addresses.
    private static func named(_ address: String) -> String { address.hasPrefix("[") ? "tcp6:\(address)" : "tcp:\(address)" }

    /// Who is at the other end of a unix socket memcached cannot tell either.
    private static func peer(_ session: ClientSession) -> String {
        session.address == "unix" ? "?:<AF 0>" : named(session.address)
    }

    private func entrance(_ session: ClientSession) -> String {
        if let local = session.local { return Self.named("\(local)") }
        guard let listener = listeners[session.listener]?.address else { return "<closed>" }
        switch listener {
        case .tcp(let address): return Self.named("\(address)")
        case .unix(let path): return "unix:\(path)"
        }
    }

    /// The clients of this loop.
    private var connectionStats: [(String, String)] {
        sessions.flatMap { session in
            let number = session.connection.index
            let state = session.closing ? "conn_closing" : session.slots.isEmpty ? "conn_read" : "conn_io_pending"
            return [
                ("\(number):addr", Self.peer(session)), ("\(number):listen_addr", entrance(session)), ("\(number):state", state),
                ("\(number):secs_since_last_cmd", "\((monotonic - min(session.lastCommandAt, monotonic)) / 1_000_000)"),
            ]
        }
    }
}
