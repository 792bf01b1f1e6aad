import DequeModule
import Kernel
import Replication
import Ring

/// A connection to another lane, of the own group or of another site.
///
///     dialled: connecting ─connected─▶ greeted (hello sent) ─hello─▶ open
///     accepted:                         waiting for hello   ─hello─▶ open (hello sent back)
final class PeerLink {
    let connection: ConnectionID
    /// Whose certificate it is, or is to be.
    let identity: PeerIdentity
    let dialled: Bool
    var purpose: LinkPurpose?
    /// The other end, once it is known.
    var lane: LaneID?
    var isOpen = false
    /// When both had greeted, in monotonic microseconds.
    var openedAt: UInt64 = 0
    /// When anything was last heard, in monotonic microseconds.
    var heardAt: UInt64
    /// The latest reading of this lane's own monotonic clock that the other end has heard and echoed: it cannot have given this
    /// lane up before that reading and its patience.
    var echoedAt: UInt64
    /// This end is done with it; what is queued is still sent.
    var isHungUp = false
    /// The same two lanes have a newer one.
    var isReplaced = false
    /// Why it ended, once it has.
    var cause = CloseCause.lost

    init(connection: ConnectionID, identity: PeerIdentity, dialled: Bool, at now: UInt64) {
        self.connection = connection
        self.identity = identity
        self.dialled = dialled
        heardAt = now
        echoedAt = now
    }
}

/// Another lane of the group.
///
/// Alive exactly while its link is open; a silent link is closed.
final class Sibling {
    let id: LaneID
    var link: PeerLink?
    /// The link being dialled or greeted, not yet open.
    var pending: PeerLink?
    var state = LaneState.joining
    /// Its landings up to this sequence have been taken in by it … of ours; nil: it has not yet taken in the index dump.
    var mirrored: UInt64?
    /// Landings told on the link and not yet taken in: if the link breaks, nobody may ever compare them.
    var untaken: Deque<(sequence: UInt64, key: [UInt8])> = []
    /// Sequence of the index dump that was sent on this link.
    var dumpedAt: UInt64 = 0
    /// Highest sequence of its landings that was taken in here.
    var mirrorSeen: UInt64 = 0
    /// Its index dump has been taken in.
    var dumped = false
    /// Last promise: no landing at or below will be mirrored any more. Kept while it is dead.
    var floor: UInt64 = 0
    /// Last promise: no assertion of anything at or below will be asked for any more. Kept while it is dead.
    var groupFloor: UInt64 = 0
    /// The digest of the rings that it has said it places keys by, and of those that it was told to take; nil before it has said so on this link.
    var rings: UInt64?
    var nextRings: UInt64 = 0
    /// When it was last found to have others, in monotonic microseconds; and the ring that it greeted with then.
    var differedAt: UInt64?
    var otherRing: RingFingerprint?
    /// How far it is with taking the latter.
    var ringProgress = RingProgress.offered
    /// Servers were given copies of what they lack that it was not told of: it may have deleted their keys meanwhile.
    var copiedUntold = false
    /// It has said on this link what is stable.
    var toldStable = false
    var heardAt: UInt64?
    /// The latest reading of its monotonic clock, to be echoed.
    var clockHeard: UInt64 = 0
    /// The link broke under certain writes that it may still do: they are asked of others once it cannot any more.
    var mayStillWrite = false
    var retryAt: UInt64 = 0
    var attempts = 0
    /// Dialling failed since the last link: it is not merely slow.
    var unreachable = false
    /// … because nobody listens there: its process does not run.
    var isAbsent = false
    /// It was absent at some time since the last link: whoever answers now has just started.
    var wasAbsent = false

    init(id: LaneID) { self.id = id }

    var isAlive: Bool { link != nil }
    var isServing: Bool { isAlive && state == .serving }
}

/// A client's write that was passed on to its owner.
struct Forward {
    var write: Write
    var completion: Completion
    var hops: UInt8
    var target: LaneID
    /// The link broke before the reply came.
    var isLost = false
}

/// What an owner was asked to do for a key: to write its top again, or to apply a record of another site.
struct Assertion {
    enum Task {
        /// Write the top again, or what the site holds.
        case top(AssertionCause)
        /// Apply a record.
        case apply(ReplicatedRecord)
    }

    /// Who is told when it is done.
    enum Beneficiary {
        /// A server of this site missed the key.
        case repair(Int)
        /// A receiver of this lane, or another lane.
        case requester(Requester)
    }

    var key: [UInt8]
    var task: Task
    var hops: UInt8
    var beneficiaries: [Beneficiary]
    /// Whom it was sent to; nil: nobody yet.
    var target: LaneID?
    /// It is wanted once more: something below the top landed after it was asked for.
    var again = false
    /// What it holds back in the floors.
    var floor: UInt64
    /// The write that is in doubt, if that is the cause; else zero.
    var doubted = Version.zero
}

/// A value that is wanted from its holder.
struct Fetch {
    var key: [UInt8]
    var version: Version
    var holder: LaneID
    var requester: Requester
}
