// Client sessions: understanding commands, deciding when each may go, and putting replies back in order.

import Kernel
import Memcache

extension LaneNode {
    // MARK: Commands in

    /// Takes as many commands off a client's incoming bytes as may go now.
    func pump(_ session: ClientSession) {
        guard clientsAdmitted, !isHolding else {
            // It waits, and may not fill the memory meanwhile.
            account(session)
            return regulateReading(session)
        }
        let incoming = connections.incoming(session.connection)
        let outgoing = connections.outgoing(session.connection)
        if !session.longRetrievals.isEmpty { continueRetrieval(of: session) }
        var room = true
        var workLeft = Limits.clientWorkPerTurnMax
        let before = incoming.count
        let mayGo = !session.isLocked || unlock(session, incoming, outgoing, &workLeft)
        while mayGo, !incoming.isEmpty, !session.closing {
            if session.swallow > 0 {
                let swallowed = min(session.swallow, incoming.count)
                incoming.consume(swallowed)
                session.swallow -= swallowed
                continue
            }
            room = session.hasRoom(behind: outgoing) && workLeft > 0
            guard room, let work = takeCommand(session, incoming) else { break }
            workLeft -= work
        }
        counters.bytesRead &+= UInt64(before - incoming.count)
        if workLeft <= 0 && !session.nextTurnDue {
            session.nextTurnDue = true
            sessionsNextTurn.append(session)
        }
        // Nobody will end what has only begun.
        if session.hasEnded, room, workLeft > 0, !session.isWaiting { session.closing = true }
        if incoming.isEmpty && session.isUnremarkable && outgoing.count < Limits.countedReplyBytesMin && !clientMemory.isTight {
            session.care.requestBegunAt = nil
        } else {
            let waits = !room || session.isWaiting || session.closing
            noteHalfSent(
                session, tookSome: workLeft < Limits.clientWorkPerTurnMax,
                isIncomplete: session.swallow > 0 || session.isHalfwayIn
                    || (!waits && (!incoming.isEmpty || session.care.isHalfReceived)))
            account(session)
            regulateReading(session)
        }
        if session.closing || session.hasEnded || isLeaving && workLeft > 0 { closeIfIdle(session) }
    }

    /// The client sends no more. What it has sent whole is done and answered; then the connection is closed.
    func clientEnded(_ session: ClientSession) {
        session.hasEnded = true
        pump(session)
    }

    /// Takes one command; returns how much work it was, or nil when it is not complete, or must wait for earlier ones.
    private func takeCommand(_ session: ClientSession, _ incoming: ByteQueue) -> Int? {
        let bytes = incoming.readable
        if let parsed = session.waiting {
            // Understood before, but it had to wait for an earlier command.
            if session.waitsOn { return nil }
            guard dispatch(parsed, session, session.source(bytes)) else { return nil }
            session.waiting = nil
            session.finish(parsed, incoming)
            return parsed.work
        }
        if let refused = session.waitingRefusal {
            guard refuse(refused, session, incoming) else { return nil }
            session.waitingRefusal = nil
            return 1
        }
        switch session.next(in: bytes) {
        case .incomplete: return nil
        case .request(let request):
            guard dispatch(request, session, session.source(bytes)) else {
                session.waiting = request
                return nil
            }
            session.finish(request, incoming)
            return request.work
        case .refused(let reply, let consume, let swallow, let close):
            counters.commandsRefused += 1
            incoming.consume(consume)
            session.swallow = swallow
            answer(session, reply)
            if close { hangUp(session) }
        case .authentication(let request, let consume, let swallow):
            incoming.consume(consume)
            session.swallow = swallow
            authenticate(session, request)
        case .refusedStore(let request, let reply, let consume, let swallow):
            let refused = RefusedStore(request: request, reply: reply, consume: consume, swallow: swallow)
            guard refuse(refused, session, incoming) else {
                session.waitingRefusal = refused
                return nil
            }
        }
        return 1
    }

    /// memcached refuses a value over its limit and drops what was there; so does the owner. False when that must wait for earlier
    /// commands.
    private func refuse(_ refused: RefusedStore, _ session: ClientSession, _ incoming: ByteQueue) -> Bool {
        let key = refused.request.withKey(in: session.source(incoming.readable)) { Array($0) }
        guard session.mayWrite(KeyBucket(slot: slot(of: key)), on: -1) else { return false }
        counters.commandsRefused += 1
        let queue = ByteQueue()
        key.withUnsafeBytes { Command.delete(key: $0, into: queue) }
        let write = Write(effect: .delete, shape: .meta, key: key, command: [UInt8](queue.readable))
        write.replyInstead = Array("\(refused.reply)".utf8)
        submit(write, .client(session.connection, session.expectWrite(bytes: write.commandBytes, path: -1)))
        incoming.consume(refused.consume)
        session.swallow = refused.swallow
        return true
    }

    /// A client that sends faster than its commands may go, or that holds too much while memory is tight, is not read from
    /// for a while.
    func regulateReading(_ session: ClientSession) {
        let waiting = connections.incoming(session.connection).count
        let crowded = session.care.isThrottled || waiting > incomingBytesMax(session)
        if crowded != session.paused {
            session.paused = crowded
            effects.actions.append(crowded ? .pause(session.connection) : .resume(session.connection))
        }
    }

    /// Sends one command on its way; false when it must wait for earlier commands of its connection.
    private func dispatch(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let tally = Tally(request)
        guard route(request, tally, session, bytes) else { return false }
        counters.begin(request, tally)
        session.lastCommandAt = monotonic
        return true
    }

    private func route(_ request: Request, _ tally: Tally, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        switch request.verb {
        case .get, .gets: return retrieve(request, session, bytes)
        case .gat, .gats: return retrieveAndTouch(request, session, bytes)
        case .mg where !request.meta.setsExptime && !request.meta.vivifies && !request.meta.has("R"):
            return metaRead(request, tally, session, bytes)
        case .me: return metaRead(request, tally, session, bytes)
        case .set, .add, .replace, .append, .prepend, .cas, .delete, .incr, .decr, .touch, .mg, .ms, .md, .ma:
            return clientWrite(request, tally, session, bytes)
        case .mn, .version, .verbosity, .shutdown, .quit, .configGetCluster: return answerHere(request, session, bytes)
        case .flushAll: return flushAll(request, session)
        case .stats: return stats(request, session, bytes)
        }
    }

    // MARK: Writes

    private func clientWrite(_ request: Request, _ tally: Tally, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer)
        -> Bool
    {
        let key = request.withKey(in: bytes) { Array($0) }
        let slot = slot(of: key)
        let isOwn = owners[slot] == laneID
        let keyWork = isOwn ? work[key] : nil
        let place = isOwn ? keyWork?.place ?? session.waitingAt ?? route(key) : nil
        // The path of a write is this lane's connection to the deciding server if it goes there at once; -1 otherwise.
        var path = -1
        if let place, goesAtOnce(keyWork, slot: slot), findsRoom(commandBytes: request.bytes) {
            path = authority(of: keyWork, at: place, key) ?? -1
        }
        if !session.mayWrite(KeyBucket(slot: slot), on: path), !isPlanted(.pipelineSwapped) {
            session.wait(at: place, on: path)
            return false
        }
        let isShared = request.value.count >= configuration.sharedBytesMin && request.hasValue
        if isShared {
            request.encodeLine(from: bytes, into: commandScratch)
        } else {
            request.encode(from: bytes, into: commandScratch)
        }
        let write = Write(
            effect: effect(of: request), shape: request.replyShape, key: key, command: [UInt8](commandScratch.readable))
        commandScratch.removeAll()
        // `bytes` are not there any more from here on.
        if isShared { write.block = session.liftValue(of: request, off: connections.incoming(session.connection)) }
        if request.hasValue {
            write.payloadCount = request.value.count
            write.payloadStart = write.commandBytes - request.value.count - 2
            write.clientFlags = request.flags
        }
        write.place = place
        write.comparesCAS = request.comparesCAS
        write.exptime = request.exptime
        if isDeadAdd(request, absoluteExpiry(request.exptime)) { write.effect = .local }
        let reply = session.expectWrite(bytes: request.bytes, path: path, silence: request.silence, tally: tally)
        submit(write, .client(session.connection, reply))
        return true
    }

    /// PHP's strict mode adds sessions with 31 days, an absolute time in 1970: dead on arrival where nothing was, it changes
    /// nothing, and another site's session is not its business. A clock that is wrong by hours must not make it so.
    private func isDeadAdd(_ request: Request, _ expiry: UInt64) -> Bool {
        let adds = request.verb == .add || (request.verb == .ms && request.meta.mode | 0x20 == UInt8(ascii: "e"))
        return adds && expiry != 0 && expiry + Limits.deadOnArrivalMicroseconds < now.wallMicroseconds
    }

    private func effect(of request: Request) -> WriteEffect {
        let mode = request.meta.mode | 0x20  // small letter
        switch request.verb {
        case .set: return .store
        case .add, .replace, .cas: return .conditionalStore
        case .append, .prepend, .incr, .decr, .ma: return .derive
        case .delete: return .delete
        case .md: return request.meta.comparesCAS || request.meta.invalidates ? .conditionalDelete : .delete
        case .ms:
            if mode == UInt8(ascii: "a") || mode == UInt8(ascii: "p") { return .derive }
            return request.meta.comparesCAS || mode == UInt8(ascii: "e") || mode == UInt8(ascii: "r") ? .conditionalStore : .store
        case .mg: return request.meta.setsExptime && !request.meta.vivifies ? .touch : .local
        case .touch, .gat, .gats: return .touch
        default: preconditionFailure("\(request.verb) is not a write")
        }
    }

    // MARK: Answered here

    private func answerHere(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        switch request.verb {
        case .mn:
            let queue = ByteQueue()
            request.encodeMetaReply("MN", from: bytes, into: queue)
            answer(session, Array(queue.readable))
        case .version: answer(session, Array("VERSION \(Meridian.protocolVersion)\r\n".utf8))
        case .verbosity: if !request.noreply { answer(session, "OK\r\n") }
        case .shutdown: answer(session, Request.shutdownReply)
        case .configGetCluster: answer(session, discovery(.config, for: session))
        case .quit:
            if session.exchange != nil { answer(session, "OK\r\n") }
            hangUp(session)
        default: preconditionFailure("\(request.verb) is not answered here")
        }
        return true
    }

    func answer(_ session: ClientSession, _ text: StaticString) {
        answer(session, [UInt8](UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)))
    }

    /// Answers in turn: at once, or when everything before it has been answered.
    func answer(_ session: ClientSession, _ bytes: [UInt8], part: ReplySlot.Part = .whole) {
        var bytes = bytes
        if let exchange = session.exchange, !bytes.isEmpty { bytes = Array(packet(of: bytes, exchange)) }
        send(session, bytes, part: part)
    }

    /// Sends what is a reply already, in its turn.
    func send(_ session: ClientSession, _ bytes: [UInt8], part: ReplySlot.Part = .whole) {
        guard !bytes.isEmpty else { return }
        if session.slots.isEmpty {
            guard session.goesOut(part, failed: false) else { return }
            connections.outgoing(session.connection).append(bytes)
            counters.bytesWritten &+= UInt64(bytes.count)
            markDirty(session.connection)
        } else {
            session.care.parkedReplyBytes += bytes.count
            session.slots.append(ReplySlot(bytes: bytes, silence: nil, exchange: nil, part: part, role: .literal))
        }
    }

    /// The END of a retrieval.
    func answerEnd(_ session: ClientSession) { answer(session, Array("END\r\n".utf8), part: .endOfMany) }

    /// No more commands; the connection is closed once all replies are out.
    func hangUp(_ session: ClientSession) {
        session.closing = true
        closeIfIdle(session)
    }

    func closeIfIdle(_ session: ClientSession) {
        guard session.slots.isEmpty, session.closing || (isLeaving && !session.isWaiting) else { return }
        guard sessions[session.connection] === session else { return }
        // What it has not read is held by it until it has; who leaves waits for nobody.
        guard isLeaving || !isOwedReplies(session) else { return account(session) }
        forget(session)
        effects.actions.append(.close(session.connection, flush: true))
    }

    // MARK: Replies out

    /// A reply has arrived for a client: it goes out if it is the first in line, and so do those that waited for it.
    /// With a large value, `bytes` are the line before it.
    func deliver(
        _ id: ConnectionID, _ number: UInt64, _ kind: ReplyKind, _ bytes: UnsafeRawBufferPointer, with value: LargeValue? = nil
    ) {
        guard let session = sessions[id] else { return }  // the client is gone
        precondition(number >= session.firstReply, "reply \(number) of \(id) is delivered twice")
        let place = Int(number - session.firstReply)
        session.noteAnswered(session.slots[place].role)
        let replyBytes = bytes.count + (value?.block.count ?? 0)
        // Of a retrieval that is on its way already it was noted then.
        if replyBytes > 0 { session.noteReply(bytes: replyBytes) }
        var mattersToMemory =
            session.care.commandBytes >= Limits.countedReplyBytesMin || replyBytes >= Limits.countedReplyBytesMin
        session.care.commandBytes -= Int(session.slots[place].commandBytes)
        counters.end(session.slots[place].tally, kind)
        let visible = visiblePart(session, place, kind, bytes, value)
        session.slots[place].failed = kind.isError
        if place > 0 {
            var parked = Array(visible.bytes)
            if let value { parked.append(contentsOf: value.block.bytes[..<visible.blockBytes]) }
            session.slots[place].bytes = parked
            session.care.parkedReplyBytes += parked.count
            if session.care.parkedReplyBytes >= Limits.countedReplyBytesMin { mattersToMemory = true }
        } else {
            let outgoing = connections.outgoing(id)
            let before = outgoing.count
            if session.popFirst() {
                outgoing.append(visible.bytes)
                if let value { outgoing.append(value.block, count: visible.blockBytes) }
            }
            if session.care.parkedReplyBytes >= Limits.countedReplyBytesMin { mattersToMemory = true }
            while !session.slots.isEmpty, let next = session.slots[0].bytes {
                session.care.parkedReplyBytes -= next.count
                if session.popFirst() { outgoing.append(next) }
            }
            counters.bytesWritten &+= UInt64(outgoing.count - before)
            let moreFollows = !session.slots.isEmpty || session.isWaiting
            if moreFollows && outgoing.count < Limits.patientBytesMax { markPatient(id) } else { markDirty(id) }
        }
        if mattersToMemory || session.care.isStalled || clientMemory.isTight { account(session) }
        if !session.longRetrievals.isEmpty { continueRetrieval(of: session) }
        pumpLater(session)
    }

    /// What of a reply the client is to see in this place: of its bytes, and how many of a large value's block behind them.
    private func visiblePart(
        _ session: ClientSession, _ place: Int, _ kind: ReplyKind, _ bytes: UnsafeRawBufferPointer, _ value: LargeValue?
    ) -> (bytes: UnsafeRawBufferPointer, blockBytes: Int) {
        let blockBytes = value?.block.count ?? 0
        if let exchange = session.slots[place].exchange {
            guard let value else { return (packet(of: bytes, exchange), 0) }
            packetScratch.removeAll()
            BinaryReply.encodeFront(
                flags: value.flags, cas: value.token, valueBytes: value.count, for: exchange, into: packetScratch)
            return (packetScratch.readable, value.count)
        }
        let nothing = UnsafeRawBufferPointer(rebasing: bytes[0..<0])
        if session.slots[place].silence?.covers(kind) ?? false { return (nothing, 0) }
        guard session.slots[place].part == .oneOfMany else { return (bytes, blockBytes) }
        switch kind {
        // Without its END. (What `gat` finds is copied on its way through the owner.)
        case .value: return (UnsafeRawBufferPointer(rebasing: bytes[0..<bytes.count - 5]), 0)
        case .end: return (nothing, 0)
        default: return (bytes, blockBytes)
        }
    }

    /// A text reply as the packet that it becomes; valid until the next one.
    private func packet(of text: UnsafeRawBufferPointer, _ exchange: BinaryExchange) -> UnsafeRawBufferPointer {
        packetScratch.removeAll()
        BinaryReply.encode(text, for: exchange, into: packetScratch)
        return packetScratch.readable
    }

    private func packet(of text: [UInt8], _ exchange: BinaryExchange) -> UnsafeRawBufferPointer {
        text.withUnsafeBytes { packet(of: $0, exchange) }
    }

    /// Goes on with what waited for the reply, once the step is over: deep recursion would serve nobody.
    func pumpLater(_ session: ClientSession) {
        guard !session.pumpDue else { return }
        if session.waiting != nil || session.closing || isLeaving || !connections.incoming(session.connection).isEmpty {
            session.pumpDue = true
            sessionsToPump.append(session)
        }
    }

    func pumpDueSessions() {
        while let session = sessionsToPump.popFirst() {
            session.pumpDue = false
            guard sessions[session.connection] === session else { continue }
            if session.closing {
                closeIfIdle(session)
            } else if !session.nextTurnDue {
                pump(session)
            }
        }
    }
}

/// What this is.
public enum Meridian {
    /// The memcached whose protocol is spoken, for clients that judge by it what they may send.
    public static let protocolVersion = "1.6.18"
}
