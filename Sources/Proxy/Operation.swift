// One write under way at its owner.
//
//     admitted ─▶ intent in the log, sent to the authority (and, when certain, to the other server)
//              ─▶ decided by the authority's reply: committed at a position, or aborted
//              ─▶ landed everywhere: mirrored to the siblings, then shipped and acknowledged

import Kernel
import Memcache
import Replication
import WriteLog

final class Operation {
    enum Kind {
        /// A write whose version this lane stamped.
        case write
        /// A record of another site, or the top of a key, written under its own version.
        case landing
        /// Reads what the site holds, to write it again.
        case doubt
        /// Reads from the backup, to add to a recovering primary what it misses.
        case copy
    }

    let kind: Kind
    let key: [UInt8]
    /// Where the key lives.
    let place: Place
    /// Everything under way for the key. Invariant: set from when it is begun until it has landed, and alive as long, since what is under
    /// way keeps it among the lane's.
    unowned var keyWork: KeyWork?
    /// Its place among all operations under way; -1 while it is not one of them.
    fileprivate(set) var listed = -1
    /// The version that lands.
    let version: Version
    var effect: WriteEffect
    /// The write, for its command and payload.
    var write: Write?
    /// What lands: value, tombstone or touch.
    var content: Content
    /// When it was begun, in monotonic microseconds.
    var begunAt: UInt64 = 0
    /// The touch that was merged into a value's expiry.
    var touch = Version.zero
    var touchExpiry: UInt64 = 0
    /// Where the intent is in the log.
    var intent = LogOffset.zero
    var intentBytes: UInt32 = 0
    /// The server whose reply decides (index over primaries, then backups).
    var authority = -1
    /// Invariant: false until the authority has answered, if its answer matters.
    var decided = false
    /// Invariant: set only with `decided`; nothing lands, nothing is mirrored.
    var aborted = false
    /// Position of the committed record; zero if it stays at home or was committed elsewhere.
    var position = Position.zero
    /// Replies still to come from servers that were sent something.
    var outstanding = 0
    /// The authority's reply while the read-back is awaited.
    var heldReply: (kind: ReplyKind, bytes: [UInt8])?
    /// The client's answer while a server that readers look at first has yet to land it.
    var heldAnswer: (kind: ReplyKind, bytes: [UInt8])?
    /// While it was undecided another lane landed something older: which of the two memcached saw last, nobody knows.
    var overlapped = false
    /// Padded bytes that its outcome may still take in the log.
    var owed = 0
    /// What a doubt is about.
    var doubt: Doubt?
    /// A doubt's key was not on the server that was asked first.
    var askedBoth = false
    /// A later write of the key was sent: a copy must not be added after it.
    var cancelled = false
    var completion: Completion
    var requesters: [Requester] = []

    init(
        kind: Kind, key: [UInt8], version: Version, effect: WriteEffect, content: Content, completion: Completion, at place: Place
    ) {
        self.place = place
        self.kind = kind
        self.key = key
        self.version = version
        self.effect = effect
        self.content = content
        self.completion = completion
    }

    /// True while nobody can say whether the version will land.
    var isUndecided: Bool { !decided && !(kind == .landing) && !(kind == .copy) && !effect.isCertain }

    /// What is mirrored once it has landed.
    func tops(holder: LaneID) -> KeyTops {
        content == .touch
            ? KeyTops(key: key, version: .zero, content: .none, touch: version, touchExpiry: touchExpiry, holder: holder)
            : KeyTops(key: key, version: version, content: content, touch: touch, touchExpiry: touchExpiry, holder: holder)
    }
}

/// Everything under way for one key at its owner.
final class KeyWork {
    /// Sent and not yet landed everywhere, in the order of sending.
    var inFlight: [Operation] = []
    /// Not yet admitted, in order; while there are any, everything later queues behind them.
    var waiters: [Waiter] = []
    /// Where the key lives.
    let place: Place
    /// What waited is being admitted.
    var isDraining = false
    /// What was sent to each of the key's servers, the primary first: the highest value or deletion, and the highest touch.
    private var sent: (Sent, Sent) = (Sent(), Sent())

    private struct Sent {
        var version = Version.zero
        var touch = Version.zero
    }

    init(at place: Place) { self.place = place }

    var isIdle: Bool { inFlight.isEmpty && waiters.isEmpty }

    /// An earlier write is done at the server that decides, and may not be at the other one.
    func hasLanding(before operation: Operation) -> Bool {
        inFlight.prefix { $0 !== operation }.contains { $0.kind != .copy && !$0.aborted }
    }

    func noteSent(_ version: Version, _ content: Content, to server: Int) {
        if server == place.primary { Self.note(version, content, &sent.0) } else { Self.note(version, content, &sent.1) }
    }

    private static func note(_ version: Version, _ content: Content, _ sent: inout Sent) {
        if content == .touch {
            sent.touch = max(sent.touch, version)
        } else {
            sent.version = max(sent.version, version)
        }
    }

    /// True when something was sent to the server that makes this superfluous. A touch makes no older value superfluous.
    func isOutdated(_ version: Version, _ content: Content, at server: Int) -> Bool {
        let sent = server == place.primary ? self.sent.0 : self.sent.1
        return sent.version > version || (content == .touch && sent.touch > version)
    }
}

/// What waits for a key's earlier writes to be decided.
enum Waiter {
    case write(Write, Completion)
    case landing(ReplicatedRecord, assertion: Bool, Requester)
    case doubt(Doubt, Requester)
}

/// The operations under way, in no order: each knows its place, so that one that is done leaves without being looked for.
struct OperationList {
    private(set) var all: [Operation] = []

    var isEmpty: Bool { all.isEmpty }
    var count: Int { all.count }

    mutating func insert(_ operation: Operation) {
        precondition(operation.listed < 0, "operation \(operation.version) is begun twice")
        operation.listed = all.count
        all.append(operation)
    }

    /// Does nothing if it is not there.
    mutating func remove(_ operation: Operation) {
        guard operation.listed >= 0 else { return }
        let last = all.removeLast()
        if last !== operation {
            all[operation.listed] = last
            last.listed = operation.listed
        }
        operation.listed = -1
    }
}
