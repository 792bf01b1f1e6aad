// A lane that reaches no memcached server, while its siblings do, is no good owner: it could write nothing, and whatever it owes its
// servers keeps the whole group from trusting them. So it gives its slots to its siblings, and has them write again what it owes.
//
//     no server for the siblings' time-out ─▶ joining: the slots go to who serves ─▶ what the servers missed is handed over
//                                                 └──▶ a server is reached, or nobody else serves ─▶ serving again

import Kernel
import Replication

extension LaneNode {
    var reachesServer: Bool { servers.contains(where: \.acceptsWrites) }

    func tendStranding() {
        if reachesServer {
            (reachedAt, mayYield) = (monotonic, true)
            return
        }
        guard siblingIDs.contains(where: { siblings[$0]?.isServing ?? false }) else { return }
        let patience = UInt64(configuration.site.times.siblingTimeoutMilliseconds) * 1_000
        if state == .serving && mayYield && monotonic - reachedAt >= patience { yieldSlots() }
        if state == .joining { handOver() }
    }

    /// Once only for each time that servers were lost: where nobody reaches one, lanes would pass their slots to and fro.
    private func yieldSlots() {
        mayYield = false
        state = .joining
        joiningSince = monotonic
        say(.warning, "lane gives its slots to its siblings: it reaches no memcached server")
        for id in siblingIDs { siblings[id].map { beat($0) } }
        membershipChanged()
    }

    /// Whoever owns the keys now writes them again, a bounded number at a time.
    private func handOver() {
        for server in servers where !server.acceptsWrites { requestRepairs(server) }
    }
}
