// /metrics: the lanes' reports in Prometheus' text format (version 0.0.4).

import Status

/// Writes the text format: samples of one metric stand together under their HELP and TYPE.
struct Metrics {
    private struct Family {
        var help: String
        var type: String
        var samples: [String] = []
    }

    private var order: [String] = []
    private var families: [String: Family] = [:]

    /// The whole text for one proxy.
    static func text(_ proxy: ProxyStatus) -> String {
        var metrics = Metrics()
        metrics.add(
            "meridian_build_info", "gauge", "Which daemon this is; always 1.",
            [("federation", proxy.federation), ("site", proxy.site), ("proxy", proxy.proxy), ("version", proxy.version)], 1)
        metrics.add("meridian_uptime_seconds", "gauge", "Seconds since the daemon started.", [], proxy.uptimeSeconds)
        for lane in proxy.lanes { metrics.add(lane) }
        return metrics.rendered()
    }

    private mutating func add(_ lane: LaneStatus) {
        let labels = [("lane", lane.lane)]
        add(
            "meridian_lane_state", "gauge", "1 for the state that the lane is in.", labels + [("state", lane.state)], 1)
        for (name, value) in lane.counters.sorted(by: { $0.key < $1.key }) {
            add("meridian_\(name)_total", "counter", Self.counterHelp(name), labels, Double(value))
        }
        for (name, value) in lane.gauges.sorted(by: { $0.key < $1.key }) {
            add("meridian_\(name)", "gauge", "Now: \(Self.words(name)).", labels, value)
        }
        for destination in lane.destinations { add(destination, labels + [("destination", destination.site)]) }
        for backend in lane.backends {
            add(backend, labels + [("backend", backend.name), ("role", backend.role), ("address", backend.address)])
        }
        for sibling in lane.siblings { add(sibling, labels + [("sibling", sibling.lane)]) }
        add("meridian_log_tail_bytes", "counter", "Bytes ever appended to the log.", labels, Double(lane.log.tailBytes))
        add(
            "meridian_log_synced_bytes", "counter", "Bytes of the log known to be on the disk.", labels,
            Double(lane.log.syncedBytes))
        add("meridian_log_first_segment", "gauge", "First segment still kept.", labels, Double(lane.log.firstSegment))
        add("meridian_log_last_segment", "gauge", "Segment being written.", labels, Double(lane.log.lastSegment))
        add(
            "meridian_log_committed_position", "counter", "Position of the last committed record.", labels,
            Double(lane.log.committedPosition))
        add("meridian_log_refusing", "gauge", "1 while writes are refused.", labels, lane.log.message.isEmpty ? 0 : 1)
    }

    private mutating func add(_ destination: DestinationStatus, _ labels: [(String, String)]) {
        add(
            "meridian_destination_streaming", "gauge", "1 while the stream to the site is up and not catching up.", labels,
            destination.state == "streaming" ? 1 : 0)
        add(
            "meridian_lag_seconds", "gauge", "Age of the oldest record that the site has not acknowledged.", labels,
            destination.lagSeconds)
        add(
            "meridian_lag_records", "gauge", "Records committed here and not acknowledged by the site.", labels,
            Double(destination.lagRecords))
        add("meridian_lag_bytes", "gauge", "Bytes of those records.", labels, Double(destination.lagBytes))
        add(
            "meridian_acknowledged_per_second", "gauge", "Records that the site has acknowledged per second, lately.", labels,
            destination.acknowledgedPerSecond)
        add(
            "meridian_acknowledged_position", "counter", "Highest position that the site has acknowledged.", labels,
            Double(destination.acknowledgedPosition))
        if let heard = destination.lastHeardSeconds {
            add("meridian_last_heard_seconds", "gauge", "Seconds since the site was last heard; absent: never.", labels, heard)
        }
    }

    private mutating func add(_ backend: BackendStatus, _ labels: [(String, String)]) {
        add(
            "meridian_backend_up", "gauge", "1 while the memcached server is up, whole or recovering.", labels,
            backend.state == "up" || backend.state == "recovering" ? 1 : 0)
        add(
            "meridian_backend_recovering", "gauge", "1 while the server came back empty and fills up again.", labels,
            backend.state == "recovering" ? 1 : 0)
        add(
            "meridian_backend_missed_keys", "gauge", "Keys written while the server was cut off, not yet repaired.", labels,
            Double(backend.missedKeys))
    }

    private mutating func add(_ sibling: SiblingStatus, _ labels: [(String, String)]) {
        add("meridian_sibling_alive", "gauge", "1 unless the sibling counts as dead.", labels, sibling.state == "dead" ? 0 : 1)
        if let heard = sibling.lastHeardSeconds {
            add(
                "meridian_sibling_last_heard_seconds", "gauge", "Seconds since the sibling was last heard; absent: never.",
                labels,
                heard)
        }
    }

    private mutating func add(_ name: String, _ type: String, _ help: String, _ labels: [(String, String)], _ value: Double) {
        if families[name] == nil {
            order.append(name)
            families[name] = Family(help: help, type: type)
        }
        let list = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        families[name]?.samples.append("\(name)\(list.isEmpty ? "" : "{\(list)}") \(Self.number(value))")
    }

    private func rendered() -> String {
        var text = ""
        for name in order {
            guard let family = families[name] else { continue }
            text += "# HELP \(name) \(family.help)\n# TYPE \(name) \(family.type)\n"
            text += family.samples.joined(separator: "\n") + "\n"
        }
        return text
    }

    private static func escaped(_ value: String) -> String {
        var text = ""
        for character in value {
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.append(character)
            }
        }
        return text
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded() && abs(value) < 9e15 { return "\(Int64(value))" }
        return "\(value)"
    }

    private static func words(_ name: String) -> String { String(name.map { $0 == "_" ? " " : $0 }) }

    private static func counterHelp(_ name: String) -> String { "Since the start: \(words(name))." }
}
