// The machine's two clocks, read once per turn of a loop and handed to the core from there.

import CEvent
import Kernel

/// Reads the machine's clocks.
public enum Clock {
    /// Both clocks, now.
    public static func now() -> Instant {
        Instant(monotonicMicroseconds: meridian_monotonic_microseconds(), wallMicroseconds: meridian_wall_microseconds())
    }

    /// Microseconds on the clock that only rises.
    public static func monotonicMicroseconds() -> UInt64 { meridian_monotonic_microseconds() }

    /// Microseconds since 1970 by the wall clock.
    public static func wallMicroseconds() -> UInt64 { meridian_wall_microseconds() }
}
