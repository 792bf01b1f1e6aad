// The moment at which a lane takes other rings (`RingChange.swift`): nothing is under way, and no other lane of the group does anything
// under the old ones any more.
//
//     kept servers     keep their connection and all that is known of them, under another number
//     new ones         are flushed when they are first met: nobody knows what they hold
//     those that gain  lack what they gain, as if they had been emptied: reads fall back to the other pool, which refills them. Where they
//                      may still hold it from an earlier time, out of date, they are flushed
//     those that lose  keep what moved away until it is cleared (`Clearing.swift`)
//     removed ones     are left alone, and flushed if they ever come back

import Configuration
import Kernel
import Replication
import Ring
import WriteLog

extension LaneNode {
    /// Takes the new rings. Clients are let in once the new servers have been tried.
    func takeRings(_ target: RingChange.Target) {
        let old = rings
        let wereServers = servers
        let primaryCount = target.primaries.count
        var next: [BackendServer] = []
        for (place, definition) in (target.primaries + target.backups).enumerated() {
            let isBackup = place >= primaryCount
            let known = wereServers.first { $0.isBackup == isBackup && $0.definition.name == definition.name }
            let server = known ?? BackendServer(index: place, isBackup: isBackup, definition: definition)
            server.reweigh(as: definition)
            if known == nil { flushUnlessInUse(server) }
            next.append(server)
        }
        for server in wereServers where !next.contains(where: { $0 === server }) {
            server.missEverything()
            drop(server, "it is no longer on the ring", .notice)
        }
        renumber(next)
        configuration.federation = target.federation
        configuration.site.primaries = target.primaries
        configuration.site.backups = target.backups
        rings = target.rings
        spreadsReads = configuration.site.reads != .primary && rings.backups != nil
        placeAnew()
        ringsTakenAt = monotonic
        ringChange.phase = .opening
        ringChange.target = nil
        noteMoves(from: old)
        for server in servers where server.phase == .idle {
            if server.missedTooMany || monotonic >= server.retryAt { connect(server) }
        }
        for server in servers { logServer(server) }
        logRings()
        observe(.ringsTaken)
    }

    /// Has everything that speaks of servers by number speak of them by their new ones.
    private func renumber(_ next: [BackendServer]) {
        let numbers = Dictionary(uniqueKeysWithValues: next.enumerated().map { (ObjectIdentifier($0.element), $0.offset) })
        let renumbered = servers.map { numbers[ObjectIdentifier($0)] }
        for server in next where server.index < servers.count && servers[server.index] === server {
            server.recoveringFrom = Set(server.recoveringFrom.compactMap { renumbered[$0] })
            server.refilledFrom = Set(server.refilledFrom.compactMap { renumbered[$0] })
        }
        for (request, assertion) in assertions {
            assertions[request]?.beneficiaries = assertion.beneficiaries.compactMap { beneficiary in
                guard case .repair(let server) = beneficiary else { return beneficiary }
                return renumbered[server].map { .repair($0) }
            }
        }
        for (place, server) in next.enumerated() {
            server.index = place
            if let connection = server.connection { serverOf[connection] = place }
        }
        refillsRetriedAt.removeAll()
        servers = next
    }

    /// Where the keys live that something waits for.
    private func placeAnew() {
        precondition(operations.isEmpty, "\(operations.count) operations are under way while the rings change")
        for (key, keyWork) in work {
            let moved = KeyWork(at: route(key))
            moved.waiters = keyWork.waiters
            work[key] = moved
        }
        for session in sessions { session.forgetPlace() }
        for place in parked.indices { parked[place].write.place = nil }
        for forward in forwards.values { forward.write.place = nil }
    }

    /// Servers that have gained keys lack them, and those that have lost some still hold them.
    private func noteMoves(from old: SiteRings) {
        let stamp = HybridClock.stamp(atWall: now.wallMicroseconds)
        let moment = clock.tick(at: now)
        var moves: [(isBackup: Bool, difference: RingDifference)] = [
            (false, RingDifference(from: old.primaries, to: rings.primaries))
        ]
        if let before = old.backups, let after = rings.backups { moves.append((true, RingDifference(from: before, to: after))) }
        for (isBackup, moved) in moves {
            for server in servers where server.isBackup == isBackup && !server.missedTooMany && !server.mayBeInUse {
                let (gains, loses) = (
                    moved.gaining.contains(server.definition.name), moved.losing.contains(server.definition.name)
                )
                // What a late lane has written by the old rings while others used the new ones is not there.
                if gains && (server.holdsMoved || ringChange.isLate) && !isPlanted(.movedKeysKept) {
                    flushUnlessInUse(server)
                } else if gains {
                    noteGained(server, at: stamp)
                }
                if loses { server.movedAt = moment }
            }
        }
    }

    /// The files that a lane starts with have other servers than those that its log knows.
    func noteRestart(from old: SiteRings) {
        learnsRings = !siblingIDs.isEmpty
        for server in servers {
            let pool = server.isBackup ? old.backupFingerprint.servers : old.fingerprint.servers
            if !pool.contains(where: { $0.name == server.definition.name }) { flushUnlessInUse(server) }
        }
        noteMoves(from: old)
        say(.notice, "the rings have changed since this lane last ran")
    }

    /// Says in the log by which rings keys are placed, as soon as there is room.
    func logRings() {
        ringsLogged = false
        guard !learnsRings, log.hasRoom(forBytes: ringsBytes, owed: owedBytes) else { return }
        ringsLogged = true
        log.append(LogRecord(kind: .rings, payload: rings.encode()))
    }

    var ringsBytes: Int { LogRecord.encodedBytes(keyBytes: 0, payloadBytes: rings.encode().count) }

    /// Nobody knows what the server holds: it is flushed before it is used, by every lane; but not by one that has come late, when others
    /// use it already.
    private func flushUnlessInUse(_ server: BackendServer) {
        server.mayBeInUse = learnsRings
        if !learnsRings { flushAnew(server) }
    }

    /// Flushes a server as one that has missed too much.
    private func flushAnew(_ server: BackendServer) {
        server.missEverything()
        drop(server, "it is flushed: it may hold what lived on it before", .notice)
        server.attempts = 0
        server.retryAt = monotonic
    }

    /// The lane knows its siblings: what one that serves by the same rings uses is used; it has flushed what had to be.
    func useServers(hasExample: Bool) {
        for server in servers where server.mayBeInUse {
            server.mayBeInUse = false
            if hasExample {
                noteGained(server, at: HybridClock.stamp(atWall: now.wallMicroseconds))
            } else {
                flushAnew(server)
                if server.phase == .idle { connect(server) }
                // The clients go on when it has been tried.
                if ringChange.phase == .none { ringChange = RingChange(phase: .opening, drainingSince: monotonic) }
            }
        }
        logRings()
    }

    func backend(_ server: BackendServer) -> Message {
        .backend(server: UInt16(server.index), cutOff: server.isBehind, emptied: server.emptied, lacking: server.lacking)
    }

    /// Tells a sibling all that is known of the servers.
    func tellServers(_ sibling: Sibling) {
        guard let link = sibling.link else { return }
        for server in servers {
            tellCutOff(server)
            send(backend(server), on: link)
            if server.refilledTo > 0 { send(refilled(server), on: link) }
            tellMoved(server, sibling)
        }
    }
}
