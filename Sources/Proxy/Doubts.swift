// What nobody knows (`federation.md` section 7): whether a derived write happened whose answer never came, or which value a top
// stood for whose log is lost. What the site holds is read and written again.
//
// Such a write must not undo what clients of other sites were told is stored. So a derived write is settled under the version that it was
// given, which everything younger outranks; and a value is given up for lost only after its holder was waited for.

import Kernel
import Memcache
import Replication
import WriteLog

/// Why what the site holds of a key is to be written again.
enum Doubt {
    /// A derived write with this version may have happened, or not.
    case outcome(Version)
    /// Nobody has the value of the key's top any more.
    case lostValue
}

/// A derived write of this lane that may have happened, or not.
struct DoubtedWrite {
    var version: Version
    /// What it would have made of the item.
    var content: Content
    /// How long it may be settled under its own version, in monotonic microseconds.
    var until: UInt64
    /// One of the key's servers has nothing of it; the other is away, and must be asked.
    var isDeferred = false
}

/// A top whose value is with a lane that is away, or busy with something younger.
struct AwaitedTop {
    var key: [UInt8]
    var version: Version
    var requester: Requester
    /// When its holder is given up, in monotonic microseconds.
    var until: UInt64
}

extension LaneNode {
    // MARK: Derived writes

    /// The outcome of a write of this lane is unknown; it must be settled one day.
    func noteDoubt(_ operation: Operation) {
        if let known = doubts[operation.key], known.version > operation.version { return }
        doubts[operation.key] = DoubtedWrite(
            version: operation.version, content: operation.content, until: monotonic + Limits.doubtPatienceMicroseconds)
    }

    /// A doubt of an earlier life of this lane is as old as its write: that life may have given it up already.
    static func recovered(_ record: LogRecord, at now: Instant) -> DoubtedWrite {
        let age = now.wallMicroseconds - min(now.wallMicroseconds, HybridClock.wall(of: record.version.stamp))
        let left = Limits.doubtPatienceMicroseconds - min(Limits.doubtPatienceMicroseconds, age)
        return DoubtedWrite(version: record.version, content: record.content, until: now.monotonicMicroseconds + left)
    }

    /// True while a doubted write may be settled under its own version, so that nothing above it may be promised. Without end that
    /// would keep every site from forgetting anything while one server is away.
    func isHeld(_ doubted: DoubtedWrite) -> Bool { monotonic < doubted.until }

    /// Settles a derived write: whatever became of it lies below a younger top, and that is written again instead.
    func settleOutcome(_ key: [UInt8], _ doubted: Version, _ requester: Requester) {
        if isOutranked(key, doubted) { return landTop(key, requester) }
        admitDoubt(key, .outcome(doubted), requester)
    }

    /// True when the key's top is at least as high as a doubted version, which includes that it has been settled.
    private func isOutranked(_ key: [UInt8], _ doubted: Version) -> Bool {
        index[key].map { $0.version > .zero && $0.version >= doubted } ?? false
    }

    /// Has settled what was doubted and can be: what the backup knows while the doubted server is away, or what that server holds
    /// which was flushed, or restarted, before it could be repaired.
    func tendDoubts() {
        guard !doubts.isEmpty, state != .joining else { return }
        for (key, doubted) in doubts.sorted(by: { $0.value.version < $1.value.version }) where assertionOf[key] == nil {
            let isMissed = servers.contains { $0.missed[key] == .doubt }
            if isOutranked(key, doubted.version) || (isMissed && !isHeld(doubted)) {
                doubts[key] = nil  // what a server missed is repaired when it returns, all the same
            } else if canBeAsked(key, doubted) {
                requestAssertion(key, .doubt)
            }
        }
    }

    /// Writes behind a doubt that cannot be settled now, or behind a record for which the log has no room, are refused, as they would
    /// be without it.
    func refuseStuckWrites(_ key: [UInt8], _ keyWork: KeyWork) {
        guard keyWork.inFlight.isEmpty else { return }
        let place = keyWork.place
        let why: [UInt8]
        switch keyWork.waiters.first {
        case .doubt where authority(at: place, key) == nil: why = unreachableReply(place)
        case .doubt where isRoomOverdue(key) && !mayTake(hasRoom(forDoubt: key), key): why = logFullReply()
        case .landing(let record, _, _) where isRoomOverdue(key) && !landingMayGo(record, keyWork): why = logFullReply()
        default: return
        }
        for case .write(_, let completion) in keyWork.waiters { complete(completion, .serverError, why) }
        keyWork.waiters.removeAll { if case .write = $0 { true } else { false } }
    }

    private func canBeAsked(_ key: [UInt8], _ doubted: DoubtedWrite) -> Bool {
        let place = route(key)
        if doubted.isDeferred && !place.both.allSatisfy({ servers[$0].acceptsWrites }) { return false }
        return authority(at: place, key).map { servers[$0].missed[key] != .doubt } ?? false
    }

    // MARK: Reading and writing again

    /// Has what the site holds of a key read and written again.
    func admitDoubt(_ key: [UInt8], _ doubt: Doubt, _ requester: Requester) {
        let keyWork = workFor(key)
        keyWork.waiters.append(.doubt(doubt, requester))
        drain(key, keyWork)
    }

    func startDoubt(_ key: [UInt8], _ doubt: Doubt, _ requester: Requester, _ keyWork: KeyWork) {
        guard let server = authority(at: keyWork.place, key) else { preconditionFailure("a doubt is admitted without a server") }
        doubts[key]?.isDeferred = false
        var version: Version?
        if case .outcome(let doubted) = doubt {
            if isOutranked(key, doubted) { return landTop(key, requester) }
            if let own = doubts[key], own.version >= doubted, isHeld(own) { version = own.version }
        }
        counters.inDoubt += 1
        observe(.inDoubt(key: key))
        let operation = Operation(
            kind: .doubt, key: key, version: version ?? stampVersion(), effect: .derive, content: .value, completion: .nobody,
            at: keyWork.place)
        operation.doubt = doubt
        operation.requesters = [requester]
        read(operation, at: server, keyWork)
    }

    private func read(_ operation: Operation, at server: Int, _ keyWork: KeyWork) {
        operation.decided = false
        operation.outstanding = 1
        operation.authority = server
        begin(operation, keyWork)
        ask(servers[server], .operationRead(operation), .meta) { queue in
            operation.key.withUnsafeBytes { Command.readBack(key: $0, into: queue) }
        }
    }

    /// The lane's own write of what it just read; nothing was admitted for the key in between.
    func doubtRead(_ operation: Operation, _ image: PostImage?) {
        let keyWork = workFor(operation.key)
        guard authority(at: operation.place, operation.key) != nil, hasRoom(forDoubt: operation.key) else {
            return putBack(operation, keyWork)
        }
        guard let image = usable(image) else { return nothingThere(operation, keyWork) }
        // A younger touch may still be on its way to the server.
        var expiry = image.expiry
        if let entry = index[operation.key], entry.touch > operation.version { expiry = entry.touchExpiry }
        startWrite(
            rewrite(of: operation.key, image, until: expiry), .nobody, keyWork, under: operation.version,
            requesters: operation.requesters)
        drain(operation.key, keyWork)
    }

    private func usable(_ image: PostImage?) -> PostImage? {
        guard let image, !image.isTooLarge, !expired(image.expiry) else { return nil }
        return image
    }

    /// The site holds nothing of the key: it was evicted, or its server restarted or was flushed. That says nothing about what other
    /// sites hold, so it is no reason to delete it there, unless a deletion was what was doubted.
    private func nothingThere(_ operation: Operation, _ keyWork: KeyWork) {
        if case .outcome = operation.doubt, let own = doubts[operation.key], own.content == .tombstone {
            let queue = ByteQueue()
            operation.key.withUnsafeBytes { Command.delete(key: $0, into: queue) }
            let write = Write(effect: .delete, shape: .meta, key: operation.key, command: [UInt8](queue.readable))
            startWrite(write, .nobody, keyWork, under: operation.version, requesters: operation.requesters)
        } else if case .outcome = operation.doubt, index[operation.key] != nil {
            for requester in operation.requesters { landTop(operation.key, requester) }
        } else if case .outcome = operation.doubt, !operation.askedBoth,
            let other = operation.place.both.first(where: { $0 != operation.authority })
        {
            operation.askedBoth = true
            if servers[other].acceptsWrites { return read(operation, at: other, keyWork) }
            doubts[operation.key]?.isDeferred = true
            for requester in operation.requesters { awaitMirror(requester) }
        } else {
            // Whatever the other server kept of it may be older than what nobody knows.
            for server in operation.place.both where servers[server].acceptsWrites {
                tidy(servers[server], nil) { queue in
                    operation.key.withUnsafeBytes { Command.delete(key: $0, into: queue) }
                }
            }
            for requester in operation.requesters { awaitMirror(requester) }
        }
        drain(operation.key, keyWork)
    }

    /// It could not be read, or not be written: it stays at the head of what waits for the key.
    func putBack(_ operation: Operation, _ keyWork: KeyWork) {
        guard let doubt = operation.doubt, let requester = operation.requesters.first else {
            preconditionFailure("doubt \(operation.version) without a cause")
        }
        keyWork.waiters.insert(.doubt(doubt, requester), at: 0)
    }

    private func rewrite(of key: [UInt8], _ image: PostImage, until expiry: UInt64) -> Write {
        let queue = ByteQueue()
        if expired(expiry) {
            key.withUnsafeBytes { Command.delete(key: $0, into: queue) }
            return Write(effect: .delete, shape: .meta, key: key, command: [UInt8](queue.readable))
        }
        writeItem(key, content: .value, clientFlags: image.clientFlags, expiry: expiry, value: image.value, into: queue)
        let block = image.value.block
        let write = Write(
            effect: .store, shape: .meta, key: key, command: queue.bytes(at: 0, count: queue.count - (block?.count ?? 0)),
            payloadStart: queue.count - image.value.count - 2, payloadCount: image.value.count, clientFlags: image.clientFlags,
            expiry: expiry)
        write.block = block
        return write
    }

    /// True when the log takes whatever the site may hold of a key.
    func hasRoom(forDoubt key: [UInt8]) -> Bool {
        let bytes = LogRecord.encodedBytes(keyBytes: key.count, payloadBytes: configuration.federation.itemBytesMax)
        let outcome = LogRecord.encodedBytes(keyBytes: key.count, payloadBytes: 0)
        return log.hasRoom(forBytes: bytes, owed: owedBytes + outcome + Limits.logReserveBytes(configuration.site.segmentBytes))
    }

    // MARK: Values that are elsewhere

    /// The value of a key's top is with a lane that is away, or is about to be replaced there: it is asked for again later.
    func awaitTop(_ key: [UInt8], _ version: Version, _ requester: Requester) {
        awaitedTops.append(
            AwaitedTop(
                key: key, version: version, requester: requester, until: monotonic + Limits.holderPatienceMicroseconds))
    }

    /// Goes on with what was waited for, as far as something has changed.
    func tendAwaitedTops() {
        let waiting = awaitedTops
        awaitedTops.removeAll()
        for one in waiting {
            guard let entry = index[one.key], entry.version == one.version, entry.content == .value, entry.holder != laneID,
                siblings[entry.holder]?.link == nil
            else {
                landTop(one.key, one.requester)
                continue
            }
            if monotonic >= one.until {
                admitDoubt(one.key, .lostValue, one.requester)
            } else {
                awaitedTops.append(one)
            }
        }
    }
}
