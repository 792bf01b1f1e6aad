// What the loops of a process share: what never changes, a few counters, and the ways to reach each other.

import Configuration
import Disk
import EventLoop
import Glibc
import Kernel
import Logging
import Memcache
import Proxy
import Synchronization
import TLS

/// What one loop tells another, or a helper thread a loop.
enum LaneMessage: Sendable {
    /// A memcached client that loop 0 accepted for another.
    case client(descriptor: Int32, address: String, listener: Int)
    /// The files were read anew: what to run on from now on, and the loop's new listeners.
    case reconfigured(Running, [ClientSocket])
    /// What came of reading the files (to loop 0).
    case reloaded(ReloadOutcome)
    /// A peer connection whose preamble named this lane; TLS is next.
    case peer(descriptor: Int32, address: String)
    /// The far end of a local connection from another lane of this process.
    case sibling(descriptor: Int32)
    /// A host name was looked up for this connection.
    case resolved(ConnectionID, Resolver.Answer)
    /// A segment file was made, read or deleted.
    case files(SegmentFiles.Completion)
    /// The log was synced.
    case synced(SyncThread.Completion)
    /// A client of another loop wants counting to begin anew.
    case resetStats
    /// Hand over and finish.
    case leave
    /// A lane has finished (to loop 0).
    case finished(lane: Int)
    /// End the loop.
    case stop
}

/// What the loops of one process share.
final class SharedState: Sendable {
    let federation: Federation
    /// What every loop begins with; what it runs on later it is told.
    let atStart: Running
    /// Reads the site's files anew; nil where there are none.
    let read: SiteReader?
    let identity: PeerIdentity
    let logger: Logger
    let board: StatusBoard
    let resolver = Resolver()
    let mailboxes: [Mailbox<LaneMessage>]
    let startedAtMicroseconds = Clock.monotonicMicroseconds()
    /// Client connections of all loops, and places taken for such as are about to be accepted.
    let clientCount = Atomic<Int>(0)
    /// Most of them.
    let clientPlaces: Atomic<Int>
    /// How often a listener stopped because all places were taken.
    let listenersPaused = Atomic<UInt64>(0)
    /// Clients that were turned away because there were too many.
    let clientsRejected = Atomic<UInt64>(0)
    /// Lanes that have begun to serve.
    let lanesServing = Atomic<Int>(0)
    /// To be called once when all lanes serve.
    let whenServing: @Sendable () -> Void
    /// Throttles the line about descriptors.
    let exhaustion = Guarded(LogThrottle())
    /// None for a proxy that is alone.
    private let tls: Guarded<TLSContext?>

    init(
        _ running: Running, tls: TLSContext?, logger: Logger, launch: Launch, clientPlaces: Int
    ) throws(SocketError) {
        federation = running.federation
        atStart = running
        read = launch.read
        self.logger = logger
        whenServing = launch.whenServing
        self.clientPlaces = Atomic(clientPlaces)
        identity = PeerIdentity(federation: federation.name, site: running.site.name, proxy: running.proxy.name)
        board = StatusBoard(lanes: running.site.loops)
        var boxes: [Mailbox<LaneMessage>] = []
        for _ in 0..<running.site.loops { boxes.append(try Mailbox()) }
        mailboxes = boxes
        self.tls = Guarded(tls)
    }

    /// Certificates for the next session with a peer. A proxy that is alone has neither.
    var tlsContext: TLSContext {
        guard let context = tls.withLock({ $0 }) else { preconditionFailure("a proxy that is alone has met a peer") }
        return context
    }

    /// True for the only proxy of a federation of one.
    var isAlone: Bool { tls.withLock { $0 == nil } }

    /// Certificates for all sessions from now on.
    func replaceTLS(_ context: TLSContext) { tls.withLock { $0 = context } }

    /// Ends the process at once, with one line. The log is whole up to the last turn, and recovered at the next start.
    func fail(_ failure: DaemonFailure) -> Never {
        logger.critical("ending code=\(failure.code.rawValue) reason=\(failure)")
        _exit(failure.code.rawValue)
    }

    /// Why a certificate's names may not speak with us, or nil.
    func objection(to names: CertificateNames) -> String? {
        guard names.federation == federation.name else {
            return "its certificate names \(names), this federation is \(federation.name)"
        }
        guard let site = federation.sites.first(where: { $0.name == names.site }) else {
            return "its certificate names \(names), and the federation has no site \(names.site)"
        }
        guard site.proxies.contains(where: { $0.name == names.proxy }) else {
            return "its certificate names \(names), and site \(names.site) has no proxy \(names.proxy)"
        }
        return nil
    }
}
