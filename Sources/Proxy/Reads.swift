// Reads: straight to the key's primary over this lane's own connection, with the backup as fallback (`federation.md`
// section 3), or to either (`Spreading.swift`). A retrieval of many keys is a `Gather`.

import Configuration
import Kernel
import Memcache

extension LaneNode {
    func retrieve(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        if request.keyCount == 1, asksForDiscovery(request, bytes) {
            guard session.slots.isEmpty else { return false }
            answer(session, discovery(.value, for: session))
            return true
        }
        let withCAS = request.verb == .gets
        guard request.keyCount == 1 else {
            guard mayRetrieve(request, session, bytes, asWrites: false) else { return false }
            gather(request, session, bytes, withCAS: withCAS)
            return true
        }
        let key = request.key.of(bytes)
        return read(
            key, session, .get, bytes: request.bytes, shape: .retrieval, silence: nil, wantsToken: withCAS, asksPrimary: withCAS
        ) {
            Command.get(key: key, withCAS: withCAS, into: $0)
        }
    }

    /// `gat`: each key is a write at its owner.
    func retrieveAndTouch(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        var keys: KeyCursor
        if let left = session.keysLeft {
            keys = KeyCursor(left, in: bytes)
        } else {
            guard mayRetrieve(request, session, bytes, asWrites: true) else { return false }
            keys = KeyCursor(request, in: bytes)
        }
        while session.writes < Limits.touchesMax {
            guard let span = keys.next() else {
                session.keysLeft = nil
                answerEnd(session)
                return true
            }
            let queue = ByteQueue()
            Command.getAndTouch(key: span.of(bytes), exptime: request.exptime, withCAS: request.verb == .gats, into: queue)
            let write = Write(
                effect: .touch, shape: .retrieval, key: Array(span.of(bytes)), command: [UInt8](queue.readable),
                exptime: request.exptime)
            let reply = session.expectWrite(bytes: write.commandBytes, path: -1, part: .oneOfMany, tally: .touch)
            submit(write, .client(session.connection, reply))
        }
        session.keysLeft = keys.rest
        return false
    }

    private func mayRetrieve(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer, asWrites: Bool)
        -> Bool
    {
        if isPlanted(.pipelineSwapped) { return true }
        if asWrites { return session.mayWrite(nil, on: -1) }
        guard session.writes > 0 else { return true }
        // Each reply would have all its keys looked at again.
        if session.waiting != nil { return false }
        var keys = KeyCursor(request, in: bytes)
        while let span = keys.next() {
            guard session.mayRead(from: readPath(span.of(bytes), wantsToken: request.verb == .gets)) else { return false }
        }
        return true
    }

    private func readPath(_ key: UnsafeRawBufferPointer, wantsToken: Bool) -> Int {
        guard let plan = readPlan(at: route(key), key, wantsToken: wantsToken), !plan.fallback else { return -1 }
        return plan.server
    }

    func metaRead(_ request: Request, _ tally: Tally, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer) -> Bool {
        if session.exchange != nil, asksForDiscovery(request, bytes) {
            guard session.slots.isEmpty else { return false }
            answer(session, discovery(.meta, for: session))
            return true
        }
        return request.withKey(in: bytes) { key in
            read(
                key, session, tally, bytes: request.bytes, shape: .meta, silence: request.silence,
                wantsToken: request.meta.has("c"), asksPrimary: request.isAnsweredByOneServer
            ) { request.encode(from: bytes, into: $0) }
        }
    }

    /// Asks the server that knows a key; without one, it is a miss or an error, as the site wants it. False when it must wait for
    /// earlier writes of its connection.
    private func read(
        _ key: UnsafeRawBufferPointer, _ session: ClientSession, _ tally: Tally, bytes: Int, shape: ReplyShape,
        silence: Silence?, wantsToken: Bool, asksPrimary: Bool, command: (ByteQueue) -> Void
    ) -> Bool {
        let place = session.waitingAt ?? route(key)
        let turn = spreadsReads && !asksPrimary ? turn(of: session, key) : .primary
        let plan = readPlan(at: place, key, wantsToken: wantsToken, turn)
        let path = plan.map { $0.fallback ? -1 : $0.server } ?? -1
        if !session.mayRead(from: path), !isPlanted(.pipelineSwapped) {
            session.wait(at: place, on: path)
            return false
        }
        sampleRead(key)
        let reply = session.expectRead(
            of: KeyBucket(slot: slot(of: key)), bytes: bytes, path: path, silence: silence, tally: tally)
        guard let plan else {
            nobodyKnows(session, reply, shape, place, command)
            return true
        }
        let server = servers[plan.server]
        server.reads += 1
        if plan.fallback && server.isBackup { counters.spreadReads += 1 }
        ask(server, .read(session.connection, reply, fallback: plan.fallback), shape, keeping: true, command)
        return true
    }

    /// No server can be asked what a client wants to read.
    private func nobodyKnows(
        _ session: ClientSession, _ reply: UInt64, _ shape: ReplyShape, _ place: Place, _ command: (ByteQueue) -> Void
    ) {
        if configuration.site.unreachable == .error {
            return unreachableReply(place).withUnsafeBytes { deliver(session.connection, reply, .serverError, $0) }
        }
        let asked = ByteQueue()
        command(asked)
        deliverMiss(session.connection, reply, shape, asked.readable)
    }

    // MARK: Fallback

    /// A recovering primary missed, or a backup whose turn it was: the key's other server is asked the same. The command is the first
    /// that the server keeps.
    func askOther(than server: BackendServer, _ client: ConnectionID, _ number: UInt64, _ expected: Expected) {
        let command = UnsafeRawBufferPointer(rebasing: server.sent.readable[0..<expected.sentBytes])
        guard let key = keyOfRead(command), let other = route(key).both.first(where: { $0 != server.index }),
            servers[other].holdsForAll(key)
        else { return deliverMiss(client, number, expected.shape, command) }
        if servers[other].isBackup { counters.backupReads += 1 }
        ask(servers[other], .read(client, number, fallback: false), expected.shape, keeping: true) { $0.append(command) }
    }

    /// The connection broke under a read: the key's other server is asked, if there is one; it never hangs.
    func rereadElsewhere(
        _ server: BackendServer, _ client: ConnectionID, _ number: UInt64, _ shape: ReplyShape, _ command: ArraySlice<UInt8>
    ) {
        command.withUnsafeBytes { bytes in
            if let key = keyOfRead(bytes) {
                let place = route(key)
                for other in place.both where other != server.index && servers[other].holdsForAll(key) {
                    if servers[other].isBackup { counters.backupReads += 1 }
                    return ask(servers[other], .read(client, number, fallback: false), shape, keeping: true) { $0.append(bytes) }
                }
                if configuration.site.unreachable == .error {
                    return unreachableReply(place).withUnsafeBytes { deliver(client, number, .serverError, $0) }
                }
            }
            deliverMiss(client, number, shape, bytes)
        }
    }

    /// The backup had what a recovering primary lacks: the owner may copy it.
    func noteBackupRead(_ server: BackendServer, _ expected: Expected) {
        let command = UnsafeRawBufferPointer(rebasing: server.sent.readable[0..<expected.sentBytes])
        if let key = keyOfRead(command) { noteBackupRead(Array(key)) }
    }

    func noteBackupRead(_ key: [UInt8]) {
        let place = route(key)
        guard backupKnowsMore(place), !refillsAsked.contains(key), refill(key, hops: 0) else { return }
        refillsAsked.insert(key)
    }

    private func deliverMiss(_ client: ConnectionID, _ number: UInt64, _ shape: ReplyShape, _ command: UnsafeRawBufferPointer) {
        guard shape == .meta else { return Array("END\r\n".utf8).withUnsafeBytes { deliver(client, number, .end, $0) } }
        var parser = RequestParser(itemBytesMax: 0)
        let queue = ByteQueue()
        if case .request(let request) = parser.next(in: command) { request.encodeMetaReply("EN", from: command, into: queue) }
        deliver(client, number, .en, queue.readable)
    }

    /// The key in a read's own command, as it was sent to a server; decoded if it was in base64.
    private func keyOfRead(_ command: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var parser = RequestParser(itemBytesMax: 0)
        guard case .request(let request) = parser.next(in: command) else { return nil }
        guard request.base64Key else { return request.key.of(command) }
        request.withKey(in: command) { key in
            keyScratch.removeAll()
            keyScratch.append(key)
        }
        return keyScratch.readable
    }

    // MARK: Flush and stats

    func flushAll(_ request: Request, _ session: ClientSession) -> Bool {
        guard session.slots.isEmpty else { return false }
        switch configuration.site.flush {
        case .local: break
        case .federation:
            flushFederation(request, session)
            return true
        case .deny:
            if !request.noreply { answer(session, "SERVER_ERROR flush_all is denied by this site's configuration\r\n") }
            return true
        }
        let reply = session.expectWrite(bytes: request.bytes, path: -1, silence: request.silence)
        for operation in operations.all where operation.kind == .copy { operation.cancelled = true }
        let flush = FlushWork(client: session.connection, reply: reply)
        let reachable = servers.filter(\.acceptsWrites)
        flush.outstanding = reachable.count + 1
        for server in reachable {
            ask(server, .flush(flush), .line) { queue in
                queue.append("flush_all")
                if request.exptime != 0 {
                    queue.append(32)
                    queue.append(decimal: request.exptime)
                }
                queue.append("\r\n")
            }
        }
        if let down = servers.first(where: { !$0.acceptsWrites }) {
            flush.failure = Array("SERVER_ERROR \(down.title) is unreachable and was not flushed: \(down.message)\r\n".utf8)
        }
        flushed(flush, .ok, [])
        return true
    }

    func flushed(_ flush: FlushWork, _ kind: ReplyKind, _ bytes: [UInt8]) {
        if kind.isError { flush.failure = bytes }
        flush.outstanding -= 1
        guard flush.outstanding == 0 else { return }
        let reply = flush.failure ?? Array("OK\r\n".utf8)
        reply.withUnsafeBytes { deliver(flush.client, flush.reply, flush.failure == nil ? .ok : .serverError, $0) }
    }
}
