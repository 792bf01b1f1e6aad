// The clock's ceiling: how far versions and promises may go before the log says more, so that no later life of the lane goes below
// them (`federation.md` section 9).
//
//     ……… given ………│ clock │                        │ ceiling, in the log │
//                  └── here a life may have ended ──┘ and here the next one's clock begins
//
// A wall clock that was not set back has passed all that was given before. But nobody can know that it was not; so each restart may set
// the lane's clock ahead by the distance, and its versions are above those that its siblings give meanwhile. The distance is short, and
// shorter for a clock that is ahead already: restarts in a row must not carry it away from the time.

import Kernel
import WriteLog

extension LaneNode {
    /// It is to be renewed, well before it is reached.
    var isCeilingNear: Bool { ceiling < ceiling(atHalf: true) }

    /// Moves the ceiling ahead of the clock; with it goes what a restart must not forget.
    func logCeiling() {
        ceiling = max(ceiling, ceiling(atHalf: false))
        appendCeiling()
    }

    func appendCeiling() {
        stableLogged = stableFloor
        log.append(
            LogRecord(
                kind: .ceiling, position: committed, version: Version(stamp: ceiling, origin: laneID), reference: stableFloor))
        ceilingsToSync.append((log.tail, ceiling))
    }

    /// A stamp ahead of the wall clock, and of whatever was heard from clocks that are ahead of it.
    private func ceiling(atHalf: Bool) -> UInt64 {
        let share: UInt64 = atHalf ? 2 : 1
        let ofWall = now.wallMicroseconds + Limits.ceilingAheadMicroseconds / share
        return max(
            HybridClock.stamp(atWall: ofWall), clock.last + HybridClock.stamp(atWall: ceilingAheadOfClockMicroseconds / share))
    }

    /// Where others' clocks are far ahead and this lane's disk is slow, theirs may have passed each ceiling by the time it is on the
    /// disk.
    private var ceilingAheadOfClockMicroseconds: UInt64 {
        Limits.ceilingAheadOfClockMicroseconds << UInt64(min(ceilingsTooLow, Limits.ceilingDoublingsMax))
    }

    /// True when a version may be given: if durability is to mean the disk, then none above the ceiling that stands there, or a
    /// machine that loses its power would give it again. Otherwise asks for the ceiling to be raised.
    func mayStamp() -> Bool {
        guard configuration.site.durability == .disk, clock.floorForLaterTicks(at: now) >= durableCeiling else { return true }
        // What the log cannot take waits for that, or is refused with the reason.
        guard log.hasRoom(forBytes: 4_096, owed: owedBytes) else { return true }
        if !waitsForCeiling {
            waitsForCeiling = true
            logCeiling()
        }
        return false
    }

    /// The log is on the disk up to some address.
    func ceilingsSynced() {
        let before = durableCeiling
        while let first = ceilingsToSync.first, first.offset <= log.synced {
            ceilingsToSync.removeFirst()
            durableCeiling = first.ceiling
        }
        guard waitsForCeiling else { return }
        if clock.floorForLaterTicks(at: now) < durableCeiling {
            (waitsForCeiling, ceilingsTooLow) = (false, 0)
            giveRoom()
            drainAll()
        } else if durableCeiling > before, log.hasRoom(forBytes: 4_096, owed: owedBytes) {
            ceilingsTooLow += 1
            logCeiling()
        }
    }
}
