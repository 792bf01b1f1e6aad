// One client connection: what it has asked and is owed, in order. Replies are judged by themselves: nothing of the proxy's own
// parser is used, so a mistake in it cannot hide itself.
//
//     asked   front ▶ [get 17, sent at t₁] [set 4, sent at t₂] [get 9, sent at t₃]          at most `depth`
//     bytes   VALUE bench:00000017 0 32\r\n…\r\nEND\r\nSTORED\r\nVAL…                        judged from the front
//
// The keys of a multi-get may come back in any order, each once.

import EventLoop
import Kernel

/// A request on its way.
struct Asked {
    /// When it was sent, or was due, in monotonic microseconds.
    var since: UInt64
    /// Its first key.
    var key: Int
    /// How many keys a retrieval asks for; 0 for a `set`.
    var keys: Int
    /// A value in its reply was not what was stored.
    var isWrong = false
}

/// What a request was answered.
enum Answer {
    /// Exactly what was due.
    case right
    /// Keys that were not there.
    case misses(Int)
    /// Something else, such as an error; its beginning.
    case wrong(String)
}

/// The other side does not speak the protocol, or has gone.
struct LoadFailure: Error, CustomStringConvertible {
    let description: String
}

/// One connection of the load.
final class LoadConnection {
    /// Most keys of one retrieval: as many as `answered` has bits.
    static let keysPerGetMax = 128
    /// Bytes of an unexpected reply that are shown.
    private static let shownBytesMax = 120

    let socket: Socket
    private let texts: Texts
    private let incoming = ByteQueue()
    private let outgoing = ByteQueue()
    /// A ring of `depth` entries, `count` of them in use from `front` on.
    private var asked: [Asked]
    private var front = 0
    /// Requests that are not yet answered.
    private(set) var count = 0
    /// Which keys of the front request were answered, by distance from its first key.
    private var answered: UInt128 = 0

    init(_ socket: Socket, _ texts: Texts, depth: Int) {
        self.socket = socket
        self.texts = texts
        asked = Array(repeating: Asked(since: 0, key: 0, keys: 0), count: depth)
    }

    /// Whether another request may be asked.
    var hasRoom: Bool { count < asked.count }

    /// Queues a request; `flush` sends it.
    func ask(_ request: Asked) {
        precondition(hasRoom, "\(count) requests of \(asked.count) are on their way")
        if request.keys == 0 {
            texts.appendSet(request.key, to: outgoing)
        } else {
            texts.appendGet(request.key, request.keys, to: outgoing)
        }
        asked[(front + count) % asked.count] = request
        count += 1
    }

    /// Sends what is queued, as far as the socket takes it.
    func flush() throws(LoadFailure) {
        if case .failed(let code) = socket.write(from: outgoing) {
            throw LoadFailure(description: "writing failed with error \(code) with \(count) requests on their way")
        }
    }

    /// Reads once what has arrived.
    func receive() throws(LoadFailure) {
        switch socket.read(into: incoming) {
        case .bytes, .nothing: break
        case .end: throw LoadFailure(description: "the server closed a connection with \(count) requests on their way")
        case .failed(let code): throw LoadFailure(description: "reading failed with error \(code)")
        }
    }

    /// The front request and its answer, once that has arrived in full.
    func next() throws(LoadFailure) -> (Asked, Answer)? {
        guard !incoming.isEmpty else { return nil }
        guard count > 0 else { throw LoadFailure(description: "a reply that nobody asked for: \(beginning())") }
        guard let answer = asked[front].keys == 0 ? storageAnswer() : try retrievalAnswer() else { return nil }
        defer {
            front = (front + 1) % asked.count
            count -= 1
            answered = 0
        }
        return (asked[front], answer)
    }

    private static let stored = Array("STORED\r\n".utf8)
    private static let end = Array("END\r\n".utf8)

    private func storageAnswer() -> Answer? {
        guard matches(Self.stored[...], incoming, at: 0) else { return strangeLine() }
        incoming.consume(Self.stored.count)
        return .right
    }

    private func retrievalAnswer() throws(LoadFailure) -> Answer? {
        while !incoming.isEmpty {
            guard incoming[0] == UInt8(ascii: "V") else {
                guard matches(Self.end[...], incoming, at: 0) else { return strangeLine() }
                incoming.consume(Self.end.count)
                return retrieved()
            }
            guard try takeBlock() else { return nil }
        }
        return nil
    }

    /// Takes one `VALUE` block, once it has arrived in full. Its line is judged first: it says how much is to come.
    private func takeBlock() throws(LoadFailure) -> Bool {
        let asked = asked[front]
        guard incoming.count >= texts.lineBytes else { return false }
        guard let key = texts.keyOfBlock(in: incoming) else {
            throw LoadFailure(description: "a value that nobody stored: \(beginning())")
        }
        guard incoming.count >= texts.blockBytes else { return false }
        let distance = (key - asked.key + texts.keys) % texts.keys
        guard distance < asked.keys, answered & (1 << UInt128(distance)) == 0 else {
            throw LoadFailure(description: "a value of another key, or one for the second time: \(beginning())")
        }
        answered |= 1 << UInt128(distance)
        if !texts.valueIsRight(key, in: incoming) { self.asked[front].isWrong = true }
        incoming.consume(texts.blockBytes)
        return true
    }

    private func retrieved() -> Answer {
        let missing = asked[front].keys - answered.nonzeroBitCount
        if asked[front].isWrong { return .wrong("a value with other bytes than were stored") }
        return missing == 0 ? .right : .misses(missing)
    }

    /// A line that is no success; nil until it is whole, as it may only be unfinished.
    private func strangeLine() -> Answer? {
        for offset in 0..<incoming.count where incoming[offset] == UInt8(ascii: "\n") {
            let text = beginning()
            incoming.consume(offset + 1)
            return .wrong(text)
        }
        return nil
    }

    private func beginning() -> String {
        let shown = (0..<min(incoming.count, Self.shownBytesMax)).map { incoming[$0] }
        return String(decoding: shown.prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
    }
}
