// Writes at their owner (`federation.md` section 4): stamp, log, send, decide by the authority's reply, commit, land.
//
//     startWrite ─▶ log: intent ─▶ authority (+ other server when certain)
//                                      │ reply
//                                      ▼
//     decide ─▶ log: commit | commitValue | abort ─▶ reply to the client, record to the streams
//                                      │ all servers have answered
//                                      ▼
//     landed ─▶ mirror to the siblings ─▶ shipped, acknowledged

import Kernel
import Memcache
import Replication
import WriteLog

extension LaneNode {
    // MARK: Admission

    /// Takes a write that this lane is to sequence.
    func admit(_ write: Write, _ completion: Completion) {
        let keyWork = workFor(write.key, at: write.place)
        guard goesAtOnce(keyWork, slot: slot(of: write.key)), mayStart(write) else {
            keyWork.waiters.append(.write(write, completion))
            return noteRoom(for: write.key, keyWork)
        }
        startWrite(write, completion, keyWork)
        dropIfIdle(write.key, keyWork)
    }

    /// True when a write of the key waits for nothing.
    func goesAtOnce(_ keyWork: KeyWork?, slot: @autoclosure () -> Int) -> Bool {
        if isHolding || isHeld(slot()) { return false }
        if let keyWork, !keyWork.waiters.isEmpty || keyWork.inFlight.contains(where: { $0.kind == .doubt }) { return false }
        return mayStamp()
    }

    /// Where the key lives may be known already.
    func workFor(_ key: [UInt8], at place: Place? = nil) -> KeyWork {
        work.value(of: key, orInsert: KeyWork(at: place ?? route(key)))
    }

    func dropIfIdle(_ key: [UInt8], _ keyWork: KeyWork) {
        if keyWork.isIdle { work.removeValue(forKey: key) { $0 === keyWork } }
    }

    /// Admits what waited, in order, as far as it may go now. What lands at once, where no server can be reached, makes room for the
    /// next: that goes in this loop, not in another inside it.
    func drain(_ key: [UInt8], _ keyWork: KeyWork) {
        guard !keyWork.isDraining else { return }
        keyWork.isDraining = true
        while let first = keyWork.waiters.first, mayGo(first, key, keyWork) {
            keyWork.waiters.removeFirst()
            switch first {
            case .write(let write, let completion):
                if !isLeaseOver(completion) { startWrite(write, completion, keyWork) }
            case .landing(let record, let assertion, let requester): takeLanding(record, assertion: assertion, requester, keyWork)
            case .doubt(let doubt, let requester): startDoubt(key, doubt, requester, keyWork)
            }
        }
        keyWork.isDraining = false
        noteRoom(for: key, keyWork)
        dropIfIdle(key, keyWork)
    }

    private func mayGo(_ waiter: Waiter, _ key: [UInt8], _ keyWork: KeyWork) -> Bool {
        if isHolding || isHeld(slot(of: key)) || keyWork.inFlight.contains(where: { $0.kind == .doubt }) { return false }
        switch waiter {
        case .write(let write, _): return mayStamp() && mayStart(write)
        case .landing(let record, _, _): return landingMayGo(record, keyWork)
        case .doubt:
            return keyWork.inFlight.isEmpty && authority(at: keyWork.place, key) != nil && mayStamp()
                && mayTake(hasRoom(forDoubt: key), key)
        }
    }

    /// A write that was passed on waited for too long: who passed it on may have asked another. It is not done any more.
    private func isLeaseOver(_ completion: Completion) -> Bool {
        guard case .forwarded(let lane, _) = completion else { return false }
        guard let link = siblings[lane]?.link else { return true }
        guard monotonic - min(link.echoedAt, monotonic) > leaseMicroseconds else { return false }
        hangUp(link, "a write that it passed on waited until its lease was over")
        return true
    }

    // MARK: Stamping, logging, sending

    /// Logs and sends a write: under a version of its own, or under the one that it settles.
    func startWrite(
        _ write: Write, _ completion: Completion, _ keyWork: KeyWork, under version: Version? = nil, requesters: [Requester] = []
    ) {
        if write.key == allKeys { return startBarrier(completion, keyWork) }
        if let exptime = write.exptime { write.expiry = absoluteExpiry(exptime) }
        let place = keyWork.place
        guard let authority = authority(of: keyWork, at: place, write.key) else {
            complete(completion, .serverError, unreachableReply(place))
            for requester in requesters { awaitMirror(requester) }
            return
        }
        guard hasRoom(for: write) else {
            complete(completion, .serverError, logFullReply())
            for requester in requesters { awaitMirror(requester) }
            return
        }
        let owed = outcomeBytesMax(write)
        owedBytes += owed
        for other in keyWork.inFlight where other.kind == .copy { other.cancelled = true }
        let operation = Operation(
            kind: .write, key: write.key, version: version ?? stampVersion(), effect: write.effect, content: content(of: write),
            completion: completion, at: place)
        operation.write = write
        operation.requesters = requesters
        operation.owed = owed
        // What is settled under an older version comes with the expiry of a younger touch, if there is one.
        if version != nil { _ = takeTouch(operation, instead: write.expiry) }
        logIntent(operation, write)
        begin(operation, keyWork)
        send(operation, write, to: authority, keyWork)
        if write.effect.isCertain { sendElsewhere(operation, place, except: authority, keyWork) }
    }

    /// The server that has yet to decide a write of the key decides the next one, too, as long as it can be reached: the other one,
    /// though refilled or found better since, has not heard of the first.
    func authority(of keyWork: KeyWork?, at place: Place, _ key: [UInt8]) -> Int? {
        if let undecided = keyWork?.inFlight.last(where: { $0.isUndecided && $0.kind == .write }),
            servers[undecided.authority].acceptsWrites
        {
            return undecided.authority
        }
        return authority(at: place, key)
    }

    /// A version above all that were seen; the ceiling in the log stays above it.
    func stampVersion() -> Version {
        let stamp = clock.tick(at: now)
        if stamp > ceiling { logCeiling() }
        return Version(stamp: stamp, origin: laneID)
    }

    /// The absolute expiry of a negative exptime.
    private static let overAlready = Exptime.absolute(-1, nowSeconds: 0) * 1_000_000

    private func content(of write: Write) -> Content {
        switch write.effect {
        // An absolute time that has passed by this proxy's clock may not have by memcached's: every site judges by its own.
        case .store, .conditionalStore, .derive: write.expiry == Self.overAlready ? .tombstone : .value
        case .delete, .conditionalDelete: .tombstone
        case .touch: .touch
        case .local: .none
        }
    }

    func logIntent(_ operation: Operation, _ write: Write) {
        let certain = write.effect.isCertain
        let flags = recordFlags(write.key)
        operation.intent = write.key.withUnsafeBytes { key in
            write.withPayload { payload in
                log.append(
                    kind: certain ? .intent : .derivedIntent, content: operation.content, flags: flags,
                    version: operation.version, clientFlags: write.clientFlags, expiryMicroseconds: write.expiry, key: key,
                    payload: certain ? payload : UnsafeRawBufferPointer(rebasing: payload[..<0]),
                    of: certain ? write.block : nil)
            }
        }
        lastWriteAt = operation.intent
        operation.intentBytes = UInt32(
            LogRecord.encodedBytes(keyBytes: write.key.count, payloadBytes: certain ? write.payloadCount : 0))
        if certain {
            index.raise(
                write.key, version: operation.version, content: operation.content, expiry: write.expiry, holder: laneID,
                offset: operation.intent, recordBytes: operation.intentBytes)
        }
    }

    func begin(_ operation: Operation, _ keyWork: KeyWork) {
        operation.begunAt = monotonic
        operation.keyWork = keyWork
        keyWork.inFlight.append(operation)
        operations.insert(operation)
        if isPlanted(.mirrorBeforeLanding), operation.kind != .copy, operation.kind != .doubt {
            mirrorSequence += 1
            broadcastMirror(operation)
        }
    }

    private func send(_ operation: Operation, _ write: Write, to server: Int, _ keyWork: KeyWork) {
        operation.authority = server
        operation.outstanding += 1
        keyWork.noteSent(operation.version, operation.content, to: server)
        ask(servers[server], .write(operation), write.shape) { queue in
            if write.comparesCAS {
                write.append(comparing: servers[server].tag, to: queue)
            } else {
                write.append(to: queue)
            }
        }
        guard write.effect.readsBack else { return }
        operation.outstanding += 1
        ask(servers[server], .readBack(operation), .meta) { queue in
            write.key.withUnsafeBytes { Command.readBack(key: $0, into: queue) }
        }
    }

    /// The other server of the key gets the same command, or misses it.
    private func sendElsewhere(_ operation: Operation, _ place: Place, except authority: Int, _ keyWork: KeyWork) {
        guard let write = operation.write else { preconditionFailure("write \(operation.version) has no command") }
        for server in place.both where server != authority {
            if servers[server].acceptsWrites {
                operation.outstanding += 1
                keyWork.noteSent(operation.version, operation.content, to: server)
                ask(servers[server], .landing(operation), write.shape) { write.append(to: $0) }
            } else {
                noteMissed(servers[server], write.key, .missed)
            }
        }
    }

    // MARK: Landed

    /// A server has answered what it was sent for this operation, or never will.
    func answered(_ operation: Operation) {
        operation.outstanding -= 1
        precondition(operation.outstanding >= 0, "operation \(operation.version) answered too often")
        landedIfDone(operation)
    }

    func landedIfDone(_ operation: Operation) {
        guard operation.outstanding == 0, operation.decided else { return }
        landed(operation)
    }

    /// No server will be heard of this operation any more.
    func landed(_ operation: Operation) {
        operations.remove(operation)
        guard let keyWork = operation.keyWork else { preconditionFailure("operation \(operation.version) has not begun") }
        operation.keyWork = nil
        keyWork.inFlight.removeAll { $0 === operation }
        if let held = operation.heldAnswer { complete(operation.completion, held.kind, held.bytes) }
        if !operation.aborted {
            mirrorSequence += 1
            if !isPlanted(.mirrorBeforeLanding) || operation.kind == .copy { broadcastMirror(operation) }
            if operation.overlapped && !isPlanted(.noAssertion) { requestAssertion(operation.key, .overtaken) }
            assertIfOvertaken(operation)
            assertIfLate(operation)
        }
        if operation.position > .zero, let front = shipGate.first, operation.kind == .write {
            let place = Int(operation.position.raw) - Int(front.position.raw)
            if place >= 0 && place < shipGate.count {
                shipGate[place].sequence = mirrorSequence
                shipGate[place].logged = log.tail
            }
        }
        for requester in operation.requesters { awaitMirror(requester) }
        drain(operation.key, keyWork)
    }

    /// Another lane has landed something younger meanwhile; before or after this, nobody knows.
    private func assertIfOvertaken(_ operation: Operation) {
        // Without siblings, only a barrier can have come between.
        guard !siblingIDs.isEmpty || index.barrier > .zero else { return }
        guard operation.kind != .copy, operation.key != allKeys, !isPlanted(.noAssertion), let entry = index[operation.key],
            !landingStands(operation.tops(holder: laneID), against: entry)
        else { return }
        // What this lane sent itself, it sent in order.
        guard (entry.version > operation.version ? entry.holder : entry.touchHolder) != laneID else { return }
        requestAssertion(operation.key, .overtaken)
    }

    /// memcached counts the time that an item has left from when it hears of it. This lane was paused, or the server was slow, for
    /// longer than a server's silence is borne: the item would live for as much too long.
    private func assertIfLate(_ operation: Operation) {
        let patience = UInt64(configuration.site.times.backendTimeoutMilliseconds) * 1_000
        guard monotonic - operation.begunAt > patience, operation.kind != .copy, let entry = index[operation.key],
            (entry.touchDecides ? entry.touchExpiry : entry.expiry) != 0
        else { return }
        requestAssertion(operation.key, .overtaken)
    }

    /// Fulfils a requester once everything that has landed so far has been mirrored.
    func awaitMirror(_ requester: Requester) { mirrorWaiters.append((mirrorSequence, requester, log.tail)) }

    // MARK: Replies

    /// True when a read may ask another server than the one that decided the write: any server where reads are spread; the primary, if
    /// the backup decided; the backup, at lanes that know of the primary that this one's writes are missing there.
    func isAnswerHeld(_ operation: Operation) -> Bool {
        guard operation.key != allKeys, !isPlanted(.answersEarly) else { return false }
        if spreadsReads { return true }
        let primary = servers[operation.place.primary]
        return operation.authority == primary.index ? isDistrustedElsewhere(primary) : primary.acceptsWrites
    }

    /// The siblings were told that the server lacks writes of this lane, and may not have heard yet that it has them again.
    private func isDistrustedElsewhere(_ server: BackendServer) -> Bool {
        guard !siblingIDs.isEmpty else { return false }
        return server.isBehind || server.caughtUpAt.map { monotonic - $0 <= siblingPatienceMicroseconds } ?? false
    }

    /// Has the operation wait until a server has done everything that it was sent so far.
    func passThrough(_ server: BackendServer, _ operation: Operation) {
        operation.outstanding += 1
        ask(server, .passed(operation), .meta) { Command.noop(into: $0) }
    }

    /// Answers the client of a committed write. Where a read may ask the other server, the client must not hear of the write before that
    /// has it, too.
    func answerClient(_ operation: Operation, _ kind: ReplyKind, _ bytes: [UInt8]) {
        if isAnswerHeld(operation) {
            operation.heldAnswer = (kind, bytes)
        } else {
            complete(operation.completion, kind, bytes)
        }
    }

    /// Hands a write's reply to whoever waits for it, once it is as durable as the site wants it.
    func complete(_ completion: Completion, _ kind: ReplyKind, _ bytes: [UInt8]) {
        if case .nobody = completion { return }
        if configuration.site.durability == .disk && log.synced < log.tail && kind != .serverError {
            heldReplies.append((log.tail, completion, kind, bytes))
            return
        }
        deliver(completion, kind, bytes)
    }

    func deliver(_ completion: Completion, _ kind: ReplyKind, _ bytes: [UInt8]) {
        switch completion {
        case .nobody: break
        case .delayedBarrier: if kind == .serverError { barriersDue.append(monotonic + 1_000_000) }
        case .client(let id, let reply): bytes.withUnsafeBytes { deliver(id, reply, kind, $0) }
        case .forwarded(let lane, let request):
            siblings[lane]?.link.map {
                send(.forwardReply(request: request, kind: kind.wireCode, stamp: clock.last, reply: bytes), on: $0)
            }
        }
    }

    func unreachableReply(_ place: Place) -> [UInt8] {
        Array("SERVER_ERROR \(servers[place.primary].title) is unreachable: \(servers[place.primary].message)\r\n".utf8)
    }
}
