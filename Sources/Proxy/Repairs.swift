// What one of a key's servers lacks is taken from the other: copies into a recovering server, and the repair of a
// server that was cut off (`federation.md` sections 3 and 8).

import Kernel
import Memcache
import WriteLog

extension LaneNode {
    // MARK: Copies

    /// Adds to a recovering server what it lacks and the key's other server has. A concurrent write of the key always wins: one that
    /// was sent before is read with the copy, one sent later cancels it. False when nothing is copied: there is no need, or too many are
    /// under way.
    func startCopy(_ key: [UInt8]) -> Bool {
        let place = route(key)
        guard !isHolding, !isHeld(slot(of: key)), let (from, to) = copyPlan(place), servers[from].holdsForAll(key),
            servers[to].holds(key),
            copiesUnderWay < Limits.copiesMax, work[key] == nil, index[key]?.content != .tombstone
        else { return false }
        let keyWork = workFor(key)
        let entry = index[key]
        let operation = Operation(
            kind: .copy, key: key, version: entry?.version ?? Version(stamp: max(stableFloor, 1), origin: laneID), effect: .store,
            content: .value, completion: .nobody, at: place)
        operation.touch = entry?.touch ?? .zero
        operation.touchExpiry = entry?.touchExpiry ?? 0
        operation.authority = to
        operation.outstanding = 1
        copiesUnderWay += 1
        for id in siblingIDs where siblings[id]?.link == nil { siblings[id]?.copiedUntold = true }
        begin(operation, keyWork)
        ask(servers[from], .operationRead(operation), .meta) { queue in
            key.withUnsafeBytes { Command.readBack(key: $0, into: queue) }
        }
        return true
    }

    /// Which of the key's servers has what the other lost.
    private func copyPlan(_ place: Place) -> (from: Int, to: Int)? {
        guard let backup = place.backup else { return nil }
        if backupKnowsMore(place) { return (backup, place.primary) }
        return servers[backup].recoveringFrom.contains(place.primary) ? (place.primary, backup) : nil
    }

    /// A copy that did not come about is asked for again, by and by.
    func forgetRefills() {
        guard monotonic >= refillsForgottenAt || refillsAsked.count > Limits.refillsAskedMax else { return }
        refillsForgottenAt = monotonic + Limits.refillPauseMicroseconds
        refillsAsked.removeAll()
    }

    // MARK: Their replies

    func operationReadAnswered(_ operation: Operation, _ server: BackendServer, _ image: PostImage?) {
        operation.decided = true
        if operation.kind == .copy { return copyRead(operation, image) }
        endRead(operation)
        doubtRead(operation, image)
    }

    func operationReadLost(_ operation: Operation) {
        operation.decided = true
        endRead(operation)
        let keyWork = workFor(operation.key)
        if operation.kind == .doubt { putBack(operation, keyWork) }
        dropIfIdle(operation.key, keyWork)
    }

    private func endRead(_ operation: Operation) {
        operations.remove(operation)
        operation.keyWork = nil
        workFor(operation.key).inFlight.removeAll { $0 === operation }
        if operation.kind == .copy { copiesUnderWay -= 1 }
    }

    private func copyRead(_ operation: Operation, _ image: PostImage?) {
        let target = servers[operation.authority]
        guard let image, !image.isTooLarge, !operation.cancelled, !expired(image.expiry), target.acceptsWrites else {
            endRead(operation)
            return drain(operation.key, workFor(operation.key))
        }
        counters.refills += 1
        copiesUnderWay -= 1
        ask(target, .landing(operation), .meta) { queue in
            writeItem(
                operation.key, content: .value, clientFlags: image.clientFlags, expiry: image.expiry, value: image.value,
                mode: .add, into: queue)
        }
    }

    // MARK: Servers that were cut off

    /// Goes on repairing what a returned server missed, a bounded number of keys at a time.
    func repair(_ server: BackendServer) {
        guard server.phase == .repairing, state == .serving else { return settle(server) }
        requestRepairs(server)
        settle(server)
    }

    func requestRepairs(_ server: BackendServer) {
        while server.repairing.count < Limits.repairsMax, let key = server.missedOrder.popFirst() {
            guard let how = server.missed[key], server.repairing.insert(key).inserted else { continue }
            counters.repairs += 1
            requestAssertion(key, how, repairing: server.index)
        }
    }

    /// The owner has written the key again: the server has it, unless the owner is this lane and does not reach the server. Another
    /// one that does not, owes it to the server itself.
    func repaired(_ key: [UInt8], _ server: BackendServer, by owner: LaneID) {
        guard server.repairing.remove(key) != nil else { return }
        guard server.acceptsWrites || owner != laneID else { return server.missedOrder.append(key) }
        server.missed[key] = nil
        if !server.isBehind && !server.acceptsWrites { logServer(server) }
        settle(server)
    }
}
