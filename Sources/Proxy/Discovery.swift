// Auto-discovery as Amazon's clients know it (`config get cluster`): the proxies of this site, so that a client that was given
// one of them finds them all.

import Configuration
import Kernel
import Memcache

extension LaneNode {
    /// The key under which older clients ask for the same.
    static let discoveryKey = "AmazonElastiCache:cluster"

    /// `CONFIG cluster`, or `VALUE …` for the older way.
    func discovery(isKey: Bool) -> [UInt8] {
        let list = configuration.site.proxies.compactMap { proxy in
            address(of: proxy).map { "\($0.host)|\(Self.isNumeric($0.host) ? $0.host : "")|\($0.port)" }
        }
        let payload = "1\n\(list.joined(separator: " "))\n"
        let head = isKey ? "VALUE \(Self.discoveryKey)" : "CONFIG cluster"
        return Array("\(head) 0 \(payload.utf8.count)\r\n\(payload)\r\nEND\r\n".utf8)
    }

    /// Where clients of this site reach a proxy: its first TCP listener that is not on loopback, or its first at all. One that listens
    /// on all addresses is reached where its siblings reach it.
    private func address(of proxy: SiteProxy) -> HostPort? {
        let listeners = proxy.clients.compactMap { if case .tcp(let listener) = $0.address { listener } else { nil } }
        guard let listener = listeners.first(where: { !Self.isLoopback($0.host) }) ?? listeners.first else { return nil }
        guard listener.host == "0.0.0.0" || listener.host == "::" else { return listener }
        let known = configuration.here.proxies.first { $0.name == proxy.name }
        return known.map { HostPort(host: $0.replication.host, port: listener.port) }
    }

    private static func isLoopback(_ host: String) -> Bool { host.hasPrefix("127.") || host == "::1" || host == "localhost" }

    private static func isNumeric(_ host: String) -> Bool {
        host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
    }
}
