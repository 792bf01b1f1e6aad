import Kernel
import Proxy
import WriteLog

// From what the core says it did to what the checkers hold against it.

extension World {
    /// Checks one observation of a lane, as soon as the turn that made it is in the log.
    func observe(_ observation: Observation, _ host: LaneHost) {
        guard violation == nil else { return }
        if story.told { tell(host.name, words(observation)) }
        let site = host.proxy.site
        let lane = host.configuration.laneID
        switch observation {
        case .committed(let key, let version, let content, let value, let flags, let expiry, let position):
            figures[.commits] += 1
            guard let index = keyIndexes[key] else { return unknownKey(key, host) }
            let record = CommittedRecord(
                key: index, version: version, content: content, value: value, flags: flags, expiry: expiry, lane: lane,
                position: position, site: site, at: now)
            if version.stamp <= host.stampsBefore, !host.oldIntents.contains(version) {
                violate(
                    .appliedIsCommitted,
                    "\(host.name) gives key \(keys[index].name) version \(version), below what it gave before its restart")
            }
            checkLead(version, host)
            if let (invariant, what) = history.commit(record) { violate(invariant, "key \(keys[index].name): \(what)") }
            if let what = landings.commit(version) { violate(.landingsRise, "key \(keys[index].name): \(what)") }
        case .landed(let key, let version, let content, let server):
            figures[.landings] += 1
            guard let index = keyIndexes[key] else { return unknownKey(key, host) }
            guard let place = sites[site].servers[server] else {
                return violate(.seamIsKept, "\(host.name) speaks of server \(server), which its site does not have")
            }
            let landing = LandingChecker.Landing(
                key: index, version: version, isTouch: content == .touch, server: place, lane: lane, life: host.life,
                isCalm: now > sites[site].disturbedUntil)
            // A copy lands under a version that is nobody's, or by chance another key's.
            let isCommitted = history.byVersion[version].map { history.records[$0].key == index } ?? false
            if let what = landings.land(landing, isCommitted: isCommitted) {
                violate(.landingsRise, "key \(keys[index].name) on \(servers[place].name): \(what)")
            }
        case .applied(let key, let version, let origin, let position):
            figures[.applied] += 1
            applied(key, version, origin, position, host)
        case .superseded(let key, let version):
            figures[.superseded] += 1
            if !history.arrive(version, at: site) {
                violate(.appliedIsCommitted, "\(host.name) drops version \(version) of \(name(key)), which was never committed")
            }
        case .acknowledges(let origin, let position):
            if let what = history.missing(of: origin, upTo: position, at: site) {
                violate(.acknowledgedIsApplied, "\(host.name) acknowledges \(origin) up to \(position), but \(what)")
            }
        case .acknowledged(let destination, let position):
            if let what = history.missing(of: lane, upTo: position, at: Int(destination.raw) - 1) {
                violate(.acknowledgedIsApplied, "\(host.name) takes \(position) for acknowledged by \(destination), but \(what)")
            }
        case .asserted: figures[.assertions] += 1
        case .gaveUp(let server): self.server(named: server, at: site).wasFlushed = true
        case .ringsTaken: break
        case .inDoubt: figures[.inDoubts] += 1
        case .forgotten(let key, let version):
            figures[.forgotten] += 1
            guard let index = keyIndexes[key] else { return unknownKey(key, host) }
            if let what = history.forget(index, version, at: site) {
                violate(.forgottenIsStable, "\(host.name) forgets key \(keys[index].name) at \(version), but \(what)")
            }
        }
    }

    /// Restarts set a lane's clock ahead, but not by more the more there are.
    private func checkLead(_ version: Version, _ host: LaneHost) {
        let latest = SimulationOptions.wallMicroseconds + now + clockSkewMax
        let wall = HybridClock.wall(of: version.stamp)
        guard !options.faults.contains(.clocks), wall > latest + Self.clockLeadMicrosecondsMax else { return }
        violate(.clocksKeepTime, "\(host.name) commits version \(version), \((wall - latest) / 1_000) ms ahead of the time")
    }

    private func applied(_ key: [UInt8], _ version: Version, _ origin: LaneID, _ position: Position, _ host: LaneHost) {
        guard let committed = history.byVersion[version] else {
            return violate(
                .appliedIsCommitted, "\(host.name) applies version \(version) of \(name(key)), which was never committed")
        }
        let record = history.records[committed]
        let isTheSame = record.lane == origin && record.position == position && keys[record.key].bytes == key
        if !isTheSame, !record.lost {
            violate(
                .appliedIsCommitted,
                "\(host.name) applies \(name(key)) \(version) as \(origin) \(position), but it is \(record.lane) \(record.position)"
            )
        }
        _ = history.arrive(version, at: host.proxy.site)
        history.noteLateTouch(
            version, at: host.proxy.site, wallSeconds: (SimulationOptions.wallMicroseconds + now) / 1_000_000,
            toleranceSeconds: Wanted.toleranceSeconds(in: self))
    }

    /// A lane has come back: whatever it had committed must be in its log, unless the power failed before it was synced.
    func checkRecovered(_ host: LaneHost, _ node: LaneNode) {
        let lane = host.configuration.laneID
        let recovered = node.status(at: instant(host.proxy)).log.committedPosition
        let lost = history.recovered(lane, at: Position(recovered), lostPower: host.lostPower)
        if let first = lost.last, !host.lostPower {
            violate(
                .acknowledgedSurvives,
                "\(host.name) comes back at #\(recovered), but had committed \(first.position) of key \(keys[first.key].name)")
        }
        for record in lost {
            tell(host.name, "has lost \(record.position) of key \(keys[record.key].name), version \(record.version)")
            if let proven = firstProven(record) {
                violate(
                    .acknowledgedSurvives, "\(host.name) has lost w\(proven) of \(keys[record.key].name), answered after a sync")
            }
        }
        host.lostPower = false
    }

    private func unknownKey(_ key: [UInt8], _ host: LaneHost) {
        violate(.appliedIsCommitted, "\(host.name) speaks of key \(Story.readable(key)), which nobody wrote")
    }

    private func name(_ key: [UInt8]) -> String { Story.readable(key) }

    private func words(_ observation: Observation) -> String {
        switch observation {
        case .committed(let key, let version, let content, let value, let flags, let expiry, let position):
            "commits \(name(key)) \(version) \(content) at \(position): \(Story.readable(value, most: 40)) flags=\(flags) expiry=\(expiry)"
        case .landed(let key, let version, let content, let server):
            "landed \(name(key)) \(version) \(content) on server \(server)"
        case .superseded(let key, let version): "drops \(name(key)) \(version): superseded"
        case .applied(let key, let version, let origin, let position): "applied \(name(key)) \(version) of \(origin) \(position)"
        case .acknowledges(let origin, let position): "acknowledges \(origin) up to \(position)"
        case .acknowledged(let site, let position): "is acknowledged by \(site) up to \(position)"
        case .asserted(let key, let version): "asserts \(name(key)) \(version)"
        case .gaveUp(let server): "flushes server \(server)"
        case .ringsTaken: "places keys by other servers from now on"
        case .inDoubt(let key): "is in doubt about \(name(key))"
        case .forgotten(let key, let version): "forgets \(name(key)) \(version)"
        }
    }
}

extension World {
    /// A write that is in this lost record and in no other of its key, and that a client was told of, at a site that answers
    /// only after a sync.
    private func firstProven(_ record: CommittedRecord) -> Int? {
        guard sites[record.site].files.site.durability == .disk, record.content == .value else { return nil }
        return World.pieces(of: record.value)?.first { acknowledgedWrites.contains($0) && !history.holds($0, in: record.key) }
    }
}
