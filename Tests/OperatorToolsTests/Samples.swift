import Configuration
import OperatorTools
import Ring
import Status

/// A report of a proxy with one lane for each destination that is given.
func report(_ proxy: String = "n1", _ destinations: [DestinationStatus]) -> ProxyStatus {
    let lanes = destinations.enumerated().map { index, destination in
        var lane = LaneStatus(lane: "s1p1l\(index)", state: "serving")
        lane.destinations = [destination]
        return lane
    }
    return ProxyStatus(
        federation: "shop", site: "north", proxy: proxy, version: "0.1.0", pid: 42, uptimeSeconds: 61, lanes: lanes)
}

/// A destination: by default streaming, heard a moment ago, with nothing behind.
func south(
    _ seconds: Double = 0, records: UInt64 = 0, heard: Double? = 0.04, state: String = "streaming", message: String = ""
) -> DestinationStatus {
    DestinationStatus(
        site: "south", state: state, message: message, lagSeconds: seconds, lagRecords: records, lagBytes: records * 100,
        acknowledgedPerSecond: 10, lastHeardSeconds: heard, acknowledgedPosition: 5)
}

/// The links of one proxy.
func lag(_ destinations: DestinationStatus..., byProxy: Bool = false) -> LagReport {
    LagReport(QueryResult(statuses: [report("n1", destinations)]), byProxy: byProxy)
}

/// A clock that tells how long ago.
func clock(_ secondsAgo: Double) -> String { "T-\(Int(secondsAgo))" }

enum Sample {
    static let federation = Federation(
        name: "shop", flavour: .ketama, servers: [RingServer(name: "cache1", weight: 1), RingServer(name: "cache2", weight: 1)],
        slotCount: 1_024, itemBytesMax: 1 << 20,
        sites: [
            FederationSite(
                id: 1, name: "north",
                proxies: [
                    FederationProxy(id: 1, name: "n1", replication: HostPort(host: "127.0.0.1", port: 11_300)),
                    FederationProxy(id: 2, name: "n2", replication: HostPort(host: "127.0.0.1", port: 11_301)),
                ])
        ], crossing: [])

    static let proxy = SiteProxy(
        name: "n1", clients: [], replication: HostPort(host: "127.0.0.1", port: 11_300),
        admin: .tcp(HostPort(host: "127.0.0.1", port: 11_400)), folder: "/n1", authorityPath: "a", certificatePath: "c",
        keyPath: "k",
        clientConnectionsMax: 10)

    static let site = Site(
        name: "north",
        primaries: [
            Backend(name: "cache1", weight: 1, address: HostPort(host: "10.0.0.1", port: 11_211)),
            Backend(name: "cache2", weight: 1, address: HostPort(host: "10.0.0.2", port: 11_211)),
        ], backups: [Backend(name: "backup1", weight: 1, address: HostPort(host: "10.0.0.9", port: 11_211))], proxies: [proxy],
        loops: 1, durability: .memory, unreachable: .miss, flush: .local, times: SiteTimes(), segmentBytes: 64 << 20)
}
