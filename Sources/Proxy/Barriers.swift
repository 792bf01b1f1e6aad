// `flush_all` of the whole federation: a barrier. It is a deletion of the key that stands for all (`allKeys`), with a version like any
// other: logged, landed, mirrored and streamed as one. At every site whatever has a lower version is gone, however late it
// arrives, and whatever has a higher one stays.
//
// memcached knows no versions: `flush_all` empties a server of what is younger, too. So the lanes write that again, each the keys whose values it
// holds. All of them are still in the index: nothing younger than the barrier can become stable before the barrier is.

import Kernel
import Memcache
import Replication
import WriteLog

extension LaneNode {
    // MARK: Clients

    /// `flush_all [delay]`, where the site's configuration means all sites by it. A delay is kept in memory.
    func flushFederation(_ request: Request, _ session: ClientSession) {
        let reply = session.expectWrite(bytes: request.bytes, path: -1, silence: request.silence)
        let nowSeconds = now.wallMicroseconds / 1_000_000
        let at = Exptime.absolute(request.exptime, nowSeconds: nowSeconds)
        guard at > nowSeconds else { return submit(.barrier, .client(session.connection, reply)) }
        guard barriersDue.count < Limits.barriersDueMax else {
            let text = Array("SERVER_ERROR \(Limits.barriersDueMax) delayed flushes are waiting already\r\n".utf8)
            return text.withUnsafeBytes { deliver(session.connection, reply, .serverError, $0) }
        }
        barriersDue.append(monotonic + (at - nowSeconds) * 1_000_000)
        Array("OK\r\n".utf8).withUnsafeBytes { deliver(session.connection, reply, .ok, $0) }
    }

    // MARK: At the owner

    /// Stamps a barrier and empties this site. Who asked is answered when every lane of the group knows of it.
    func startBarrier(_ completion: Completion, _ keyWork: KeyWork) {
        let bytes = LogRecord.encodedBytes(keyBytes: 0, payloadBytes: 0)
        guard log.hasRoom(forBytes: bytes, owed: owedBytes + bytes + Limits.logReserveBytes(configuration.site.segmentBytes))
        else { return complete(completion, .serverError, logFullReply()) }
        let operation = Operation(
            kind: .write, key: allKeys, version: stampVersion(), effect: .delete, content: .tombstone, completion: .nobody,
            at: keyWork.place)
        operation.write = .barrier
        operation.requesters = [.barrier(completion)]
        logIntent(operation, .barrier)
        commit(operation, .ok, [])
        landBarrier(operation, keyWork)
    }

    /// Empties this site's servers; those that cannot be reached are emptied before they are used again.
    func landBarrier(_ operation: Operation, _ keyWork: KeyWork) {
        for other in operations.all {
            if other.kind == .copy { other.cancelled = true }
            // Sent before, and younger than a barrier from elsewhere: it is wiped out, and nobody knows yet what it made.
            if other.version > operation.version { other.overlapped = true }
        }
        begin(operation, keyWork)
        barrierAt = monotonic
        for server in servers {
            guard server.acceptsWrites else {
                noteMissed(server, allKeys, .missed)
                continue
            }
            operation.outstanding += 1
            server.emptiedFor = max(server.emptiedFor, operation.version)
            ask(server, .landing(operation), .line) { Command.flushAll(into: $0) }
        }
        writeAgain(since: operation.version) { $0 == laneID || siblings[$0]?.link == nil }
        landedIfDone(operation)
    }

    /// A server does not do `flush_all`.
    func barrierRefused(_ server: BackendServer, _ operation: Operation) {
        say(.warning, "memcached refused flush_all server=\(server.definition.name): was it started with -F?")
        // As memcached says it; and not to be tried again.
        let text = Array("CLIENT_ERROR flush_all not allowed\r\n".utf8)
        for case .barrier(let completion) in operation.requesters { complete(completion, .clientError, text) }
        operation.requesters.removeAll { if case .barrier = $0 { true } else { false } }
    }

    /// A server that missed a barrier, or too much, has answered that it is empty. If that was for a barrier, what has been written
    /// since went with it.
    func flushedLate(_ server: BackendServer, _ kind: ReplyKind) {
        guard kind == .ok else { return drop(server, "it refuses flush_all: was it started with -F?") }
        server.missedTooMany = false
        server.emptyKnownAt = monotonic
        settle(server)
        guard index.barrier > .zero, let entry = index[allKeys] else { return }
        mirrorSequence += 1
        mirror(entry.tops(of: allKeys))
        writeAgain(since: index.barrier) { $0 == laneID || siblings[$0]?.link == nil }
    }

    /// True while a server is still to be emptied for a barrier: what is younger, and will go with it, must not be forgotten.
    var oweBarrier: Bool {
        index.barrier > .zero && monotonic - barrierAt < Limits.barrierPatienceMicroseconds
            && servers.contains { $0.missedTooMany }
    }

    // MARK: At the other lanes

    /// True for what a lane may tell of a barrier.
    func isBarrier(_ tops: KeyTops) -> Bool { tops.content == .tombstone && tops.version > .zero && tops.touch == .zero }

    /// Another lane has emptied the servers: what this one has under way came before or after, nobody knows.
    func barrierMirrored(_ tops: KeyTops, _ sequence: UInt64, _ sibling: Sibling) {
        if let tops = unsettled(tops) { index.merge(tops, isHearsay: false) }
        for operation in operations.all { operation.overlapped = true }
        // A server that only that lane cannot reach goes on serving this one's clients: it must not serve what is gone.
        for server in servers
        where server.cutOffAt.contains(sibling.id) && sequence > 0 && server.emptiedFor < tops.version {
            guard server.acceptsWrites else {
                noteMissed(server, allKeys, .missed)
                continue
            }
            server.emptiedFor = tops.version
            ask(server, .amnesia, .line) { Command.flushAll(into: $0) }
        }
        writeAgain(since: tops.version) { $0 == laneID }
        oweAcknowledgement(sequence, sibling)
    }

    /// Has the keys written again that are younger than a barrier, and whose holders are this lane's business: its own first, since others
    /// may have to be waited for.
    private func writeAgain(since barrier: Version, _ isMine: (LaneID) -> Bool) {
        if isPlanted(.barrierTakesAll) { return }
        let younger = index.writtenSince(barrier).filter { $0.value.content == .value && isMine($0.value.holder) }
        for (key, entry) in younger where entry.holder == laneID { wiped.append(key) }
        for (key, entry) in younger where entry.holder != laneID { wiped.append(key) }
        goOnWritingAgain()
    }

    /// Goes on with what barriers have wiped out, a bounded number of keys at a time.
    private func goOnWritingAgain() {
        while assertions.count - min(awaitedTops.count, assertions.count) < Limits.wipedMax, let key = wiped.popFirst() {
            // Deleted or flushed again meanwhile, or long stable.
            if index[key]?.content == .value { requestAssertion(key, .overtaken) }
        }
    }

    /// What falls due by time.
    func tendBarriers() {
        goOnWritingAgain()
        guard barriersDue.contains(where: { $0 <= monotonic }) else { return }
        barriersDue.removeAll { $0 <= monotonic }
        submit(.barrier, .delayedBarrier)
    }
}
