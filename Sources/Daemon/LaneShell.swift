// One event loop around one lane: it obeys the core's effects and reports what came of them.
//
//     wait ─▶ every ready socket, message and deadline: step
//          ─▶ effects.actions ─▶ log.pending to disk ─▶ every dirty socket, one write each ─▶ wait
//
// The order is the durability rule: no memcached sees a write that the kernel does not already hold in the log.

import Configuration
import Disk
import EventLoop
import Kernel
import Logging
import Proxy
import Synchronization

/// One loop and its lane. Made, run and ended by one thread.
final class LaneShell {
    /// What the loop watches.
    enum Role: UInt32 {
        case connection, mailbox, clients, replication, preamble, signals
    }

    let number: Int
    let shared: SharedState
    let loop: Loop
    let node: LaneNode
    let files: SegmentFiles
    let sync: SyncThread
    let logger: Logger

    /// By the index in the core's connection table.
    var connections: [Connection?] = []
    /// Connections with a deadline, in no order.
    var timed: [ConnectionID] = []
    private var entrances = ClientEntrances(role: Role.clients.rawValue)
    /// The site's files as they were read last.
    private(set) var running: Running
    /// Loop 0 has the process's front desk: signals, peers that arrive, unix sockets, the admin endpoint.
    var front: FrontDesk?
    /// What each server's name meant when it was last reached, for those that are known by name.
    var serversMet: [HostPort: IPAddress] = [:]

    /// Both clocks, as they were when this turn began.
    private(set) var now = Clock.now()
    var effects = Effects()
    /// Clients with replies that may wait for those behind them, and since when the first of them has.
    private var patience = Patience()
    /// Peers that have yet to show their certificates.
    var strangers = 0
    /// What the shell has to report and has not yet.
    var reports: [Input] = []
    var peerRefusals = LogThrottles()
    var clientRefusals = LogThrottles()

    private let mailboxWatch: Watch
    private var nextHousekeeping: UInt64 = 0
    private var isStopping = false
    private var isLeaving = false
    /// The core has nothing left to do, and the front desk has yet to be told.
    private var isFinished = false
    private var syncAsked = false
    private var readsAsked: [(LogOffset, Int)] = []
    private var syncedUpTo: LogOffset

    /// A lane on a loop of its own, its log recovered.
    init(_ number: Int, _ shared: SharedState, _ opened: OpenedLane) throws {
        self.number = number
        self.shared = shared
        running = shared.atStart
        loop = try Loop()
        logger = DaemonStart.logger(shared.identity, lane: opened.configuration.laneID, level: shared.logger.logLevel)
        var system = SystemRandomNumberGenerator()
        node = LaneNode(
            opened.configuration, recovery: opened.recovery, tail: opened.folder.tail, firstSegment: opened.folder.firstSegment,
            seed: system.next(), at: now)
        let mailbox = shared.mailboxes[number]
        files = try SegmentFiles(opened.folder) { mailbox.post(.files($0)) }
        sync = SyncThread(files, synced: opened.folder.tail) { mailbox.post(.synced($0)) }
        syncedUpTo = opened.folder.tail
        mailboxWatch = mailbox.watch(in: loop, role: Role.mailbox.rawValue)
    }

    /// Accepts clients on a bound socket.
    func listen(_ socket: ClientSocket) throws(SocketError) { try entrances.open(socket, in: loop) }

    /// A listener that is or was.
    func listener(_ number: Int) -> ClientListener {
        guard let listener = running.listeners[number] else { preconditionFailure("there was never a listener \(number)") }
        return listener
    }

    /// Runs until told to stop.
    func run() {
        node.start(at: now, into: &effects)
        step(.credentials(running.doors.credentials))
        settle()
        shared.lanesServing.add(1, ordering: .relaxed)
        while !isStopping { turn() }
        finish()
    }

    private func turn() {
        var wake = nextHousekeeping
        if let deadline = node.nextDeadline { wake = min(wake, deadline) }
        if hasUnfinished { wake = 0 }
        rest(until: wake)
        now = Clock.now()
        for index in 0..<loop.readyCount { handle(loop.ready(index)) }
        if let deadline = node.nextDeadline, deadline <= now.monotonicMicroseconds { step(.deadline) }
        if nextHousekeeping <= now.monotonicMicroseconds { keepHouse() }
        settle()
    }

    /// Waits for what is next. What waits for more is written before the loop goes to sleep.
    private func rest(until wake: UInt64) {
        if !patience.isEmpty {
            loop.wait(until: 0)
            if loop.readyCount > 0 { return }
            patience.release(upTo: .max, into: &effects.dirty)
            flushDirty()
            // What came of it is reported first.
            if hasUnfinished { return }
        }
        loop.wait(until: wake)
    }

    /// Keeps back what may wait, for a while.
    private func bePatient() {
        let monotonic = now.monotonicMicroseconds
        for id in effects.patient {
            if let connection = connection(id) { patience.add(connection, at: monotonic) }
        }
        effects.patient.removeAll(keepingCapacity: true)
        if !patience.isEmpty {
            patience.release(upTo: monotonic - DaemonLimits.patienceMicroseconds, into: &effects.dirty)
        }
    }

    private func handle(_ ready: Loop.Ready) {
        switch Role(rawValue: ready.role) {
        case .connection:
            let id = ConnectionID(index: UInt32(truncatingIfNeeded: ready.token), generation: UInt32(ready.token >> 32))
            if let connection = connection(id) { handle(connection, writable: ready.writable) }
        case .mailbox:
            for message in shared.mailboxes[number].take() { handle(message) }
        case .clients:
            if let (listener, number) = entrances[ready.token] { admit(from: listener, number) }
        case .replication, .preamble, .signals:
            front?.handle(ready, at: now.monotonicMicroseconds)
        case nil: preconditionFailure("unknown role \(ready.role)")
        }
    }

    private func handle(_ message: LaneMessage) {
        switch message {
        case .client(let descriptor, let address, let listener): welcome(descriptor, from: address, at: listener)
        case .reconfigured(let running, let sockets): reconfigure(running, sockets)
        case .reloaded(let outcome): front?.reloaded(outcome, at: now.monotonicMicroseconds)
        case .peer(let descriptor, let address): shakeHands(descriptor, from: address)
        case .sibling(let descriptor): welcomeSibling(descriptor)
        case .resolved(let id, let answer): resolved(id, answer)
        case .files(let completion): handle(completion)
        case .synced(.synced(let offset)):
            syncedUpTo = max(syncedUpTo, offset)
            step(.synced(offset))
        case .synced(.failed(let error)): shared.fail(DaemonFailure(.disk, "\(error)"))
        case .resetStats: step(.resetStats)
        case .leave:
            isLeaving = true
            entrances.close()
            step(.leave)
        case .finished(let lane): front?.laneFinished(lane)
        case .stop: isStopping = true
        }
    }

    private func handle(_ completion: SegmentFiles.Completion) {
        switch completion {
        case .segmentReady(let segment): step(.segmentReady(segment))
        case .segmentFailed(let segment, let reason): step(.segmentFailed(segment, reason: reason))
        case .logRead(let offset, let bytes): step(.logRead(offset, bytes))
        case .segmentDeleted: break
        case .failed(let error): shared.fail(DaemonFailure(.disk, "\(error)"))
        }
    }

    /// The files were read anew. Who is in stays in, also those of a listener that is no more; who waits there is let in, too.
    private func reconfigure(_ running: Running, _ sockets: [ClientSocket]) {
        if isLeaving {
            for socket in sockets { socket.bound.close() }
            return
        }
        entrances.close(allBut: running.open) { admit(from: $0, $1) }
        self.running = running
        step(.reconfigured(running.federation, running.site, listeners: running.listeners))
        step(.credentials(running.doors.credentials))
        for socket in sockets {
            do throws(SocketError) {
                try listen(socket)
            } catch {
                logger.error("new listener lost reason=\(error)")
            }
        }
    }

    @discardableResult
    private func admit(from listener: Listener, _ number: Int) -> Bool {
        shared.admit(from: listener, at: number, of: running) { meet($0, at: number) }
    }

    func step(_ input: Input) { node.step(input, at: now, into: &effects) }

    // MARK: Obeying

    private var hasUnfinished: Bool { !reports.isEmpty || !effects.actions.isEmpty || !effects.dirty.isEmpty }

    /// Obeys and reports until all is quiet, or the turn has had its share.
    private func settle() {
        for _ in 0..<DaemonLimits.roundsPerTurnMax {
            obeyActions()
            writeLog()
            bePatient()
            flushDirty()
            if !hasUnfinished { return }
        }
    }

    private func obeyActions() {
        for _ in 0..<DaemonLimits.roundsPerTurnMax where !effects.actions.isEmpty || !reports.isEmpty {
            if !effects.actions.isEmpty {
                let actions = effects.actions
                effects.actions.removeAll(keepingCapacity: true)
                for action in actions { obey(action) }
            }
            if !reports.isEmpty {
                let inputs = reports
                reports.removeAll(keepingCapacity: true)
                for input in inputs { report(input) }
            }
        }
    }

    private func report(_ input: Input) {
        switch input {
        case .closed(let id, _, _):
            guard let connection = connection(id) else { return }
            step(input)
            drop(connection)
        case .connected(let id), .drained(let id), .stalled(let id), .received(let id):
            if let connection = connection(id), connection.phase == .open { step(input) }
        default: step(input)
        }
    }

    private func obey(_ action: Effect) {
        switch action {
        case .connect(let id, let endpoint): dial(id, endpoint)
        case .close(let id, let flush):
            if let connection = connection(id) { close(connection, flush: flush) }
        case .pause(let id): setPaused(id, true)
        case .resume(let id): setPaused(id, false)
        case .quiet(let id): connection(id)?.tls?.giveBack()
        case .lookUp(let id): lookUpAgain(id)
        case .prepareSegment(let segment): files.prepare(segment)
        case .deleteSegment(let segment): files.delete(segment)
        case .sync: syncAsked = true
        case .readLog(let offset, let count): readsAsked.append((offset, count))
        case .resetStats:
            for (other, mailbox) in shared.mailboxes.enumerated() where other != number { mailbox.post(.resetStats) }
        case .log(let level, let line): log(level, line)
        case .finished:
            isFinished = true
            tellFinished()
        }
    }

    /// The lane is done once its clients have got their last replies, too.
    func tellFinished() {
        guard isFinished, !connections.contains(where: { $0?.phase == .closing && $0?.isClient == true }) else { return }
        isFinished = false
        shared.mailboxes[0].post(.finished(lane: number))
    }

    private func setPaused(_ id: ConnectionID, _ paused: Bool) {
        guard let connection = connection(id) else { return }
        connection.isPaused = paused
        connection.socket?.isReading = connection.wantsToRead
    }

    func log(_ level: LogLevel, _ line: String) {
        switch level {
        case .notice: logger.notice("\(line)")
        case .warning: logger.warning("\(line)")
        case .error: logger.error("\(line)")
        }
    }

    // MARK: The log

    /// Everything pending reaches the kernel; only then do syncs and reads, which may mean those very bytes, begin.
    private func writeLog() {
        let pending = node.log.pending
        if !pending.isEmpty {
            do throws(DiskError) {
                try files.write(pending, at: node.log.flushed)
            } catch {
                shared.fail(DaemonFailure(.disk, "\(error)"))
            }
        }
        if syncAsked {
            syncAsked = false
            let flushed = node.log.flushed
            if flushed > syncedUpTo { sync.request(upTo: flushed) } else { reports.append(.synced(flushed)) }
        }
        if !readsAsked.isEmpty {
            for (offset, count) in readsAsked { files.read(offset, count: count) }
            readsAsked.removeAll()
        }
    }

    // MARK: Housekeeping

    private func keepHouse() {
        let monotonic = now.monotonicMicroseconds
        nextHousekeeping = monotonic + DaemonLimits.housekeepingMicroseconds
        for listener in entrances.all { shared.reopen(listener, of: running, at: monotonic) }
        giveUpOverdue(monotonic)
        var status = node.status(at: now)
        status.gauges["connections"] = Double(node.connections.count)
        shared.board.publish(status, lane: number)
        shared.board.publish(node.statAnswers, lane: number)
        node.process = shared.facts(for: number, clients: node.clientCount)
        front?.keepHouse(at: monotonic)
    }

    /// Whatever can still be sent is sent; the log's threads finish what they have.
    private func finish() {
        settle()
        for case let connection? in connections { connection.socket?.close() }
        sync.request(upTo: node.log.flushed)
        sync.stop()
        files.stop()
        mailboxWatch.cancel()
        front?.finish()
    }
}
