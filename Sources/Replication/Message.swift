import Kernel
import WriteLog

// What lanes say to each other, on group links and on streams (`Docs/stream-format.md`). Each message is one frame.

/// What a connection between lanes is for.
public enum LinkPurpose: UInt8, Sendable {
    /// Between lanes of one group.
    case group = 1
    /// From a lane to another site.
    case stream = 2
}

/// Why a key is to be written again.
public enum AssertionCause: UInt8, Sendable, Comparable {
    /// Its touch may not have landed; its value has, and may have been replaced since by one that nobody remembers.
    case touched = 0
    /// Something below its top has landed, or may have.
    case overtaken = 1
    /// A server lacks it: it is written again even if everybody else has let go of it long since.
    case missed = 2
    /// Nobody knows whether a derived write of it happened: unless something younger is known, what the site holds is read, and
    /// written again.
    case doubt = 3

    /// By how much must be done.
    public static func < (one: AssertionCause, two: AssertionCause) -> Bool { one.rawValue < two.rawValue }
}

/// What a lane answers that is asked for the value of a version.
public enum FetchAnswer: Sendable, Equatable {
    /// It no longer has it.
    case unknown
    /// Here it is.
    case found(ReplicatedRecord)
    /// It is writing something younger, which will be mirrored once it has landed.
    case superseded
}

/// How far a lane is in its life.
public enum LaneState: UInt8, Sendable {
    /// Started, not yet up to date.
    case joining = 1
    /// Owns its share of the slots.
    case serving = 2
    /// Hands over and will end.
    case leaving = 3
}

/// How far a lane is with taking other rings.
public enum RingProgress: UInt8, Sendable, Comparable {
    /// It has read of them, or of none.
    case offered = 0
    /// So have all its siblings that are not gone, as it has heard from each of them.
    case agreed = 1
    /// It has nothing under way any more by those that are in effect.
    case drained = 2

    /// By how far it is.
    public static func < (one: RingProgress, two: RingProgress) -> Bool { one.rawValue < two.rawValue }
}

/// The first message on every connection, both ways.
public struct Hello: Sendable, Equatable {
    /// Version of the messages; peers of another version are refused.
    public static let protocolVersion: UInt16 = 1

    /// The speaker's protocol version.
    public var version: UInt16
    /// What the connection is for.
    public var purpose: LinkPurpose
    /// Who speaks.
    public var lane: LaneID
    /// How many lanes the speaker's proxy has.
    public var loops: UInt8
    /// The speaker's clock.
    public var stamp: UInt64
    /// The speaker's wall clock in microseconds.
    public var wall: UInt64
    /// The position that a stream's sender will send first.
    public var resume: Position
    /// The federation's name.
    public var federation: String
    /// The ring's fingerprint, encoded.
    public var ring: [UInt8]

    /// Makes a greeting of its parts.
    public init(
        purpose: LinkPurpose, lane: LaneID, loops: UInt8, stamp: UInt64, wall: UInt64, resume: Position, federation: String,
        ring: [UInt8], version: UInt16 = Hello.protocolVersion
    ) {
        self.version = version
        self.purpose = purpose
        self.lane = lane
        self.loops = loops
        self.stamp = stamp
        self.wall = wall
        self.resume = resume
        self.federation = federation
        self.ring = ring
    }
}

/// A client's write on its way to the owner, with all that the owner needs to decide its outcome.
public struct ForwardedWrite: Sendable, Equatable {
    /// The command's place in its enumeration (`WriteEffect`).
    public var effect: UInt8
    /// The reply's shape (`ReplyShape`), as a small number.
    public var shape: UInt8
    /// The client's flags of the payload.
    public var clientFlags: UInt32
    /// The command's exptime as the client gave it: it counts from when memcached gets it.
    public var exptime: Int64
    /// The key's bytes.
    public var key: [UInt8]
    /// The command as memcached gets it.
    public var command: [UInt8]
    /// Where the payload begins in the command.
    public var payloadStart: UInt32
    /// Length of the payload.
    public var payloadCount: UInt32

    /// Makes a forwarded write of its parts.
    public init(
        effect: UInt8, shape: UInt8, clientFlags: UInt32, exptime: Int64, key: [UInt8], command: [UInt8], payloadStart: UInt32,
        payloadCount: UInt32
    ) {
        self.effect = effect
        self.shape = shape
        self.clientFlags = clientFlags
        self.exptime = exptime
        self.key = key
        self.command = command
        self.payloadStart = payloadStart
        self.payloadCount = payloadCount
    }
}

/// One message.
public enum Message: Sendable, Equatable {
    /// First on every connection, both ways.
    case hello(Hello)
    /// The speaker will not go on, for the reason given to people; it closes.
    case refuse(String)

    // Group links.

    /// A sign of life. `floor`: no landing of mine below or at it will be mirrored any more. `groupFloor`: nor will I ask
    /// for an assertion of anything below or at it. `stable`: nothing below or at it concerns anybody in the group any more. `sentAt`: the speaker's monotonic clock; `echo`: the latest such reading that
    /// it has heard from the listener, 0 for none.
    case heartbeat(
        stamp: UInt64, state: LaneState, floor: UInt64, groupFloor: UInt64, stable: UInt64, sentAt: UInt64, echo: UInt64)
    /// A landing: `sequence` counts the speaker's landings; 0 in the index dump at a link's beginning.
    case mirror(sequence: UInt64, tops: KeyTops)
    /// The index dump is over; it holds all landings up to `sequence`.
    case dumped(sequence: UInt64)
    /// Everything up to `sequence` has been taken in.
    case mirrored(sequence: UInt64)
    /// A lane of another site will never send this site anything at or below `floor` again.
    case remoteFloor(lane: LaneID, loops: UInt8, floor: UInt64)
    /// A client's write, for the owner. `stamp`: the speaker's clock, which is above whatever the client was told is written.
    case forward(request: UInt64, hops: UInt8, stamp: UInt64, write: ForwardedWrite)
    /// The reply to a forwarded write, as the client gets it. `stamp`: the speaker's clock, which is above the write's version.
    case forwardReply(request: UInt64, kind: UInt8, stamp: UInt64, reply: [UInt8])
    /// A record from another site, for the owner.
    case apply(request: UInt64, hops: UInt8, record: ReplicatedRecord)
    /// The speaker's tops for a key are to be written again by the owner. `doubted`: the write that is in doubt, if that is the cause;
    /// else zero.
    case assert(request: UInt64, hops: UInt8, cause: AssertionCause, doubted: Version, tops: KeyTops)
    /// An `apply` or `assert` is done: landed or superseded, and mirrored.
    case done(request: UInt64)
    /// The value of a version is wanted from its holder.
    case fetch(request: UInt64, key: [UInt8], version: Version)
    /// Answer to `fetch`.
    case fetched(request: UInt64, answer: FetchAnswer)
    /// A recovering primary missed a key that the backup has; the owner may copy it.
    case refill(hops: UInt8, key: [UInt8])
    /// A server (index over primaries, then backups) lacks writes of the speaker's, or no longer does. `emptied`: when it last lost all that
    /// it held; `lacking`: when it last came to lack something, by that or by gaining keys of others; as far as the speaker knows.
    case backend(server: UInt16, cutOff: Bool, emptied: UInt64, lacking: UInt64)
    /// A server that had lost what it held has been refilled, for all emptyings up to this stamp; it was this incarnation.
    case refilled(server: UInt16, upTo: UInt64, incarnation: [UInt8])

    /// The rings that the speaker places keys by, and those that it has been told to take next (0: none), each as a digest; and how far it
    /// is with taking them.
    case ring(inEffect: UInt64, next: UInt64, progress: RingProgress)

    /// Keys left a server for others at this stamp, and what had left it up to the other one has been deleted there; as far as the speaker knows.
    case moved(server: UInt16, at: UInt64, clearedTo: UInt64)

    /// The speaker owns slots from now on that were the listener's: is anything of them still under way there?
    case handOver(request: UInt64)
    /// Answer to `handOver`: nothing is; whatever landed is mirrored. `stamp`: the speaker's clock, which is above all that it wrote.
    case handedOver(request: UInt64, stamp: UInt64)

    // Streams.

    /// Origin to destination: a committed record.
    case record(ReplicatedRecord)
    /// Origin to destination: nothing at or below `floor` will be sent (again).
    case promise(floor: UInt64, stamp: UInt64, wall: UInt64, committed: Position)
    /// Destination to origin: everything up to the position is applied or superseded here.
    case acknowledge(Position)
}
