// The keys that are read most, over all lanes and proxies that answered. Each lane knows what its own clients read; a key's rates
// are summed over a site's lanes, since they all ask the same servers for it.

import Status

/// One key of a site.
public struct HotEntry: Codable, Sendable, Equatable {
    /// The site whose clients read it.
    public var site: String
    /// The key as text: what cannot be printed as `\x` and two digits, a backslash doubled.
    public var key: String
    /// How often it is read in a second, over all lanes.
    public var readsPerSecond: Double
    /// Its part of all reads of the site, from 0 to 1.
    public var share: Double
    /// Its servers, the primary first.
    public var servers: [String]
}

/// What is hot at the sites that were asked.
public struct HotReport: Sendable {
    /// The keys, the hottest first.
    public var keys: [HotEntry] = []
    /// All reads in a second, by site.
    public var readsPerSecond: [String: Double] = [:]
    /// The proxies that should have answered and did not: what their clients read is missing.
    public var unanswered: [Unanswered]
    /// The proxies that run on other machines: what their clients read is missing, too.
    public var elsewhere: [Unanswered]
    /// Proxies that are too old to say.
    public var silent: [String] = []

    /// At most `most` keys of what the proxies reported.
    public init(_ result: QueryResult, most: Int) {
        unanswered = result.unanswered
        elsewhere = result.elsewhere
        var merged: [String: [String: HotEntry]] = [:]
        for status in result.statuses {
            if status.lanes.contains(where: { $0.hot == nil }) { silent.append("\(status.site)/\(status.proxy)") }
            for hot in status.lanes.compactMap(\.hot) {
                readsPerSecond[status.site, default: 0] += hot.readsPerSecond
                for key in hot.keys {
                    let none = HotEntry(site: status.site, key: key.key, readsPerSecond: 0, share: 0, servers: key.servers)
                    merged[status.site, default: [:]][key.key, default: none].readsPerSecond += key.readsPerSecond
                }
            }
        }
        for (site, entries) in merged {
            guard let all = readsPerSecond[site], all > 0 else { continue }
            for var entry in entries.values {
                entry.share = min(1, entry.readsPerSecond / all)
                keys.append(entry)
            }
        }
        keys.sort { ($1.readsPerSecond, $0.site, $0.key) < ($0.readsPerSecond, $1.site, $1.key) }
        keys = Array(keys.prefix(most))
    }

    /// A table, or why there is none; then a line for each proxy whose reads are not in it.
    public var lines: [String] {
        let site: [(text: String, alignment: Table.Alignment)] = readsPerSecond.count > 1 ? [("SITE", .left)] : []
        var table = Table([("READS", .right), ("SHARE", .right), ("SERVERS", .left)] + site + [("KEY", .left)])
        for entry in keys {
            table.add(
                [Amount.rate(entry.readsPerSecond), Amount.share(entry.share), entry.servers.joined(separator: ", ")]
                    + (site.isEmpty ? [] : [entry.site]) + [entry.key])
        }
        var lines = table.isEmpty ? [] : table.lines
        for (site, rate) in readsPerSecond.sorted(by: { $0.key < $1.key }) {
            let isQuiet = !keys.contains { $0.site == site }
            lines.append(
                Table.printable("\(site): \(Amount.rate(rate)) reads in all" + (isQuiet ? "; no key stands out" : "")))
        }
        lines += silent.map { Table.printable("\($0): its meridiand is too old to say what is hot; start it anew") }
        return lines + (unanswered + elsewhere).map { Table.printable($0.description) }
    }
}

// JSON, for programs.
extension HotReport: Encodable {
    private enum Key: String, CodingKey {
        case keys, readsPerSecond, unanswered, elsewhere, silent, proxy, address, reason
    }

    /// `{"keys": […], "readsPerSecond": {"north": …}, "silent": […], "unanswered": […], "elsewhere": […]}`
    public func encode(to encoder: any Encoder) throws {
        var top = encoder.container(keyedBy: Key.self)
        try top.encode(keys, forKey: .keys)
        try top.encode(readsPerSecond, forKey: .readsPerSecond)
        try top.encode(silent, forKey: .silent)
        for (key, others) in [(Key.unanswered, unanswered), (.elsewhere, elsewhere)] {
            var list = top.nestedUnkeyedContainer(forKey: key)
            for other in others {
                var entry = list.nestedContainer(keyedBy: Key.self)
                try entry.encode(other.endpoint.proxy, forKey: .proxy)
                try entry.encode(other.endpoint.address.description, forKey: .address)
                try entry.encode(other.reason, forKey: .reason)
            }
        }
    }
}
