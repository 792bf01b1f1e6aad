// Where lanes hang up what they are doing, and the admin endpoint reads it: the one thing that loops share, behind a lock,
// touched ten times a second.

import Status
import EventLoop

/// The last report of each lane.
final class StatusBoard: Sendable {
    private let lanes: Guarded<[LaneStatus?]>

    init(lanes: Int) { self.lanes = Guarded(Array(repeating: nil, count: lanes)) }

    /// Replaces a lane's report.
    func publish(_ status: LaneStatus, lane: Int) { lanes.withLock { $0[lane] = status } }

    /// The report of every lane; nil before it has begun.
    var all: [LaneStatus?] { lanes.withLock { $0 } }

    /// The reports of all lanes that have begun, in order.
    func read() -> [LaneStatus] { all.compactMap { $0 } }
}
