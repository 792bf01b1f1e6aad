// The one seam between the core and its shells (`Docs/architecture.md`).
//
//     shell ── Input, now ──▶ LaneNode.step ──▶ Effects ──▶ shell
//
// A turn of the loop: the shell hands in every ready event, then writes the lane's log buffer to the current segment,
// and only then writes every dirty connection's outgoing queue. So no memcached sees a write that the kernel does not
// already hold in the log.

import Configuration
import Kernel
import Memcache
import WriteLog

/// What the end of a connection says about the other end.
public enum CloseCause: Sendable {
    /// It broke, or took too long: the other end may be alive.
    case lost
    /// One end would not have the other: trying again will not help until somebody acts.
    case refused
    /// Nobody listens there: the process does not run.
    case absent
    /// A client that took nothing of what was sent to it for too long.
    case stalled
}

/// What a shell reports.
public enum Input: Sendable {
    /// A connection was accepted; its id was taken from the lane's connection table.
    case accepted(ConnectionID, Acceptance)
    /// A connection that the core asked for is established (for peers: authenticated too).
    case connected(ConnectionID)
    /// Bytes were appended to the connection's incoming queue.
    case received(ConnectionID)
    /// What has arrived from a client ends in the middle of something that cannot be read before the rest of it is there, a record of
    /// TLS; or, with false, no longer does. What can be read was appended to the connection's incoming queue, as with `received`.
    case halfReceived(ConnectionID, Bool)
    /// The connection's outgoing queue ran empty.
    case drained(ConnectionID)
    /// The other end takes no more for now: bytes were left in the connection's outgoing queue. `drained` follows.
    case stalled(ConnectionID)
    /// A client sends no more, and may still be owed replies: it reads on. `close` follows, once it is owed nothing.
    case ended(ConnectionID)
    /// The connection is gone, or could not be made; `reason` is for people. The shell releases the id afterwards.
    case closed(ConnectionID, reason: String, cause: CloseCause = .lost)
    /// The name of the memcached at the other end means another address than the one that the connection leads to; or, just before
    /// `connected`, the connection leads to another address than the last one did.
    case moved(ConnectionID)
    /// Everything in the log below this offset is on the disk.
    case synced(LogOffset)
    /// The segment file exists at its full size, so that writing into it cannot run out of space.
    case segmentReady(UInt64)
    /// The segment file could not be made; the shell tries again on the next `prepareSegment`.
    case segmentFailed(UInt64, reason: String)
    /// Answer to `readLog`: bytes of one segment from the asked offset, fewer only at the end of what was written.
    case logRead(LogOffset, [UInt8])
    /// `nextDeadline` has passed.
    case deadline
    /// The names and passwords of the listeners that ask for them, by their number, from now on.
    case credentials([Int: Credentials])
    /// The site's files were read anew, and nothing in them has changed that cannot change while a lane runs (`SiteChange`). Listeners
    /// are named by a number that they keep; those that are gone may still have clients. Other servers are taken when the whole group
    /// can (`RingChange.swift`).
    case reconfigured(Federation, Site, listeners: [Int: ClientListener])
    /// A client of another loop of the process has asked for counting to begin anew.
    case resetStats
    /// The operator wants the process to end: hand over and finish (SIGTERM).
    case leave
}

/// Who was accepted.
public enum Acceptance: Sendable {
    /// A memcached client, where it comes from, the address that it has reached (nil over a unix socket), and the number of the listener
    /// where it came in.
    case client(from: String, at: HostPort? = nil, listener: Int = 0)
    /// A peer whose certificate was checked; its names are as in the certificate.
    case peer(PeerIdentity)
}

/// Names in a peer's certificate.
public struct PeerIdentity: Sendable, Hashable, CustomStringConvertible {
    /// The federation's name.
    public var federation: String
    /// The site's name.
    public var site: String
    /// The proxy's name.
    public var proxy: String

    /// Makes an identity of its parts.
    public init(federation: String, site: String, proxy: String) {
        self.federation = federation
        self.site = site
        self.proxy = proxy
    }

    /// `north/n1 of shop`
    public var description: String { "\(site)/\(proxy) of \(federation)" }
}

/// Where the core wants a connection to.
public enum Endpoint: Sendable, Hashable {
    /// A memcached server.
    case backend(HostPort)
    /// The same for a while, to list its keys; where it is reached says nothing of where the server is (`moved`).
    case listing(HostPort)
    /// A lane of a peer proxy: the shell dials `address`, checks that the certificate names `identity`, and has the
    /// connection handed to the loop numbered `lane` modulo the peer's loops. A lane of this very process is reached without TLS.
    case peer(identity: PeerIdentity, address: HostPort, lane: UInt8)
}

/// What the shell is to do, in order, after the step.
public enum Effect: Sendable {
    /// Make a connection; its id was taken from the connection table.
    case connect(ConnectionID, Endpoint)
    /// Close once the outgoing queue is empty (`flush`) or at once. No `closed` input follows; the shell releases the id.
    case close(ConnectionID, flush: Bool)
    /// Look up anew the name under which this memcached was dialled; answered by `moved`, or not at all.
    case lookUp(ConnectionID)
    /// Stop reading from this connection until told otherwise.
    case pause(ConnectionID)
    /// Read from this connection again.
    case resume(ConnectionID)
    /// This client has been quiet for a while: whatever the shell keeps for it and can do without is to be given back.
    case quiet(ConnectionID)
    /// Make the segment file with this number at full size; answered by `segmentReady` or `segmentFailed`.
    case prepareSegment(UInt64)
    /// Delete the segment file with this number.
    case deleteSegment(UInt64)
    /// Sync the log up to what is written now; answered by `synced`.
    case sync
    /// Read `count` bytes of the log from this offset, within one segment; answered by `logRead`.
    case readLog(LogOffset, count: Int)
    /// A client wants counting to begin anew: the other loops of the process are told.
    case resetStats
    /// One line for the operator: an event with key=value details, never a key's value or a secret.
    case log(LogLevel, String)
    /// The lane has finished leaving; the process may end once all lanes have.
    case finished
}

/// How much a log line matters.
public enum LogLevel: Sendable {
    /// Expected and worth knowing.
    case notice
    /// Something is not as it should be; service goes on.
    case warning
    /// Something is refused or lost until somebody acts.
    case error
}

/// What a step asks of the shell. The shell keeps one value and clears it between turns.
public struct Effects {
    /// Things to do, in order.
    public var actions: [Effect] = []
    /// Connections whose outgoing queue has bytes; may name one twice.
    public var dirty: [ConnectionID] = []
    /// Clients whose outgoing queue has bytes and will soon have more, since further replies are under way: one system call can carry
    /// them all. They may wait for as long as the loop has other things to do, and not much longer than it takes to answer.
    public var patient: [ConnectionID] = []

    /// Nothing to do.
    public init() {}

    /// Forgets what has been done, keeping the memory.
    public mutating func removeAll() {
        actions.removeAll(keepingCapacity: true)
        dirty.removeAll(keepingCapacity: true)
        patient.removeAll(keepingCapacity: true)
    }
}
