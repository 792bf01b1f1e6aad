// The tick, a few times a heartbeat: what falls due by time. Time-outs, retries, heartbeats and promises, floors and
// forgetting, the log's own records, retention, and an orderly leave.

import Configuration
import Kernel
import Memcache
import Replication
import WriteLog

extension LaneNode {
    private var times: SiteTimes { configuration.site.times }

    func tick() {
        forgiveStall()
        nextTick = monotonic + UInt64(times.heartbeatMilliseconds) * 1_000
        tendServers()
        tendLinks()
        tendStranding()
        tendClients()
        if state == .joining { commitOpenIntents() }
        if state == .joining { membershipChanged() } else { unpark() }
        tendHandovers()
        settleDisputed()
        routeWaitingAssertions()
        tendAwaitedTops()
        tendDoubts()
        tendBarriers()
        forgetRefills()
        tendRefill()
        tendClearing()
        hotKeys.forget(at: monotonic)
        refuseOverdue()
        drainAll()
        logUpkeep()
        updateFloors()
        for id in siblingIDs { siblings[id].map { beat($0) } }
        promiseAll()
        retain()
        if isLeaving { goOnLeaving() }
    }

    // MARK: Servers and links

    /// After a pause so long that the siblings may have given this lane up, what they had asked of it has been asked of others:
    /// it must not be done now, over what was written since. And what was written since is unknown here: the lane joins anew, as
    /// after a restart. A wall clock that jumps is no pause.
    func rejoinAfterPause(since before: Instant) {
        let paused = now.monotonicMicroseconds - min(before.monotonicMicroseconds, now.monotonicMicroseconds)
        guard paused > leaseMicroseconds, !siblingIDs.isEmpty else { return }
        if state == .leaving {
            // It may end as if it had crashed, but not go on with what it knew before.
            mayOwn = false
            leaveBy = monotonic
        } else {
            state = .joining
            joiningSince = monotonic
        }
        for id in siblingIDs {
            guard let sibling = siblings[id] else { continue }
            if let pending = sibling.pending { hangUp(pending, "this lane was paused while it called") }
            if let link = sibling.link { hangUp(link, "this lane was paused for \(paused / 1_000) ms") }
            sibling.unreachable = false
            sibling.retryAt = monotonic
        }
        membershipChanged()
    }

    /// While this lane itself did not run, it could hear nobody: that silence is held against no one.
    private func forgiveStall() {
        let stall = monotonic - min(nextTick, monotonic)
        guard stall > UInt64(times.heartbeatMilliseconds) * 1_000 else { return }
        if stall > Limits.stallWarningMicroseconds {
            say(.warning, "lane held up milliseconds=\(stall / 1_000); nobody's silence counts meanwhile")
        }
        for link in links.values { link.heardAt = min(monotonic, link.heardAt + stall) }
        for server in servers { server.heardAt = max(server.heardAt, min(monotonic, (server.silentSince ?? 0) + stall)) }
    }

    private func tendServers() {
        for server in servers {
            switch server.phase {
            case .idle: if monotonic >= server.retryAt && !finished { connect(server) }
            case .connecting:
                if monotonic - server.connectingSince > UInt64(times.backendConnectMilliseconds) * 1_000 {
                    drop(server, "it did not accept a connection within \(times.backendConnectMilliseconds) ms")
                }
            case .greeting, .repairing, .up:
                if let since = server.silentSince, monotonic - since > UInt64(times.backendTimeoutMilliseconds) * 1_000 {
                    counters.backendTimeouts += 1
                    drop(server, "it did not answer within \(times.backendTimeoutMilliseconds) ms")
                } else {
                    repair(server)
                    probe(server)
                    lookUp(server)
                }
            }
        }
    }

    /// A server that is asked nothing is asked for a sign of life: one that hangs, or is cut off, is known as such before a client
    /// has to wait for it.
    private func probe(_ server: BackendServer) {
        guard server.isUp, server.expected.isEmpty, monotonic - server.askedAt >= Limits.probeMicroseconds else { return }
        ask(server, .probe, .meta) { Command.noop(into: $0) }
    }

    /// A server that is known by name may be elsewhere by now, although somebody still answers where it was.
    private func lookUp(_ server: BackendServer) {
        guard let connection = server.connection, monotonic - server.lookedUpAt >= Limits.lookUpMicroseconds else { return }
        server.lookedUpAt = monotonic
        effects.actions.append(.lookUp(connection))
    }

    private func tendLinks() {
        for id in siblingIDs {
            guard let sibling = siblings[id] else { continue }
            let patience = UInt64(times.siblingTimeoutMilliseconds) * 1_000
            if let link = sibling.link, monotonic - link.heardAt > patience {
                hangUp(link, "it was not heard for \(times.siblingTimeoutMilliseconds) ms")
            } else if let pending = sibling.pending, monotonic - pending.heardAt > patience {
                hangUp(pending, "it did not greet within \(times.siblingTimeoutMilliseconds) ms")
            } else if sibling.link == nil, sibling.pending == nil, monotonic >= sibling.retryAt,
                laneID < id || state == .joining || sibling.mayStillWrite
            {
                dial(sibling)
            }
            tendPassedOn(sibling)
        }
        let patience = UInt64(times.streamTimeoutMilliseconds) * 1_000
        for site in siteOrder {
            guard let sender = senders[site] else { continue }
            if let link = sender.link {
                if monotonic - link.heardAt > patience {
                    hangUp(
                        link,
                        "\(link.identity.site)/\(link.identity.proxy) was not heard for \(times.streamTimeoutMilliseconds) ms")
                }
            } else if monotonic >= sender.retryAt {
                dial(sender)
            }
        }
        for origin in receivers.keys.sorted() {
            if let link = receivers[origin]?.link, monotonic - link.heardAt > patience { hangUp(link, "it was not heard") }
        }
        // Whoever connected and never greeted.
        for link in links where !link.dialled && !link.isOpen && monotonic - link.heardAt > patience {
            hangUp(link, "it never greeted")
        }
    }

    /// Admits what waited for something that may have come: room in the log, a server.
    func drainAll() {
        let waiting = work.lazy.filter { !$0.value.waiters.isEmpty }.map(\.key)
        for key in waiting.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard let keyWork = work[key] else { continue }
            drain(key, keyWork)
            refuseStuckWrites(key, keyWork)
        }
    }

    // MARK: Promises

    private func promiseAll() {
        for site in siteOrder {
            guard let sender = senders[site], let link = sender.link, link.isOpen else { continue }
            send(
                .promise(floor: promise(to: sender), stamp: clock.last, wall: now.wallMicroseconds, committed: committed),
                on: link)
            noteRate(sender)
        }
        // A sign of life the other way, even while what arrived waits to be applied.
        for origin in receivers.keys.sorted() { receivers[origin].map { acknowledge($0) } }
        if let least = siteOrder.compactMap({ senders[$0]?.durable }).min() {
            while samples.count > 1, samples[1].position <= least { samples.removeFirst() }
        } else {
            while samples.count > 1 { samples.removeFirst() }
        }
    }

    private func noteRate(_ sender: StreamSender) {
        let fresh = Double(sender.acknowledged.raw - sender.rateFrom.raw) * 1_000 / Double(times.heartbeatMilliseconds)
        sender.rate += (fresh - sender.rate) / 10
        sender.rateFrom = sender.acknowledged
    }

    // MARK: The log's own records

    private func logUpkeep() {
        landedIsTold = false
        guard log.hasRoom(forBytes: stateBytesMax, owed: owedBytes) else { return }
        if isCeilingNear { logCeiling() }
        for server in servers where !server.isLogged { logServer(server) }
        if !ringsLogged { logRings() }
        for site in siteOrder {
            // One at a time: a newer one before the last is synced would put off for ever what slow disks make durable.
            guard let sender = senders[site], sender.acknowledged > sender.logged, sender.loggedAt <= log.synced else { continue }
            sender.logged = sender.acknowledged
            log.append(LogRecord(kind: .acknowledged, position: sender.acknowledged, clientFlags: UInt32(site.raw)))
            sender.loggedAt = log.tail
        }
        tellLanded()
        if log.wantsProof { log.appendProof() }
    }

    /// What the lane says of itself and the other sites takes no more.
    private var stateBytesMax: Int { 4_096 + siteOrder.count * LogFormat.headBytes }

    /// Says in the log below which address everything has landed.
    private func tellLanded() {
        guard !isResolving else { return }
        let underWay = operations.all.lazy.filter { $0.intent > .zero }.map(\.intent).min()
        if let floor = underWay ?? (landedFloorTold <= lastWriteAt ? log.tail : nil), floor > landedFloorTold {
            landedFloorTold = floor
            log.append(LogRecord(kind: .landed, reference: floor.raw))
        }
        landedIsTold = underWay.map { landedFloorTold >= $0 } ?? (landedFloorTold > lastWriteAt)
    }

    /// Something that was logged may still have to be landed or read back: the log must go on saying so.
    private var isResolving: Bool {
        if !unresolved.isEmpty || !openIntents.isEmpty { return true }
        if !doubts.isEmpty || !wiped.isEmpty { return true }
        return assertions.values.contains { if case .top = $0.task { true } else { false } }
    }

    /// A new segment begins with what older ones say about the lane, so that they can be deleted.
    func carryIntoNewSegment() {
        let segment = log.segment
        guard segment != carriedSegment, log.tail.raw % UInt64(log.segmentBytes) != 0 else { return }
        guard log.hasRoom(forBytes: stateBytesMax + servers.count * 512 + ringsBytes, owed: owedBytes) else { return }
        carriedSegment = segment
        let underWay = operations.all.lazy.filter { $0.intent > .zero && !$0.decided }.map(\.intent).min()
        let lowest = [underWay, openIntents.map(\.offset).min()].compactMap(\.self).min()
        let start = LogOffset(segment * UInt64(log.segmentBytes))
        if segmentStarts.last?.segment != segment {
            segmentStarts.append(
                SegmentStart(segment: segment, firstPosition: committed.next, readFrom: min(lowest ?? start, start)))
        }
        logCeiling()
        for site in siteOrder {
            guard let sender = senders[site] else { continue }
            log.append(LogRecord(kind: .acknowledged, position: sender.acknowledged, clientFlags: UInt32(site.raw)))
            sender.logged = sender.acknowledged
            sender.loggedAt = log.tail
        }
        for server in servers { logServer(server) }
        logRings()
        carriedAt = log.tail
    }

    // MARK: Segments and syncs

    func askForSegments() {
        guard monotonic >= segmentRetryAt else { return }
        while let segment = log.segmentWanted {
            log.noteAsked(segment: segment)
            effects.actions.append(.prepareSegment(segment))
        }
    }

    func segmentReady(_ segment: UInt64) {
        log.notePrepared(segment: segment)
        segmentCameAt = monotonic
        if !logFailure.isEmpty { say(.notice, "log takes writes again") }
        logFailure = ""
        giveRoom()
    }

    func segmentFailed(_ segment: UInt64, _ reason: String) {
        log.noteFailed(segment: segment)
        segmentRetryAt = monotonic + UInt64(times.retryMaxMilliseconds) * 1_000
        if logFailure != reason { say(.error, "log segment cannot be made segment=\(segment) reason=\(reason)") }
        logFailure = reason
        refuseOverdue()
    }

    func askForSync() {
        guard !syncUnderWay, log.synced < log.tail else { return }
        if waitsForCeiling { return startSync() }
        let due = monotonic - lastSyncAt >= UInt64(times.syncMilliseconds) * 1_000
        guard due || heldReplies.first.map({ $0.offset > log.synced }) ?? false || holdsBackUnsynced else { return }
        startSync()
    }

    private func startSync() {
        syncUnderWay = true
        lastSyncAt = monotonic
        effects.actions.append(.sync)
    }

    /// Something is kept from the world for no other reason than that it is not on the disk.
    private var holdsBackUnsynced: Bool {
        shipGate.first.map { $0.sequence != nil && $0.logged > tellable } ?? false
            || mirrorWaiters.first.map { $0.logged > tellable } ?? false
    }

    func synced(_ offset: LogOffset) {
        syncUnderWay = false
        log.noteSynced(offset)
        ceilingsSynced()
        for site in siteOrder {
            if let sender = senders[site], sender.loggedAt <= log.synced { sender.durable = max(sender.durable, sender.logged) }
        }
        while let held = heldReplies.first, held.offset <= log.synced {
            heldReplies.removeFirst()
            deliver(held.completion, held.kind, held.bytes)
        }
    }

    // MARK: Retention

    /// Deletes the oldest segments once nothing in them is needed, and what makes them needless is on the disk.
    private func retain() {
        if let due = retiring {
            guard log.synced >= due.at else { return }
            while firstSegment < due.below { deleteFirstSegment() }
            retiring = nil
        }
        // What the deleted segments say must be on the disk elsewhere.
        guard carriedSegment == log.segment, log.synced >= carriedAt else { return }
        var kept = firstSegment
        while kept < log.segment, isNeedless(kept) { kept += 1 }
        if kept > firstSegment { retiring = (kept, log.tail) }
    }

    /// Every site has the segment's records, and the index does not point there.
    private func isNeedless(_ segment: UInt64) -> Bool {
        let end = LogOffset((segment + 1) * UInt64(log.segmentBytes))
        guard let next = segmentStarts.first(where: { $0.segment > segment }), log.synced >= end, landedFloorTold >= end,
            openIntents.allSatisfy({ $0.offset >= end })
        else { return false }
        let last = max(Position(next.firstPosition.raw - 1), straddling[segment])
        guard siteOrder.allSatisfy({ senders[$0].map { $0.durable >= last } ?? true }) else { return false }
        return index.lowestOffset(of: laneID).map { $0 >= end } ?? true
    }

    private func deleteFirstSegment() {
        let end = LogOffset((firstSegment + 1) * UInt64(log.segmentBytes))
        effects.actions.append(.deleteSegment(firstSegment))
        straddling.remove(firstSegment)
        firstSegment += 1
        while let first = segmentStarts.first, first.segment < firstSegment { segmentStarts.removeFirst() }
        for place in segmentStarts.indices { segmentStarts[place].readFrom = max(segmentStarts[place].readFrom, end) }
        // Who has read all of its records, and not what stands behind them, goes on in a later one.
        for site in siteOrder { senders[site].map { if $0.cursor.map({ $0.offset < end }) ?? false { $0.cursor = nil } } }
    }

    // MARK: After a restart

    /// Stores and deletes that the log holds without an outcome: what they did is known, so they are committed, and landed again.
    private func commitOpenIntents() {
        while let open = openIntents.first {
            guard log.hasRoom(forBytes: 4_096) else { return }
            openIntents.removeFirst()
            let record = open.record
            var position = Position.zero
            if !record.flags.contains(.local) {
                committed = committed.next
                position = committed
            }
            let offset = log.append(LogRecord(kind: .commit, position: position, reference: open.offset.raw))
            straddling.note(position, intent: open.offset, commit: offset, log.segmentBytes)
            if position > .zero { shipGate.append((position, 0, log.tail)) }
            index.raise(
                record.key, version: record.version, content: record.content, holder: laneID, offset: open.offset,
                recordBytes: open.recordBytes)
            unresolved.append((record.key, .overtaken))
            observe(
                .committed(
                    key: record.key, version: record.version, content: record.content, value: record.payload,
                    flags: record.clientFlags, expiry: record.expiryMicroseconds, position: position))
        }
    }

    // MARK: Leaving

    func leave() {
        guard state != .leaving else { return }
        state = .leaving
        leavingSince = monotonic
        // What is disputed with nobody else here is known to nobody else.
        settleDisputed(all: !siblingIDs.contains { siblings[$0]?.isAlive ?? false })
        leaveBy = monotonic + Limits.leaveMicroseconds
        say(.notice, "lane leaves")
        for id in siblingIDs { siblings[id].map { beat($0) } }
        membershipChanged()
        for session in sessions { pump(session) }
        nextTick = monotonic
    }

    /// Ends once everything under way has landed, been mirrored and, where a site can be reached, been acknowledged.
    private func goOnLeaving() {
        nextTick = min(nextTick, monotonic + 10_000)
        let late = leaveBy.map { monotonic >= $0 } ?? false
        let idle =
            sessions.isEmpty && operations.isEmpty && forwards.isEmpty && parked.isEmpty && awaitingRoom.isEmpty
            && mirrorWaiters.isEmpty
            && assertions.isEmpty && heldReplies.isEmpty && awaitedHandovers.isEmpty && handovers.isEmpty
        let shipped = siteOrder.allSatisfy { site in
            senders[site].map { !$0.isStreaming || $0.acknowledged >= committed } ?? true
        }
        // Who has heard of it passes nothing on any more, and what was passed on before has come.
        let known = siblingIDs.allSatisfy { siblings[$0]?.link.map { $0.echoedAt >= leavingSince } ?? true }
        guard (idle && shipped && known && log.synced == log.tail) || late, !finished else {
            if log.synced < log.tail && !syncUnderWay && idle { lastSyncAt = 0 }
            return
        }
        finished = true
        say(.notice, "lane left complete=\(idle && shipped && known)")
        effects.actions.append(.finished)
    }
}
