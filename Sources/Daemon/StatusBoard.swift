// Where lanes hang up what they are doing, and the admin endpoint reads it: the one thing that loops share, behind a lock,
// touched ten times a second.

import EventLoop
import Proxy
import Status

/// The last report of each lane.
final class StatusBoard: Sendable {
    private let lanes: Guarded<[LaneStatus?]>
    /// What memcached servers last told each lane.
    private let answers: Guarded<[StatAnswers]>

    init(lanes: Int) {
        self.lanes = Guarded(Array(repeating: nil, count: lanes))
        answers = Guarded(Array(repeating: StatAnswers(), count: lanes))
    }

    /// Replaces a lane's report.
    func publish(_ status: LaneStatus, lane: Int) { lanes.withLock { $0[lane] = status } }

    /// Replaces what servers told a lane.
    func publish(_ told: StatAnswers, lane: Int) { answers.withLock { $0[lane] = told } }

    /// What servers told every lane.
    var allAnswers: [StatAnswers] { answers.withLock { $0 } }

    /// The report of every lane; nil before it has begun.
    var all: [LaneStatus?] { lanes.withLock { $0 } }

    /// The reports of all lanes that have begun, in order.
    func read() -> [LaneStatus] { all.compactMap { $0 } }
}
