// The connections to memcached: asking, pairing replies with what was asked, breaking, coming back.

import Configuration
import Kernel
import Memcache
import Replication
import WriteLog

extension LaneNode {
    // MARK: Asking

    /// Queues a command on a server's connection; its reply comes back to `purpose`.
    func ask(
        _ server: BackendServer, _ purpose: Expected.Purpose, _ shape: ReplyShape, keeping: Bool = false,
        _ command: (ByteQueue) -> Void
    ) {
        guard let connection = server.connection else { preconditionFailure("\(server.title) is asked without a connection") }
        let outgoing = connections.outgoing(connection)
        let before = outgoing.count
        command(outgoing)
        var sentBytes = 0
        if keeping {
            sentBytes = outgoing.count - before
            server.sent.append(outgoing.last(sentBytes))
        }
        server.askedAt = monotonic
        server.expected.append(Expected(purpose: purpose, shape: shape, sentBytes: sentBytes, at: monotonic))
        markDirty(connection)
    }

    /// Has a server put right what nobody waits for, save a lane that slots are to be handed over to.
    func tidy(_ server: BackendServer, _ key: [UInt8]?, _ command: (ByteQueue) -> Void) {
        tidiesUnderWay += 1
        ask(server, .tidy(key), .meta, command)
    }

    // MARK: Connecting

    func connect(_ server: BackendServer) {
        let id = connections.open()
        server.connection = id
        server.phase = .connecting
        server.connectingSince = monotonic
        serverOf[id] = server.index
        effects.actions.append(.connect(id, .backend(server.definition.address)))
    }

    /// The connection stands: which incarnation is it?
    func greet(_ server: BackendServer) {
        server.phase = .greeting
        ask(server, .greeting, .stats) { Command.stats(into: $0) }
    }

    private func greeted(_ server: BackendServer, _ reply: Reply, _ bytes: UnsafeRawBufferPointer) {
        var stats = StatCursor(reply, in: bytes)
        var pid: UInt64?
        var time: UInt64?
        var uptime: UInt64?
        while let (name, value) = stats.next() {
            switch name.of(bytes).count {
            case 3 where name.of(bytes).elementsEqual("pid".utf8): pid = decimal(value.of(bytes))
            case 4 where name.of(bytes).elementsEqual("time".utf8): time = decimal(value.of(bytes))
            case 6 where name.of(bytes).elementsEqual("uptime".utf8): uptime = decimal(value.of(bytes))
            default: break
            }
        }
        guard let pid, let time, let uptime, time < Limits.serverTimeSecondsMax else {
            return drop(server, "it does not tell pid, time and uptime in its stats, or a time that can be")
        }
        noteStats(.general, of: server, reply, bytes)
        let startedAt = time - min(time, uptime)
        // It may have said so long ago: this lane was paused, or the answer was late. It is no later there now than this.
        let sinceAsked = (monotonic - min(server.askedAt, monotonic) + 999_999) / 1_000_000
        meet(server, incarnation: Array("\(pid).\(startedAt)".utf8), startedAt: startedAt, time: time + sinceAsked)
    }

    private func decimal(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
        UInt64(String(decoding: bytes, as: UTF8.self))
    }

    private func meet(_ server: BackendServer, incarnation: [UInt8], startedAt: UInt64, time: UInt64) {
        let known = server.incarnation
        server.attempts = 0
        server.message = ""
        server.startedAt = startedAt
        server.incarnation = incarnation
        if let known, known != incarnation {
            // Its memory was empty; but it may have missed writes since, and been given older ones by other lanes.
            server.missed.keep { $0 == .missed }
            noteEmpty(server)
            if server.hasMoved && server.refilled != incarnation {
                // A memcached elsewhere may be full of what somebody else put there, or this site long ago; unless a sibling was there
                // before, and has emptied and refilled it.
                server.missEverything()
            } else {
                say(.notice, "memcached restarted server=\(server.definition.name) recovering=\(server.recovering)")
            }
        }
        if server.missedTooMany {
            noteFlushed(server, at: time)
            if known == nil {
                say(.notice, "memcached is new here and is flushed before it is used server=\(server.definition.name)")
            } else if server.holdsMoved {
                say(.notice, "memcached may hold what has moved away and back, and is flushed server=\(server.definition.name)")
            } else if server.hasMoved {
                say(.notice, "memcached at another address is flushed before it is used server=\(server.definition.name)")
            } else {
                say(
                    .warning,
                    "memcached missed a flush, or too many writes, while it was cut off and is flushed server=\(server.definition.name)"
                )
            }
            observe(.gaveUp(server: server.definition.name))
            server.emptiedFor = max(server.emptiedFor, index.barrier)
            ask(server, .amnesia, .line) { Command.flushAll(into: $0) }
        }
        server.hasMoved = false
        server.phase = .repairing
        if isPlanted(.cutOffServerTrusted) { server.missed.removeAll() }
        settle(server)
        if !server.isUp { logServer(server) }
        say(.notice, "memcached connected server=\(server.definition.name) missed_keys=\(server.missed.count)")
        drainAll()
    }

    /// A server came back with an empty memory. What it lost, those of the other pool may hold that are older, or that it outlived.
    private func noteEmpty(_ server: BackendServer) {
        let outlived = outlived(by: server)
        let after = outlived.reduce(0) { max($0, servers[$1].emptied) }
        let stamp = stampOfEmptying(at: server.startedAt)
        cannotGive(server, emptiedAt: stamp)
        // Who refilled it may not have known of what it outlived, and not have asked that.
        if server.incarnation == server.refilled && server.refilledTo >= after { return }
        server.lacking = max(server.lacking, after)
        noteEmptied(
            server, at: stamp,
            from: others(than: server).filter { servers[$0].startedAt <= server.startedAt || outlived.contains($0) })
    }

    /// Up, as soon as nothing is missed any more.
    func settle(_ server: BackendServer) {
        if server.phase == .repairing && !server.isBehind && server.repairing.isEmpty {
            server.phase = .up
            logServer(server)
        }
        tellCutOff(server)
    }

    // MARK: Breaking

    /// Closes a connection that is of no use any more.
    func drop(_ server: BackendServer, _ reason: String, _ level: LogLevel = .warning) {
        guard let id = server.connection else { return }
        serverOf[id] = nil
        effects.actions.append(.close(id, flush: false))
        serverBroke(server, reason, level)
    }

    /// The connection is gone: everything under way on it is asked elsewhere, or is missed, or is in doubt.
    func serverBroke(_ server: BackendServer, _ reason: String, _ level: LogLevel = .warning) {
        let wasUp = server.acceptsWrites
        server.connection = nil
        server.phase = .idle
        server.message = reason
        server.attempts += 1
        server.retryAt = monotonic + backOff(server.attempts)
        for key in server.repairing.sorted(by: { $0.lexicographicallyPrecedes($1) }) { server.missedOrder.append(key) }
        server.repairing.removeAll()
        if wasUp {
            say(level, "memcached lost server=\(server.definition.name) address=\(server.definition.address) reason=\(reason)")
        }
        let lost = server.expected
        server.expected.removeAll()
        let sent = [UInt8](server.sent.readable)
        server.sent.removeAll()
        var at = 0
        for expected in lost {
            let command = sent[at..<at + expected.sentBytes]
            at += expected.sentBytes
            lose(server, expected, command)
        }
        if wasUp { logServer(server) }
        tellCutOff(server)
    }

    /// How long to wait before a broken connection is tried again, in microseconds: doubling, with jitter.
    func backOff(_ attempts: Int) -> UInt64 {
        let times = configuration.site.times
        let longest = UInt64(times.retryMaxMilliseconds) * 1_000
        let doubled = UInt64(times.retryMinMilliseconds) * 1_000 << UInt64(min(attempts - 1, 10))
        let wait = min(longest, doubled)
        return wait / 2 + random.next() % (wait / 2 + 1)
    }

    private func lose(_ server: BackendServer, _ expected: Expected, _ command: ArraySlice<UInt8>) {
        switch expected.purpose {
        case .read(let client, let reply, _): rereadElsewhere(server, client, reply, expected.shape, command)
        case .gather(let fragment): fragmentLost(fragment)
        case .write(let operation): writeLost(server, operation)
        case .readBack(let operation):
            if operation.heldReply != nil {
                operation.heldReply = nil
                inDoubt(server, operation)
            }
            answered(operation)
        case .landing(let operation):
            // What was to be added is not missed: the server is as it was, and is looked at again.
            if operation.kind != .copy { noteMissed(server, operation.key, .missed) }
            answered(operation)
        case .passed(let operation): answered(operation)
        case .operationRead(let operation): operationReadLost(operation)
        case .tidy(let key):
            tidiesUnderWay -= 1
            if let key { noteMissed(server, key, .missed) }
        case .amnesia: noteMissed(server, allKeys, .missed)
        case .probe, .greeting: break
        case .look(_, let refill): abandon(refill, "its server was lost")
        case .clear(let clearing): abandon(clearing, "it was lost")
        case .flush(let flush):
            flushed(flush, .serverError, Array("SERVER_ERROR \(server.title) is unreachable: \(server.message)\r\n".utf8))
        case .stats(let stats): statsAnswered(stats)
        }
    }

    /// A write was sent and its reply will not come.
    private func writeLost(_ server: BackendServer, _ operation: Operation) {
        guard let write = operation.write else { preconditionFailure("write \(operation.version) has no command") }
        if write.effect.isCertain {
            noteMissed(server, operation.key, .missed)
            if let held = operation.heldReply {
                // The other server has done it already.
                operation.heldReply = nil
                authorityAnswered(operation, held.kind, held.bytes)
            } else if operation.outstanding > 1 {
                // The other server was sent the same: its reply decides now.
                operation.authority = operation.place.both.first { $0 != server.index } ?? -1
                promoteToAuthority(operation)
            } else {
                // It may or may not have happened: it is made to have happened, here and everywhere.
                commit(operation, .serverError, unknownReply(server))
            }
        } else if write.effect == .local {
            // Whatever it did stays where it is, and is nobody else's business.
            abort(operation, .serverError, unknownReply(server))
        } else if isPlanted(.derivedRetried), let other = operation.place.both.first(where: { servers[$0].acceptsWrites }) {
            ask(servers[other], .write(operation), write.shape) { write.append(to: $0) }
            return
        } else {
            inDoubt(server, operation)
        }
        answered(operation)
    }

    /// The queue of the other server pairs the next reply of this operation with the decision.
    private func promoteToAuthority(_ operation: Operation) {
        let other = servers[operation.authority]
        for place in other.expected.indices {
            if case .landing(let candidate) = other.expected[place].purpose, candidate === operation {
                other.expected[place].purpose = .write(operation)
                return
            }
        }
        preconditionFailure("operation \(operation.version) is not under way at \(other.title)")
    }

    /// Nobody knows what the server made of a conditional or derived write. It is never sent again: what the site holds is
    /// read when the server is back, and written again.
    private func inDoubt(_ server: BackendServer, _ operation: Operation) {
        noteDoubt(operation)
        noteMissed(server, operation.key, .doubt)
        operation.decided = true
        operation.aborted = true
        settleOwed(operation)
        // The intent stays open in the log: until the doubt is resolved, a restart must know of it.
        complete(operation.completion, .serverError, unknownReply(server))
    }

    private func unknownReply(_ server: BackendServer) -> [UInt8] {
        Array("SERVER_ERROR \(server.title) did not answer: \(server.message); the outcome is unknown\r\n".utf8)
    }

    // MARK: Replies

    func takeReplies(_ server: BackendServer) {
        guard let connection = server.connection else { return }
        let incoming = connections.incoming(connection)
        server.heardAt = monotonic
        // Before that, nobody knows which life of it answers.
        let isMet = server.acceptsWrites
        while !incoming.isEmpty, server.connection == connection {
            if server.expected.isEmpty { return drop(server, "it answered although nothing was asked") }
            let bytes = incoming.readable
            let shape = server.expected[0].shape
            switch ReplyScanner.scan(bytes, expecting: shape) {
            case .incomplete: return
            case .malformed(let reason): return drop(server, "its reply makes no sense: \(reason)")
            case .reply(let reply):
                // A value of a retrieval of many keys is one part of a reply.
                let isPart = shape == .values && reply.kind == .value
                let expected = isPart ? server.expected[0] : server.expected.removeFirst()
                if isMet { server.livedAt = expected.at }
                if reply.value.count >= configuration.sharedBytesMin, reply.kind == .value || reply.kind == .va,
                    expected.sharesValue
                {
                    takeLargeReply(server, expected, reply, incoming)
                    continue
                }
                takeReply(server, expected, reply, UnsafeRawBufferPointer(rebasing: bytes[0..<reply.bytes]))
                if server.connection == connection { incoming.consume(reply.bytes) }
            }
        }
    }

    /// A large value goes on in the memory in which it arrived.
    private func takeLargeReply(_ server: BackendServer, _ expected: Expected, _ reply: Reply, _ incoming: ByteQueue) {
        headScratch.removeAll()
        headScratch.append(UnsafeRawBufferPointer(rebasing: incoming.readable[..<reply.headBytes]))
        let value = LargeValue(
            block: incoming.lift(reply.bytes, behind: reply.headBytes), count: reply.value.count, flags: reply.flags,
            token: Token.shown(reply.cas, tag: server.tag))
        takeReply(server, expected, reply, headScratch.readable, with: value)
    }

    /// `bytes` are the whole reply, or its first line where what follows is a large value.
    private func takeReply(
        _ server: BackendServer, _ expected: Expected, _ reply: Reply, _ bytes: UnsafeRawBufferPointer,
        with value: LargeValue? = nil
    ) {
        switch expected.purpose {
        case .read(let client, let number, let fallback):
            let missed = reply.kind == .end || reply.kind == .en
            if missed && fallback {
                askOther(than: server, client, number, expected)
            } else {
                if server.isBackup && !fallback && !missed && expected.shape != .stats { noteBackupRead(server, expected) }
                deliver(client, number, reply.kind, shown(bytes, reply, from: server), with: value)
            }
            server.sent.consume(expected.sentBytes)
        case .gather(let fragment): fragmentAnswered(server, fragment, reply, bytes, with: value)
        case .write(let operation):
            authorityAnswered(operation, reply.kind, ReplyText.kept(shown(bytes, reply, from: server), reply.kind))
            if operation.decided && !operation.aborted { noteLanded(server, operation, reply) }
            answered(operation)
        case .readBack(let operation):
            if operation.heldReply != nil {
                readBackAnswered(operation, postImage(reply, in: bytes, value))
                if !operation.aborted { noteLanded(server, operation, reply) }
            }
            if reply.isWin && reply.isStale { giveBackWin(server, operation) }
            answered(operation)
        case .landing(let operation):
            if reply.kind.isError { landingRefused(server, operation) } else { noteLanded(server, operation, reply) }
            if operation.kind == .write && !operation.decided {
                operation.heldReply = (reply.kind, ReplyText.kept(shown(bytes, reply, from: server), reply.kind))
            }
            answered(operation)
        case .operationRead(let operation):
            let image = postImage(reply, in: bytes, value)
            operationReadAnswered(operation, server, image.flatMap { $0.isStale ? nil : $0 })
        case .passed(let operation): answered(operation)
        case .amnesia: flushedLate(server, reply.kind)
        case .look(let look, let refill): looked(look, of: refill, reply)
        case .clear(let clearing): deleted(clearing)
        case .tidy: tidiesUnderWay -= 1
        case .probe: break
        case .greeting: greeted(server, reply, bytes)
        case .flush(let flush): flushed(flush, reply.kind, Array(bytes))
        case .stats(let stats):
            noteStats(stats.what, of: server, reply, bytes)
            statsAnswered(stats)
        }
    }

    /// The read-back of a stale item took the win that belongs to the next client: marking it stale again frees it.
    private func giveBackWin(_ server: BackendServer, _ operation: Operation) {
        guard !workFor(operation.key).isOutdated(operation.version, .tombstone, at: server.index) else { return }
        tidy(server, nil) { queue in
            operation.key.withUnsafeBytes { Command.markStale(key: $0, into: queue) }
        }
    }

    private func noteLanded(_ server: BackendServer, _ operation: Operation, _ reply: Reply) {
        observe(
            .landed(key: operation.key, version: operation.version, content: operation.content, server: server.definition.name))
        let isWhole = operation.content == .tombstone || (operation.content == .value && !operation.effect.readsBack)
        // A copy gives way to whatever is there; and what was to be deleted on a condition may only have been marked.
        let mayHaveMarked = operation.effect == .conditionalDelete && server.index == operation.authority
        if isWhole, !mayHaveMarked, operation.kind != .copy, !reply.kind.isError, let how = server.missed[operation.key],
            how != .doubt,
            !server.repairing.contains(operation.key), operation.version >= index[operation.key]?.version ?? .zero
        {
            server.missed[operation.key] = nil
            settle(server)
        }
    }

    /// A server cannot store what another site's could: the key is deleted there, counted and named, and nothing waits for it.
    private func landingRefused(_ server: BackendServer, _ operation: Operation) {
        counters.recordsRefused += 1
        if operation.key == allKeys { return barrierRefused(server, operation) }
        server.message =
            "refused a record (key of \(operation.key.count) bytes): its item limit may be smaller than another site's"
        if let kept = refusalComplaints.permit(at: monotonic) {
            say(.warning, "memcached refused a record server=\(server.definition.name) version=\(operation.version)\(kept)")
        }
        // Something younger may be on its way there already; it must not be deleted.
        guard !workFor(operation.key).isOutdated(operation.version, .tombstone, at: server.index) else { return }
        tidy(server, operation.key) { queue in operation.key.withUnsafeBytes { Command.delete(key: $0, into: queue) }
        }
    }

    /// A write did not reach a server. The first time, the log and the siblings are told.
    func noteMissed(_ server: BackendServer, _ key: [UInt8], _ how: AssertionCause) {
        let wasBehind = server.isBehind
        if key == allKeys { server.missEverything() } else { server.miss(key, how) }
        guard !wasBehind else { return }
        logServer(server)
        tellCutOff(server)
    }

    /// What a restart must know of a server; as soon as the log has room for it.
    func logServer(_ server: BackendServer) {
        server.isLogged = false
        guard server.incarnation != nil || server.missedTooMany, log.hasRoom(forBytes: 512, owed: owedBytes) else { return }
        server.isLogged = true
        log.append(
            LogRecord(
                kind: .backendState, version: Version(stamp: server.movedAt, origin: laneID),
                clientFlags: (server.recovering ? 1 : 0) | (server.isBehind ? 2 : 0), reference: server.clearedTo,
                key: Array(server.definition.name.utf8), payload: server.incarnation ?? []))
    }
}
