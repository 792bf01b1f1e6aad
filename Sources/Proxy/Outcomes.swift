// What came of a write, by the authority's reply: committed under a position, and brought to the key's other server, or aborted.

import Kernel
import Memcache
import Replication
import WriteLog

extension LaneNode {
    // MARK: Deciding

    /// The authority has answered a write, or another server that became the authority.
    func authorityAnswered(_ operation: Operation, _ kind: ReplyKind, _ bytes: [UInt8]) {
        guard let write = operation.write else { preconditionFailure("write \(operation.version) has no command") }
        switch write.effect {
        case .store:
            if kind == .stored || kind == .hd { return commit(operation, kind, bytes) }
            // Refused, and with it went what was there: the site holds nothing under this version.
            counters.recordsRefused += 1
            commitTombstone(operation, kind, bytes)
        case .delete:
            if isPlanted(.tombstonesDropped), kind == .notFound || kind == .nf { return abort(operation, kind, bytes) }
            commit(operation, kind, bytes)
        case .conditionalStore:
            if kind == .stored || kind == .hd { return commit(operation, kind, bytes) }
            // A refused `ms` takes what was there with it, in every mode; the classic conditional stores leave it alone.
            guard kind == .serverError, write.command.starts(with: [UInt8(ascii: "m"), UInt8(ascii: "s"), 32]) else {
                return abort(operation, kind, bytes)
            }
            commitTombstone(operation, kind, bytes)
        case .conditionalDelete:
            if kind == .deleted || kind == .hd || kind == .nf || kind == .notFound { return commit(operation, kind, bytes) }
            abort(operation, kind, bytes)
        case .touch:
            switch kind {
            case .touched, .value, .hd, .va: commit(operation, kind, bytes)
            default: abort(operation, kind, bytes)
            }
        case .local: abort(operation, kind, bytes)
        case .derive: operation.heldReply = (kind, bytes)
        }
    }

    /// The post-image behind a derived write has arrived: nil when there is no item.
    func readBackAnswered(_ operation: Operation, _ image: PostImage?) {
        guard let held = operation.heldReply else {
            preconditionFailure("read-back of \(operation.version) before its reply")
        }
        operation.heldReply = nil
        let kind = held.kind
        switch kind {
        case .stored, .hd, .number, .va:
            if let image, image.isStale {
                operation.content = .tombstone
                commitImage(operation, content: .tombstone, clientFlags: 0, expiry: 0, value: .none, kind, held.bytes)
            } else if let image, image.isTooLarge {
                // It grew beyond what this federation carries: it goes, here and everywhere.
                counters.recordsRefused += 1
                commitTombstone(operation, .serverError, Array("SERVER_ERROR object too large for cache\r\n".utf8))
            } else if let image {
                commitValue(operation, image, kind, held.bytes)
            } else {
                commitTombstone(operation, kind, held.bytes)  // it succeeded and expired, or was evicted, at once
            }
        case .serverError where image == nil: commitTombstone(operation, kind, held.bytes)
        default: abort(operation, kind, held.bytes)
        }
    }

    func abort(_ operation: Operation, _ kind: ReplyKind, _ bytes: [UInt8]) {
        operation.decided = true
        operation.aborted = true
        settleOwed(operation)
        log.append(LogRecord(kind: .abort, reference: operation.intent.raw))
        counters.recordsAborted += 1
        let answer = operation.write?.replyInstead ?? bytes
        guard isAnswerHeld(operation), workFor(operation.key).hasLanding(before: operation) else {
            return complete(operation.completion, kind, answer)
        }
        // It tells of an earlier write, whose client is still waiting for the other server: so must this one.
        operation.heldAnswer = (kind, answer)
        for server in operation.place.both where server != operation.authority && servers[server].acceptsWrites {
            passThrough(servers[server], operation)
        }
    }

    func settleOwed(_ operation: Operation) {
        owedBytes -= operation.owed
        if operation.owed > 0, !awaitingRoom.isEmpty { roomMayHaveCome = true }
        operation.owed = 0
    }

    /// Commits what the intent already says.
    func commit(_ operation: Operation, _ kind: ReplyKind, _ bytes: [UInt8]) {
        guard let write = operation.write else { preconditionFailure("write \(operation.version) has no command") }
        // A conditional write's intent had no payload: its outcome brings it along.
        if !write.effect.isCertain {
            return commitImage(
                operation, content: operation.content, clientFlags: write.clientFlags, expiry: write.expiry,
                value: operation.content == .value ? write.value : .none, kind, bytes)
        }
        operation.decided = true
        settleOwed(operation)
        operation.position = nextPosition(write.key)
        let offset = log.append(LogRecord(kind: .commit, position: operation.position, reference: operation.intent.raw))
        straddling.note(operation.position, intent: operation.intent, commit: offset, log.segmentBytes)
        let isValue = operation.content == .value
        committedRecord(
            operation, clientFlags: write.clientFlags, expiry: write.expiry, valueBytes: isValue ? write.payloadCount : 0,
            isValue ? write.value.bytes : [])
        answerClient(operation, kind, write.replyInstead ?? bytes)
    }

    private func commitValue(_ operation: Operation, _ image: PostImage, _ kind: ReplyKind, _ bytes: [UInt8]) {
        operation.content = .value
        commitImage(
            operation, content: .value, clientFlags: image.clientFlags, expiry: image.expiry, value: image.value, kind, bytes)
    }

    private func commitTombstone(_ operation: Operation, _ kind: ReplyKind, _ bytes: [UInt8]) {
        operation.content = .tombstone
        let keyWork = workFor(operation.key)
        // Whatever either server kept of it goes, and goes before anything younger.
        for server in operation.place.both {
            if keyWork.isOutdated(operation.version, .tombstone, at: server) { continue }
            guard servers[server].acceptsWrites else {
                noteMissed(servers[server], operation.key, .missed)
                continue
            }
            tidy(servers[server], operation.key) { queue in
                operation.key.withUnsafeBytes { Command.delete(key: $0, into: queue) }
            }
        }
        commitImage(operation, content: .tombstone, clientFlags: 0, expiry: 0, value: .none, kind, bytes)
    }

    /// Commits an outcome that the intent did not hold, and brings it to the key's other server.
    private func commitImage(
        _ operation: Operation, content: Content, clientFlags: UInt32, expiry: UInt64, value: ItemValue, _ kind: ReplyKind,
        _ bytes: [UInt8]
    ) {
        operation.decided = true
        settleOwed(operation)
        operation.position = nextPosition(operation.key)
        let flags = recordFlags(operation.key)
        let offset = operation.key.withUnsafeBytes { key in
            value.withBytes { payload in
                log.append(
                    kind: .commitValue, content: content, flags: flags, position: operation.position, version: operation.version,
                    clientFlags: clientFlags, expiryMicroseconds: expiry, reference: operation.intent.raw, key: key,
                    payload: payload, of: value.block)
            }
        }
        lastWriteAt = offset
        if content == .touch {
            operation.touchExpiry = expiry
            raiseTouch(operation.key, operation.version, expiry, operation.position)
        } else {
            index.raise(
                operation.key, version: operation.version, content: content, expiry: expiry, holder: laneID, offset: offset,
                recordBytes: UInt32(LogRecord.encodedBytes(keyBytes: operation.key.count, payloadBytes: value.count)))
        }
        committedRecord(operation, clientFlags: clientFlags, expiry: expiry, valueBytes: value.count, value.bytes)
        if let effect = operation.write?.effect, !effect.isCertain {
            sendOutcome(operation, clientFlags: clientFlags, expiry: expiry, value: value)
        }
        answerClient(operation, kind, operation.write?.replyInstead ?? bytes)
    }

    /// The outcome of a conditional or derived write, for the server that did not decide it.
    private func sendOutcome(_ operation: Operation, clientFlags: UInt32, expiry: UInt64, value: ItemValue) {
        let keyWork = workFor(operation.key)
        // A touch that came while the authority was asked is there already, and did not touch this value.
        let ends = takeTouch(operation, instead: expiry)
        for server in operation.place.both where server != operation.authority {
            guard servers[server].acceptsWrites else {
                noteMissed(servers[server], operation.key, .missed)
                continue
            }
            // Something younger is already on its way there; the client must not be answered before that has arrived.
            if keyWork.isOutdated(operation.version, operation.content, at: server) {
                if isAnswerHeld(operation) { passThrough(servers[server], operation) }
                continue
            }
            keyWork.noteSent(operation.version, operation.content, to: server)
            operation.outstanding += 1
            ask(servers[server], .landing(operation), .meta) { queue in
                writeItem(
                    operation.key, content: operation.content, clientFlags: clientFlags, expiry: ends, value: value, into: queue
                )
            }
        }
    }

    func raiseTouch(_ key: [UInt8], _ version: Version, _ expiry: UInt64, _ position: Position = .zero) {
        index.raiseTouch(key, version: version, expiry: expiry, position: position, holder: laneID)
        if isPlanted(.touchSharesVersion) {
            index.raise(key, version: version, content: .value, holder: laneID, offset: .zero, recordBytes: 0)
        }
    }

    // MARK: Committed

    /// The next position of the lane; zero for a key that stays at home.
    private func nextPosition(_ key: [UInt8]) -> Position {
        guard crossing.policy(for: key) != .none else { return .zero }
        committed = committed.next
        shipGate.append((committed, nil, .zero))
        return committed
    }

    func recordFlags(_ key: [UInt8]) -> RecordFlags {
        switch crossing.policy(for: key) {
        case .value: []
        case .invalidate: .invalidate
        case .none: .local
        }
    }

    /// The value is only copied for somebody who wants it.
    private func committedRecord(
        _ operation: Operation, clientFlags: UInt32, expiry: UInt64, valueBytes: Int, _ value: @autoclosure () -> [UInt8]
    ) {
        counters.recordsCommitted += 1
        observe(
            .committed(
                key: operation.key, version: operation.version, content: operation.content, value: value(), flags: clientFlags,
                expiry: expiry, position: operation.position))
        guard operation.position > .zero else { return }
        let invalidates = crossing.policy(for: operation.key) == .invalidate && operation.content != .touch
        committedBytes += UInt64(
            ReplicatedRecord.windowBytes(keyBytes: operation.key.count, valueBytes: invalidates ? 0 : valueBytes))
        guard !senders.isEmpty else { return }
        let record = ReplicatedRecord(
            content: invalidates ? .tombstone : operation.content, version: operation.version, position: operation.position,
            clientFlags: clientFlags, expiry: expiry, key: operation.key, value: invalidates ? [] : value())
        tail.append(record, committedAt: monotonic)
    }
}
