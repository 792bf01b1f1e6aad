// After a change of the rings: what now lives on other servers is deleted where it lived, in the background. Nobody reads it there, but if
// another change brought it back it would be out of date; until it is cleared, a server that gets keys back is flushed instead.
//
//     list the server's keys ─▶ those that live elsewhere ─▶ delete ─▶ list again, until there are none ─▶ everybody is told
//
// One lane of the group does it for a server, the owner of the server's name. When keys last left a server, and up to when it has been
// cleared, are stamps: both only rise, so that lanes agree in whatever order they hear of them.

import DequeModule
import Kernel
import Memcache
import Replication

/// One server being cleared.
final class Clearing {
    let list: KeyList
    /// What left the server up to this stamp is gone when it is done.
    let upTo: UInt64
    let startedAt: UInt64
    /// Keys to be deleted.
    var listed: Deque<[UInt8]> = []
    var deletesUnderWay = 0
    /// How many may be deleted before the next tick.
    var quota = 0
    /// Times that the list was gone through; keys that were found this time, and all in all.
    var rounds = 0
    var found = 0
    var cleared = 0

    init(list: KeyList, upTo: UInt64, at now: UInt64) {
        self.list = list
        self.upTo = upTo
        startedAt = now
    }

    var isIdle: Bool { !list.isListing && listed.isEmpty && deletesUnderWay == 0 }
}

extension LaneNode {
    // MARK: Who holds what moved

    /// Keys have left a server, or what had left it is gone from there; as this lane or a sibling knows.
    func noteMoved(_ server: BackendServer, at stamp: UInt64, clearedTo: UInt64) {
        clock.observe(max(stamp, clearedTo))
        guard stamp > server.movedAt || clearedTo > server.clearedTo else { return }
        server.movedAt = max(server.movedAt, stamp)
        server.clearedTo = max(server.clearedTo, clearedTo)
        if let clearing, clearing.list.server == server.index, !server.holdsMoved {
            abandon(clearing, "another lane has done it")
        }
        logServer(server)
    }

    /// A server has been cleared: everybody is told. That it has restarted, or was flushed, says nothing: it may have been written since.
    private func noteCleared(_ server: BackendServer, upTo stamp: UInt64) {
        server.clearedTo = stamp
        logServer(server)
        for id in siblingIDs { siblings[id].map { tellMoved(server, $0) } }
    }

    func tellMoved(_ server: BackendServer, _ sibling: Sibling) {
        guard server.movedAt > 0 else { return }
        sibling.link.map { send(.moved(server: UInt16(server.index), at: server.movedAt, clearedTo: server.clearedTo), on: $0) }
    }

    // MARK: Beginning and ending

    /// Begins, goes on or breaks off, as things are now.
    func tendClearing() {
        guard configuration.site.refillKeysPerSecond > 0, !isHolding else { return }
        guard let clearing else { return beginClearing() }
        let server = servers[clearing.list.server]
        if !maySupervise(server) {
            abandon(clearing, "it is not called for any more")
        } else if isOverdue(clearing.list) {
            abandon(clearing, "it did not list its keys in time")
        } else {
            clearing.quota = max(
                1, configuration.site.refillKeysPerSecond * configuration.site.times.heartbeatMilliseconds / 1_000)
            goOn(clearing)
        }
    }

    /// This lane, and no other, clears the server; and it can be done.
    private func maySupervise(_ server: BackendServer) -> Bool {
        state == .serving && server.holdsMoved && server.isUp && owner(of: Array(server.definition.name.utf8)) == laneID
    }

    private func beginClearing() {
        // Later than whatever a sibling that is heard has noted of the last change.
        guard monotonic >= clearingRetriedAt, ringsTakenAt.map({ monotonic - $0 > siblingPatienceMicroseconds }) ?? true,
            let server = servers.first(where: { maySupervise($0) })
        else { return }
        clearing = Clearing(list: openKeyList(of: server), upTo: clock.tick(at: now), at: monotonic)
        say(.notice, "clearing begins server=\(server.definition.name): keys that live elsewhere now are deleted there")
    }

    /// Gives up for now.
    func abandon(_ clearing: Clearing, _ reason: String, retryAfter: UInt64 = Limits.refillRetryMicroseconds) {
        guard self.clearing === clearing else { return }
        self.clearing = nil
        close(clearing.list)
        clearingRetriedAt = monotonic + retryAfter
        say(.notice, "clearing broken off server=\(servers[clearing.list.server].definition.name) reason=\(reason)")
    }

    // MARK: The keys

    func takeListing(_ clearing: Clearing) {
        let failure = read(clearing.list, while: { self.clearing === clearing }) { note($0, clearing) }
        if let failure {
            let pause = failure.isPassing ? Limits.refillRetryMicroseconds : Limits.refillRefusedMicroseconds
            return abandon(clearing, failure.reason, retryAfter: pause)
        }
        goOn(clearing)
    }

    private func note(_ key: UnsafeRawBufferPointer, _ clearing: Clearing) {
        guard !route(key).both.contains(clearing.list.server) else { return }
        if clearing.listed.count < Limits.refillKeysMax {
            clearing.listed.append(Array(key))
        } else {
            clearing.list.overflowed = true
        }
    }

    private func goOn(_ clearing: Clearing) {
        let server = servers[clearing.list.server]
        guard self.clearing === clearing, server.isUp, !isHolding else { return }
        while clearing.quota > 0, clearing.deletesUnderWay < Limits.refillLooksMax, let key = clearing.listed.popFirst() {
            clearing.quota -= 1
            clearing.deletesUnderWay += 1
            clearing.found += 1
            ask(server, .clear(clearing), .meta) { queue in key.withUnsafeBytes { Command.delete(key: $0, into: queue) } }
        }
        if clearing.isIdle && clearing.list.hasAsked { partDone(clearing) }
    }

    /// A key is gone.
    func deleted(_ clearing: Clearing) {
        clearing.deletesUnderWay -= 1
        goOn(clearing)
    }

    private func partDone(_ clearing: Clearing) {
        if clearing.list.beginNextPart() { return ask(clearing.list) }
        clearing.rounds += 1
        clearing.cleared += clearing.found
        // memcached's list leaves out what is being moved at the moment.
        if clearing.found > 0 || clearing.rounds < Limits.clearingRoundsMin {
            clearing.found = 0
            clearing.list.beginAnew()
            return ask(clearing.list)
        }
        let server = servers[clearing.list.server]
        self.clearing = nil
        close(clearing.list)
        let seconds = (monotonic - clearing.startedAt) / 1_000_000
        say(.notice, "clearing done server=\(server.definition.name) keys=\(clearing.cleared) seconds=\(seconds)")
        noteCleared(server, upTo: clearing.upTo)
    }
}
