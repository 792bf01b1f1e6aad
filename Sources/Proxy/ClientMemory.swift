// What the clients of one lane hold in buffers, against the lane's share of `memory-max`.
//
//     0 ────────────── resumeBelow ──────── pauseAbove ──────── bytesMax
//       nobody waits       │   tight: who holds more than    │    the worst are closed, first
//                          │   a fair share sends no more    │    of those who do not read
//                          └── all may send again
//
// A paused client is not read from, and its commands go one at a time; the replies that it is owed reach it all the same. So
// what a paused client holds shrinks by itself, unless what it holds is half a request: of those, one at a time may go on.

import DequeModule
import Kernel

/// The sum of what a lane's clients hold, and whether it is too much.
struct ClientMemory {
    /// The lane's share of `memory-max`.
    private(set) var bytesMax: Int
    /// Invariant: the sum of all sessions' `care.heldBytes`.
    private(set) var heldBytes = 0
    /// Sessions that hold anything.
    private(set) var holders = 0
    /// Between passing `pauseAbove` and falling below `resumeBelow`.
    private(set) var isTight = false
    /// Paused clients, longest first; may name some that are gone or go on, each once.
    var paused: Deque<ConnectionID> = []
    /// The paused client that may finish its request all the same.
    var favoured: ConnectionID?
    /// Past the ceiling, and somebody who does not read has become worse.
    var mustLook = false
    /// Since when ticks have found it past the ceiling without its becoming less, in monotonic microseconds, and how much it was then.
    private(set) var over: (since: UInt64, bytes: Int)?
    /// Since when, and what of its request had arrived when it was last looked at, in monotonic microseconds.
    var favouredSince: UInt64 = 0
    var favouredLook: (at: UInt64, bytes: Int) = (0, 0)

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    var pauseAbove: Int { bytesMax / 4 * 3 }
    var resumeBelow: Int { bytesMax / 2 }
    var isOver: Bool { heldBytes > bytesMax }
    /// What a client may hold while memory is tight. Somebody always holds more.
    var fairShare: Int { pauseAbove / max(holders, 1) }

    enum Change { case none, becameTight, becameEasy }

    /// A client holds more or less than before.
    mutating func change(from before: Int, to after: Int) -> Change {
        heldBytes += after - before
        holders += (after > 0 ? 1 : 0) - (before > 0 ? 1 : 0)
        precondition(heldBytes >= 0 && holders >= 0, "clients hold \(heldBytes) bytes, \(holders) of them")
        return reconsider()
    }

    /// The ceiling is another one from now on.
    mutating func limit(to bytes: Int) -> Change {
        bytesMax = bytes
        return reconsider()
    }

    /// With the tick. As long as it becomes less, it ends well, if slowly.
    mutating func noteOver(at monotonic: UInt64) {
        let known = over
        over = isOver ? (monotonic, heldBytes) : nil
        if isOver, let known, heldBytes >= known.bytes { over = known }
    }

    private mutating func reconsider() -> Change {
        if !isTight && heldBytes > pauseAbove {
            isTight = true
            return .becameTight
        }
        if isTight && heldBytes < resumeBelow {
            isTight = false
            favoured = nil
            return .becameEasy
        }
        return .none
    }
}

/// What one client holds, and how it behaves.
struct ClientCare {
    /// What it was last found to hold.
    var heldBytes = 0
    /// Replies that wait for an earlier one, or for the rest of theirs.
    var parkedReplyBytes = 0
    /// What its commands take that have no reply yet.
    var commandBytes = 0
    /// It sends no more until memory is easy again.
    var isThrottled = false
    /// Since when, in monotonic microseconds.
    var throttledAt: UInt64 = 0
    /// The lane's list of paused clients names it.
    var isListedAsPaused = false
    /// Its socket was full when it was last written to.
    var isStalled = false
    /// Part of a record of TLS has arrived, and may be the beginning of a request.
    var isHalfReceived = false
    /// When it began the request that is not complete; nil when none is.
    var requestBegunAt: UInt64?
    /// The lane's list of half-sent requests names it.
    var isWatched = false

    /// Replies wait for it that cannot leave.
    var isOwedMuch: Bool { isStalled || parkedReplyBytes >= Limits.countedReplyBytesMin }
}

/// Why a lane closes a client that has done nothing wrong by the protocol.
enum ClientFault: String, CaseIterable {
    case slowRequest = "request_too_slow"
    case idle = "idle"
    case memory = "memory"
}
