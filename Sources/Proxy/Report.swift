// What the lane tells its operators (`federation.md` section 10).

import Kernel
import Replication
import Status
import WriteLog

extension LaneNode {
    /// The lane as it is now.
    public func status(at now: Instant) -> LaneStatus {
        var status = LaneStatus(lane: "\(laneID)", state: "\(finished ? "stopped" : "\(state)")")
        status.counters = counters.named
        status.gauges = [
            "client_connections": Double(sessions.count), "client_memory_bytes": Double(clientMemory.heldBytes),
            "client_memory_max_bytes": Double(clientMemory.bytesMax), "index_entries": Double(index.count),
            "writes_under_way": Double(operations.count), "assertions_under_way": Double(assertions.count),
            "writes_parked": Double(parked.count), "records_committed_not_mirrored": Double(committed.raw - shippable.raw),
            "slots_owned": Double(owners.lazy.filter { $0 == self.laneID }.count),
            "stable_age_seconds": age(ofStamp: stableFloor, at: now),
        ]
        for origin in receivers.keys.sorted() {
            guard let receiver = receivers[origin] else { continue }
            status.gauges["clock_offset_seconds_\(origin)"] = Double(receiver.clockOffset) / 1_000_000
        }
        status.destinations = siteOrder.compactMap { senders[$0].map { destination($0, at: now) } }
        status.backends = servers.map { server in
            var told = BackendStatus(
                name: server.definition.name, role: server.isBackup ? "backup" : "primary",
                address: server.definition.address.description, state: server.stateName, message: server.message,
                missedKeys: server.missed.count)
            told.holdsMoved = server.holdsMoved
            told.reads = server.reads
            told.pending = server.expected.count
            return told
        }
        status.siblings = siblingIDs.compactMap { siblings[$0] }.map { sibling in
            SiblingStatus(
                lane: "\(sibling.id)", state: sibling.isAlive ? "\(sibling.state)" : "dead",
                lastHeardSeconds: sibling.heardAt.map {
                    Double(now.monotonicMicroseconds - min($0, now.monotonicMicroseconds)) / 1_000_000
                })
        }
        status.ringChange = ringChangeText
        status.log.tailBytes = log.tail.raw
        status.log.syncedBytes = log.synced.raw
        status.log.firstSegment = firstSegment
        status.log.lastSegment = log.segment
        status.log.committedPosition = committed.raw
        status.log.message = logFailure
        status.hot = hotStatus(at: now)
        return status
    }

    private func hotStatus(at now: Instant) -> HotStatus {
        let monotonic = now.monotonicMicroseconds
        var hot = HotStatus(readsPerSecond: hotKeys.readsPerSecond(at: monotonic))
        hot.keys = hotKeys.hottest(at: monotonic, most: Limits.hotKeysToldMax).map { key in
            HotKeyStatus(
                key: KeyText.escaped(key.key), readsPerSecond: key.readsPerSecond,
                servers: route(key.key).both.map { servers[$0].definition.name })
        }
        return hot
    }

    private func age(ofStamp stamp: UInt64, at now: Instant) -> Double {
        let wall = HybridClock.wall(of: stamp)
        return stamp == 0 || wall > now.wallMicroseconds ? 0 : Double(now.wallMicroseconds - wall) / 1_000_000
    }

    private func destination(_ sender: StreamSender, at now: Instant) -> DestinationStatus {
        let behind = committed.raw - min(sender.acknowledged.raw, committed.raw)
        let catchingUp = sender.isStreaming && sender.cursor != nil && sender.next <= shippable
        return DestinationStatus(
            site: sender.site.name,
            state: sender.isStreaming ? (catchingUp ? "catching up" : "streaming") : (sender.refused ? "refused" : "connecting"),
            message: sender.isStreaming ? "" : sender.message,
            lagSeconds: behind == 0 ? 0 : lagSeconds(sender, at: now), lagRecords: behind,
            lagBytes: behind == 0 ? 0 : lagBytes(sender),
            acknowledgedPerSecond: sender.rate,
            lastHeardSeconds: sender.heardAt.map {
                Double(now.monotonicMicroseconds - min($0, now.monotonicMicroseconds)) / 1_000_000
            },
            acknowledgedPosition: sender.acknowledged.raw)
    }

    /// Clients that the lane serves.
    public var clientCount: Int { sessions.count }

    /// Keys whose writes memcached has been sent and has not yet answered, for the simulator's ledger.
    public var keysUnderWay: [[UInt8]] { Array(work.keys) }

    /// Keys that are still in the index, each with what holds it there, for the simulator's complaints.
    public var indexedKeys: [String] {
        index.sorted.map { key, entry in
            var why: [String] = []
            if work[key] != nil { why.append("work under way") }
            if let request = assertionOf[key], let assertion = assertions[request] {
                why.append("assertion asked of \(assertion.target.map { "\($0)" } ?? "nobody")")
            }
            for server in servers where server.missed[key] != nil { why.append("missed by \(server.definition.name)") }
            if why.isEmpty { why.append(isPinned(key, entry) ? "a touch on its way" : "not yet stable") }
            return "\(String(decoding: key, as: UTF8.self)): \(why.joined(separator: ", "))"
        }
    }

    /// Age of the oldest unacknowledged record, on this lane's own clock.
    private func lagSeconds(_ sender: StreamSender, at now: Instant) -> Double {
        let since: UInt64
        if let oldest = tail[sender.acknowledged.next] {
            since = oldest.committedAt
        } else {
            since = lastSample(at: sender.acknowledged)?.at ?? startedAt
        }
        return Double(now.monotonicMicroseconds - min(since, now.monotonicMicroseconds)) / 1_000_000
    }

    private func lagBytes(_ sender: StreamSender) -> UInt64 {
        committedBytes - min(committedBytes, lastSample(at: sender.acknowledged)?.bytes ?? 0)
    }

    /// The last sample at or before a position.
    private func lastSample(at position: Position) -> LagSample? {
        samples.last { $0.position <= position }
    }

    /// Stops the process at the first sign that the lane's state contradicts itself; the simulator calls it after every step.
    public func checkInvariants() {
        precondition(shippable <= committed, "shippable \(shippable) above committed \(committed)")
        precondition(owedBytes >= 0, "owed bytes \(owedBytes)")
        precondition(log.synced <= log.flushed, "log synced \(log.synced) above flushed \(log.flushed)")
        for site in siteOrder {
            guard let sender = senders[site] else { continue }
            precondition(sender.acknowledged < sender.next, "acknowledged \(sender.acknowledged), next \(sender.next)")
            precondition(sender.durable <= sender.acknowledged, "durable \(sender.durable) above \(sender.acknowledged)")
        }
        for receiver in receivers.values {
            precondition(receiver.done < receiver.expected, "done \(receiver.done), expected \(receiver.expected)")
        }
        let held = sessions.reduce(0) { $0 + $1.care.heldBytes }
        precondition(held == clientMemory.heldBytes, "clients hold \(held) bytes, \(clientMemory.heldBytes) are counted")
        for session in sessions {
            precondition(session.slots.first?.bytes == nil || session.slots.isEmpty, "an answered reply stands first in line")
            precondition(session.reads.count >= 0 && session.writes >= 0, "replies counted wrong")
        }
        for (key, keyWork) in work { precondition(!keyWork.isIdle, "idle work for a key of \(key.count) bytes") }
        if operations.isEmpty { precondition(owedBytes == 0, "owed bytes \(owedBytes) with nothing under way") }
    }
}
