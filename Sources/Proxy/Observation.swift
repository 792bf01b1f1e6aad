import Kernel
import WriteLog

/// What a lane tells whoever checks it: the simulator's checkers read these after every step. Off in the daemon.
public enum Observation: Sendable {
    /// A local write was committed: its version and outcome are final. `position` is zero for a write that stays at home.
    case committed(
        key: [UInt8], version: Version, content: Content, value: [UInt8], flags: UInt32, expiry: UInt64, position: Position)
    /// memcached's reply for a write with this version arrived from the server of this name.
    case landed(key: [UInt8], version: Version, content: Content, server: String)
    /// A record from another site was found to be below the top and dropped.
    case superseded(key: [UInt8], version: Version)
    /// A record from another site is applied, mirrored, and may be acknowledged.
    case applied(key: [UInt8], version: Version, origin: LaneID, position: Position)
    /// This lane told an origin lane that everything up to the position is applied or superseded here.
    case acknowledges(origin: LaneID, position: Position)
    /// A destination site acknowledged this lane's records up to the position.
    case acknowledged(site: SiteID, position: Position)
    /// The top of a key was written again, because a lower version was seen to land.
    case asserted(key: [UInt8], version: Version)
    /// Nobody knows whether a derived write happened, or what a top's value was: what the site holds is read and written again.
    case inDoubt(key: [UInt8])
    /// A server that missed more than can be told is flushed.
    case gaveUp(server: String)
    /// Keys live elsewhere from now on.
    case ringsTaken
    /// A key left the index: nothing below this version can arrive any more.
    case forgotten(key: [UInt8], version: Version)
}

/// Known bugs that the simulator plants, one at a time, to show that its checkers have teeth. Empty in the daemon.
public struct PlantedBugs: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt32
    /// Wraps the bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A landing below the top is not repaired.
    public static let noAssertion = PlantedBugs(rawValue: 1 << 0)
    /// Records are mirrored when they are sent to memcached, not when they have landed.
    public static let mirrorBeforeLanding = PlantedBugs(rawValue: 1 << 1)
    /// The index starts empty after a restart.
    public static let indexNotRebuilt = PlantedBugs(rawValue: 1 << 2)
    /// A remote record is acknowledged when it arrives, not when it is applied.
    public static let acknowledgeBeforeApplying = PlantedBugs(rawValue: 1 << 3)
    /// The clock ceiling is not persisted.
    public static let clockNotPersisted = PlantedBugs(rawValue: 1 << 4)
    /// A delete of a missing key is not replicated.
    public static let tombstonesDropped = PlantedBugs(rawValue: 1 << 5)
    /// A touch takes the value's version.
    public static let touchSharesVersion = PlantedBugs(rawValue: 1 << 6)
    /// Expiries are sent as what remained at the origin.
    public static let expiryRelative = PlantedBugs(rawValue: 1 << 7)
    /// Keys leave the index too early, so that a duplicate is applied after them.
    public static let forgetsTooEarly = PlantedBugs(rawValue: 1 << 8)
    /// Two pipelined commands of a connection overtake each other.
    public static let pipelineSwapped = PlantedBugs(rawValue: 1 << 9)
    /// Versions of remote records are not compared.
    public static let lastArrivalWins = PlantedBugs(rawValue: 1 << 10)
    /// Keys that a cut-off server missed are not repaired when it returns.
    public static let cutOffServerTrusted = PlantedBugs(rawValue: 1 << 11)
    /// A derived write whose reply never came is sent again.
    public static let derivedRetried = PlantedBugs(rawValue: 1 << 12)
    /// An acknowledged position is forgotten to be resumed from: the sender resumes behind it plus one.
    public static let resumeSkipsOne = PlantedBugs(rawValue: 1 << 13)

    /// What is younger than a barrier, and was there already, is not written again.
    public static let barrierTakesAll = PlantedBugs(rawValue: 1 << 14)

    /// A write that the backup decides for a recovering primary is answered before the primary has it.
    public static let answersEarly = PlantedBugs(rawValue: 1 << 15)

    /// New rings are taken as soon as the files have been read, whatever the siblings do.
    public static let ringsAtOnce = PlantedBugs(rawValue: 1 << 16)

    /// What moved to another server, and back, is still trusted where it first was.
    public static let movedKeysKept = PlantedBugs(rawValue: 1 << 17)

    /// A lane writes in slots that it gains before their old owner has handed them over.
    public static let slotsAtOnce = PlantedBugs(rawValue: 1 << 18)

    /// All of them by name, for the command line.
    public static let named: [(name: String, bug: PlantedBugs)] = [
        ("no-assertion", .noAssertion), ("mirror-before-landing", .mirrorBeforeLanding), ("index-not-rebuilt", .indexNotRebuilt),
        ("acknowledge-before-applying", .acknowledgeBeforeApplying), ("clock-not-persisted", .clockNotPersisted),
        ("tombstones-dropped", .tombstonesDropped), ("touch-shares-version", .touchSharesVersion),
        ("expiry-relative", .expiryRelative), ("forgets-too-early", .forgetsTooEarly), ("pipeline-swapped", .pipelineSwapped),
        ("last-arrival-wins", .lastArrivalWins), ("cut-off-server-trusted", .cutOffServerTrusted),
        ("derived-retried", .derivedRetried), ("resume-skips-one", .resumeSkipsOne),
        ("barrier-takes-all", .barrierTakesAll), ("answers-early", .answersEarly),
        ("rings-at-once", .ringsAtOnce), ("moved-keys-kept", .movedKeysKept),
        ("slots-at-once", .slotsAtOnce),
    ]
}
