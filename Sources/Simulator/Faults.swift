import Kernel
import Proxy

// The faults of a run: which, where, how long. Each ends by itself; at the end of the load all are healed.

extension World {
    /// Plans the run's faults over its load.
    func planFaults() {
        let kinds = FaultKinds.named.map(\.kind).filter { options.faults.contains($0) && $0 != .itemLimits }
        guard !kinds.isEmpty else { return }
        for _ in 0..<options.faultCount {
            let kind = kinds[random.below(kinds.count)]
            let at = UInt64(random.below(Int(options.loadMicroseconds)))
            // Now and then a second fault follows on the heels of the first.
            perform(after: at) { $0.fault(kind) }
            if random.chance(0.25) {
                let next = kinds[random.below(kinds.count)]
                perform(after: at + UInt64(random.below(3_000_000))) { $0.fault(next) }
            }
        }
    }

    /// Lets one fault of a kind happen somewhere.
    func fault(_ kind: FaultKinds) {
        guard !isHealed else { return }
        let proxy = proxies[random.below(proxies.count)]
        let server = servers[random.below(servers.count)]
        switch kind {
        case .resets: resetSome()
        case .sitePartitions: partitionSites()
        case .groupPartitions: partitionGroup()
        case .cutOffs: cutOff(server)
        case .crashes: crashSome(proxy)
        case .powerFailures:
            tell(proxy.name, "loses power")
            crash(proxy, losesPower: true)
            restart(proxy, within: 8_000_000)
        case .pauses:
            pause(proxy)
            perform(after: duration(most: 15_000_000)) { $0.resume(proxy) }
        case .clocks: jumpClock(proxy)
        case .backendRestarts:
            figures[.backendRestarts] += 1
            disturb(server.site)
            server.stop(self)
            perform(after: duration(most: 6_000_000)) { server.start($0) }
        case .backendStalls:
            figures[.backendStalls] += 1
            disturb(server.site)
            server.isStalled = true
            server.wasCutOff = true
            tell(server.name, "stops answering")
            perform(after: duration(most: 6_000_000)) { world in
                world.tell(server.name, "answers again")
                world.disturb(server.site)
                server.unstall(world)
            }
        case .disk: diskFault(proxy)
        case .leaves:
            leave(proxy)
            restart(proxy, within: 9_000_000)
        case .evictions: evict(server)
        default: break
        }
    }

    /// Mostly short, sometimes long.
    private func duration(most: Int) -> UInt64 {
        UInt64(random.below(random.chance(0.5) ? most / 12 : most)) + 1_000
    }

    private func resetSome() {
        figures[.resets] += 1
        let live = links.filter { $0.ends[0].open && $0.ends[1].open && $0.reach != .process }
        guard !live.isEmpty else { return }
        for _ in 0..<1 + random.below(3) {
            let link = live[random.below(live.count)]
            if case .server(let server) = link.target {
                disturb(server.it.site)
                server.it.wasCutOff = true
            }
            if link.reach == .site, case .lane(let host, .peer) = link.target { disturb(host.it.proxy.site) }
            tell("network", "connection \(link.number) is reset")
            reset(link)
        }
    }

    private func partitionSites() {
        let from = random.below(sites.count)
        let to = (from + 1 + random.below(sites.count - 1)) % sites.count
        let whole = random.chance(0.6)
        let a = sites[from].proxies.filter { _ in whole || random.chance(0.5) }
        let b = sites[to].proxies.filter { _ in whole || random.chance(0.5) }
        partition(a.map(\.machine), b.map(\.machine), oneWay: random.chance(0.3), most: 20_000_000)
    }

    private func partitionGroup() {
        let site = random.below(sites.count)
        guard sites[site].proxies.count > 1 else { return }
        disturb(site)
        let alone = sites[site].proxies[random.below(sites[site].proxies.count)]
        let others = sites[site].proxies.filter { $0 !== alone }
        partition([alone.machine], others.map(\.machine), oneWay: random.chance(0.3), most: 8_000_000, disturbs: site)
    }

    private func cutOff(_ server: ServerHost) {
        figures[.cutOffs] += 1
        disturb(server.site)
        let near = sites[server.site].proxies
        let from = random.chance(0.5) ? near : [near[random.below(near.count)]]
        // One proxy alone may lose sight of all servers, while its neighbours see them.
        let isStranded = from.count < near.count && random.chance(0.4)
        if isStranded { figures[.strandings] += 1 }
        let lost = isStranded ? servers.filter { $0.site == server.site } : [server]
        for server in lost { server.wasCutOff = true }
        partition(
            from.map(\.machine), lost.map(\.machine), oneWay: random.chance(0.4), most: 10_000_000, disturbs: server.site)
    }

    /// Blocks the way between machines for a while; connections over it may break meanwhile, at one end or at both.
    func partition(_ a: [Int], _ b: [Int], oneWay: Bool, most: Int, disturbs site: Int? = nil) {
        guard !a.isEmpty, !b.isEmpty else { return }
        figures[.partitions] += 1
        let ways = a.flatMap { from in b.map { (from, $0) } }
        let flips = oneWay && random.chance(0.5)
        let length = duration(most: most)
        tell("network", "machines \(a) and \(b) lose sight of each other\(oneWay ? ", one way" : "") for \(length / 1_000) ms")
        for (from, to) in ways {
            if !oneWay || !flips { block(from: from, to: to, true) }
            if !oneWay || flips { block(from: to, to: from, true) }
        }
        for link in links where crosses(link, ways) && random.chance(0.4) {
            let after = UInt64(1_000_000 + random.below(15_000_000))
            let side = random.below(3)
            perform(after: after) { world in
                guard world.isBlocked(from: link.ends[0].machine, to: link.ends[1].machine) else { return }
                if side != 1 { world.giveUp(link, side: 0) }
                if side != 0 { world.giveUp(link, side: 1) }
            }
        }
        perform(after: length) { world in
            guard !world.isHealed else { return }
            world.tell("network", "machines \(a) and \(b) see each other again")
            for (from, to) in ways {
                if !oneWay || !flips { world.block(from: from, to: to, false) }
                if !oneWay || flips { world.block(from: to, to: from, false) }
            }
            if let site { world.disturb(site) }
            world.release()
        }
    }

    private func crosses(_ link: Link, _ ways: [(Int, Int)]) -> Bool {
        ways.contains { way in
            (link.ends[0].machine == way.0 && link.ends[1].machine == way.1)
                || (link.ends[0].machine == way.1 && link.ends[1].machine == way.0)
        }
    }

    private func crashSome(_ proxy: ProxyProcess) {
        guard proxy.isRunning else { return }
        if random.chance(0.6) {
            proxy.crashAtNextTurn = CrashPoint.allCases[random.below(CrashPoint.allCases.count)]
        } else {
            tell(proxy.name, "is killed")
            crash(proxy, losesPower: false)
        }
        restart(proxy, within: 8_000_000)
    }

    private func restart(_ proxy: ProxyProcess, within most: Int) {
        guard !proxy.startPlanned else { return }
        proxy.startPlanned = true
        perform(after: 100_000 + duration(most: most)) { world in
            proxy.startPlanned = false
            // It has not yet left: whoever supervises it waits for that.
            if proxy.isRunning { return world.restart(proxy, within: most) }
            world.start(proxy)
        }
    }

    private func jumpClock(_ proxy: ProxyProcess) {
        figures[.clockJumps] += 1
        switch random.below(5) {
        case 0: proxy.skew += 3_600_000_000
        case 1: proxy.skew -= 400_000
        case 2: proxy.skew -= Int64(random.below(20_000_000))
        default: proxy.skew = drawSkew()
        }
        clockSkewMax = max(clockSkewMax, proxy.skew.magnitude)
        tell(proxy.name, "has its clock set: \(proxy.skew / 1_000) ms from the truth")
    }

    private func diskFault(_ proxy: ProxyProcess) {
        guard proxy.isRunning else { return }
        figures[.diskFaults] += 1
        switch random.below(4) {
        case 0:
            proxy.failsNextSync = true
            tell(proxy.name, "has a disk that fails at the next sync")
            perform(after: 10_000_000) { world in if !proxy.isRunning { world.restart(proxy, within: 2_000_000) } }
        case 1:
            proxy.slowDiskUntil = now + duration(most: 10_000_000)
            tell(proxy.name, "has a slow disk")
        default:
            proxy.fullDiskUntil = now + duration(most: 15_000_000)
            tell(proxy.name, "has a full disk")
        }
    }

    private func evict(_ server: ServerHost) {
        let key = itemKeys[random.below(itemKeys.count)]
        if server.model.evict(key.bytes) {
            server.evicted.insert(key.index)
            tell(server.name, "evicts \(key.name)")
        }
    }

    /// All faults end; every process runs again.
    func heal() {
        isHealed = true
        tell("world", "all faults end")
        blocks = [UInt8](repeating: 0, count: blocks.count)
        release()
        for server in servers {
            server.start(self)
            if server.isStalled { server.unstall(self) }
        }
        for site in sites.indices { disturb(site) }
        for proxy in proxies {
            proxy.crashAtNextTurn = nil
            proxy.failsNextSync = false
            proxy.fullDiskUntil = 0
            proxy.slowDiskUntil = 0
            resume(proxy)
            perform(after: UInt64(random.below(500_000))) { world in
                world.start(proxy)
                if world.options.ringChanges { world.reload(proxy) }
            }
        }
    }
}
