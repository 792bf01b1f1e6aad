// Time as a loop lived it. A process that was stopped, a virtual machine that was frozen or moved, a disk that held a write
// up for seconds: meanwhile nobody could be heard, so nobody's silence may be held against them. Without this, a pause of a
// whole machine would make every lane declare every other dead at the moment it wakes.

import EventLoop
import Kernel

/// The two clocks, the monotonic one without the times in which the loop was held up.
struct LoopClock {
    /// A loop that comes so much too late was held up; anything less is ordinary load.
    static let heldUpMicrosecondsMin: UInt64 = 500_000

    private(set) var now: Instant
    /// Microseconds that the monotonic clock is behind the machine's.
    private var missed: UInt64 = 0

    /// Starts with both clocks as they are.
    init(_ machine: Instant) { now = machine }

    /// When to wake, on the machine's clock.
    func machineTime(_ deadline: UInt64) -> UInt64 {
        deadline.addingReportingOverflow(missed).overflow ? .max : deadline + missed
    }

    /// Takes a new reading, after a wait that was to end at `due` (on this clock). Returns how long the loop was held up, in
    /// microseconds; 0 if it was not.
    mutating func advance(to machine: Instant, due: UInt64) -> UInt64 {
        let lived = machine.monotonicMicroseconds - missed
        let expected = max(due, now.monotonicMicroseconds)
        var heldUp: UInt64 = 0
        if lived > expected, lived - expected >= Self.heldUpMicrosecondsMin {
            heldUp = lived - expected
            missed += heldUp
        }
        now = Instant(monotonicMicroseconds: lived - heldUp, wallMicroseconds: machine.wallMicroseconds)
        return heldUp
    }
}
