// Auto-discovery as Amazon's clients know it (`config get cluster`): the proxies of this site, so that a client that was given
// one of them finds them all.
//
//     proxy's TCP listeners ─▶ those like the one that the asker came through, before others ─▶ host|address|port

import Configuration
import Kernel
import Memcache

extension LaneNode {
    /// The key under which older clients ask for the same.
    static let discoveryKey = "AmazonElastiCache:cluster"

    /// How the list is answered.
    enum DiscoveryForm {
        /// `CONFIG cluster …`
        case config
        /// `VALUE …`, the older way.
        case value
        /// `VA …`, which becomes a packet: the older way of a client that speaks binary.
        case meta
    }

    /// True when a request is for the list.
    func asksForDiscovery(_ request: Request, _ bytes: UnsafeRawBufferPointer) -> Bool {
        request.key.count == Self.discoveryKey.utf8.count && request.key.of(bytes).elementsEqual(Self.discoveryKey.utf8)
    }

    /// The list, as this client can use it.
    func discovery(_ form: DiscoveryForm, for session: ClientSession) -> [UInt8] {
        let list = configuration.site.proxies.compactMap { entry(of: $0, for: session) }
        let payload = "1\n\(list.joined(separator: " "))\n"
        return switch form {
        case .config: Array("CONFIG cluster 0 \(payload.utf8.count)\r\n\(payload)\r\nEND\r\n".utf8)
        case .value: Array("VALUE \(Self.discoveryKey) 0 \(payload.utf8.count)\r\n\(payload)\r\nEND\r\n".utf8)
        case .meta: Array("VA \(payload.utf8.count) f0 c0\r\n\(payload)\r\n".utf8)
        }
    }

    /// `host|address|port` where the client reaches a proxy, the address empty if only a name is known; nil if it cannot.
    private func entry(of proxy: SiteProxy, for session: ClientSession) -> String? {
        let doors = proxy.clients.enumerated().sorted {
            (rank($0.element, for: session), $0.offset) < (rank($1.element, for: session), $1.offset)
        }
        for (_, door) in doors {
            guard case .tcp(let address) = door.address, let (host, ip) = whereabouts(of: address, proxy, session) else {
                continue
            }
            return "\(host)|\(ip)|\(address.port)"
        }
        return nil
    }

    /// The lower, the better for this client. What asks for TLS, or for a password, is of no use to a client that came without.
    private func rank(_ door: ClientListener, for session: ClientSession) -> Int {
        guard case .tcp(let address) = door.address else { return 4 }
        let came = listeners[session.listener]
        let isAlike =
            (door.tls != nil) == (came?.tls != nil)
            && (door.authenticationPath != nil) == (came?.authenticationPath != nil)
            && door.admits(HostPort(session.address).flatMap { IPAddress($0.host) })
        // Who came over loopback, or a unix socket, is on this machine.
        let isReached = !address.isLoopback || session.local?.isLoopback ?? true
        if isAlike && isReached { return address.isLoopback ? 1 : 0 }
        return isReached && !address.isLoopback ? 2 : 3
    }

    /// The host of a proxy's listener, and its address as far as it is known; nil where nobody would be reached. Who listens on all
    /// addresses is reached where its siblings reach it, or, if it is this one, where the client has reached it.
    private func whereabouts(of listener: HostPort, _ proxy: SiteProxy, _ session: ClientSession) -> (host: String, ip: String)? {
        let isOwn = proxy.name == configuration.identity.proxy
        let met = session.local.flatMap { isOwn && $0.port == listener.port ? $0.host : nil }
        guard listener.isWildcard else {
            return (listener.host, Self.isNumeric(listener.host) ? listener.host : met ?? "")
        }
        // Each of the two serves its own kind of addresses alone.
        func isServed(_ host: String) -> Bool { host.contains(":") == listener.host.contains(":") }
        let known = configuration.here.proxies.first { $0.name == proxy.name }?.replication.host
        let near = isOwn && session.local == nil ? (isServed("::1") ? "::1" : "127.0.0.1") : nil
        let metHere = met.flatMap { isServed($0) ? $0 : nil } ?? near
        if let known, !Self.isNumeric(known) { return (known, metHere ?? "") }
        if let known, isServed(known) { return (known, known) }
        return metHere.map { ($0, $0) }
    }

    private static func isNumeric(_ host: String) -> Bool {
        host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
    }
}
