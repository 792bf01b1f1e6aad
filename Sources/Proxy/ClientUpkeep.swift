// What clients may not do to each other: hold memory without end, begin a request and never finish it, stay for ever, or
// have every turn for themselves. Decided here, with the tick or when a client's buffers change; nothing per command.

import Kernel
import Memcache

extension LaneNode {
    // MARK: Memory

    /// Looks at what a client holds now.
    func account(_ session: ClientSession) {
        let id = session.connection
        // One that has just been forgotten holds nothing any more.
        guard sessions[id] === session else { return }
        let outgoing = connections.outgoing(id).heldBytes
        var held = connections.incoming(id).heldBytes
        if session.care.commandBytes >= Limits.countedReplyBytesMin { held += session.care.commandBytes }
        if session.care.isStalled || outgoing >= Limits.countedReplyBytesMin { held += outgoing }
        if session.care.parkedReplyBytes >= Limits.countedReplyBytesMin { held += session.care.parkedReplyBytes }
        let before = session.care.heldBytes
        guard held != before || clientMemory.isTight else { return }
        session.care.heldBytes = held
        note(clientMemory.change(from: before, to: held))
        guard clientMemory.isTight else { return }
        if session.care.isOwedMuch && clientMemory.isOver { clientMemory.mustLook = true }
        if clientMemory.favoured == id {
            if session.care.requestBegunAt == nil { favourNext() }
        } else if session.care.isThrottled {
            if held <= clientMemory.fairShare / 2 { release(session) }
        } else if held > clientMemory.fairShare {
            throttle(session)
        }
    }

    /// Replies wait for it to read them, so many that the shell tells when they have left.
    func isOwedReplies(_ session: ClientSession) -> Bool {
        connections.outgoing(session.connection).count >= Limits.countedReplyBytesMin
    }

    func note(_ change: ClientMemory.Change) {
        switch change {
        case .none: break
        case .becameTight:
            counters.memoryTight += 1
            // At once, not when each is heard next: all of them together could send as much again.
            for session in holders where session.care.heldBytes > clientMemory.fairShare && !session.care.isThrottled {
                throttle(session)
            }
            if monotonic >= clientReport.memoryTellableAt {
                clientReport.memoryTellableAt = monotonic + Limits.clientReportMicroseconds
                say(
                    .warning,
                    "clients hold much memory bytes=\(clientMemory.heldBytes) of=\(clientMemory.bytesMax) holders=\(clientMemory.holders); "
                        + "those who hold most send no more until it is half of that; raise memory-max if this is usual")
            }
        case .becameEasy:
            while let id = clientMemory.paused.popFirst() {
                guard let session = sessions[id] else { continue }
                session.care.isListedAsPaused = false
                if session.care.isThrottled { release(session) }
            }
        }
    }

    private func throttle(_ session: ClientSession) {
        session.care.isThrottled = true
        session.care.throttledAt = monotonic
        if !session.care.isListedAsPaused {
            session.care.isListedAsPaused = true
            clientMemory.paused.append(session.connection)
        }
        regulateReading(session)
    }

    private func release(_ session: ClientSession) {
        session.care.isThrottled = false
        // It could not go on: that time is not held against it.
        if let begunAt = session.care.requestBegunAt {
            session.care.requestBegunAt = begunAt + (monotonic - max(session.care.throttledAt, begunAt))
        }
        regulateReading(session)
        pumpLater(session)
    }

    /// Of the paused clients with half a request, the one that has waited longest may finish it.
    private func favourNext() {
        if let last = clientMemory.favoured, let session = sessions[last] {
            clientMemory.favoured = nil
            if session.care.heldBytes > clientMemory.fairShare { throttle(session) }
        }
        // Not before there is room for it, unless nothing is under way that will make room.
        let isCramped = clientMemory.heldBytes + configuration.federation.itemBytesMax > clientMemory.bytesMax
        guard !isCramped || !holders.contains(where: { !$0.slots.isEmpty }) else { return }
        for _ in 0..<clientMemory.paused.count {
            guard let id = clientMemory.paused.popFirst() else { return }
            guard let session = sessions[id] else { continue }
            guard session.care.isThrottled else {
                session.care.isListedAsPaused = false
                continue
            }
            guard session.care.requestBegunAt != nil else {
                clientMemory.paused.append(id)
                continue
            }
            session.care.isListedAsPaused = false
            clientMemory.favoured = id
            clientMemory.favouredSince = monotonic
            clientMemory.favouredLook = (monotonic, connections.incoming(id).count)
            return release(session)
        }
    }

    /// While memory is tight: what was read and answered meanwhile is noticed, and whoever may go on must do so.
    private func tendMemory() {
        guard clientMemory.isTight else { return }
        if clientMemory.isOver { closeGreediest(ofAll: false) }
        clientMemory.noteOver(at: monotonic)
        if let over = clientMemory.over, monotonic - over.since > Limits.memoryOverMicroseconds { closeGreediest(ofAll: true) }
        for session in holders { account(session) }
        guard clientMemory.isTight else { return }
        guard let favoured = clientMemory.favoured, let session = sessions[favoured] else {
            clientMemory.favoured = nil
            return favourNext()
        }
        guard monotonic - clientMemory.favouredLook.at >= Limits.favourLookMicroseconds else { return }
        let arrived = connections.incoming(favoured).count
        let hasStopped = arrived == clientMemory.favouredLook.bytes && session.swallow == 0
        clientMemory.favouredLook = (monotonic, arrived)
        if hasStopped || monotonic - clientMemory.favouredSince > Limits.favourMicroseconds { favourNext() }
    }

    /// Sessions that hold anything, in a fixed order.
    private var holders: [ClientSession] {
        sessions.filter { $0.care.heldBytes > 0 }
    }

    /// Past the ceiling, pausing was not enough. Who does not read, or has asked for too much at once, and holds more than a fair share, goes, the worst first; if that
    /// is not enough for a while, whoever holds most.
    func closeGreediest(ofAll: Bool) {
        clientMemory.mustLook = false
        for session in holders { account(session) }
        let worst = holders.filter { session in
            session.connection != clientMemory.favoured
                && (ofAll || (session.care.isOwedMuch && session.care.heldBytes > clientMemory.fairShare))
        }.sorted { $0.care.heldBytes > $1.care.heldBytes }
        for session in worst where clientMemory.isOver { closeClient(session, .memory) }
    }

    // MARK: Time

    /// With the tick.
    func tendClients() {
        tendMemory()
        // Who waits for us has nothing to hurry for.
        guard clientsAdmitted, !isHolding, monotonic >= clientReport.nextLookAt else { return }
        clientReport.nextLookAt = monotonic + Limits.clientLookMicroseconds
        closeSlowRequests()
        closeIdle()
        tendQuiet()
        tellOfClosed()
    }

    /// After its commands were taken: what is left is the beginning of one, or waits for others.
    func noteHalfSent(_ session: ClientSession, tookSome: Bool, isIncomplete: Bool) {
        guard isIncomplete else {
            session.care.requestBegunAt = nil
            return
        }
        if tookSome || session.care.requestBegunAt == nil { session.care.requestBegunAt = monotonic }
        guard !session.care.isWatched else { return }
        session.care.isWatched = true
        halfSent.append(session.connection)
    }

    /// A request may have begun that cannot be read yet: it has the same time as any other.
    func halfReceived(_ session: ClientSession, _ isHalf: Bool) {
        session.care.isHalfReceived = isHalf
        pump(session)
    }

    private func closeSlowRequests() {
        let patience = UInt64(configuration.site.times.clientRequestMilliseconds) * 1_000
        let watched = halfSent
        halfSent.removeAll(keepingCapacity: true)
        for id in watched {
            guard let session = sessions[id] else { continue }
            guard let since = session.care.requestBegunAt else {
                session.care.isWatched = false
                continue
            }
            // The replies that it is still owed come first; they have time limits of their own. One that we pause is not slow.
            if monotonic - since > patience, session.slots.isEmpty, !isOwedReplies(session), !session.care.isThrottled {
                closeClient(session, .slowRequest)
            } else {
                halfSent.append(id)
            }
        }
    }

    private func closeIdle() {
        let patience = UInt64(configuration.site.times.clientIdleMilliseconds) * 1_000
        guard patience > 0 else { return }
        let idle = sessions.filter {
            $0.slots.isEmpty && !$0.care.isStalled && $0.care.requestBegunAt == nil
                && monotonic - min($0.lastCommandAt, monotonic) > patience
                && connections.outgoing($0.connection).isEmpty
        }
        for session in idle { closeClient(session, .idle) }
    }

    /// Clients that had to wait for the lane go on; that time is not held against them.
    func admitWaiting() {
        for session in sessions {
            session.lastCommandAt = monotonic
            if session.care.requestBegunAt != nil { session.care.requestBegunAt = monotonic }
            guard !session.pumpDue else { continue }
            session.pumpDue = true
            sessionsToPump.append(session)
        }
    }

    private func closeClient(_ session: ClientSession, _ fault: ClientFault) {
        switch fault {
        case .slowRequest: counters.clientsClosedSlowRequest += 1
        case .idle: counters.clientsClosedIdle += 1
        case .memory: counters.clientsClosedMemory += 1
        }
        forget(session)
        effects.actions.append(.close(session.connection, flush: fault != .memory))
    }

    /// The lane has no more to do with a client. The shell closes its connection, or has.
    func forget(_ session: ClientSession) {
        sessions[session.connection] = nil
        let held = session.care.heldBytes
        session.care.heldBytes = 0
        note(clientMemory.change(from: held, to: 0))
        if clientMemory.favoured == session.connection {
            clientMemory.favoured = nil
            favourNext()
        }
    }

    /// One line now and then, however many there were.
    private func tellOfClosed() {
        let closed = [counters.clientsClosedSlowRequest, counters.clientsClosedMemory, counters.clientsClosedStalled]
        guard closed != clientReport.closedTold, monotonic >= clientReport.closedTellableAt else { return }
        let slow = closed[0] - clientReport.closedTold[0]
        let greedy = closed[1] - clientReport.closedTold[1]
        let stalled = closed[2] - clientReport.closedTold[2]
        clientReport.closedTold = closed
        clientReport.closedTellableAt = monotonic + Limits.clientReportMicroseconds
        if slow > 0 {
            say(
                .warning,
                "clients closed count=\(slow) reason=their requests were not complete within "
                    + "\(configuration.site.times.clientRequestMilliseconds) ms; raise times: client-request if they are honest")
        }
        if greedy > 0 {
            say(
                .warning,
                "clients closed count=\(greedy) reason=they held most of \(clientMemory.bytesMax) bytes; they read too slowly, or "
                    + "memory-max is too low for so many clients")
        }
        if stalled > 0 {
            say(
                .warning,
                "clients closed count=\(stalled) reason=they took nothing of what was sent to them for "
                    + "\(configuration.site.times.clientStalledMilliseconds) ms; raise times: client-stalled if they are honest")
        }
    }

    // MARK: Turns

    /// Goes on with those who had more commands than a turn takes.
    func pumpNextTurn() {
        guard !sessionsNextTurn.isEmpty else { return }
        let due = sessionsNextTurn
        sessionsNextTurn.removeAll(keepingCapacity: true)
        for session in due {
            session.nextTurnDue = false
            if sessions[session.connection] === session { pump(session) }
        }
    }
}

extension Request {
    /// What it takes of its client's turn.
    var work: Int { verb == .stats ? Limits.statsWork : 1 + keyCount / Limits.keysPerWork }
}

/// When what was last looked at, and told.
struct ClientReport {
    /// When times are next looked at, in monotonic microseconds.
    var nextLookAt: UInt64 = 0
    /// The place from which on quiet clients are looked for next.
    var quietPlace = 0
    /// When the next line about closed clients may be written, in monotonic microseconds.
    var closedTellableAt: UInt64 = 0
    /// When the next line about memory may be written, in monotonic microseconds.
    var memoryTellableAt: UInt64 = 0
    /// Slow requests, greedy clients and stalled ones that the log knows of.
    var closedTold: [UInt64] = [0, 0, 0]
}
