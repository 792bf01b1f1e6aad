// How far behind the other sites are. One link is one lane's stream to one site. A link that has gone silent is told as
// such, with the time since: what nobody has heard of is never shown as no lag (`federation.md` section 10).

import Foundation
import Status

/// One lane's stream to one site.
public struct LagLink: Sendable, Equatable {
    /// Site of the lane.
    public var site: String
    /// Proxy of the lane.
    public var proxy: String
    /// The lane's id, such as `s1p1l0`; several, or nothing, when links were folded by proxy.
    public var lane: String
    /// Site that the stream goes to.
    public var destination: String
    /// `streaming`, `connecting`, `catching up`, `refused`.
    public var state: String
    /// Why it is not streaming.
    public var message: String
    /// Age of the oldest unacknowledged record.
    public var seconds: Double
    /// Unacknowledged records.
    public var records: UInt64
    /// Their bytes.
    public var bytes: UInt64
    /// Records acknowledged per second.
    public var acknowledgedPerSecond: Double
    /// Seconds since anything was heard; nil when never.
    public var lastHeardSeconds: Double?
    /// False when the link is silent and nothing is known to be behind: that is no reason to call it zero.
    public var isLagKnown: Bool

    /// The stream of a lane to a destination, as the lane reports it.
    public init(_ destination: DestinationStatus, lane: LaneStatus, of status: ProxyStatus) {
        site = status.site
        proxy = status.proxy
        self.lane = lane.lane
        self.destination = destination.site
        state = destination.state
        message = destination.message
        seconds = destination.lagSeconds
        records = destination.lagRecords
        bytes = destination.lagBytes
        acknowledgedPerSecond = destination.acknowledgedPerSecond
        lastHeardSeconds = destination.lastHeardSeconds
        isLagKnown = true
        isLagKnown = !isSilent || records > 0
    }

    /// A link is silent when nothing was heard for this long; promises come every 100 ms.
    public static let silentAfterSeconds = 3.0

    /// True when the destination has not been heard lately, or ever.
    public var isSilent: Bool { lastHeardSeconds.map { $0 > Self.silentAfterSeconds } ?? true }

    /// The lag to act on: of a silent link at least the silence; nil when the destination was never heard.
    public var certainSeconds: Double? {
        guard let lastHeardSeconds else { return nil }
        return isSilent ? max(seconds, lastHeardSeconds) : seconds
    }

    /// `north/n1 s1p1l0`
    public var origin: String { lane.isEmpty ? "\(site)/\(proxy)" : "\(site)/\(proxy) \(lane)" }

    /// The lag for people.
    public var lagText: String { isLagKnown ? Amount.seconds(seconds) : "unknown" }

    /// `40 ms ago`, `not heard since 12:01:02 (42.0 s)` or `never heard`; `clock` tells the time of day so many seconds ago.
    public func heardText(clock: (Double) -> String) -> String {
        guard let lastHeardSeconds else { return "never heard" }
        let age = Amount.seconds(lastHeardSeconds)
        return isSilent ? "not heard since \(clock(lastHeardSeconds)) (\(age))" : "\(age) ago"
    }
}

/// All links of the proxies that answered.
public struct LagReport: Sendable {
    /// The links, by site, proxy, lane and destination.
    public var links: [LagLink]
    /// The proxies that should have answered and did not: their links are not known.
    public var unanswered: [Unanswered]
    /// The proxies that run on other machines.
    public var elsewhere: [Unanswered]

    /// The links in the reports, one for each lane and destination, or folded into one for each proxy and destination.
    public init(_ result: QueryResult, byProxy: Bool = false) {
        unanswered = result.unanswered
        elsewhere = result.elsewhere
        links = result.statuses.flatMap { status in
            status.lanes.flatMap { lane in
                lane.destinations.map { LagLink($0, lane: lane, of: status) }
            }
        }
        if byProxy { links = Self.folded(links) }
    }

    /// The worst of seconds and silence, the sum of what is behind.
    private static func folded(_ links: [LagLink]) -> [LagLink] {
        var folded: [LagLink] = []
        for link in links {
            let same = folded.firstIndex {
                $0.site == link.site && $0.proxy == link.proxy && $0.destination == link.destination
            }
            guard let index = same else {
                var first = link
                first.lane = ""
                folded.append(first)
                continue
            }
            folded[index].seconds = max(folded[index].seconds, link.seconds)
            folded[index].records = folded[index].records &+ link.records
            folded[index].bytes = folded[index].bytes &+ link.bytes
            folded[index].isLagKnown = folded[index].isLagKnown && link.isLagKnown
            folded[index].acknowledgedPerSecond += link.acknowledgedPerSecond
            if let one = folded[index].lastHeardSeconds, let other = link.lastHeardSeconds {
                folded[index].lastHeardSeconds = max(one, other)
            } else {
                folded[index].lastHeardSeconds = nil
            }
            if link.state != "streaming", folded[index].state == "streaming" {
                folded[index].state = link.state
                folded[index].message = link.message
            }
        }
        return folded
    }

    /// A table, then a line for each link that has something to say and each proxy that did not answer.
    public func lines(clock: (Double) -> String) -> [String] {
        var table = Table([
            ("FROM", .left), ("TO", .left), ("LAG", .right), ("RECORDS", .right), ("BYTES", .right), ("ACKNOWLEDGED", .right),
            ("HEARD", .left), ("STATE", .left),
        ])
        for link in links {
            table.add([
                link.origin, link.destination, link.lagText, Amount.count(link.records), Amount.bytes(link.bytes),
                Amount.rate(link.acknowledgedPerSecond), link.heardText(clock: clock), link.state,
            ])
        }
        var lines = table.isEmpty ? [] : table.lines
        if links.isEmpty, unanswered.isEmpty { lines.append("There is no other site, so nothing lags.") }
        for link in links where !link.message.isEmpty {
            lines.append(Table.printable("\(link.origin) to \(link.destination): \(link.message)"))
        }
        return lines + (unanswered + elsewhere).map { Table.printable($0.description) }
    }
}

// JSON, for programs.
extension LagReport: Encodable {
    private enum Key: String, CodingKey {
        case links, unanswered, elsewhere, site, proxy, lane, destination, state, message, seconds, records, bytes,
            acknowledgedPerSecond
        case lastHeardSeconds, silent, address, reason
    }

    /// `{"links": […], "unanswered": […], "elsewhere": […]}`; `seconds` is null where nothing is known.
    public func encode(to encoder: any Encoder) throws {
        var top = encoder.container(keyedBy: Key.self)
        var list = top.nestedUnkeyedContainer(forKey: .links)
        for link in links {
            var entry = list.nestedContainer(keyedBy: Key.self)
            try entry.encode(link.site, forKey: .site)
            try entry.encode(link.proxy, forKey: .proxy)
            try entry.encode(link.lane, forKey: .lane)
            try entry.encode(link.destination, forKey: .destination)
            try entry.encode(link.state, forKey: .state)
            try entry.encode(link.message, forKey: .message)
            // Null, not absent: a reader that takes absence for zero would be wrong.
            try entry.encode(link.isLagKnown ? link.seconds : nil, forKey: .seconds)
            try entry.encode(link.records, forKey: .records)
            try entry.encode(link.bytes, forKey: .bytes)
            try entry.encode(link.acknowledgedPerSecond, forKey: .acknowledgedPerSecond)
            try entry.encode(link.lastHeardSeconds, forKey: .lastHeardSeconds)
            try entry.encode(link.isSilent, forKey: .silent)
        }
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
