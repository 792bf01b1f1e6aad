// Slots pass from one living lane to another: a proxy comes or leaves, or a lane has lost its servers. The new owner begins when the old
// one has nothing of them under way any more. Begun at once, it could be overtaken by what the old one had sent before, and clients
// would read what they have replaced since; and it could give a later write the lower version, not having heard of the earlier one.
//
//     new owner                                     old owner
//     gains slots: what comes for them waits  ── handOver ──▶  has it anything under way there?
//     goes on                                ◀── handedOver ── no more; all that landed is mirrored, its clock is told
//
// An old owner that has gone is not waited for, nor is one that takes longer than a server may be silent: two owners at a time are
// allowed, and repaired (`Docs/architecture.md` section 5).

import Kernel
import Replication
import Ring

/// What an old owner still has under way of the slots that are another lane's now.
struct Handover {
    let lane: LaneID
    let request: UInt64
    /// Keys that something was under way for when the other lane asked.
    var keys: [[UInt8]]
    /// Keys that were to be written again, or records that were to be applied.
    var assertions: [UInt64]
}

/// An old owner's word that a new one waits for.
struct AwaitedHandover {
    let request: UInt64
    /// When it was asked for, in monotonic microseconds.
    let since: UInt64
}

extension LaneNode {
    // MARK: The new owner

    /// True while what comes for the slot has to wait for its former owner.
    func isHeld(_ slot: @autoclosure () -> Int) -> Bool { !awaitedHandovers.isEmpty && formerOwners[slot()] != nil }

    /// Takes a new owner for each slot; the former owners of those that this lane gains are asked, as far as they can be.
    func assignSlots(among live: [LaneID]) {
        let linked = isPlanted(.slotsAtOnce) ? [] : Set(siblingIDs.filter { siblings[$0]?.link != nil })
        // Where nobody serves, those that leave serve to the end.
        let leaving = siblingIDs.filter { linked.contains($0) && siblings[$0]?.state == .leaving }
        var asked: Set<LaneID> = []
        for slot in owners.indices {
            let next = Rendezvous.owner(of: slot, among: live)
            if next == laneID, let former = owners[slot] ?? Rendezvous.owner(of: slot, among: leaving), linked.contains(former) {
                formerOwners[slot] = former
                asked.insert(former)
            }
            owners[slot] = next
        }
        for former in asked.sorted() {
            guard let link = siblings[former]?.link else { continue }
            let request = takeRequest()
            awaitedHandovers[former] = AwaitedHandover(request: request, since: monotonic)
            send(.handOver(request: request), on: link)
        }
    }

    /// A former owner has nothing under way any more.
    func handedOver(by former: LaneID, _ request: UInt64) {
        // Slots that were gained since the request are answered for by a later one.
        if awaitedHandovers[former]?.request == request { stopAwaiting(former) }
    }

    /// Goes on with what waited for a former owner: it has handed over, or is gone, or has taken too long.
    func stopAwaiting(_ former: LaneID) {
        guard awaitedHandovers.removeValue(forKey: former) != nil else { return }
        for slot in formerOwners.indices where formerOwners[slot] == former { formerOwners[slot] = nil }
        drainAll()
        if !awaitingRoom.isEmpty { roomMayHaveCome = true }
    }

    /// Former owners that take too long are not waited for.
    func tendHandovers() {
        // It may itself be waiting for a server that long, and gives that up at its next tick.
        let times = configuration.site.times
        let patience = UInt64(times.backendTimeoutMilliseconds + 2 * times.heartbeatMilliseconds) * 1_000
        for (former, awaited) in awaitedHandovers.sorted(by: { $0.key < $1.key }) where monotonic - awaited.since > patience {
            say(
                .warning,
                "slots taken before they were handed over lane=\(former) milliseconds=\((monotonic - awaited.since) / 1_000)")
            stopAwaiting(former)
        }
    }

    // MARK: The old owner

    /// Another lane owns slots that were this lane's: it is told when nothing is under way here in slots of others. Which of them are that
    /// lane's, the two may see differently for a moment.
    func noteHandover(to lane: LaneID, _ request: UInt64) {
        handovers.removeAll { $0.lane == lane }
        let keys = work.keys.filter { owner(of: $0) != laneID }
        let doneHere = assertions.filter { $0.value.target == laneID && owner(of: $0.value.key) != laneID }.keys
        handovers.append(Handover(lane: lane, request: request, keys: Array(keys), assertions: Array(doneHere)))
    }

    /// Tells those who wait that what was under way is done, if it is.
    func goOnHandingOver() {
        for place in handovers.indices {
            while let key = handovers[place].keys.last, !work.has(key) || waitsHere(key) { handovers[place].keys.removeLast() }
            while let request = handovers[place].assertions.last, assertions[request].map({ waitsHere($0.key) }) ?? true {
                handovers[place].assertions.removeLast()
            }
        }
        handovers.removeAll { handover in
            guard let link = siblings[handover.lane]?.link else { return true }
            guard handover.keys.isEmpty && handover.assertions.isEmpty && tidiesUnderWay == 0 && !awaitsSlots(of: handover.lane)
            else { return false }
            send(.handedOver(request: handover.request, stamp: clock.last), on: link)
            return true
        }
    }

    /// In a slot that this lane has got back, what has not begun waits for the lane that had it in between: the two must not wait for
    /// each other.
    private func waitsHere(_ key: [UInt8]) -> Bool { owner(of: key) == laneID && work[key]?.inFlight.isEmpty ?? true }

    /// Slots that this lane had gained are another's already, and their owner before may not have handed them over.
    private func awaitsSlots(of lane: LaneID) -> Bool {
        guard !awaitedHandovers.isEmpty else { return false }
        return formerOwners.indices.contains { place in
            formerOwners[place].map { $0 != lane && owners[place] == lane } ?? false
        }
    }
}
