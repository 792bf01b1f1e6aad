// The daemon's life: start, one thread per loop, end.

import Configuration
import EventLoop
import Foundation
import Kernel
import Logging
import Proxy
import Status
import TLS

/// One proxy process.
public enum Daemon {
    /// Runs a proxy until it is told to end. Returns the process's exit code.
    ///
    /// - Parameters:
    ///   - federation: the shared file, checked.
    ///   - site: the site file, checked against it.
    ///   - proxyName: which of the site's proxies this process is.
    ///   - logLevel: the least that is logged.
    ///   - launch: what else there is to be said about the start.
    public static func run(
        federation: Federation, site: Site, proxyName: String, logLevel: Logger.Level, launch: Launch = Launch()
    ) -> Int32 {
        var logger = Logger(label: "\(site.name)/\(proxyName)") { LineLogHandler(label: $0) }
        logger.logLevel = logLevel
        do throws(DaemonFailure) {
            try run(federation: federation, site: site, proxyName: proxyName, logger: logger, launch: launch)
            logger.notice("ended")
            return 0
        } catch {
            logger.critical("cannot start code=\(error.code.rawValue) reason=\(error)")
            return error.code.rawValue
        }
    }

    /// Checks what a proxy needs on this machine, beyond what its files say: names the first thing that is missing.
    /// - Returns: what will do, but should be mended.
    public static func check(federation: Federation, site: Site, proxyName: String) throws(DaemonFailure) -> [String] {
        let proxy = try DaemonStart.proxy(proxyName, of: site, federation: federation)
        let identity = PeerIdentity(federation: federation.name, site: site.name, proxy: proxy.name)
        _ = try DaemonStart.certificates(proxy, identity: identity)
        let doors = try DaemonStart.doors(proxy)
        if let account = site.account { _ = try Account(account) }
        try DaemonStart.checkLaneCount(proxy, loops: site.loops)
        return doors.warnings
    }

    private static func run(
        federation: Federation, site: Site, proxyName: String, logger: Logger, launch: Launch
    ) throws(DaemonFailure) {
        let signals: Signals
        do throws(SocketError) {
            Signals.ignoreBrokenPipes()
            signals = try Signals([SIGTERM, SIGINT, SIGHUP])
        } catch {
            throw DaemonFailure(.system, error.description)
        }
        let proxy = try DaemonStart.proxy(proxyName, of: site, federation: federation)
        let identity = PeerIdentity(federation: federation.name, site: site.name, proxy: proxy.name)
        let tls = launch.isAlone ? nil : try DaemonStart.certificates(proxy, identity: identity)
        let doors = try DaemonStart.doors(proxy)
        for warning in doors.warnings { logger.warning("\(warning)") }
        try DaemonStart.checkLaneCount(proxy, loops: site.loops, isAlone: launch.isAlone)
        let named = if let account = site.account { try Account(account) } else { Account?.none }
        let places = DaemonStart.clientPlaces(proxy, of: site, federation, isAlone: launch.isAlone)
        if let warning = places.warning { logger.warning("\(warning)") }
        let sockets = try DaemonStart.bind(proxy, loops: site.loops, policy: site.clients, isAlone: launch.isAlone)
        let lanes: [OpenedLane]
        do throws(DaemonFailure) {
            try DaemonStart.dropPrivileges(
                launch.account ?? named, proxy, site.clients, sockets, launch, logger: logger)
            lanes = try DaemonStart.openLanes(federation: federation, site: site, proxy: proxy, logger: logger)
        } catch {
            sockets.close()
            throw error
        }
        let shared: SharedState
        do throws(SocketError) {
            shared = try SharedState(
                Running(federation: federation, site: site, proxy: proxy, doors: doors), tls: tls, logger: logger,
                launch: launch, clientPlaces: places.count)
        } catch {
            throw DaemonFailure(.system, error.description)
        }
        logger.notice(
            """
            starting version=\(MeridianVersion.text) federation=\(federation.name) lanes=\(site.loops) \
            clients=\(proxy.clients.map(\.description).joined(separator: ",")) \
            replication=\(launch.isAlone ? "none" : proxy.replication.description) admin=\(proxy.admin)
            """)
        let throttles = Guarded(LogThrottles())
        LibraryLog.divert { message in
            guard let note = throttles.withLock({ $0.permit(message, atMonotonic: Clock.monotonicMicroseconds()) }) else {
                return
            }
            logger.warning("\(message)\(note)")
        }
        try runLoops(shared, sockets, lanes, signals)
    }

    /// Loops 1… have threads of their own, loop 0 has this one.
    private static func runLoops(
        _ shared: SharedState, _ sockets: BoundSockets, _ lanes: [OpenedLane], _ signals: Signals
    ) throws(DaemonFailure) {
        var threads: [WorkerThread] = []
        for (number, lane) in lanes.enumerated().dropFirst() {
            do throws(SocketError) {
                threads.append(
                    try WorkerThread.start(name: "loop-\(number)") {
                        do {
                            try makeShell(number, shared, lane, sockets).run()
                        } catch {
                            shared.fail(DaemonFailure(.system, "\(error)"))
                        }
                    })
            } catch {
                throw DaemonFailure(.system, error.description)
            }
        }
        do {
            let shell = try makeShell(0, shared, lanes[0], sockets)
            shell.front = try FrontDesk(
                shell.loop, shared, signals: signals, replication: sockets.replication, clients: sockets.clients.unix,
                admin: sockets.admin)
            shell.run()
        } catch {
            shared.fail(DaemonFailure(.system, "\(error)"))
        }
        for thread in threads { thread.join() }
    }

    private static func makeShell(
        _ number: Int, _ shared: SharedState, _ lane: OpenedLane, _ sockets: BoundSockets
    ) throws -> LaneShell {
        let shell = try LaneShell(number, shared, lane)
        for socket in sockets.clients.tcp[number] { try shell.listen(socket) }
        return shell
    }
}
