// A retrieval of many keys: each server is asked once for all of its keys, and what they answer is joined again in the client's order.
//
//     get a b c d ──▶ fragment a c ──▶ cache1 ──▶ VALUE a … END       ─┐
//                 ──▶ fragment b d ──▶ cache2 ──▶ VALUE b … VALUE d …  ├─▶ VALUE a … VALUE b … VALUE d … END
//                                                                     ─┘
//
// What a server does not have, or did not say before its connection broke, is asked of the keys' other servers in a further fragment.

import Kernel
import Memcache

/// One retrieval under way.
final class Gather {
    enum Answer {
        case awaited
        case missed
        /// Where its `VALUE` stands in what has been collected.
        case found(start: Int, end: Int)
    }

    let client: ConnectionID
    let withCAS: Bool
    /// The client's number for the reply; set once before anything is asked.
    var reply: UInt64 = 0
    /// The keys, one behind the other, and where each ends.
    private var names: [UInt8] = []
    private var ends: [Int] = []
    /// Invariant: one for each key.
    private(set) var answers: [Answer] = []
    private let collected = ByteQueue()
    /// Servers that have not said all yet.
    var outstanding = 0
    /// An error, which ends the reply before the first key that it concerns.
    private var failure: (key: Int, bytes: [UInt8])?

    init(client: ConnectionID, withCAS: Bool, keys: Int, bytes: Int) {
        self.client = client
        self.withCAS = withCAS
        names.reserveCapacity(bytes)
        ends.reserveCapacity(keys)
        answers.reserveCapacity(keys)
    }

    var count: Int { ends.count }

    func append(_ key: UnsafeRawBufferPointer) {
        names.append(contentsOf: key)
        ends.append(names.count)
        answers.append(.awaited)
    }

    func withKey<Result>(_ key: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        names.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[(key == 0 ? 0 : ends[key - 1])..<ends[key]])) }
    }

    func miss(_ key: Int) { answers[key] = .missed }

    func find(_ key: Int, _ bytes: UnsafeRawBufferPointer) {
        let start = collected.count
        collected.append(bytes)
        answers[key] = .found(start: start, end: collected.count)
    }

    /// What the client is owed of it so far.
    var collectedBytes: Int { collected.count }

    /// The client is gone.
    func abandon() {
        for key in answers.indices { answers[key] = .missed }
        collected.removeAll()
    }

    func fail(_ key: Int, _ bytes: [UInt8]) {
        answers[key] = .missed
        if failure.map({ key < $0.key }) ?? true { failure = (key, bytes) }
    }

    /// Appends the reply.
    func join(into queue: ByteQueue) -> ReplyKind {
        var kind = ReplyKind.end
        for (key, answer) in answers.enumerated() {
            if let failure, failure.key == key {
                queue.append(failure.bytes)
                return .serverError
            }
            guard case .found(let start, let end) = answer else { continue }
            queue.append(UnsafeRawBufferPointer(rebasing: collected.readable[start..<end]))
            kind = .value
        }
        queue.append("END\r\n")
        return kind
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
        var fragments = Fragments(servers: servers.count)
        var cursor = KeyCursor(request, in: bytes)
        // One turn for all keys: each server is still asked once.
        let turnOfAll = spreadsReads && !withCAS ? turn(of: session) : .primary
        while let span = cursor.next() {
            let key = span.of(bytes)
            let place = gather.count
            gather.append(key)
            let servers = route(key)
            sampleRead(key)
            if let plan = readPlan(at: servers, key, wantsToken: withCAS, turnOfAll.asFar(as: mayTakeTurns(key))) {
                fragments.append(place, gather, server: plan.server, fallback: plan.fallback)
            } else {
                nobodyKnows(gather, place, servers)
            }
        }
        let path = fragments.all.count == 1 && !fragments.all[0].fallback ? fragments.all[0].server : -1
        gather.reply = session.expectRead(path: path)
        gather.outstanding = 1
        for fragment in fragments.all { ask(fragment) }
        finishPart(gather)
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
    func fragmentAnswered(_ server: BackendServer, _ fragment: Fragment, _ reply: Reply, _ bytes: UnsafeRawBufferPointer) {
        let gather = fragment.gather
        if reply.kind == .value {
            guard let place = fragment.take(reply.key.of(bytes)) else {
                return drop(server, "it answered with a key that it was not asked for")
            }
            if sessions[gather.client] == nil {
                gather.abandon()
            } else {
                collect(gather, place, shown(bytes, reply, from: server))
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
    private func collect(_ gather: Gather, _ place: Int, _ bytes: UnsafeRawBufferPointer) {
        gather.find(place, bytes)
        guard let session = sessions[gather.client] else { return }
        session.care.parkedReplyBytes += bytes.count
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

    /// One more part is there; with the last of them, the client is answered.
    private func finishPart(_ gather: Gather) {
        gather.outstanding -= 1
        guard gather.outstanding == 0 else { return }
        for answer in gather.answers {
            if case .found = answer { counters.getHits += 1 } else { counters.getMisses += 1 }
        }
        gatherScratch.removeAll()
        let kind = gather.join(into: gatherScratch)
        sessions[gather.client]?.care.parkedReplyBytes -= gather.collectedBytes
        deliver(gather.client, gather.reply, kind, gatherScratch.readable)
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
