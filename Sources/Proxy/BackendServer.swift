// One memcached server as one lane sees it: a single pipelined connection, a first-in-first-out queue that pairs replies
// with what was asked, and the server's state.
//
//     idle ──retry──▶ connecting ──▶ greeting (asks for stats: which incarnation?) ──▶ repairing ──nothing missed──▶ up
//       ▲                                                                                  │
//       └────────────────────────── broken, silent, or malformed ──────────────────────────┘

import Configuration
import DequeModule
import Kernel
import Memcache
import Replication
import WriteLog

/// What the next reply on a backend connection answers.
struct Expected: Slot {
    enum Purpose {
        /// A client's read. `fallback`: a miss is asked of the key's other server.
        case read(ConnectionID, UInt64, fallback: Bool)
        /// Those keys of a client's retrieval that this server was asked for; the reply comes in parts.
        case gather(Fragment)
        /// A write's own reply; the lane decides by it if the server is the authority.
        case write(Operation)
        /// The post-image behind a derived write.
        case readBack(Operation)
        /// The read of a copy or of a doubt.
        case operationRead(Operation)
        /// A landing, or the authority's outcome at the other server.
        case landing(Operation)
        /// Nothing: by its reply everything before it has been done there, which somebody waits for.
        case passed(Operation)
        /// Whether a recovering server has a key.
        case look(RefillLook, of: Refill)
        /// The deletion of a key that lives elsewhere.
        case clear(Clearing)
        /// Nothing: an idle server shows that it still answers.
        case probe
        /// A delete that makes a refusal the same at both servers, of a key that the server misses it for if it is lost; nobody waits
        /// for it.
        case tidy([UInt8]?)
        /// The greeting.
        case greeting
        /// A flush for a client.
        case flush(FlushWork)
        /// A flush of a server that missed more than can be repaired.
        case amnesia
        /// A `stats` for a client.
        case stats(StatsWork)

        /// Nothing in it depends on where keys live.
        var outlastsRings: Bool {
            switch self {
            case .greeting, .probe, .amnesia, .look, .flush, .stats: true
            case .read, .gather, .write, .readBack, .operationRead, .landing, .passed, .tidy, .clear: false
            }
        }
    }

    var purpose: Purpose
    var shape: ReplyShape
    /// Bytes of the command that are kept in `sent`, to be asked of another server if this one fails.
    var sentBytes: Int
    /// When it was queued, in monotonic microseconds.
    var at: UInt64

    /// A value goes on to somebody who may share it.
    var sharesValue: Bool {
        switch purpose {
        case .read, .gather, .readBack, .operationRead: true
        default: false
        }
    }

    @inline(__always) static var vacant: Expected { Expected(purpose: .probe, shape: .line, sentBytes: 0, at: 0) }
}

/// A `flush_all` of one client, over all servers.
final class FlushWork {
    let client: ConnectionID
    let reply: UInt64
    var outstanding = 0
    var failure: [UInt8]?

    init(client: ConnectionID, reply: UInt64) {
        self.client = client
        self.reply = reply
    }
}

/// A `stats` of one client, over all servers.
final class StatsWork {
    let client: ConnectionID
    let reply: UInt64
    let what: GatheredStats
    var outstanding = 0

    init(client: ConnectionID, reply: UInt64, what: GatheredStats) {
        self.client = client
        self.reply = reply
        self.what = what
    }
}

final class BackendServer {
    enum Phase: Equatable {
        case idle
        case connecting
        case greeting
        case repairing
        case up
    }

    /// Its place among the site's primaries, then backups.
    var index: Int
    let isBackup: Bool
    private(set) var definition: Backend

    var phase = Phase.idle
    var connection: ConnectionID?
    var expected = SlotQueue<Expected>()
    /// Commands of the reads that are under way, to be asked of the backup if need be.
    let sent = ByteQueue()
    /// Pid and start time, as the server last told; nil before it ever did.
    var incarnation: [UInt8]? {
        didSet { tag = incarnation.map { Token.tag(server: definition.name, incarnation: $0) } ?? 0 }
    }
    /// What its CAS values are tagged with.
    private(set) var tag: UInt64 = 0
    /// It is looked for at another address than the one where it was last met: another memcached there is not a new life of the old
    /// one, and what it holds is nobody knows what.
    var hasMoved = false
    /// Start time in seconds, as the server last told.
    var startedAt: UInt64 = 0
    /// A server that came back with an empty memory, or was flushed: those that may hold what it lost; for a primary the backups, for
    /// a backup the primaries.
    var recoveringFrom: Set<Int> = []
    /// Those of them from which it has been refilled by this lane.
    var refilledFrom: Set<Int> = []
    /// How often it has been gone through with something left over.
    var incompleteRefills = 0
    /// When it last came to lack something, having lost what it held or gained keys of others, by whoever knows of the latest time; when
    /// it last lost all, which is no later; and the time up to which what it lacks was made good. All are stamps, and only rise, so that lanes
    /// agree in whatever order they hear of them.
    var lacking: UInt64 = 0
    var emptied: UInt64 = 0
    var refilledTo: UInt64 = 0
    /// When this lane last learned that it had been emptied, or that a flush of it was done, in monotonic microseconds.
    var emptyKnownAt: UInt64 = 0
    /// When that was asked which the last known life of it answered last, greetings aside, in monotonic microseconds.
    var livedAt: UInt64 = 0
    /// The incarnation that some lane has refilled …
    var refilled: [UInt8]?
    /// … and when this one was told so of a primary, in monotonic microseconds: reads no longer need the backup, but for a while other
    /// lanes may still read there.
    var refilledAt: UInt64?
    /// Keys that were written while the server could not be; not yet repaired.
    var missed = KeyMap<AssertionCause>()
    /// The same keys in the order in which they were missed; a key may stand here after it was repaired.
    var missedOrder: Deque<[UInt8]> = []
    /// More were missed than can be repaired: the server is flushed instead, and not trusted before it has said so.
    var missedTooMany = false
    /// Keys whose repair is under way.
    var repairing: Set<[UInt8]> = []
    var attempts = 0
    var retryAt: UInt64 = 0
    var connectingSince: UInt64 = 0
    /// When it was last asked anything, in monotonic microseconds.
    var askedAt: UInt64 = 0
    /// When its name was last looked up.
    var lookedUpAt: UInt64 = 0
    /// When it last sent anything.
    var heardAt: UInt64 = 0
    var message = "not yet connected"
    /// The log says what is known of it.
    var isLogged = false
    /// The youngest barrier that it was emptied for by this lane.
    var emptiedFor = Version.zero
    /// When keys last left it for other servers, and up to when it has been cleared of such: as stamps, by whoever knows of the latest.
    var movedAt: UInt64 = 0
    var clearedTo: UInt64 = 0
    /// It would have to be flushed, being new here, or having got keys back; but siblings may have done that, and use it already. Until that
    /// is known the lane serves nobody.
    var mayBeInUse = false
    /// Siblings whose writes it lacks.
    var cutOffAt: Set<LaneID> = []
    /// What was last told to the siblings.
    var toldCutOff = false
    /// When they were last told that it lacks nothing any more, in monotonic microseconds.
    var caughtUpAt: UInt64?
    var toldEmptied: UInt64 = 0
    var toldLacking: UInt64 = 0
    var reads: UInt64 = 0

    init(index: Int, isBackup: Bool, definition: Backend) {
        self.index = index
        self.isBackup = isBackup
        self.definition = definition
    }

    /// What the files say of it now, except where it is.
    func reweigh(as read: Backend) { definition.weight = read.weight }

    /// Where it is from now on.
    func move(to address: HostPort) {
        definition.address = address
        hasMoved = true
    }

    /// Its name means another address from now on.
    func noteMoved() { hasMoved = true }

    var recovering: Bool { !recoveringFrom.isEmpty }
    /// A miss may mean that it was lost, and not that there is nothing.
    var lacksItems: Bool { recovering && refilledAt == nil }
    /// Keys that once lived on it, and live elsewhere now, may still be there: if they came to live on it again, they would be out of
    /// date.
    var holdsMoved: Bool { movedAt > clearedTo }
    /// It lacks writes that this lane made: what it holds cannot be trusted until they are repaired.
    var isBehind: Bool { missedTooMany || !missed.isEmpty }
    /// Takes writes: its connection stands and its memory is known.
    var acceptsWrites: Bool { phase == .up || phase == .repairing }
    /// It can be reached, and lacks no write of this lane.
    var isUp: Bool { phase == .up }
    /// It can be reached, and what it holds of a key is what this lane wrote.
    func holds(_ key: [UInt8]) -> Bool { acceptsWrites && (missed.isEmpty || missed[key] == nil) }
    func holds(_ key: UnsafeRawBufferPointer) -> Bool { acceptsWrites && (missed.isEmpty || missed[Array(key)] == nil) }
    /// … and what every other lane of the group wrote.
    func holdsForAll(_ key: [UInt8]) -> Bool { cutOffAt.isEmpty && holds(key) }
    func holdsForAll(_ key: UnsafeRawBufferPointer) -> Bool { cutOffAt.isEmpty && holds(key) }

    /// Since when it owes an answer and says nothing, in monotonic microseconds; nil when it owes none. However long its line is: as
    /// long as answers come, it lives.
    var silentSince: UInt64? { expected.first.map { max($0.at, heardAt) } }

    /// For clients: `server cache1 (127.0.0.1:11211)`.
    var title: String { "server \(definition.name) (\(definition.address))" }

    /// For operators.
    var stateName: String {
        switch phase {
        case .idle, .connecting, .greeting: "down"
        case .repairing: "repairing"
        case .up: recovering ? "recovering" : "up"
        }
    }

    func miss(_ key: [UInt8], _ how: AssertionCause) {
        guard !missedTooMany else { return }
        if missed[key] == nil { missedOrder.append(key) }
        missed[key] = max(how, missed[key] ?? how)
        if missed.count > Limits.missedKeysMax { missEverything() }
    }

    /// Nobody knows any more what it lacks, or all that it holds is obsolete: it is flushed before it is used again.
    func missEverything() {
        missedTooMany = true
        missed.removeAll()
        missedOrder.removeAll()
    }
}
