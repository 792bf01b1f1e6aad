// `stats proxy`, `servers` and `replication`: what all loops of the process know together, as memcached's threads would. This loop's
// figures are as of now, the others' as they last hung them up.

import Status

extension LaneNode {
    /// This lane, and what the other loops of the process last said, in the order of the loops.
    private var lanes: [LaneStatus] { (process.otherLanes + [status(at: now)]).sorted { $0.lane < $1.lane } }

    /// The lanes, and their counters and gauges: summed, save ages and the like, of which the largest counts.
    var proxyStats: [(String, String)] {
        let lanes = lanes
        var counters: [String: UInt64] = [:]
        var gauges: [String: Double] = [:]
        for lane in lanes {
            counters.merge(lane.counters) { $0 &+ $1 }
            for (name, value) in lane.gauges {
                guard let other = gauges[name] else {
                    gauges[name] = value
                    continue
                }
                gauges[name] = Self.isSummed(name) ? other + value : other.magnitude < value.magnitude ? value : other
            }
        }
        return [("lanes", lanes.map(\.lane).joined(separator: ",")), ("state", Self.shared(lanes.map(\.state), of: lanes))]
            + counters.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
            + gauges.sorted { $0.key < $1.key }.map { ($0.key, Self.decimal($0.value)) }
    }

    /// Two loops' ages do not add up.
    private static func isSummed(_ gauge: String) -> Bool { !gauge.contains("_seconds") }

    /// What all say, or what each says.
    private static func shared(_ states: [String], of lanes: [LaneStatus]) -> String {
        guard Set(states).count > 1 else { return states.first ?? "" }
        return zip(lanes, states).map { "\($0.lane)=\($1)" }.joined(separator: ",")
    }

    /// Each server as the loop sees it that has most trouble with it; what it was asked, owes and misses is summed.
    var serverStats: [(String, String)] {
        let lanes = lanes
        return servers.flatMap { server in
            let name = server.definition.name
            let seen = lanes.compactMap { lane in lane.backends.first { $0.name == name } }
            guard let worst = seen.min(by: { Self.rank($0.state) < Self.rank($1.state) }) else {
                preconditionFailure("this lane does not report \(name)")
            }
            return [
                ("\(name):role", worst.role), ("\(name):address", server.definition.address.description),
                ("\(name):state", worst.state), ("\(name):reads", "\(seen.reduce(0) { $0 &+ ($1.reads ?? 0) })"),
                ("\(name):pending", "\(seen.reduce(0) { $0 + ($1.pending ?? 0) })"),
                ("\(name):missed_keys", "\(seen.reduce(0) { $0 + $1.missedKeys })"),
                ("\(name):message", worst.message),
            ]
        }
    }

    /// What all loops have committed and a site has not acknowledged: records and bytes summed, the oldest age; the state is that of the
    /// loop that is furthest from streaming.
    var replicationStats: [(String, String)] {
        let lanes = lanes
        return siteOrder.compactMap { senders[$0]?.site.name }.flatMap { site in
            let lags = lanes.compactMap { lane in lane.destinations.first { $0.site == site } }
            guard let worst = lags.min(by: { Self.rank($0.state) < Self.rank($1.state) }) else {
                preconditionFailure("this lane does not report its lag to \(site)")
            }
            let isUnheard = lags.contains { $0.lastHeardSeconds == nil }
            let heard = lags.compactMap(\.lastHeardSeconds).max() ?? 0
            return [
                ("\(site):state", worst.state), ("\(site):lag_seconds", Self.decimal(lags.map(\.lagSeconds).max() ?? 0)),
                ("\(site):lag_records", "\(lags.reduce(0) { $0 &+ $1.lagRecords })"),
                ("\(site):lag_bytes", "\(lags.reduce(0) { $0 &+ $1.lagBytes })"),
                ("\(site):acknowledged_per_second", Self.decimal(lags.reduce(0) { $0 + $1.acknowledgedPerSecond })),
                ("\(site):last_heard_seconds", isUnheard ? "never" : Self.decimal(heard)), ("\(site):message", worst.message),
            ]
        }
    }

    /// The worse a state, the lower.
    private static func rank(_ state: String) -> Int {
        let fromBad = ["down", "refused", "repairing", "connecting", "recovering", "catching up"]
        return fromBad.firstIndex(of: state) ?? fromBad.count
    }

    /// At most three decimals.
    private static func decimal(_ number: Double) -> String {
        let thousandths = (number * 1_000).rounded()
        guard thousandths.magnitude < 9e15 else { return "\(number)" }
        let rounded = thousandths / 1_000
        return rounded == rounded.rounded() ? "\(Int64(rounded))" : "\(rounded)"
    }
}
