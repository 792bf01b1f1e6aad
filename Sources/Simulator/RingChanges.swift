import Configuration
import Kernel
import Proxy
import Ring

// Servers that come and go: the federation's ring gets a primary more, or loses it again, at one site after the other; a site gets a
// backup more, or loses it. The files change, and then each proxy is told to read them (SIGHUP), sooner or later; one that starts
// meanwhile reads them as they are.

/// A site's two files.
struct SiteFilesOnDisk {
    let federation: Federation
    let site: Site
    /// Where keys live by them.
    let primaries: Continuum
    let backups: Continuum?
    /// The servers that are on either ring.
    let names: Set<String>
    let sparePrimary: Bool
    let spareBackup: Bool
    private let options: SimulationOptions

    init(_ index: Int, _ options: SimulationOptions, sparePrimary: Bool = false, spareBackup: Bool = false) {
        federation = Topology.federation(options, spare: sparePrimary)
        site = Topology.site(index, options, sparePrimary: sparePrimary, spareBackup: spareBackup)
        primaries = Continuum(flavour: federation.flavour, servers: federation.servers)
        let servers = site.backups.map { RingServer(name: $0.name, weight: $0.weight) }
        backups = servers.isEmpty ? nil : Continuum(flavour: federation.flavour, servers: servers)
        names = Set(federation.servers.map(\.name) + servers.map(\.name))
        self.sparePrimary = sparePrimary
        self.spareBackup = spareBackup
        self.options = options
    }

    func configuration(of proxy: String, lane: Int, planted: PlantedBugs) -> LaneConfiguration {
        LaneConfiguration(
            federation: federation, site: site, proxy: proxy, lane: lane, planted: planted,
            sharedBytesMin: options.sharedBytesMin, tailBytesMax: options.tailBytesMax)
    }
}

extension World {
    /// Where a key lives at a site by the files as they are.
    func primary(of key: SimulatedKey, at site: Int) -> ServerHost {
        let ring = sites[site].files.primaries
        return server(named: ring.servers[ring.server(for: key.bytes)].name, at: site)
    }

    /// The same for its backup; nil where there are none.
    func backup(of key: SimulatedKey, at site: Int) -> ServerHost? {
        sites[site].files.backups.map { server(named: $0.servers[$0.server(for: key.bytes)].name, at: site) }
    }

    func server(named name: String, at site: Int) -> ServerHost {
        guard let place = sites[site].servers[name] else { preconditionFailure("site \(site + 1) has no server \(name)") }
        return servers[place]
    }

    /// Plans the run's changes over its load.
    func planRingChanges() {
        guard options.ringChanges else { return }
        for _ in 0..<1 + random.below(4) {
            perform(after: UInt64(random.below(Int(options.loadMicroseconds)))) { $0.changeRings() }
        }
    }

    /// One change, once the last one is through everywhere.
    private func changeRings() {
        guard !isHealed else { return }
        guard ringOrdersLeft == 0, proxies.allSatisfy({ !$0.isRunning || ringsAreSettled($0) }) else {
            return perform(after: 2_000_000) { $0.changeRings() }
        }
        figures[.ringChanges] += 1
        let site = random.below(sites.count)
        if options.sites[site].backups > 0, random.chance(0.4) {
            let files = sites[site].files
            tell("world", "site \(site + 1) \(files.spareBackup ? "loses" : "gets") a backup")
            order(
                SiteFilesOnDisk(site, options, sparePrimary: files.sparePrimary, spareBackup: !files.spareBackup), at: site,
                after: 0)
            return
        }
        let spare = !sites[0].files.sparePrimary
        // Now and then the backups change with it.
        let alsoBackups = random.chance(0.2)
        tell("world", "the federation \(spare ? "gets" : "loses") a primary")
        for site in sites.indices {
            let spareBackup = sites[site].files.spareBackup != (alsoBackups && options.sites[site].backups > 0)
            let files = SiteFilesOnDisk(site, options, sparePrimary: spare, spareBackup: spareBackup)
            order(files, at: site, after: UInt64(random.below(4_000_000)))
        }
    }

    /// Puts files in place, and has the site's proxies read them.
    private func order(_ files: SiteFilesOnDisk, at site: Int, after delay: UInt64) {
        ringOrdersLeft += 1
        perform(after: delay) { world in
            world.ringOrdersLeft -= 1
            world.sites[site].files = files
            for server in world.servers where server.site == site { server.wasFlushed = true }
            for _ in 0..<3 { world.perform(after: UInt64(world.random.below(700_000))) { $0.burst() } }
            for proxy in world.sites[site].proxies {
                world.ringOrdersLeft += 1
                let late = world.random.chance(0.1) ? 6_000_000 : 500_000
                world.perform(after: UInt64(world.random.below(late))) { world in
                    world.ringOrdersLeft -= 1
                    world.reload(proxy)
                }
            }
        }
    }

    /// SIGHUP.
    func reload(_ proxy: ProxyProcess) {
        guard proxy.isRunning else { return }
        let files = sites[proxy.site].files
        tell(proxy.name, "is told to read its files anew (SIGHUP)")
        for host in proxy.lanes { arrival(.reconfigured(files), at: host) }
    }

    /// No lane of it is about to take other rings.
    func ringsAreSettled(_ proxy: ProxyProcess) -> Bool {
        proxy.lanes.allSatisfy { $0.node?.status(at: instant(proxy)).ringChange == nil }
    }
}
