// What a checker found. The invariants are those of `federation.md` section 13, with the simulator's own beside them.

/// The rules that the checkers hold the federation to.
public enum Invariant: String, Sendable, CaseIterable {
    /// 13.1: versions that land on a backend for a key only rise, save by a re-assertion of the top.
    case landingsRise = "1 landings rise"
    /// 13.2: a position is acknowledged only when every record up to it is applied or superseded.
    case acknowledgedIsApplied = "2 acknowledged is applied"
    /// 13.3: nothing is applied that was never committed, nothing committed is skipped, no version is given twice.
    case appliedIsCommitted = "3 applied is committed"
    /// 13.4: replies come in command order, one for each command that wants one, and well-formed.
    case repliesInOrder = "4 replies in order"
    /// 13.5: no acknowledged write is missing.
    case acknowledgedSurvives = "5 acknowledged survives"
    /// 13.6: at rest all sites hold the highest committed version.
    case sitesAgree = "6 sites agree"
    /// 13.6: the federation comes to rest at all: lag zero, indexes empty, every lane serving.
    case comesToRest = "6 comes to rest"
    /// What has left the index is stable: nothing below it commits or arrives any more.
    case forgottenIsStable = "7 forgotten is stable"
    /// The lane used its shell as the seam demands: files that exist, connections that are open.
    case seamIsKept = "8 seam is kept"
    /// Versions stay near the time: where all wall clocks are right, restarts carry no lane's clock away.
    case clocksKeepTime = "10 clocks keep time"
    /// A directed scenario did not end as it must.
    case scenario = "9 scenario's outcome"
}

/// One breach of a rule.
public struct Violation: Sendable, CustomStringConvertible {
    /// The rule.
    public let invariant: Invariant
    /// Virtual time, in microseconds.
    public let microseconds: UInt64
    /// Who, which key, which versions.
    public let detail: String

    /// `invariant 6 sites agree, at 61.000000 s: …`
    public var description: String {
        "invariant \(invariant.rawValue), at\(Story.seconds(microseconds)) s: \(detail)"
    }
}
