// What changes while a lane runs. The site's files were read anew by the shell, and compared with what runs (`SiteChange`): lanes
// and the times that siblings hold each other to are as they were. Other servers are a matter of the whole group (`RingChange.swift`).
//
//     limits, times      looked up where they are used: the new ones hold from the next time on
//     listeners          who came in stays in; what they ask for, they ask of those who come
//     memory-max         at once; past the new one the worst are closed, as ever
//     servers' addresses the connection is dropped and made anew, and the server is flushed unless it is the same process;
//                        the same when a server's name is looked up, now and then, and means another address
//
// While clients wait for new rings, what concerns servers waits for these, or for their being put off.

import Configuration
import Kernel

extension LaneNode {
    func reconfigure(_ federation: Federation, _ read: Site, _ listeners: [Int: ClientListener]) {
        precondition(read.loops == configuration.site.loops, "the lanes of a site do not change while it runs")
        // What is asked of clients holds at once, whatever else must wait: the shell lets them in by these listeners already.
        self.listeners = listeners
        var site = read
        site.primaries = configuration.site.primaries
        site.backups = configuration.site.backups
        if !ringChange.isHolding {
            site.primaries = site.primaries.map { Self.moved($0, as: read.primaries) }
            site.backups = site.backups.map { Self.moved($0, as: read.backups) }
        }
        configuration.site = site
        if site.refillKeysPerSecond == 0 {
            if let refill { abandon(refill, "the site file says refill-keys-per-second: 0") }
            if let clearing { abandon(clearing, "the site file says refill-keys-per-second: 0") }
        }
        note(clientMemory.limit(to: site.clients.memoryBytesMax / site.loops))
        guard !ringChange.isHolding else { return ringChange.readNext = (federation, read, listeners) }
        for (server, definition) in zip(servers, site.primaries + site.backups)
        where server.definition.address != definition.address {
            move(server, to: definition.address)
        }
        offerRings(federation, read, listeners)
    }

    /// A server that is on the ring, where the files say that it is now.
    private static func moved(_ server: Backend, as read: [Backend]) -> Backend {
        var server = server
        if let found = read.first(where: { $0.name == server.name }) { server.address = found.address }
        return server
    }

    /// A server is elsewhere from now on. What is under way at the old address is lost as if the connection had broken, and the
    /// new one is met as after a restart, save that its memory is not taken to be empty.
    private func move(_ server: BackendServer, to address: HostPort) {
        say(.notice, "memcached moves server=\(server.definition.name) from=\(server.definition.address) to=\(address)")
        leave(server, "it has moved to \(address)")
        server.move(to: address)
        if !finished { connect(server) }
    }

    /// The same, where the address stands in the network's name service.
    func nameMoved(_ server: BackendServer) {
        say(
            .notice,
            "memcached moves server=\(server.definition.name): \(server.definition.address.host) means another address now")
        server.noteMoved()
        // Just found out while it is dialled: it is dialled at the new address.
        guard server.phase != .connecting else { return }
        leave(server, "its name means another address now")
        if !finished { connect(server) }
    }

    private func leave(_ server: BackendServer, _ reason: String) {
        if let refill, refill.source == server.index || refill.target == server.index {
            abandon(refill, "\(server.definition.name) moves")
        }
        if let clearing, clearing.list.server == server.index { abandon(clearing, "it moves") }
        drop(server, reason)
        server.attempts = 0
        server.retryAt = monotonic
    }
}
