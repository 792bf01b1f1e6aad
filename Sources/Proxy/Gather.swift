// A retrieval of many keys: each server is asked once for all of its keys, and what they answer is joined again in the client's order.
//
//     get a b c d ──▶ fragment a c ──▶ cache1 ──▶ VALUE a … END       ─┐
//                 ──▶ fragment b d ──▶ cache2 ──▶ VALUE b … VALUE d …  ├─▶ VALUE a … VALUE b … VALUE d … END
//                                                                     ─┘
//
// What a server does not have, or did not say before its connection broke, is asked of the keys' other servers in a further fragment.
//
// A long one is done in parts: the next keys are asked for when the values of those before them are on their way to the client, and
// it reads them. So it neither keeps a server's connection to itself, nor fills the memory.

import Kernel
import Memcache

/// One retrieval under way.
final class Gather {
    enum Answer {
        case awaited
        case missed
        /// Where its `VALUE` stands in what has been collected; of a large one the line, behind which the block belongs.
        case found(start: Int, end: Int, ByteBlock?)
    }

    let client: ConnectionID
    let withCAS: Bool
    /// The client's number for the reply; set once before anything is asked.
    var reply: UInt64 = 0
    /// The keys, one behind the other, and where each ends.
    private var names: [UInt8] = []
    private var ends: [Int] = []
    /// The keys that are being asked for, or were asked for last.
    private(set) var part = 0..<0
    /// Invariant: one for each key of the part; none once it has been handed over.
    private var answers: [Answer] = []
    private let collected = ByteQueue()
    /// Bytes of large values, which are not copied there.
    private var blockBytes = 0
    /// Some of what is collected is shared.
    var isShared: Bool { blockBytes > 0 }
    /// Servers that have not said all yet.
    var outstanding = 0
    /// An error, which ends the reply before the first key that it concerns.
    private var failure: (key: Int, bytes: [UInt8])?
    /// A value has been found.
    private var hasValues = false

    init(client: ConnectionID, withCAS: Bool, keys: Int, bytes: Int) {
        self.client = client
        self.withCAS = withCAS
        names.reserveCapacity(bytes)
        ends.reserveCapacity(keys)
    }

    var count: Int { ends.count }
    /// Keys that have not been asked for.
    var rest: Range<Int> { part.upperBound..<count }
    /// No further part will be asked for.
    var isLast: Bool { failure != nil || rest.isEmpty }

    func append(_ key: UnsafeRawBufferPointer) {
        names.append(contentsOf: key)
        ends.append(names.count)
    }

    func withKey<Result>(_ key: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        names.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[(key == 0 ? 0 : ends[key - 1])..<ends[key]])) }
    }

    /// The next so many keys are the part.
    func beginPart(keys: Int) {
        part = rest.prefix(keys)
        answers.removeAll(keepingCapacity: true)
        answers.append(contentsOf: repeatElement(.awaited, count: part.count))
    }

    func miss(_ key: Int) { answers[key - part.lowerBound] = .missed }

    func find(_ key: Int, _ bytes: UnsafeRawBufferPointer, _ block: ByteBlock?) {
        let start = collected.count
        collected.append(bytes)
        blockBytes += block?.count ?? 0
        answers[key - part.lowerBound] = .found(start: start, end: collected.count, block)
    }

    /// What the client is owed of the part so far.
    var collectedBytes: Int { collected.count + blockBytes }

    /// The client is gone.
    func abandon() {
        for place in answers.indices { answers[place] = .missed }
        collected.removeAll()
        blockBytes = 0
    }

    func fail(_ key: Int, _ bytes: [UInt8]) {
        miss(key)
        if failure.map({ key < $0.key }) ?? true { failure = (key, bytes) }
    }

    /// Keys of the part that were found.
    var found: Int { answers.count { if case .found = $0 { true } else { false } } }

    /// Hands over the part's share of the reply, and its end if nothing comes after it.
    func join(into queue: ByteQueue) -> ReplyKind {
        defer {
            collected.removeAll()
            blockBytes = 0
            answers.removeAll(keepingCapacity: true)
        }
        for (place, answer) in answers.enumerated() {
            if let failure, failure.key == part.lowerBound + place {
                queue.append(failure.bytes)
                return .serverError
            }
            guard case .found(let start, let end, let block) = answer else { continue }
            queue.append(UnsafeRawBufferPointer(rebasing: collected.readable[start..<end]))
            if let block { queue.append(block) }
            hasValues = true
        }
        if isLast { queue.append("END\r\n") }
        return hasValues ? .value : .end
    }
}

/// How many keys one client's retrievals ask for at a time: as many as the size of its values lets be quick.
struct RetrievalPace {
    private(set) var keys = Limits.partKeysFirst

    /// A part is over that found so many of its keys, of so many bytes.
    mutating func note(found: Int, bytes: Int) {
        guard found > 0, bytes > 0 else { return }
        keys = max(1, min(Limits.partKeysMax, Limits.partBytes * found / bytes))
    }
}

/// What one server was asked of a retrieval.
final class Fragment {
    let gather: Gather
    let server: Int
    /// What it lacks is asked of the keys' other servers.
    let fallback: Bool
    /// Places of its keys in the retrieval.
    private(set) var keys: [Int] = []
    /// How many of them have been answered: a server answers in order and leaves out what it does not have.
    private(set) var answered = 0
    /// Keys that it lacks and that are to be asked of their other servers.
    private(set) var lacking: [Int] = []

    init(_ gather: Gather, server: Int, fallback: Bool) {
        self.gather = gather
        self.server = server
        self.fallback = fallback
    }

    func append(_ key: Int) { keys.append(key) }

    /// The server has this key; what stands before it, it has not. Nil for a key that it was not asked for.
    func take(_ key: UnsafeRawBufferPointer) -> Int? {
        let found = unanswered.indices.first { gather.withKey(keys[$0]) { $0.elementsEqual(key) } }
        guard let found else { return nil }
        lack(keys[answered..<found])
        answered = found + 1
        return keys[found]
    }

    /// It has none of the rest.
    func takeEnd() {
        lack(unanswered)
        answered = keys.count
    }

    /// Keys that it has not spoken of.
    var unanswered: ArraySlice<Int> { keys[answered...] }

    private func lack(_ places: ArraySlice<Int>) {
        for place in places { if fallback { lacking.append(place) } else { gather.miss(place) } }
    }
}

extension LaneNode {
    func gather(_ request: Request, _ session: ClientSession, _ bytes: UnsafeRawBufferPointer, withCAS: Bool) {
        let gather = Gather(
            client: session.connection, withCAS: withCAS, keys: request.keyCount, bytes: request.arguments.count)
        var cursor = KeyCursor(request, in: bytes)
        while let span = cursor.next() { gather.append(span.of(bytes)) }
        let fragments = nextPart(of: gather, session)
        // What is asked for later may go another way.
        let path = gather.isLast && fragments.count == 1 && !fragments[0].fallback ? fragments[0].server : -1
        gather.reply = session.expectRead(bytes: request.bytes + gather.count * Limits.gatheredKeyBytes, path: path)
        if !gather.isLast { session.longRetrievals.append(gather) }
        ask(fragments, of: gather, session)
        if gather.outstanding == 0 { goOn(with: gather, session) }
    }

    /// Goes on with the first of the client's long retrievals, if its turn to be answered has come, and the client reads what it gets.
    func continueRetrieval(of session: ClientSession) {
        while let gather = session.longRetrievals.first, gather.outstanding == 0, gather.reply == session.firstReply {
            guard !gather.isLast else {
                session.longRetrievals.removeFirst()
                return answer(gather, session)
            }
            sendPart(of: gather, session)
            guard !isHolding, session.hasRoomForValues(behind: connections.outgoing(session.connection)) else { return }
            ask(nextPart(of: gather, session), of: gather, session)
        }
    }

    /// Decides whom to ask for the next keys.
    private func nextPart(of gather: Gather, _ session: ClientSession) -> [Fragment] {
        var fragments = Fragments(servers: servers.count)
        gather.beginPart(keys: session.pace.keys)
        // One turn for all keys: each server is still asked once.
        let turnOfAll = spreadsReads && !gather.withCAS ? turn(of: session) : .primary
        for place in gather.part {
            gather.withKey(place) { key in
                let servers = route(key)
                sampleRead(key)
                if let plan = readPlan(at: servers, key, wantsToken: gather.withCAS, turnOfAll.asFar(as: mayTakeTurns(key))) {
                    fragments.append(place, gather, server: plan.server, fallback: plan.fallback)
                } else {
                    nobodyKnows(gather, place, servers)
                }
            }
        }
        return fragments.all
    }

    private func ask(_ fragments: [Fragment], of gather: Gather, _ session: ClientSession) {
        for fragment in fragments { ask(fragment) }
        if gather.outstanding == 0 { notePart(gather, session) }
    }

    /// Sends a fragment on its way.
    private func ask(_ fragment: Fragment) {
        let gather = fragment.gather
        gather.outstanding += 1
        let server = servers[fragment.server]
        server.reads += UInt64(fragment.keys.count)
        if fragment.fallback && server.isBackup { counters.spreadReads += UInt64(fragment.keys.count) }
        ask(server, .gather(fragment), .values) { queue in
            queue.append(gather.withCAS ? "gets" : "get")
            for key in fragment.keys {
                queue.append(32)
                gather.withKey(key) { queue.append($0) }
            }
            queue.append("\r\n")
        }
    }

    /// A part of a reply has arrived.
    func fragmentAnswered(
        _ server: BackendServer, _ fragment: Fragment, _ reply: Reply, _ bytes: UnsafeRawBufferPointer, with value: LargeValue?
    ) {
        let gather = fragment.gather
        if reply.kind == .value {
            guard let place = fragment.take(reply.key.of(bytes)) else {
                return drop(server, "it answered with a key that it was not asked for")
            }
            if sessions[gather.client] == nil {
                gather.abandon()
            } else {
                collect(gather, place, shown(bytes, reply, from: server), value?.block)
            }
            if server.isBackup && !fragment.fallback { noteBackupRead(Array(reply.key.of(bytes))) }
            return
        }
        if reply.kind == .end {
            fragment.takeEnd()
            askElsewhere(for: fragment.lacking, of: gather, { self.route($0).both.first { $0 != fragment.server } }) {
                gather.miss($0)
            }
        } else {
            for place in fragment.unanswered + fragment.lacking { gather.fail(place, Array(bytes)) }
        }
        finishPart(gather)
    }

    /// What is collected for a client is what it holds.
    private func collect(_ gather: Gather, _ place: Int, _ bytes: UnsafeRawBufferPointer, _ block: ByteBlock?) {
        gather.find(place, bytes, block)
        guard let session = sessions[gather.client] else { return }
        session.care.parkedReplyBytes += bytes.count + (block?.count ?? 0)
        if session.care.parkedReplyBytes >= Limits.countedReplyBytesMin { account(session) }
    }

    /// The connection broke: the keys' other servers are asked for the rest.
    func fragmentLost(_ fragment: Fragment) {
        let gather = fragment.gather
        let rest = Array(fragment.unanswered) + fragment.lacking
        askElsewhere(for: rest, of: gather, { self.route($0).both.first { $0 != fragment.server } }) { place in
            self.nobodyKnows(gather, place, gather.withKey(place) { self.route($0) })
        }
        finishPart(gather)
    }

    /// Asks other servers for keys, as far as there are any that know them.
    private func askElsewhere(
        for keys: [Int], of gather: Gather, _ other: (UnsafeRawBufferPointer) -> Int?, nobody: (Int) -> Void
    ) {
        guard !keys.isEmpty else { return }
        var fragments = Fragments(servers: servers.count)
        for place in keys.sorted() {
            let server = gather.withKey(place) { key in other(key).flatMap { servers[$0].holdsForAll(key) ? $0 : nil } }
            if let server {
                if servers[server].isBackup { counters.backupReads += 1 }
                fragments.append(place, gather, server: server, fallback: false)
            } else {
                nobody(place)
            }
        }
        for fragment in fragments.all { ask(fragment) }
    }

    /// No server can be asked for a key: a miss or an error, as the site wants it.
    private func nobodyKnows(_ gather: Gather, _ key: Int, _ place: Place) {
        if configuration.site.unreachable == .error { gather.fail(key, unreachableReply(place)) } else { gather.miss(key) }
    }

    /// One more server has said all that it was asked for.
    private func finishPart(_ gather: Gather) {
        gather.outstanding -= 1
        guard gather.outstanding == 0, let session = sessions[gather.client] else { return }
        notePart(gather, session)
        goOn(with: gather, session)
    }

    /// A part is there: the client is answered, or the next part is asked for in its turn.
    private func goOn(with gather: Gather, _ session: ClientSession) {
        let isLong = session.longRetrievals.contains { $0 === gather }
        if isLong { continueRetrieval(of: session) } else { answer(gather, session) }
    }

    private func notePart(_ gather: Gather, _ session: ClientSession) {
        let found = gather.found
        session.pace.note(found: found, bytes: gather.collectedBytes)
        counters.getHits += UInt64(found)
        counters.getMisses += UInt64((gather.isLast ? gather.count : gather.part.upperBound) - gather.part.lowerBound - found)
    }

    /// The values of a part leave at once, in their turn.
    @discardableResult
    private func sendPart(of gather: Gather, _ session: ClientSession) -> ReplyKind {
        guard gather.collectedBytes > 0 else { return .end }
        session.care.parkedReplyBytes -= gather.collectedBytes
        session.noteReply(bytes: gather.collectedBytes)
        let outgoing = connections.outgoing(session.connection)
        let before = outgoing.count
        let kind = gather.join(into: outgoing)
        counters.bytesWritten &+= UInt64(outgoing.count - before)
        markDirty(session.connection)
        account(session)
        return kind
    }

    private func answer(_ gather: Gather, _ session: ClientSession) {
        let isShared = gather.isShared
        if isShared, gather.reply == session.firstReply {
            let kind = sendPart(of: gather, session)
            return deliver(gather.client, gather.reply, kind, UnsafeRawBufferPointer(start: nil, count: 0))
        }
        session.care.parkedReplyBytes -= gather.collectedBytes
        gatherScratch.removeAll()
        let kind = gather.join(into: gatherScratch)
        guard isShared else { return deliver(gather.client, gather.reply, kind, gatherScratch.readable) }
        // Out of turn, everything waits as one.
        let whole = gatherScratch.bytes(at: 0, count: gatherScratch.count)
        gatherScratch.removeAll()
        whole.withUnsafeBytes { deliver(gather.client, gather.reply, kind, $0) }
    }
}

/// Fragments by server, in the order in which the client named the first key of each.
private struct Fragments {
    private(set) var all: [Fragment] = []
    /// For each server, without and with a fallback; -1 while it has none.
    private var places: [Int]

    init(servers: Int) { places = Array(repeating: -1, count: 2 * servers) }

    mutating func append(_ key: Int, _ gather: Gather, server: Int, fallback: Bool) {
        let slot = 2 * server + (fallback ? 1 : 0)
        if places[slot] < 0 {
            places[slot] = all.count
            all.append(Fragment(gather, server: server, fallback: fallback))
        }
        all[places[slot]].append(key)
    }
}
