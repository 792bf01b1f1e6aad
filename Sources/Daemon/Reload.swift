// Reading everything anew at SIGHUP: all of it, or nothing. What may wait (files, name servers) waits on a thread of its own; the
// loops hear of it when everything is there.
//
//     SIGHUP ─▶ thread: read, check, compare ─▶ certificates, users ─▶ bind and listen ─▶ loop 0 ─▶ every loop, between two turns
//                         └──────────────────────────┴─────────────────────┴──▶ one mistake: its lines, and nothing has changed

import Configuration
import EventLoop
import Glibc
import Proxy
import TLS

/// What a proxy is to run on from now on, ready to be taken.
struct Reload: Sendable {
    let running: Running
    /// New listeners' sockets: clients queue there already.
    let sockets: ClientSockets
    let tls: TLSContext
    let places: Int
    /// What differs, for the log.
    let change: SiteChange
    /// What the operator should hear besides.
    let warnings: [String]
}

/// What came of reading the files.
enum ReloadOutcome: Sendable {
    case ready(Reload)
    /// Why nothing changes, one line for each reason.
    case refused([String])
}

/// Reads a site's files; throws what is wrong with them.
typealias SiteReader = @Sendable () throws -> (federation: Federation, site: Site)

extension ReloadOutcome {
    /// Reads and prepares; whatever was opened is closed again when something is wrong.
    static func preparing(_ running: Running, _ identity: PeerIdentity, read: SiteReader) -> ReloadOutcome {
        do {
            let files = try read()
            let change = SiteChange(
                from: (running.federation, running.site), to: files, proxy: running.proxy.name)
            guard change.needingRestart.isEmpty else {
                return .refused(change.needingRestart.map { "\($0) cannot change while the proxy runs. \($0.remedy)" })
            }
            let proxy = try DaemonStart.proxy(running.proxy.name, of: files.site, federation: files.federation)
            var next = running.taking(federation: files.federation, site: files.site, proxy: proxy)
            let tls = try DaemonStart.certificates(proxy, identity: identity)
            next.doors = try ClientDoors(next.openListeners)
            let sockets = try ClientSockets(
                running.added(in: next), of: next.listeners, loops: files.site.loops, policy: files.site.clients)
            try sockets.listen()
            let places = DaemonStart.clientPlaces(proxy, of: files.site, files.federation)
            return .ready(
                Reload(
                    running: next, sockets: sockets, tls: tls, places: places.count, change: change,
                    warnings: next.doors.warnings + [places.warning].compactMap(\.self)))
        } catch let problems as ConfigurationProblems {
            return .refused(problems.problems.map(\.description))
        } catch let error as SocketError {
            return .refused(["\(error)"] + advice(about: error, running))
        } catch {
            return .refused(["\(error)"])
        }
    }

    /// A listener at all addresses and one at a single address stand in each other's way: the old one is open until the new one is.
    private static func advice(about error: SocketError, _ running: Running) -> [String] {
        let own = running.openListeners.values.filter { listener in
            guard error.code == EADDRINUSE, case .tcp(let address) = listener.address else { return false }
            return error.subject.hasSuffix(":\(address.port)")
        }
        guard let listener = own.first else { return [] }
        return ["\(listener) is this proxy's own: take it out with one reload, and add \(error.subject) with the next"]
    }
}
