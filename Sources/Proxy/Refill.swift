// The background refill: a server that came back empty gets what its partners in the other pool hold, at a bounded rate. One lane of
// the group does it for a server, the owner of the server's name.
//
//     list the partner's keys ─▶ those that live on both ─▶ look each up ──there──▶ done
//            (own connection)                                  │ missing
//                                                              ▼
//                                     the key's owner copies it; look again a moment later ──still missing──▶ has the partner got it?
//
// As long as the partner has anything that could be copied, and was not, the server is not whole: it is gone through again, by and by.

import DequeModule
import Kernel
import Memcache
import Replication

/// A server, and the one that has what it lacks.
struct RefillPair: Hashable {
    var target: Int
    var source: Int
}

/// One server being refilled from one other.
final class Refill {
    let target: Int
    let list: KeyList
    let startedAt: UInt64
    /// Keys to be looked up, and those to be looked up again, in the order of their time.
    var listed: Deque<[UInt8]> = []
    var again: Deque<RefillLook> = []
    var looksUnderWay = 0
    /// How many may be looked up before the next tick.
    var quota = 0
    /// Times that the list was gone through; keys that were missing, and then were there, this time.
    var rounds = 0
    var mended = 0
    /// Keys that the source has, and that nobody has copied.
    var left = 0
    var reportedAt: UInt64

    init(target: Int, list: KeyList, at now: UInt64) {
        self.target = target
        self.list = list
        startedAt = now
        reportedAt = now
    }

    var source: Int { list.server }
    var isIdle: Bool { !list.isListing && listed.isEmpty && again.isEmpty && looksUnderWay == 0 }
}

/// A key that is looked up at the server that is refilled. It does not hold the refill, which holds those that wait.
struct RefillLook {
    let key: [UInt8]
    /// How often the owner has been asked to copy it.
    var tries = 0
    /// Nobody has copied it: has the source got it at all?
    var asksSource = false
    /// When it is looked up again, in monotonic microseconds.
    var due: UInt64 = 0
}

extension LaneNode {
    // MARK: Beginning and ending

    /// Begins, goes on or breaks off, as things are now.
    func tendRefill() {
        endRecoveries()
        guard configuration.site.refillKeysPerSecond > 0, !isHolding else { return }
        guard let refill else { return beginRefill() }
        let target = servers[refill.target]
        if !maySupervise(target) || !target.recoveringFrom.contains(refill.source) {
            abandon(refill, "it is not called for any more")
        } else if !mayGive(servers[refill.source]) {
            abandon(refill, "\(servers[refill.source].title) was lost, or lacks writes")
        } else if isOverdue(refill.list) {
            abandon(refill, "\(servers[refill.source].title) did not list its keys in time")
        } else {
            let perTick = configuration.site.refillKeysPerSecond * configuration.site.times.heartbeatMilliseconds / 1_000
            refill.quota = max(1, perTick)
            reportRefill(refill)
            goOn(refill)
        }
    }

    /// This lane, and no other, refills the server; and it can be done. Even if it knows nobody who could have what the server lost:
    /// others may wait to be told so.
    private func maySupervise(_ server: BackendServer) -> Bool {
        state == .serving && server.lacking > server.refilledTo && mayGive(server)
            && owner(of: Array(server.definition.name.utf8)) == laneID
    }

    /// Every lane can reach it, and trusts it: copies from it, and to it, come about.
    private func mayGive(_ server: BackendServer) -> Bool { server.isUp && server.cutOffAt.isEmpty }

    private func beginRefill() {
        for target in servers where maySupervise(target) {
            let left = target.recoveringFrom.subtracting(target.refilledFrom)
            if left.isEmpty { return finishRefill(target) }
            let due = left.sorted().first {
                mayGive(servers[$0]) && monotonic >= refillsRetriedAt[RefillPair(target: target.index, source: $0)] ?? 0
            }
            guard let source = due else { continue }
            refill = Refill(target: target.index, list: openKeyList(of: servers[source]), at: monotonic)
            say(
                .notice,
                "refill begins server=\(target.definition.name) from=\(servers[source].definition.name)")
            return
        }
    }

    /// Everything that others hold has been looked at: nobody need ask them any more.
    private func finishRefill(_ server: BackendServer) {
        noteRefilled(server, server.lacking, server.incarnation ?? [])
        for id in siblingIDs { siblings[id]?.link.map { send(refilled(server), on: $0) } }
    }

    func refilled(_ server: BackendServer) -> Message {
        .refilled(server: UInt16(server.index), upTo: server.refilledTo, incarnation: server.refilled ?? [])
    }

    /// Some lane has refilled a server; what it lost since is not in it.
    func noteRefilled(_ server: BackendServer, _ upTo: UInt64, _ incarnation: [UInt8]) {
        guard upTo > server.refilledTo else { return }
        server.refilledTo = upTo
        guard server.lacking <= upTo else { return }
        server.refilled = incarnation
        if let refill, refill.target == server.index { abandon(refill, "another lane has done it") }
        guard server.lacksItems else { return }
        server.refilledAt = monotonic
        if server.isBackup { endRecovery(server) }
    }

    /// A sibling knows when a server last lost what it held, or came to lack something: that may be news.
    func siblingSays(_ server: BackendServer, emptied: UInt64, lacking: UInt64) {
        if emptied > server.emptied {
            server.emptied = emptied
            server.emptyKnownAt = monotonic
            cannotGive(server, emptiedAt: emptied)
        }
        let stamp = max(lacking, emptied)
        guard stamp > server.lacking else { return }
        server.lacking = stamp
        guard stamp > server.refilledTo else { return }
        lack(server, from: others(than: server))
        logServer(server)
    }

    /// When a server lost what it held, from a time of its own clock in seconds: one clock tells of its starts and of its flushes, at
    /// whichever lane, and proxies' clocks play no part. Rather too late than too early: what its partner was written since, it must be
    /// asked for.
    func stampOfEmptying(at seconds: UInt64) -> UInt64 {
        HybridClock.stamp(atWall: (seconds + Limits.serverStartEarlySeconds) * 1_000_000)
    }

    /// This lane has seen that a server came back empty, or has it flushed. Clocks may differ: it is later than what was made good.
    func noteEmptied(_ server: BackendServer, at stamp: UInt64, from sources: some Sequence<Int>) {
        server.lacking = max(server.lacking, stamp, server.refilledTo + 1)
        server.emptied = max(server.emptied, stamp)
        server.emptyKnownAt = monotonic
        cannotGive(server, emptiedAt: server.emptied)
        lack(server, from: sources)
    }

    /// This lane has a server flushed, at a time of the server's clock in seconds. However late that is: what others were to get from it is
    /// gone.
    func noteFlushed(_ server: BackendServer, at seconds: UInt64) {
        let wanted = servers.lazy.filter { $0.recoveringFrom.contains(server.index) }.map(\.lacking).max() ?? 0
        server.lacking = laterThanKnown(server)
        noteEmptied(server, at: max(stampOfEmptying(at: seconds), wanted), from: others(than: server))
    }

    /// A server has got keys that lived elsewhere; what it held it still holds.
    func noteGained(_ server: BackendServer, at stamp: UInt64) {
        server.lacking = max(laterThanKnown(server), stamp, server.refilledTo + 1)
        lack(server, from: others(than: server))
    }

    /// What a server comes to lack now, it lacks later than whatever is known of it, so that who refills it begins anew; and than
    /// whatever its partners have lost, though their clocks may be ahead of its own.
    private func laterThanKnown(_ server: BackendServer) -> UInt64 {
        others(than: server).reduce(server.lacking) { max($0, servers[$1].emptied) } + 1
    }

    /// A server has lost what it held: who came to lack something before has nothing more to get from it.
    func cannotGive(_ server: BackendServer, emptiedAt stamp: UInt64) {
        for other in servers where other.lacking <= stamp && other.recoveringFrom.remove(server.index) != nil {
            if !other.recovering { logServer(other) }
        }
    }

    /// The partners of a server that came back empty which had been emptied while its last life went on, as this lane has seen: what it
    /// lost since they may have, however the servers' clocks, which tell seconds, order the two. Those that were to get something from
    /// it go on asking it all the same, until they are refilled: other lanes may not have seen it live on, and all must agree on who is asked.
    func outlived(by server: BackendServer) -> [Int] {
        // Elsewhere is another memcached: of when that was emptied, the old one's life tells nothing.
        if server.hasMoved { return [] }
        return others(than: server).filter { place in
            let other = servers[place]
            // Where a flush has been asked for, nobody knows yet when it is done.
            return server.livedAt > other.emptyKnownAt && !other.missedTooMany && other.cutOffAt.isEmpty
        }
    }

    private func lack(_ server: BackendServer, from sources: some Sequence<Int>) {
        // Those have nothing of it that were emptied since.
        server.recoveringFrom = Set(sources.filter { servers[$0].emptied <= server.lacking })
        server.refilledFrom = []
        server.incompleteRefills = 0
        server.refilledAt = nil
        server.refilled = nil
        if let refill, refill.target == server.index { abandon(refill, "it lacks more than when that began") }
    }

    /// The backup decides the writes of a refilled primary until no other lane reads there any more; one that was not heard so long
    /// counts as dead.
    private func endRecoveries() {
        for server in servers {
            if let since = server.refilledAt, monotonic - since > siblingPatienceMicroseconds { endRecovery(server) }
        }
    }

    /// What a sibling has not heard after this long, it never will: it counts as dead.
    var siblingPatienceMicroseconds: UInt64 { 2 * UInt64(configuration.site.times.siblingTimeoutMilliseconds) * 1_000 }

    private func endRecovery(_ server: BackendServer) {
        server.recoveringFrom = []
        server.refilledFrom = []
        server.refilledAt = nil
        logServer(server)
        tellCutOff(server)
        say(.notice, "memcached has recovered server=\(server.definition.name)")
    }

    /// Gives up for now; what is found to be missing later is still copied on demand.
    func abandon(_ refill: Refill, _ reason: String, retryAfter: UInt64 = Limits.refillRetryMicroseconds) {
        guard self.refill === refill else { return }
        end(refill)
        refillsRetriedAt[RefillPair(target: refill.target, source: refill.source)] = monotonic + retryAfter
        say(
            .warning,
            "refill broken off server=\(servers[refill.target].definition.name) from=\(servers[refill.source].definition.name) reason=\(reason)"
        )
    }

    private func end(_ refill: Refill) {
        self.refill = nil
        close(refill.list)
    }

    // MARK: The list

    func takeListing(_ refill: Refill) {
        let failure = read(refill.list, while: { self.refill === refill }) { note($0, refill) }
        if let failure {
            let pause = failure.isPassing ? Limits.refillRetryMicroseconds : Limits.refillRefusedMicroseconds
            return abandon(refill, failure.reason, retryAfter: pause)
        }
        goOn(refill)
    }

    /// Keeps a key of the list if it lives on both servers.
    private func note(_ key: UnsafeRawBufferPointer, _ refill: Refill) {
        let place = route(key)
        guard let backup = place.backup,
            (backup, place.primary) == (refill.source, refill.target) || (backup, place.primary) == (refill.target, refill.source)
        else { return }
        if refill.listed.count < Limits.refillKeysMax { refill.listed.append(Array(key)) } else { refill.list.overflowed = true }
    }

    // MARK: The keys

    private func goOn(_ refill: Refill) {
        guard self.refill === refill, servers[refill.target].isUp else { return }
        while refill.quota > 0, refill.looksUnderWay < Limits.refillLooksMax, let next = nextLook(refill) {
            refill.quota -= 1
            refill.looksUnderWay += 1
            counters.refillLooks += 1
            ask(servers[refill.target], .look(next, of: refill), .meta) { queue in
                next.key.withUnsafeBytes { Command.look(key: $0, into: queue) }
            }
        }
        if refill.isIdle { partDone(refill) }
    }

    private func nextLook(_ refill: Refill) -> RefillLook? {
        if let first = refill.again.first, first.due <= monotonic { return refill.again.removeFirst() }
        return refill.listed.popFirst().map { RefillLook(key: $0) }
    }

    /// The server has the key, or has not.
    func looked(_ look: RefillLook, of refill: Refill, _ reply: Reply) {
        guard self.refill === refill else { return }
        refill.looksUnderWay -= 1
        let found = reply.kind != .en
        if look.asksSource {
            // What is marked as stale or too large is never copied.
            if found, !reply.isStale, reply.size <= configuration.federation.itemBytesMax { refill.left += 1 }
        } else if found {
            if look.tries > 0 { refill.mended += 1 }
        } else if look.tries < Limits.refillTriesMax {
            self.refill(look.key, hops: 0)
            let due = monotonic + Limits.refillTryMicroseconds
            refill.again.append(RefillLook(key: look.key, tries: look.tries + 1, due: due))
        } else {
            lookAtSource(look, of: refill)
        }
        goOn(refill)
    }

    private func lookAtSource(_ look: RefillLook, of refill: Refill) {
        let source = servers[refill.source]
        guard source.acceptsWrites else { return refill.left += 1 }
        refill.looksUnderWay += 1
        var look = look
        look.asksSource = true
        ask(source, .look(look, of: refill), .meta) { queue in
            look.key.withUnsafeBytes { Command.measure(key: $0, into: queue) }
        }
    }

    private func partDone(_ refill: Refill) {
        guard refill.list.hasAsked else { return }
        if refill.list.beginNextPart() { return ask(refill.list) }
        refill.rounds += 1
        guard refill.mended > 0 && refill.rounds < Limits.refillRoundsMax else { return sourceDone(refill) }
        // memcached's list leaves out what is being moved at the moment.
        (refill.mended, refill.left) = (0, 0)
        refill.list.beginAnew()
        ask(refill.list)
    }

    private func sourceDone(_ refill: Refill) {
        let target = servers[refill.target]
        let keys = "\(refill.left) keys could not be copied"
        if refill.left > 0 {
            target.incompleteRefills += 1
            if target.incompleteRefills < Limits.incompleteRefillsMax {
                let wait = Limits.refillRetryMicroseconds << UInt64(target.incompleteRefills)
                return abandon(refill, keys, retryAfter: min(wait, Limits.refillRefusedMicroseconds))
            }
            say(.warning, "refill gives up server=\(target.definition.name) reason=\(keys)")
        }
        let seconds = (monotonic - refill.startedAt) / 1_000_000
        say(
            .notice,
            "refill done server=\(target.definition.name) from=\(servers[refill.source].definition.name) seconds=\(seconds)")
        target.refilledFrom.insert(refill.source)
        target.incompleteRefills = 0
        end(refill)
        if target.recoveringFrom.isSubset(of: target.refilledFrom) { finishRefill(target) }
    }

    private func reportRefill(_ refill: Refill) {
        guard monotonic - refill.reportedAt >= Limits.refillReportMicroseconds else { return }
        refill.reportedAt = monotonic
        say(
            .notice,
            "refill goes on server=\(servers[refill.target].definition.name) from=\(servers[refill.source].definition.name)"
                + " part=\(refill.list.part + 1)/\(refill.list.parts) keys_to_look_at=\(refill.listed.count + refill.again.count)"
        )
    }
}
