/// Time as the core sees it: always handed in, never asked for.
///
/// Two clocks, because they answer two questions. The monotonic clock measures time-outs and ages and never jumps;
/// the wall clock stamps versions and expiries and may jump (`federation.md` section 9).
public struct Instant: Sendable, Hashable {
    /// Microseconds on a clock that only rises, from an arbitrary origin.
    public var monotonicMicroseconds: UInt64
    /// Microseconds since 1970-01-01 UTC by this machine's wall clock; may jump.
    public var wallMicroseconds: UInt64

    /// Makes an instant from both clocks' readings, each in microseconds.
    public init(monotonicMicroseconds: UInt64, wallMicroseconds: UInt64) {
        self.monotonicMicroseconds = monotonicMicroseconds
        self.wallMicroseconds = wallMicroseconds
    }
}
