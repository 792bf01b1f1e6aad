// Clients of listeners that ask who they are: a name and a password first, then everything else. A text client says them in its
// first command, a binary one by SASL; both are judged by the same pairs, those that the shell read last.
//
//     bytes ─▶ locked? ─ no ─▶ the session as ever
//                │ yes
//                ▼
//              0x80? ─ yes ─▶ the translator keeps the lock: SASL and `version` pass, all else is refused
//                │ no
//                ▼
//              TextAuthentication ─▶ a pair ─▶ Credentials ─▶ unlocked

import Kernel
import Memcache

/// How far a client is that must say who it is.
struct Admission {
    /// Where it came in.
    let listener: Int
    var isAdmitted = false
    /// Its first byte has been looked at, and was not of the binary protocol.
    var hasBegun = false
    /// What a text client has said.
    var text = TextAuthentication()
    /// A binary client has begun to say who it is, and may go on.
    var isAwaited = false
    /// It has said so. What SASL calls a context is then used up: the next attempt fails, as it does with memcached, and makes room
    /// for another.
    var isComplete = false

    init(listener: Int) { self.listener = listener }
}

extension ClientSession {
    /// Bytes that may wait for the client to read them before its commands wait.
    var outgoingBytesMax: Int { isStranger ? Limits.strangerOutgoingBytesMax : Limits.clientOutgoingBytesMax }
}

extension LaneNode {
    /// True for a listener that asks for a name and a password, and for one that is not known.
    func asksWho(_ listener: Int) -> Bool { listeners[listener].map { $0.authenticationPath != nil } ?? true }

    /// Bytes of a client that may wait before it is paused.
    func incomingBytesMax(_ session: ClientSession) -> Int {
        session.isStranger
            ? Limits.strangerIncomingBytesMax : Limits.clientIncomingBytesMax + configuration.federation.itemBytesMax
    }

    /// Takes the first words of a client that has not said who it is; true once what follows is the session's business. Of the
    /// answers to what arrived together only the last is given, as memcached does: a stranger is not talked to more than need be.
    func unlock(_ session: ClientSession, _ incoming: ByteQueue, _ outgoing: ByteQueue, _ workLeft: inout Int) -> Bool {
        var reply: StaticString?
        defer { if let reply { answer(session, reply) } }
        while !incoming.isEmpty, outgoing.count < Limits.strangerOutgoingBytesMax, workLeft > 0 {
            guard let outcome = firstWords(session, incoming) else { return true }
            switch outcome {
            case .incomplete: return false
            // No work yet, as with what any other command begins with: bytes alone are no excuse.
            case .taken(let consume): incoming.consume(consume)
            case .refused(let refusal, let consume):
                workLeft -= 1
                counters.commandsRefused += 1
                incoming.consume(consume)
                reply = refusal
            case .shown(let name, let password, let consume):
                workLeft -= 1
                incoming.consume(consume)
                guard judge(session, name, password) else {
                    reply = TextAuthentication.failed
                    continue
                }
                session.admission?.isAdmitted = true
                session.isLocked = false
                reply = TextAuthentication.admitted
                return true
            case .closed:
                incoming.removeAll()
                reply = nil
                hangUp(session)
                return false
            }
        }
        return false
    }

    /// What a text client has said; nil when it speaks binary, which the translator understands.
    private func firstWords(_ session: ClientSession, _ incoming: ByteQueue) -> TextAuthentication.Outcome? {
        guard let hasBegun = session.admission?.hasBegun else {
            preconditionFailure("\(session.connection) is locked for nothing")
        }
        if !hasBegun, incoming.readable[0] == BinaryTranslator.magic {
            session.isLocked = false
            return nil
        }
        session.admission?.hasBegun = true
        return session.admission?.text.next(in: incoming.readable)
    }

    /// A binary client says who it is, as often as it likes: each time what it was before is forgotten, as memcached does.
    func authenticate(_ session: ClientSession, _ request: BinaryAuthentication) {
        guard let exchange = session.exchange else { preconditionFailure("\(session.connection) speaks SASL in text") }
        let reply = answer(to: request, session)
        let queue = ByteQueue()
        BinaryReply.append(reply, for: exchange, to: queue)
        send(session, Array(queue.readable))
    }

    private func answer(to request: BinaryAuthentication, _ session: ClientSession) -> BinaryAuthentication.Answer {
        guard request != .mechanismTooLong else { return .invalid }
        session.setBinaryAdmission(false)
        guard let before = session.admission else { preconditionFailure("\(session.connection) was not asked") }
        switch request {
        case .mechanisms: return .mechanisms
        case .start(let mechanism, let message) where message.isEmpty && BinaryAuthentication.isPlain(mechanism):
            session.admission?.isAwaited = true
            return .goOn
        case .start(let mechanism, let message):
            session.admission?.isAwaited = false
            session.admission?.isComplete = false
            return judge(session, before.isComplete || !BinaryAuthentication.isPlain(mechanism) ? [] : message)
        case .step(let message): return judge(session, before.isComplete || !before.isAwaited ? [] : message)
        case .messageTooLong, .mechanismTooLong: return judge(session, [])
        }
    }

    private func judge(_ session: ClientSession, _ message: [UInt8]) -> BinaryAuthentication.Answer {
        let pair = BinaryAuthentication.pair(in: message)
        guard judge(session, pair?.name ?? [], pair?.password ?? []) else { return .refused }
        session.setBinaryAdmission(true)
        session.admission?.isAwaited = true
        session.admission?.isComplete = true
        return .admitted
    }

    /// Whether the pair is one of the listener's. What was shown is never told: some type the password where the name belongs.
    private func judge(_ session: ClientSession, _ name: [UInt8], _ password: [UInt8]) -> Bool {
        guard let listener = session.admission?.listener else { preconditionFailure("\(session.connection) was not asked") }
        counters.authentications += 1
        if credentials[listener, default: Credentials()].admit(name: name, password: password) { return true }
        counters.authenticationsFailed += 1
        if let kept = authenticationComplaints.permit(at: monotonic) {
            say(
                .warning,
                "client authentication failed address=\(session.address) listener=\(listeners[listener]?.description ?? "gone")\(kept)"
            )
        }
        return false
    }
}
