import Configuration
import Kernel
import Proxy
import WriteLog

// A proxy's machine and process: it starts from its disks, is stopped and goes on, is killed, loses power, leaves.

/// One proxy of the federation.
final class ProxyProcess {
    enum Power {
        case on
        case off
    }

    let name: String
    /// Index of the site.
    let site: Int
    let machine: Int
    var lanes: [LaneHost] = []
    var power = Power.on
    var isRunning = false
    /// It was asked to leave, and has not ended yet.
    var isLeaving = false
    var isPaused = false
    /// Wall clock minus true time, in microseconds.
    var skew: Int64 = 0
    /// The monotonic clock's origin is anything.
    let monotonicOffset: UInt64
    var crashAtNextTurn: CrashPoint?
    var fullDiskUntil: UInt64 = 0
    var slowDiskUntil: UInt64 = 0
    var failsNextSync = false
    /// A start is planned.
    var startPlanned = false
    /// Since when it has run without a stop; for the clients' patience.
    var steadySince: UInt64 = 0

    init(name: String, site: Int, machine: Int, monotonicOffset: UInt64) {
        self.name = name
        self.site = site
        self.machine = machine
        self.monotonicOffset = monotonicOffset
    }
}

extension World {
    func hasPower(_ machine: Int) -> Bool { machine >= proxies.count || proxies[machine].power == .on }

    /// Starts the process: every lane recovers its log first.
    func start(_ proxy: ProxyProcess) {
        guard !proxy.isRunning else { return }
        proxy.startPlanned = false
        proxy.isRunning = true
        proxy.isLeaving = false
        proxy.isPaused = false
        proxy.crashAtNextTurn = nil
        proxy.steadySince = now
        if proxy.power == .off { powerOn(proxy) }
        disturb(proxy.site)
        tell(proxy.name, "starts")
        if rushes { rush(proxy.site) }
        for host in proxy.lanes { recover(host) }
        for host in proxy.lanes {
            guard let node = host.node, violation == nil else { return }
            node.start(at: instant(proxy), into: &host.effects)
            node.checkInvariants()
            collect(host, node)
            finishTurn(host, node)
        }
    }

    private func recover(_ host: LaneHost) {
        host.life += 1
        let planted = host.configuration.planted
        host.configuration = sites[host.proxy.site].files.configuration(
            of: host.proxy.name, lane: Int(host.configuration.laneID.lane), planted: planted)
        host.finished = false
        host.hasLeft = false
        host.inbox.removeAll()
        host.links.removeAll()
        host.observed.removeAll()
        host.effects.removeAll()
        host.turnPlanned = false
        host.timerAt = .max
        host.lastSyncAnswer = now
        let segmentBytes = host.disk.segmentBytes
        host.oldIntents.removeAll()
        host.stampsBefore = history.highestStamp(of: host.configuration.laneID)
        var recovery = LaneRecovery(host.configuration)
        var scanner = LogScanner(
            lane: host.configuration.laneID, federation: host.configuration.federation.name, segmentBytes: segmentBytes)
        for number in host.disk.numbers {
            let damage = host.disk.file(number).withUnsafeBytes { bytes -> LogDamage? in
                do throws(LogDamage) {
                    try scanner.scan(segment: number, bytes: bytes) { record, offset in
                        if record.kind == .intent || record.kind == .derivedIntent { host.oldIntents.insert(record.version) }
                        recovery.replay(record, at: offset)
                    }
                    return nil
                } catch {
                    return error
                }
            }
            if let damage { return violate(.acknowledgedSurvives, "\(host.name) cannot recover its log: \(damage)") }
        }
        let outcome = scanner.finish()
        for number in outcome.discarded { _ = host.disk.delete(number) }
        host.disk.truncate(at: outcome.tail.raw)
        host.disk.sync(upTo: outcome.tail.raw)
        tell(
            host.name,
            "recovers its log: segments from \(outcome.firstSegment), tail \(outcome.tail), torn \(outcome.tornBytes) bytes")
        let node = LaneNode(
            host.configuration, recovery: recovery, tail: outcome.tail, firstSegment: outcome.firstSegment,
            seed: random.next(), at: instant(host.proxy))
        node.observations = []
        host.node = node
        checkRecovered(host, node)
    }

    /// The process is killed, or goes down with the whole machine.
    func crash(_ proxy: ProxyProcess, losesPower: Bool) {
        guard proxy.isRunning else { return }
        figures[.crashes] += 1
        end(proxy, losesPower: losesPower)
    }

    /// The process ends at once, whatever was under way.
    private func end(_ proxy: ProxyProcess, losesPower: Bool) {
        disturb(proxy.site)
        proxy.isRunning = false
        proxy.isPaused = false
        proxy.crashAtNextTurn = nil
        if losesPower { noteUnderWay(proxy) }
        for host in proxy.lanes {
            host.life += 1
            host.node = nil
            host.inbox.removeAll()
            host.observed.removeAll()
            host.effects.removeAll()
            host.turnPlanned = false
        }
        if losesPower { powerOff(proxy) }
        for link in links {
            for side in 0...1 where link.ends[side].open && link.ends[side].machine == proxy.machine {
                guard case .lane = link.ends[side].party else { continue }
                if losesPower {
                    link.ends[side].open = false
                    forsake(link, side: side)
                } else {
                    abort(link, side: side)
                }
            }
        }
    }

    /// What memcached was sent and no disk knows of may stay in that site's memcached, and nobody else hears of it.
    private func noteUnderWay(_ proxy: ProxyProcess) {
        for host in proxy.lanes {
            for key in host.node?.keysUnderWay ?? [] {
                if let index = keyIndexes[key] { history.doubtful.insert(index) }
            }
        }
    }

    private func powerOff(_ proxy: ProxyProcess) {
        proxy.power = .off
        figures[.powerFailures] += 1
        for host in proxy.lanes {
            let lost = host.disk.loseUnsynced(&random)
            host.lostPower = true
            tell(host.name, "loses power, and \(lost) unsynced bytes")
        }
    }

    private func powerOn(_ proxy: ProxyProcess) {
        proxy.power = .on
        // Peers that still send are told by the new kernel, sooner or later.
        for link in links {
            for side in 0...1 where !link.ends[side].open && link.ends[side].machine == proxy.machine && link.ends[1 - side].open
            {
                if random.chance(0.8) { send(.end(reason: "connection reset"), over: link, from: side) }
            }
        }
    }

    /// Stops the process where it is (SIGSTOP).
    func pause(_ proxy: ProxyProcess) {
        guard proxy.isRunning, !proxy.isPaused else { return }
        disturb(proxy.site)
        figures[.pauses] += 1
        proxy.isPaused = true
        tell(proxy.name, "is stopped (SIGSTOP)")
    }

    /// Lets it go on (SIGCONT).
    func resume(_ proxy: ProxyProcess) {
        guard proxy.isRunning, proxy.isPaused else { return }
        disturb(proxy.site)
        proxy.isPaused = false
        proxy.steadySince = now
        tell(proxy.name, "goes on (SIGCONT)")
        for host in proxy.lanes {
            guard let node = host.node else { continue }
            host.turnPlanned = false
            if !host.inbox.isEmpty { planTurn(host) }
            host.timerAt = .max
            planTimer(host, node)
        }
    }

    /// Asks the process to leave in an orderly way (SIGTERM).
    func leave(_ proxy: ProxyProcess) {
        guard proxy.isRunning else { return }
        disturb(proxy.site)
        figures[.leaves] += 1
        tell(proxy.name, "is asked to leave (SIGTERM)")
        if rushes { rush(proxy.site) }
        proxy.isLeaving = true
        for host in proxy.lanes { arrival(.leave, at: host) }
    }

    /// A lane has left; the process ends with the last of them.
    func laneFinished(_ host: LaneHost) {
        host.hasLeft = true
        tell(host.name, "has finished")
        guard host.proxy.lanes.allSatisfy(\.finished) else { return }
        end(host.proxy, losesPower: false)
    }

    /// A timer of a lane has come.
    func timer(_ host: LaneHost, at: UInt64) {
        if host.timerAt == at { host.timerAt = .max }
        guard host.node != nil, !host.proxy.isPaused else { return }
        arrival(.deadline, at: host)
    }

    /// The rest of a partial write.
    func flushRest(_ host: LaneHost, _ id: ConnectionID) {
        guard let node = host.node else { return }
        flush(host, node, id)
    }
}
