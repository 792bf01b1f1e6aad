// The floors, below which nothing more can come, and what they let a lane forget (`Docs/stream-format.md` section 9).

import Configuration
import Kernel
import Replication
import WriteLog

extension LaneNode {
    // MARK: What they are

    /// No write of this lane's own at or below this stamp will be committed any more.
    func originFloor() -> UInt64 {
        var floor = min(clock.floorForLaterTicks(at: now), durableCeiling)
        for operation in operations.all where operation.kind == .write || operation.kind == .doubt {
            floor = min(floor, operation.version.stamp - 1)
        }
        for open in openIntents { floor = min(floor, open.record.version.stamp - 1) }
        for doubted in doubts.values where isHeld(doubted) { floor = min(floor, doubted.version.stamp - 1) }
        return floor
    }

    /// No landing of this lane at or below this stamp will be mirrored any more.
    func landingFloor(above origin: UInt64) -> UInt64 {
        var floor = origin
        // A copy that began while nothing was stable has the stamp zero.
        func hold(_ version: Version) { if version > .zero { floor = min(floor, version.stamp - min(version.stamp, 1)) } }
        for operation in operations.all {
            hold(operation.version)
            hold(operation.touch)
        }
        for assertion in assertions.values { floor = min(floor, assertion.floor) }
        for fetch in fetches.values { hold(fetch.version) }
        for awaited in awaitedTops { hold(awaited.version) }
        if !wiped.isEmpty || oweBarrier { hold(index.barrier) }
        for keyWork in work.values {
            for case .landing(let record, _, _) in keyWork.waiters { hold(record.version) }
        }
        for purposes in logReads.values {
            for case .top(_, let version, _) in purposes { hold(version) }
        }
        for key in disputed.keys { hold(index[key]?.version ?? .zero) }
        for (key, _) in unresolved {
            hold(index[key]?.version ?? .zero)
            hold(index[key]?.touch ?? .zero)
        }
        return floor
    }

    /// Nothing at or below this stamp will make this lane ask for an assertion any more.
    func groupFloor(own: UInt64) -> UInt64 {
        var floor = own
        for id in siblingIDs { floor = min(floor, siblings[id]?.floor ?? 0) }
        for elsewhere in configuration.elsewhere {
            let loops = remoteLoops[SiteID(elsewhere.id)] ?? 0
            if loops == 0 { return 0 }
            for proxy in elsewhere.proxies {
                for lane in 0..<loops {
                    floor = min(floor, remoteFloors[LaneID(site: SiteID(elsewhere.id), proxy: proxy.id, lane: lane)] ?? 0)
                }
            }
        }
        return floor
    }

    func noteRemoteFloor(_ lane: LaneID, _ loops: UInt8, _ floor: UInt64, tell: Bool) {
        if loops > 0 { remoteLoops[lane.site] = loops }
        guard floor > remoteFloors[lane] ?? 0 else { return }
        remoteFloors[lane] = floor
        guard tell else { return }
        for id in siblingIDs { siblings[id]?.link.map { send(.remoteFloor(lane: lane, loops: loops, floor: floor), on: $0) } }
    }

    // MARK: What they allow

    func updateFloors() {
        let origin = originFloor()
        if samples.last.map({ $0.position != committed || $0.floor < origin }) ?? true {
            if let last = samples.last, last.position == committed { samples.removeLast() }
            samples.append(LagSample(position: committed, floor: origin, bytes: committedBytes, at: monotonic))
        }
        if samples.count > Limits.samplesMax { thinSamples() }
        let own = landingFloor(above: origin)
        // A restart lands again what the log does not say has landed: such a thing is never below a floor that was told.
        if landedIsTold { floorsToTell.append((log.tail, own)) }
        while let first = floorsToTell.first, first.offset <= log.synced {
            floorsToTell.removeFirst()
            lastFloor = max(lastFloor, first.floor)
        }
        lastGroupFloor = max(lastGroupFloor, groupFloor(own: min(own, lastFloor)))
        var stable = lastGroupFloor
        for id in siblingIDs { stable = min(stable, siblings[id]?.groupFloor ?? 0) }
        if isPlanted(.forgetsTooEarly) { stable = origin }
        stableFloor = max(stableFloor, stable)
        let settled = logStable() || isPlanted(.forgetsTooEarly) ? stableFloor : stableLogged
        // The floor stands still while versions are ahead of the wall clock; what was pinned then must not stay for ever.
        guard settled > forgottenUpTo || pinnedWereLeft || isPlanted(.forgetsTooEarly) else { return }
        forgottenUpTo = max(forgottenUpTo, settled)
        pinnedWereLeft = index.forget(upTo: settled, pinned: { isPinned($0, $1) }) { key, version in
            counters.forgotten += 1
            observe(.forgotten(key: key, version: version))
        }
    }

    /// Says in the log what is stable, as long as that concerns anything in it: an older write there must not come back as a top
    /// after a restart, when everybody has forgotten what replaced it. False while the log does not say so.
    private func logStable() -> Bool {
        if lastWriteAt != stableWantedAt { (stableWantedAt, stableWanted) = (lastWriteAt, clock.last) }
        if stableLogged >= min(stableFloor, stableWanted) { return true }
        guard log.hasRoom(forBytes: 4_096, owed: owedBytes) else { return false }
        appendCeiling()
        return true
    }

    /// What a sibling says is stable is so for the whole group. At first it may know much that this lane's log did not.
    func adoptStable(_ floor: UInt64, from sibling: Sibling) {
        stableFloor = max(stableFloor, floor)
        if sibling.toldStable { return }
        sibling.toldStable = true
        index.dropSettled(upTo: stableFloor) { isPinned($0, $1) }
    }

    /// A key that something is still to be done about.
    func isPinned(_ key: [UInt8], _ entry: KeyEntry) -> Bool {
        work.has(key) || assertionOf.has(key) || (!disputed.isEmpty && disputed[key] != nil)
            || servers.contains { $0.missed.has(key) } || isTouchOnItsWay(entry)
    }

    /// A touch that some site lacks: the value that it prolongs may have to be shipped with the touch's expiry.
    private func isTouchOnItsWay(_ entry: KeyEntry) -> Bool {
        guard entry.touchDecides, entry.touchPosition > .zero else { return false }
        return siteOrder.contains { site in senders[site].map { $0.acknowledged < entry.touchPosition } ?? false }
    }

    /// Drops every second sample of the older half: what is far behind need not be known to the tick.
    private func thinSamples() {
        let half = samples.count / 2
        var kept: [LagSample] = []
        for place in samples.indices where place >= half || place % 2 == 1 { kept.append(samples[place]) }
        samples = .init(kept)
    }
}
