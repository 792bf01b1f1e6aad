import Configuration
import Kernel
import WriteLog

// Invariant 6, and what is left of 5: when the faults have ended and all is quiet, lag is zero, every index is empty, and
// every memcached holds the highest committed version of each key: value, flags and expiry.

extension World {
    /// What is not yet at rest, for people; nil when everything is.
    func unrest() -> String? {
        if ringOrdersLeft > 0 { return "files are being changed" }
        for client in clients where !client.isIdle { return "\(client.name) waits for replies" }
        for proxy in proxies {
            guard proxy.isRunning, !proxy.isPaused else { return "\(proxy.name) does not run" }
            for host in proxy.lanes {
                guard let node = host.node else { return "\(host.name) does not run" }
                let status = node.status(at: instant(proxy))
                let entries = status.gauges["index_entries"] ?? -1
                figures.indexEntriesMax = max(figures.indexEntriesMax, UInt64(max(0, entries)))
                if let change = status.ringChange { return "\(host.name) \(change)" }
                if status.state != "serving" { return "\(host.name) is \(status.state)" }
                for destination in status.destinations
                where destination.lagRecords > 0 || destination.state == "connecting" || destination.state == "refused" {
                    return
                        "\(host.name) lags \(destination.lagRecords) records behind at \(destination.site), \(destination.state) "
                        + "\(destination.message)"
                }
                for server in status.backends where server.state != "up" || server.missedKeys > 0 {
                    return "\(host.name) has \(server.name) \(server.state), \(server.missedKeys) keys missed, \(server.message)"
                }
                for server in status.backends where server.holdsMoved ?? true {
                    return "\(host.name) has not cleared \(server.name) of keys that live elsewhere"
                }
                let busy = ["writes_under_way", "assertions_under_way", "writes_parked"].filter { status.gauges[$0] ?? 0 > 0 }
                if entries != 0 || !busy.isEmpty {
                    let details = busy.map { "\($0) \(Int(status.gauges[$0] ?? 0))" } + (host.node?.indexedKeys ?? [])
                    return "\(host.name) has \(Int(entries)) keys in its index; \(details.joined(separator: "; "))"
                }
            }
        }
        return nil
    }

    /// Waits until everything is at rest; a breach when that takes too long.
    func comeToRest() {
        let began = now
        var pending = unrest()
        while let what = pending, violation == nil {
            guard now - began < options.restMicrosecondsMax else {
                return violate(.comesToRest, "after \((now - began) / 1_000_000) s without faults and clients: \(what)")
            }
            run(for: 500_000)
            for client in clients where client.isIdle == false && now - began > 30_000_000 { client.giveUpUnsent() }
            pending = unrest()
        }
        figures[.quietMicroseconds] += now - began
    }

    /// Compares every site's servers with the ledger.
    func checkAtRest() {
        // Where a power failure took a barrier with it, nobody knows which sites had it.
        guard !history.doubtful.contains(everything) else { return figures[.keysExcused] += UInt64(itemKeys.count) }
        for key in itemKeys {
            guard violation == nil else { return }
            checkAcknowledged(key)
            if history.doubtful.contains(key.index) {
                figures[.keysExcused] += 1
                checkEqual(key)
                continue
            }
            for site in sites.indices { check(key, at: site) }
        }
        for key in itemKeys {
            for server in servers { checkAbsent(key, on: server) }
        }
    }

    /// What lives elsewhere is nowhere else: another change of the rings must not bring it back.
    private func checkAbsent(_ key: SimulatedKey, on server: ServerHost) {
        guard sites[server.site].files.names.contains(server.shortName), server !== primary(of: key, at: server.site),
            server !== backup(of: key, at: server.site),
            let item = server.model.item(key.bytes, atWallMicroseconds: SimulationOptions.wallMicroseconds + now)
        else { return }
        violate(.sitesAgree, "\(server.name) holds \(Story.readable(item.value)) of key \(key.name), which lives elsewhere")
    }

    private func check(_ key: SimulatedKey, at site: Int) {
        figures[.keysCompared] += 1
        let wanted = Wanted(key, at: site, in: self)
        let (primary, backup) = (primary(of: key, at: site), backup(of: key, at: site))
        let held = wanted.compare(primary, in: self)
        let kept = backup.map { wanted.compare($0, in: self) }
        for (finding, server) in [(held, primary), (kept ?? .same, backup ?? primary)] {
            if case .different(let what) = finding {
                return violate(.sitesAgree, "key \(key.name) at \(server.name): \(what); \(wanted.description)")
            }
        }
        guard case .missing = held else { return }
        // A miss is right only where the primary lost it by itself, and the backup cannot help or will when asked.
        if primary.restarts > 0 || primary.wasFlushed || primary.evicted.contains(key.index)
            || (primary.wasCutOff && backup == nil)
        {
            figures[.missesExcused] += 1
        } else {
            violate(.sitesAgree, "key \(key.name) is missing at \(primary.name); \(wanted.description)")
        }
    }

    /// Where a power failure took the ledger's ground away, the sites must still agree among themselves.
    private func checkEqual(_ key: SimulatedKey) {
        guard key.policy == .value else { return }
        let wall = SimulationOptions.wallMicroseconds + now
        var seen: (value: [UInt8], site: Int)?
        for site in sites.indices {
            guard let item = primary(of: key, at: site).model.item(key.bytes, atWallMicroseconds: wall) else {
                continue
            }
            if let seen, seen.value != item.value, !powerFailureMayDiverge(key) {
                return violate(
                    .sitesAgree,
                    "key \(key.name) is \(Story.readable(item.value)) at site \(site + 1) and \(Story.readable(seen.value)) at \(seen.site + 1)"
                )
            }
            seen = (item.value, site)
        }
    }

    /// Without a sibling that survives, nobody knows what a machine without power had written to memcached.
    private func powerFailureMayDiverge(_ key: SimulatedKey) -> Bool { history.doubtful.contains(key.index) }

    /// Invariant 5 for keys that one client alone writes: the last write it was told of, or a later one.
    private func checkAcknowledged(_ key: SimulatedKey) {
        guard case .own(let client) = key.kind, !options.faults.contains(.clocks), !options.faults.contains(.powerFailures),
            let known = clients[client].own[key.index]
        else { return }
        let top = history.top(of: key.index).value
        if let top, top.key == everything { return }
        let write = top.flatMap { $0.content == .value ? World.pieces(of: $0.value)?.max() : nil }
        if !known.mayHold(write) {
            violate(
                .acknowledgedSurvives,
                "key \(key.name) ends as \(write.map { "w\($0)" } ?? "nothing"); its client was told of a later write")
        }
    }
}

/// What a site must hold of a key at rest.
struct Wanted {
    enum Finding {
        case same
        case missing
        case different(String)
    }

    /// Largest difference of expiries in whole seconds that is nobody's fault: two roundings, and how far clocks have been apart.
    static func toleranceSeconds(in world: World) -> UInt64 { 2 + (world.clockSkewMax + 999_999) / 1_000_000 * 2 }

    let key: SimulatedKey
    let record: CommittedRecord?
    let touch: CommittedRecord?
    /// The item belongs there.
    let isLive: Bool
    /// Seconds since 1970; 0 never.
    let endsAt: UInt64
    /// It may have expired by now, or not.
    let isEdge: Bool
    let toleranceSeconds: UInt64

    init(_ key: SimulatedKey, at site: Int, in world: World) {
        self.key = key
        let isHome = key.policy == .none
        let (record, touch) = world.history.top(of: key.index) { !isHome || $0.site == site }
        self.record = record
        self.touch = touch
        let expiry = touch?.expiry ?? record?.expiry ?? 0
        endsAt = expiry == 0 ? 0 : expiry / 1_000_000
        toleranceSeconds = Self.toleranceSeconds(in: world)
        let wall = (SimulationOptions.wallMicroseconds + world.now) / 1_000_000
        // A touch may have come when nothing was left there to be touched.
        let isTouchedLate = touch.map { world.history.wasLate($0.version, at: site) } ?? false
        isEdge = isTouchedLate || (endsAt != 0 && endsAt < wall + toleranceSeconds + 1)
        var live = record?.content == .value
        if let record, key.policy == .invalidate, record.site != site { live = false }
        if let record, record.value.count > world.options.sites[site].itemBytesMax { live = false }
        isLive = live && !(endsAt != 0 && endsAt + toleranceSeconds < wall)
    }

    var description: String {
        guard let record else { return "nothing was ever committed" }
        let touched = touch.map { ", touched by \($0.version)" } ?? ""
        let content = record.content == .value ? Story.readable(record.value, most: 60) : "\(record.content)"
        return
            "the highest version is \(record.version) of \(record.lane) \(record.position): \(content)\(touched), expiry \(endsAt)"
    }

    func compare(_ server: ServerHost, in world: World) -> Finding {
        let wall = SimulationOptions.wallMicroseconds + world.now
        guard let item = server.model.item(key.bytes, atWallMicroseconds: wall), !item.isStale else {
            return isLive && !isEdge ? .missing : .same
        }
        guard isLive, let record else {
            // A value that does not fit is deleted there, unless memcached counts its head differently.
            return isEdge ? .same : .different("it holds \(Story.readable(item.value, most: 60)) and should hold nothing")
        }
        if item.value != record.value {
            return .different("it holds \(Story.readable(item.value, most: 60))")
        }
        if item.flags != record.flags { return .different("its flags are \(item.flags) and not \(record.flags)") }
        let apart = item.endsAtSeconds > endsAt ? item.endsAtSeconds - endsAt : endsAt - item.endsAtSeconds
        if (item.endsAtSeconds == 0) != (endsAt == 0) || apart > toleranceSeconds {
            return .different("it expires at \(item.endsAtSeconds) and not at \(endsAt)")
        }
        return .same
    }
}
