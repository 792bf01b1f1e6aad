import Configuration
import Kernel
import Ring

// The configuration files of a simulated federation, as values: what `SiteFiles` would have read.

/// Builds the shared file and the site files of a run.
enum Topology {
    static let siteNames = ["north", "south", "east"]

    /// The shared file; `spare`: with the primary that comes and goes.
    static func federation(_ options: SimulationOptions, spare: Bool = false) -> Federation {
        let sites = options.sites.indices.map { index in
            FederationSite(
                id: UInt8(index + 1), name: siteNames[index],
                proxies: (0..<options.sites[index].proxies).map {
                    let name = proxyName(site: index, proxy: $0)
                    return FederationProxy(id: UInt8($0 + 1), name: name, replication: HostPort(host: name, port: 7_000))
                })
        }
        let crossing =
            options.crossingRules
            ? [
                CrossingRule(prefix: "", suffix: ".lock", policy: .none),
                CrossingRule(prefix: "inv.", suffix: "", policy: .invalidate),
            ] : []
        return Federation(
            name: "shop", flavour: .ketama,
            servers: (0..<options.primaries + (spare ? 1 : 0)).map { RingServer(name: "cache\($0)", weight: 1) },
            slotCount: options.slotCount, itemBytesMax: SimulationOptions.itemBytesMax, sites: sites, crossing: crossing)
    }

    /// A site's file; with the servers that come and go.
    static func site(_ index: Int, _ options: SimulationOptions, sparePrimary: Bool = false, spareBackup: Bool = false) -> Site {
        let shape = options.sites[index]
        let name = siteNames[index]
        var site = Site(
            name: name,
            primaries: (0..<options.primaries + (sparePrimary ? 1 : 0)).map {
                Backend(name: "cache\($0)", weight: 1, address: HostPort(host: "\(name)-cache\($0)", port: 11_211))
            },
            backups: (0..<shape.backups + (spareBackup ? 1 : 0)).map {
                Backend(name: "backup\($0)", weight: 1, address: HostPort(host: "\(name)-backup\($0)", port: 11_211))
            },
            proxies: (0..<shape.proxies).map { proxy(proxyName(site: index, proxy: $0)) },
            loops: shape.lanes, durability: shape.durability, unreachable: .miss, flush: options.flushes ? .federation : .local,
            times: times(),
            segmentBytes: SimulationOptions.segmentBytes)
        site.reads = shape.reads
        return site
    }

    private static func proxy(_ name: String) -> SiteProxy {
        SiteProxy(
            name: name, clients: [.tcp(HostPort(host: name, port: 11_211))], replication: HostPort(host: name, port: 7_000),
            admin: .unix(path: "/run/\(name)"), folder: "/log/\(name)", authorityPath: "", certificatePath: "", keyPath: "",
            clientConnectionsMax: 100)
    }

    static func proxyName(site: Int, proxy: Int) -> String { "\(siteNames[site].prefix(1))\(proxy + 1)" }

    /// Slower heartbeats than a real site's: the events of a virtual minute are what a run costs.
    private static func times() -> SiteTimes {
        var times = SiteTimes()
        times.backendConnectMilliseconds = 700
        times.backendTimeoutMilliseconds = 700
        times.heartbeatMilliseconds = 300
        times.siblingTimeoutMilliseconds = 1_500
        times.streamTimeoutMilliseconds = 4_000
        times.syncMilliseconds = 400
        return times
    }
}
