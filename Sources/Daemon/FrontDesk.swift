// What a process has once, on loop 0: signals, the replication listener with the preambles of those who arrive there, unix
// sockets for clients, and the admin endpoint.

import EventLoop
import Glibc
import Kernel
import Logging
import Synchronization
import TLS

/// Loop 0's second job.
final class FrontDesk {
    /// A peer connection of which we do not know yet which loop it belongs to.
    private final class Arrival {
        let descriptor: Int32
        let address: String
        let watch: Watch
        let deadline: UInt64
        var bytes: [UInt8] = []

        init(_ loop: Loop, _ accepted: Listener.Accepted, token: UInt64, deadline: UInt64) {
            descriptor = accepted.descriptor
            address = accepted.peer.description
            self.deadline = deadline
            watch = Watch(loop, descriptor: descriptor, role: LaneShell.Role.preamble.rawValue, token: token)
            watch.reading = true
        }
    }

    private let shared: SharedState
    private let loop: Loop
    private let signals: Signals
    private let replication: [Listener]
    /// Unix sockets of clients; those accepted are dealt to the loops in turn.
    private var clients = ClientEntrances(role: LaneShell.Role.replication.rawValue, firstToken: clientTokens)
    /// The site's files as they were read last.
    private var running: Running
    private var reload = ReloadProgress.none
    private let admin: HTTPService

    private var arrivals: [UInt64: Arrival] = [:]
    private var nextArrival: UInt64 = 0
    private var nextLoop = 0
    private var refusals = LogThrottles()
    private var leavingUntil: UInt64?
    private var finished: Set<Int> = []
    private var isReady = false
    private var nextExpiryCheck: UInt64 = 0

    /// Roles above the listeners' own numbers: replication sockets by place, client sockets from here on.
    private static let clientTokens: UInt64 = 1_000

    init(
        _ loop: Loop, _ shared: SharedState, signals: Signals, replication: [BoundSocket], clients: [ClientSocket],
        admin: BoundSocket
    ) throws(SocketError) {
        self.loop = loop
        self.shared = shared
        self.signals = signals
        let role = LaneShell.Role.replication.rawValue
        var listeners: [Listener] = []
        for bound in replication { listeners.append(try Listener(loop, bound, role: role, token: UInt64(listeners.count))) }
        self.replication = listeners
        running = shared.atStart
        let endpoint = AdminEndpoint(
            board: shared.board, federation: shared.federation.name, site: running.site.name, proxy: running.proxy.name,
            startedAtMicroseconds: shared.startedAtMicroseconds)
        self.admin = try HTTPService(loop, admin) { endpoint.respond($0) }
        for socket in clients { try self.clients.open(socket, in: loop) }
        signals.watch(in: loop, role: LaneShell.Role.signals.rawValue)
    }

    /// Something of ours is ready.
    func handle(_ ready: Loop.Ready, at monotonic: UInt64) {
        switch LaneShell.Role(rawValue: ready.role) {
        case .signals: while let signal = signals.next() { handle(signal: signal, at: monotonic) }
        case .preamble: if let arrival = arrivals[ready.token] { read(arrival, token: ready.token, at: monotonic) }
        case .replication where ready.token >= Self.clientTokens:
            if let (listener, number) = clients[ready.token] { admit(from: listener, number) }
        case .replication: replication[Int(ready.token)].accept { arrived($0, at: monotonic) }
        default: preconditionFailure("role \(ready.role) is not the front desk's")
        }
    }

    @discardableResult
    private func admit(from listener: Listener, _ number: Int) -> Bool {
        shared.admit(from: listener, at: number, of: running) { accepted in
            shared.mailboxes[nextLoop].post(
                .client(descriptor: accepted.descriptor, address: accepted.peer.description, listener: number))
            nextLoop = (nextLoop + 1) % shared.mailboxes.count
        }
    }

    /// Time passes.
    func keepHouse(at monotonic: UInt64) {
        for listener in replication where listener.pause != nil { listener.resume() }
        admin.keepHouse()
        for listener in clients.all { shared.reopen(listener, of: running, at: monotonic) }
        for (token, arrival) in arrivals where arrival.deadline <= monotonic {
            refuse(arrival, token: token, "it sent no preamble in time", at: monotonic)
        }
        if !isReady && shared.lanesServing.load(ordering: .relaxed) == shared.mailboxes.count {
            isReady = true
            ServiceManager.ready()
            shared.whenServing()
            shared.logger.notice("serving lanes=\(shared.mailboxes.count)")
        }
        if monotonic >= nextExpiryCheck {
            nextExpiryCheck = monotonic + 86_400_000_000
            warnOfExpiry()
        }
        if let until = leavingUntil, monotonic >= until {
            leavingUntil = nil
            shared.logger.warning(
                "leaving took too long; ending with \(shared.mailboxes.count - finished.count) lanes unfinished")
            stopAll()
        }
    }

    /// A lane has handed over.
    func laneFinished(_ lane: Int) {
        finished.insert(lane)
        if finished.count == shared.mailboxes.count { stopAll() }
    }

    /// The loop has ended.
    func finish() {
        for listener in replication { listener.close() }
        clients.close()
        for arrival in arrivals.values {
            arrival.watch.cancel()
            Descriptor.close(arrival.descriptor)
        }
        arrivals = [:]
    }

    private func stopAll() {
        for mailbox in shared.mailboxes { mailbox.post(.stop) }
    }

    // MARK: Signals

    private func handle(signal: Int32, at monotonic: UInt64) {
        switch signal {
        case SIGHUP: beginReload()
        case SIGINT where leavingUntil != nil || !finished.isEmpty:
            shared.logger.warning("ending at once signal=SIGINT")
            clients.close()
            _exit(130)
        default: leave(signal, at: monotonic)
        }
    }

    private func leave(_ signal: Int32, at monotonic: UInt64) {
        guard leavingUntil == nil && finished.isEmpty else { return }
        leavingUntil = monotonic + DaemonLimits.leaveMicroseconds
        shared.logger.notice("leaving signal=\(signal == SIGINT ? "SIGINT" : "SIGTERM")")
        ServiceManager.stopping()
        clients.close()
        for mailbox in shared.mailboxes { mailbox.post(.leave) }
        let logger = shared.logger
        // Should a loop or a disk hang, the process ends all the same; what it owes is in the log.
        let watchdog = try? WorkerThread.start(name: "watchdog") {
            usleep(useconds_t(DaemonLimits.leaveMicrosecondsMax))
            logger.error("ending code=70 reason=the orderly end took too long; the next start recovers the log")
            _exit(DaemonFailure.Code.software.rawValue)
        }
        watchdog?.detach()
    }

    // MARK: Reading anew

    private enum ReloadProgress {
        case none, underWay
        /// Another SIGHUP came meanwhile: what was read may be out of date already.
        case underWayAndWantedAgain
    }

    /// All that can be read anew, or nothing (`Reload.swift`).
    private func beginReload() {
        guard let read = shared.read, !shared.isAlone else {
            return shared.logger.notice("there is nothing to reload; the flags are read only at start")
        }
        guard leavingUntil == nil && finished.isEmpty else { return }
        guard reload == .none else {
            reload = .underWayAndWantedAgain
            return
        }
        do throws(SocketError) {
            let (running, identity, box) = (running, shared.identity, shared.mailboxes[0])
            try WorkerThread.start(name: "reload") {
                box.post(.reloaded(.preparing(running, identity, read: read)))
            }.detach()
            reload = .underWay
        } catch {
            tellRefused(["\(error)"])
        }
    }

    /// The files have been read.
    func reloaded(_ outcome: ReloadOutcome, at monotonic: UInt64) {
        let isWantedAgain = reload == .underWayAndWantedAgain
        reload = .none
        switch outcome {
        case .refused(let reasons): tellRefused(reasons)
        case .ready(let next) where leavingUntil != nil || !finished.isEmpty: next.sockets.close()
        case .ready(let next): take(next)
        }
        if isWantedAgain { beginReload() }
    }

    private func take(_ next: Reload) {
        clients.close(allBut: next.running.open) { admit(from: $0, $1) }
        running = next.running
        shared.replaceTLS(next.tls)
        shared.clientPlaces.store(next.places, ordering: .relaxed)
        for (mailbox, sockets) in zip(shared.mailboxes, next.sockets.tcp) { mailbox.post(.reconfigured(running, sockets)) }
        for socket in next.sockets.unix {
            do throws(SocketError) {
                try clients.open(socket, in: loop)
            } catch {
                shared.logger.error("new listener lost reason=\(error)")
            }
        }
        nextExpiryCheck = 0
        for warning in next.warnings { shared.logger.warning("\(warning)") }
        for item in next.change.live { shared.logger.notice("reloaded \(item)") }
        let doors = running.doors
        shared.logger.notice(
            """
            reload done changes=\(next.change.live.count) listeners=\(running.open.count) certificates=\(doors.contexts.count + 1) \
            users=\(doors.credentials.values.reduce(0) { $0 + $1.count })
            """)
    }

    private func tellRefused(_ reasons: [String]) {
        for reason in reasons { shared.logger.error("not reloaded: \(reason)") }
        shared.logger.error("reload refused reasons=\(reasons.count); nothing has changed, the old configuration stays in use")
    }

    private func warnOfExpiry() {
        if shared.isAlone { return }
        let now = Int64(Clock.wallMicroseconds() / 1_000_000)
        if let warning = shared.tlsContext.expiryWarning(atWallSeconds: now) {
            shared.logger.warning("certificate path=\(running.proxy.certificatePath) \(warning)")
        }
        for warning in running.doors.expiryWarnings(running.openListeners, atWallSeconds: now) {
            shared.logger.warning("\(warning)")
        }
    }

    // MARK: Preambles

    private func arrived(_ accepted: Listener.Accepted, at monotonic: UInt64) {
        guard arrivals.count < DaemonLimits.preamblesMax else {
            log(accepted.peer.description, "\(DaemonLimits.preamblesMax) connections wait already", at: monotonic)
            Descriptor.close(accepted.descriptor)
            return
        }
        nextArrival += 1
        arrivals[nextArrival] = Arrival(
            loop, accepted, token: nextArrival, deadline: monotonic + DaemonLimits.preambleMicroseconds)
    }

    private func read(_ arrival: Arrival, token: UInt64, at monotonic: UInt64) {
        do {
            let missing = Preamble.bytes - arrival.bytes.count
            guard let bytes = try Descriptor.read(arrival.descriptor, count: missing) else { return }
            guard !bytes.isEmpty else {
                // Whoever says nothing may have come to see whether the port is open, or have been called meanwhile by whom it wanted.
                return refuse(
                    arrival, token: token, "it closed the connection before its preamble was complete",
                    arrival.bytes.isEmpty ? .notice : .warning, at: monotonic)
            }
            arrival.bytes += bytes
            guard let preamble = try Preamble(arrival.bytes) else { return }
            let lane = Int(preamble.lane) % shared.mailboxes.count
            arrival.watch.cancel()
            arrivals[token] = nil
            shared.mailboxes[lane].post(.peer(descriptor: arrival.descriptor, address: arrival.address))
        } catch let refusal as Preamble.Refusal {
            refuse(arrival, token: token, refusal.reason, at: monotonic)
        } catch {
            refuse(arrival, token: token, "\(error)", at: monotonic)
        }
    }

    private func refuse(
        _ arrival: Arrival, token: UInt64, _ reason: String, _ level: Logger.Level = .warning, at monotonic: UInt64
    ) {
        arrival.watch.cancel()
        Descriptor.close(arrival.descriptor)
        arrivals[token] = nil
        log(arrival.address, reason, level, at: monotonic)
    }

    private func log(_ address: String, _ reason: String, _ level: Logger.Level = .warning, at monotonic: UInt64) {
        if let note = refusals.permit(reason, atMonotonic: monotonic) {
            shared.logger.log(level: level, "peer refused address=\(address) reason=\(reason)\(note)")
        }
    }
}
