import Kernel
import Proxy
import WriteLog

// One lane with the shell that the simulator is to it: a disk, sockets, a turn of the loop.
//
//     arrivals ─▶ inbox ─▶ turn: step … step ─▶ actions ─▶ log to the kernel ─▶ sockets
//                                             ╳ a crash can hit here ╳       ╳ and here
//
// A turn that dies before its log was written never happened: nobody outside has seen any of it.

/// What waits for a lane's next turn.
enum LaneArrival {
    case accepted(ConnectionID, Acceptance)
    case connected(ConnectionID)
    case bytes(ConnectionID, [UInt8])
    case closed(ConnectionID, StaticString, CloseCause)
    case drained(ConnectionID)
    case synced(LogOffset)
    case segmentReady(UInt64)
    case segmentFailed(UInt64, reason: String)
    case logRead(LogOffset, [UInt8])
    case deadline
    case reconfigured(SiteFilesOnDisk)
    case leave
}

/// Where a crash hits a turn.
enum CrashPoint: CaseIterable {
    /// After the steps, before the log is written.
    case beforeLog
    /// After the log is written, before any socket is.
    case beforeSockets
    /// With some of the sockets written.
    case amidSockets
}

final class LaneHost {
    /// Its process, which holds it.
    unowned let proxy: ProxyProcess
    /// What it started with.
    var configuration: LaneConfiguration
    let name: String
    /// Counts the starts of the process: what was planned in an earlier life is void.
    var life: UInt32 = 0
    var node: LaneNode?
    var disk: SimulatedDisk
    var inbox: [LaneArrival] = []
    var links: [ConnectionID: (link: Link, side: Int)] = [:]
    var turnPlanned = false
    /// The earliest timer that is planned; no later one is needed.
    var timerAt = UInt64.max
    var effects = Effects()
    var finished = false
    /// … and the process has been told.
    var hasLeft = false
    /// Observations of this turn's steps, until the log is written.
    var observed: [Observation] = []
    /// Its machine lost power since it last ran.
    var lostPower = false
    /// Versions of the intents that its log held at the last start: they may still be committed.
    var oldIntents: Set<Version> = []
    /// The highest stamp that it had committed before the last start: a new version must be above it.
    var stampsBefore: UInt64 = 0
    /// When the last sync is answered; answers come in order.
    var lastSyncAnswer: UInt64 = 0

    init(proxy: ProxyProcess, configuration: LaneConfiguration) {
        self.proxy = proxy
        self.configuration = configuration
        name = configuration.laneID.description
        disk = SimulatedDisk(segmentBytes: configuration.site.segmentBytes)
    }

    /// The kernel takes a connection for the lane.
    func accept(_ link: Link) -> ConnectionID {
        guard let node else { preconditionFailure("\(name) accepts and does not run") }
        let id = node.connections.open()
        link.ends[1].party = .lane(Unowned(self), id, life: life)
        links[id] = (link, 1)
        return id
    }
}

// Turns.
extension World {
    /// Something is ready for a lane; its loop wakes up soon, unless the process is stopped.
    func arrival(_ arrival: LaneArrival, at host: LaneHost) {
        host.inbox.append(arrival)
        planTurn(host)
    }

    func planTurn(_ host: LaneHost) {
        guard !host.turnPlanned, host.proxy.isRunning, !host.proxy.isPaused else { return }
        host.turnPlanned = true
        heap.insert(.turn(host, life: host.life), at: now + 2 + UInt64(random.below(random.chance(0.05) ? 600 : 40)))
    }

    func instant(_ proxy: ProxyProcess) -> Instant {
        Instant(
            monotonicMicroseconds: now + proxy.monotonicOffset,
            wallMicroseconds: UInt64(Int64(SimulationOptions.wallMicroseconds + now) + proxy.skew))
    }

    /// One turn of a lane's loop.
    func turn(_ host: LaneHost) {
        host.turnPlanned = false
        guard let node = host.node, !host.proxy.isPaused else { return }
        let arrivals = host.inbox
        host.inbox.removeAll(keepingCapacity: true)
        let at = instant(host.proxy)
        for arrival in arrivals {
            step(host, node, arrival, at)
            if violation != nil { return }
        }
        finishTurn(host, node)
    }

    private func step(_ host: LaneHost, _ node: LaneNode, _ arrival: LaneArrival, _ at: Instant) {
        var released: ConnectionID?
        let input: Input
        switch arrival {
        case .accepted(let id, let acceptance):
            guard node.connections.isOpen(id) else { return }
            if case .peer = acceptance, let place = host.links[id] { send(.established, over: place.link, from: 1) }
            input = .accepted(id, acceptance)
        case .connected(let id):
            guard node.connections.isOpen(id) else { return }
            input = .connected(id)
        case .bytes(let id, let bytes):
            guard node.connections.isOpen(id) else { return }
            node.connections.incoming(id).append(bytes)
            input = .received(id)
        case .closed(let id, let reason, let cause):
            guard node.connections.isOpen(id) else { return }
            released = id
            input = .closed(id, reason: reason.description, cause: cause)
        case .drained(let id):
            guard node.connections.isOpen(id) else { return }
            input = .drained(id)
        case .synced(let offset): input = .synced(offset)
        case .segmentReady(let number): input = .segmentReady(number)
        case .segmentFailed(let number, let reason): input = .segmentFailed(number, reason: reason)
        case .logRead(let offset, let bytes): input = .logRead(offset, bytes)
        case .deadline:
            guard let deadline = node.nextDeadline, deadline <= at.monotonicMicroseconds else { return }
            input = .deadline
        case .reconfigured(let files):
            input = .reconfigured(files.federation, files.site, listeners: host.configuration.numberedListeners)
        case .leave: input = .leave
        }
        node.step(input, at: at, into: &host.effects)
        if let released, node.connections.isOpen(released) {
            node.connections.release(released)
            host.links[released] = nil
        }
        figures[.steps] += 1
        node.checkInvariants()
        collect(host, node)
    }

    /// Takes the observations out of the core.
    func collect(_ host: LaneHost, _ node: LaneNode) {
        guard let observations = node.observations, !observations.isEmpty else { return }
        node.observations = []
        host.observed.append(contentsOf: observations)
    }

    /// What the loop does after its steps.
    func finishTurn(_ host: LaneHost, _ node: LaneNode) {
        let crash = host.proxy.crashAtNextTurn
        if crash == .beforeLog { return crashMidTurn(host, .beforeLog) }
        var closing: [ConnectionID] = []
        var wantsSync = false
        var index = 0
        while index < host.effects.actions.count {
            perform(host.effects.actions[index], host, node, &closing, &wantsSync)
            index += 1
        }
        writeLog(host, node)
        if wantsSync { sync(host, upTo: node.log.flushed) }
        for observation in host.observed { observe(observation, host) }
        host.observed.removeAll(keepingCapacity: true)
        if crash == .beforeSockets { return crashMidTurn(host, .beforeSockets) }
        let dirty = host.effects.dirty + host.effects.patient
        host.effects.removeAll()
        for (place, id) in dirty.enumerated() {
            if crash == .amidSockets, place >= dirty.count / 2 { return crashMidTurn(host, .amidSockets) }
            flush(host, node, id)
        }
        for id in closing { closeNow(host, node, id, flush: true) }
        if crash == .amidSockets { return crashMidTurn(host, .amidSockets) }
        if host.finished {
            if !host.hasLeft { laneFinished(host) }
            return
        }
        planTimer(host, node)
    }

    private func crashMidTurn(_ host: LaneHost, _ point: CrashPoint) {
        figures[.midTurnCrashes] += 1
        tell(host.proxy.name, "is killed in mid-turn of \(host.name), \(point)")
        crash(host.proxy, losesPower: false)
    }

    func planTimer(_ host: LaneHost, _ node: LaneNode) {
        guard let deadline = node.nextDeadline else { return }
        let at = max(now + 1, deadline > host.proxy.monotonicOffset ? deadline - host.proxy.monotonicOffset : 0)
        guard at < host.timerAt || host.timerAt <= now else { return }
        host.timerAt = at
        heap.insert(.timer(host, life: host.life, at: at), at: at + UInt64(random.below(500)))
    }

    private func perform(
        _ effect: Effect, _ host: LaneHost, _ node: LaneNode, _ closing: inout [ConnectionID], _ wantsSync: inout Bool
    ) {
        switch effect {
        case .connect(let id, let endpoint): connect(host, id, endpoint)
        case .close(let id, let flush):
            guard node.connections.isOpen(id) else { return }
            if flush { closing.append(id) } else { closeNow(host, node, id, flush: false) }
        case .pause, .resume, .quiet: break
        case .lookUp: break  // names mean what they meant
        case .prepareSegment(let number): prepare(host, number)
        case .deleteSegment(let number):
            tell(host.name, "deletes segment \(number)")
            if !host.disk.delete(number) { violate(.seamIsKept, "\(host.name) deletes segment \(number), which does not exist") }
        case .sync: wantsSync = true
        case .readLog(let offset, let count):
            let delay = UInt64(50 + random.below(2_000))
            later(delay, host) { host in .logRead(offset, host.disk.read(at: offset.raw, count: count)) }
        case .resetStats: break
        case .log(let level, let text): tell(host.name, "\(level): \(text)")
        case .finished: host.finished = true
        }
    }

    private func connect(_ host: LaneHost, _ id: ConnectionID, _ endpoint: Endpoint) {
        let party = Party.lane(Unowned(host), id, life: host.life)
        let machine = host.proxy.machine
        switch endpoint {
        case .backend(let address), .listing(let address):
            guard let server = servers.first(where: { $0.address == address }) else {
                return violate(.seamIsKept, "\(host.name) connects to \(address), which is nobody's address")
            }
            host.links[id] = (dial(.server, from: party, machine: machine, to: .server(Unowned(server))), 0)
        case .peer(let identity, _, let lane):
            guard let peer = proxies.first(where: { $0.name == identity.proxy }) else {
                return violate(.seamIsKept, "\(host.name) connects to \(identity), who does not exist")
            }
            let target = peer.lanes[Int(lane) % peer.lanes.count]
            let reach: Reach = peer === host.proxy ? .process : peer.site == host.proxy.site ? .site : .wide
            let acceptance = Acceptance.peer(host.configuration.identity)
            host.links[id] = (dial(reach, from: party, machine: machine, to: .lane(Unowned(target), acceptance)), 0)
        }
    }

    /// Writes a connection's outgoing bytes; now and then the socket takes only a part of many.
    func flush(_ host: LaneHost, _ node: LaneNode, _ id: ConnectionID) {
        guard node.connections.isOpen(id), let place = host.links[id] else { return }
        let queue = node.connections.beginWriting(id)
        guard !queue.isEmpty else { return }
        var count = queue.count
        let partial = count > 400 && random.chance(0.1)
        if partial { count = 1 + random.below(count - 1) }
        if place.link.ends[place.side].open {
            send(bytes: queue.bytes(at: 0, count: count), over: place.link, from: place.side)
        }
        queue.consume(count)
        if partial {
            heap.insert(.flush(host, life: host.life, id), at: now + UInt64(random.below(3_000)))
        } else {
            arrival(.drained(id), at: host)
        }
    }

    private func closeNow(_ host: LaneHost, _ node: LaneNode, _ id: ConnectionID, flush flushing: Bool) {
        guard node.connections.isOpen(id), let place = host.links[id] else { return }
        if flushing {
            let queue = node.connections.outgoing(id)
            if !queue.isEmpty, place.link.ends[place.side].open {
                send(bytes: queue.bytes(at: 0, count: queue.count), over: place.link, from: place.side)
            }
        }
        if flushing { close(place.link, side: place.side, reason: "closed by peer") } else { abort(place.link, side: place.side) }
        node.connections.release(id)
        host.links[id] = nil
    }
}

// The disk.
extension World {
    private func writeLog(_ host: LaneHost, _ node: LaneNode) {
        let pending = node.log.pending
        while !pending.isEmpty {
            let piece = pending.readable
            if !host.disk.write(piece, at: node.log.flushed.raw) {
                violate(.seamIsKept, "\(host.name) writes the log at \(node.log.flushed), where no segment was prepared")
            }
            pending.consume(piece.count)
        }
    }

    private func sync(_ host: LaneHost, upTo offset: LogOffset) {
        let slow = host.proxy.slowDiskUntil > now
        let delay = UInt64(300 + random.below(4_000)) * (slow ? 200 : random.chance(0.03) ? 30 : 1)
        host.lastSyncAnswer = max(host.lastSyncAnswer + 1, now + delay)
        let fails = host.proxy.failsNextSync
        host.proxy.failsNextSync = false
        later(host.lastSyncAnswer - now, host) { [weak self] host in
            guard let self else { return nil }
            if fails {
                tell(host.name, "fsync fails: the process ends")
                crash(host.proxy, losesPower: false)
                return nil
            }
            host.disk.sync(upTo: offset.raw)
            return .synced(offset)
        }
    }

    private func prepare(_ host: LaneHost, _ number: UInt64) {
        let full = host.proxy.fullDiskUntil > now
        later(UInt64(200 + random.below(8_000)), host) { host in
            if full { return .segmentFailed(number, reason: "no space left on device") }
            host.disk.create(number)
            return .segmentReady(number)
        }
    }

    /// Plans something that the kernel does for a lane, unless the process has ended by then.
    private func later(_ delay: UInt64, _ host: LaneHost, _ action: @escaping (LaneHost) -> LaneArrival?) {
        let life = host.life
        perform(after: delay) { world in
            guard host.life == life, host.node != nil, let arrival = action(host) else { return }
            world.arrival(arrival, at: host)
        }
    }
}
