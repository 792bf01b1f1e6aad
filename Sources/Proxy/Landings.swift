// Records of other sites, and tops that are written again: compared with the index, logged, and applied through the very
// pipeline that local writes use, under the version that they came with (`federation.md` sections 6 and 7).

import Kernel
import Memcache
import Replication
import WriteLog

extension LaneNode {
    /// Takes a record in whose slot this lane is the owner, or as good as.
    func admitLanding(_ record: ReplicatedRecord, assertion: Bool, _ requester: Requester) {
        clock.observe(record.version.stamp)
        let keyWork = workFor(record.key)
        guard keyWork.waiters.isEmpty, !isHolding, !isHeld(slot(of: record.key)),
            !keyWork.inFlight.contains(where: { $0.kind == .doubt }),
            landingMayGo(record, keyWork)
        else {
            keyWork.waiters.append(.landing(record, assertion: assertion, requester))
            return noteRoom(for: record.key, keyWork)
        }
        takeLanding(record, assertion: assertion, requester, keyWork)
        dropIfIdle(record.key, keyWork)
    }

    /// A record waits for undecided writes with higher versions: if they succeed it is superseded, else it goes first. And
    /// it waits for room in the log.
    func landingMayGo(_ record: ReplicatedRecord, _ keyWork: KeyWork) -> Bool {
        if keyWork.inFlight.contains(where: { $0.isUndecided && $0.version > record.version }) { return false }
        return mayTake(hasRoom(for: record), record.key)
    }

    /// True when the log takes a record.
    func hasRoom(for record: ReplicatedRecord) -> Bool {
        let bytes = LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.value.count)
        return log.hasRoom(forBytes: bytes, owed: owedBytes + Limits.logReserveBytes(configuration.site.segmentBytes))
    }

    func takeLanding(_ record: ReplicatedRecord, assertion: Bool, _ requester: Requester, _ keyWork: KeyWork) {
        let entry = index[record.key] ?? KeyEntry()
        if assertion {
            if record.version < (record.content == .touch ? entry.top : entry.version) {
                // The top has moved on; whether it landed before or after what was seen to land, nobody here knows.
                return record.content == .touch ? landTouch(record.key, requester) : landTop(record.key, requester)
            }
            counters.assertions += 1
            observe(.asserted(key: record.key, version: record.version))
        } else if isBelow(record, entry) || isSettled(record) {
            return supersede(record, requester, keyWork)
        } else if record.content == .touch && diedBeforeTouch(entry) {
            let touch = Operation(
                kind: .landing, key: record.key, version: record.version, effect: .touch, content: .touch, completion: .nobody,
                at: keyWork.place)
            logApplied(touch, record, .none)
            counters.recordsApplied += 1
            return landTop(record.key, requester)
        }
        startLanding(record, assertion: assertion, requester, keyWork)
    }

    /// The value's own expiry passed before a touch that prolongs it arrived: memcached has nothing left to be touched, so the
    /// value is written again. memcached counts whole seconds: what has less than one left may be gone already.
    private func diedBeforeTouch(_ entry: KeyEntry) -> Bool {
        guard entry.content == .value, entry.holder == laneID, entry.recordBytes > 0, !entry.touchDecides, entry.expiry != 0
        else { return false }
        return entry.expiry <= now.wallMicroseconds + 1_000_000
    }

    /// Its origin has promised that it would not come again: a late duplicate of what was applied or superseded here.
    private func isSettled(_ record: ReplicatedRecord) -> Bool {
        record.version.stamp <= max(stableFloor, remoteFloors[record.version.origin] ?? 0)
    }

    private func isBelow(_ record: ReplicatedRecord, _ entry: KeyEntry) -> Bool {
        if isPlanted(.lastArrivalWins) { return false }
        return record.content == .touch
            ? record.version <= entry.touch || record.version < entry.version : record.version <= entry.version
    }

    /// Nothing to do; but what supersedes the record may itself not have landed yet.
    private func supersede(_ record: ReplicatedRecord, _ requester: Requester, _ keyWork: KeyWork) {
        counters.recordsSuperseded += 1
        observe(.superseded(key: record.key, version: record.version))
        if let last = keyWork.inFlight.last(where: { $0.version >= record.version && $0.kind != .copy }) {
            last.requesters.append(requester)
        } else if let barrier = work[allKeys]?.inFlight.last(where: { $0.version >= record.version }) {
            barrier.requesters.append(requester)
        } else {
            awaitMirror(requester)
        }
    }

    private func startLanding(_ record: ReplicatedRecord, assertion: Bool, _ requester: Requester, _ keyWork: KeyWork) {
        for other in keyWork.inFlight where other.kind == .copy { other.cancelled = true }
        let operation = Operation(
            kind: .landing, key: record.key, version: record.version, effect: record.content == .touch ? .touch : .store,
            content: record.content, completion: .nobody, at: keyWork.place)
        operation.decided = true
        operation.requesters = [requester]
        let value = ItemValue(record.value, sharedBytesMin: configuration.sharedBytesMin)
        logApplied(operation, record, value)
        counters.recordsApplied += assertion ? 0 : 1
        if record.key == allKeys { return landBarrier(operation, keyWork) }
        let (content, expiry) = merged(operation, record)
        logMergedTouch(operation)
        begin(operation, keyWork)
        for server in keyWork.place.both {
            guard servers[server].acceptsWrites else {
                noteMissed(servers[server], record.key, isForTouchOnly(requester) ? .touched : .missed)
                continue
            }
            operation.outstanding += 1
            keyWork.noteSent(record.version, content, to: server)
            ask(servers[server], .landing(operation), .meta) { queue in
                writeItem(
                    record.key, content: content, clientFlags: record.clientFlags, expiry: expiry, value: value, into: queue)
            }
        }
        landedIfDone(operation)
    }

    /// It is wanted by a lane that knows of a key's touch, and not whether its value has been replaced since.
    private func isForTouchOnly(_ requester: Requester) -> Bool {
        guard case .assertion(let request) = requester, case .top(.touched)? = assertions[request]?.task else { return false }
        return true
    }

    private func logApplied(_ operation: Operation, _ record: ReplicatedRecord, _ value: ItemValue) {
        let flags = recordFlags(record.key)
        operation.intent = record.key.withUnsafeBytes { key in
            value.withBytes { payload in
                log.append(
                    kind: .applied, content: record.content, flags: flags, version: record.version,
                    clientFlags: record.clientFlags, expiryMicroseconds: record.expiry, reference: record.position.raw, key: key,
                    payload: payload, of: value.block)
            }
        }
        lastWriteAt = operation.intent
        operation.intentBytes = UInt32(LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.value.count))
        if record.content == .touch {
            operation.touchExpiry = record.expiry
            raiseTouch(record.key, record.version, record.expiry)
        } else {
            index.raise(
                record.key, version: record.version, content: record.content, expiry: record.expiry, holder: laneID,
                offset: operation.intent, recordBytes: operation.intentBytes)
        }
    }

    /// A restart may land the value again, and must not give it an older expiry: everybody may have forgotten the touch by then.
    private func logMergedTouch(_ operation: Operation) {
        guard operation.touch > .zero else { return }
        lastWriteAt = log.append(
            LogRecord(
                kind: .applied, content: .touch, flags: recordFlags(operation.key), version: operation.touch,
                expiryMicroseconds: operation.touchExpiry, key: operation.key))
    }

    /// What is to be in memcached: a value keeps the expiry of a younger touch; what has expired is deleted.
    private func merged(_ operation: Operation, _ record: ReplicatedRecord) -> (Content, expiry: UInt64) {
        var expiry = record.expiry
        if isPlanted(.expiryRelative), expiry != 0 {
            expiry += now.wallMicroseconds - min(now.wallMicroseconds, HybridClock.wall(of: record.version.stamp))
        }
        expiry = takeTouch(operation, instead: expiry)
        return (expired(expiry) ? .tombstone : record.content, expiry)
    }

    /// The expiry that a value is to have: that of a younger touch, which the operation then lands as well, or its own.
    func takeTouch(_ operation: Operation, instead own: UInt64) -> UInt64 {
        guard operation.content == .value, let entry = index[operation.key], entry.touch > operation.version else { return own }
        operation.touch = entry.touch
        operation.touchExpiry = entry.touchExpiry
        return entry.touchExpiry
    }

    // MARK: The top of a key

    /// Writes the top of a key again, with its value from wherever it is; if nobody has it any more, what the site holds is
    /// written under a new version.
    func landTop(_ key: [UInt8], _ requester: Requester) {
        guard let entry = index[key] else { return admitDoubt(key, .lostValue, requester) }
        if entry.version == .zero && entry.touchDecides { return landTouch(key, requester) }
        switch entry.content {
        case .tombstone:
            let tombstone = ReplicatedRecord(
                content: .tombstone, version: entry.version, position: .zero, clientFlags: 0, expiry: 0, key: key, value: [])
            admitLanding(tombstone, assertion: true, requester)
        case .value where entry.holder == laneID && entry.recordBytes > 0:
            readRecord(entry.offset, bytes: Int(entry.recordBytes), for: .top(key, entry.version, requester))
        case .value where siblings[entry.holder]?.link != nil: fetch(key, entry.version, from: entry.holder, requester)
        case .value where siblings[entry.holder] != nil: awaitTop(key, entry.version, requester)
        case .value, .none, .touch: admitDoubt(key, .lostValue, requester)
        }
    }

    /// Writes a key's touch again, and leaves its value alone.
    func landTouch(_ key: [UInt8], _ requester: Requester) {
        guard let entry = index[key], entry.touchDecides else { return landTop(key, requester) }
        let touch = ReplicatedRecord(
            content: .touch, version: entry.touch, position: .zero, clientFlags: 0, expiry: entry.touchExpiry, key: key, value: []
        )
        admitLanding(touch, assertion: true, requester)
    }

    /// The value of a key's top has been found, or has not.
    func topFound(_ key: [UInt8], _ record: ReplicatedRecord?, _ requester: Requester) {
        if let record {
            admitLanding(record, assertion: true, requester)
        } else {
            admitDoubt(key, .lostValue, requester)
        }
    }

    // MARK: Reading the own log

    /// Reads one record of the own log: from what is not yet written out, or from the disk.
    func readRecord(_ offset: LogOffset, bytes: Int, for purpose: LogReadPurpose) {
        if offset >= log.flushed {
            let written = log.pending.bytes(at: Int(offset.raw - log.flushed.raw), count: bytes)
            let decoded = written.withUnsafeBytes { try? LogRecord.decode($0, at: 0, address: offset) }
            return recordRead(decoded?.record, purpose)
        }
        let asked = logReads[offset] != nil
        logReads[offset, default: []].append(purpose)
        if !asked { effects.actions.append(.readLog(offset, count: bytes)) }
    }

    func logRead(_ offset: LogOffset, _ bytes: [UInt8]) {
        for purpose in logReads.removeValue(forKey: offset) ?? [] {
            if case .catchUp(let site) = purpose {
                caughtUp(site, offset, bytes)
            } else {
                let decoded = bytes.withUnsafeBytes { try? LogRecord.decode($0, at: 0, address: offset) }
                recordRead(decoded?.record, purpose)
            }
        }
    }

    private func recordRead(_ found: LogRecord?, _ purpose: LogReadPurpose) {
        switch purpose {
        case .top(let key, let version, let requester):
            topFound(key, found.flatMap { replicated($0, key: key, version: version) }, requester)
        case .fetch(let lane, let request, let key, let version):
            let record = found.flatMap { replicated($0, key: key, version: version) }
            siblings[lane]?.link.map { send(.fetched(request: request, answer: record.map { .found($0) } ?? .unknown), on: $0) }
        case .catchUp: preconditionFailure("a catch-up read is not of one record")
        }
    }

    private func replicated(_ record: LogRecord, key: [UInt8], version: Version) -> ReplicatedRecord? {
        guard record.key == key, record.version == version, record.content == .value else { return nil }
        return ReplicatedRecord(
            content: .value, version: version, position: .zero, clientFlags: record.clientFlags,
            expiry: record.expiryMicroseconds,
            key: key, value: record.payload)
    }
}

/// Why a part of the own log is read.
enum LogReadPurpose {
    /// To write a key's top again.
    case top([UInt8], Version, Requester)
    /// For another lane that is to do so.
    case fetch(LaneID, UInt64, [UInt8], Version)
    /// To stream what a site has missed.
    case catchUp(SiteID)
}
