import Status

/// What a lane cannot know by itself of the process that it runs in; the shell brings it up to date now and then.
public struct ProcessFacts: Sendable {
    /// The process's id.
    public var pid: Int32 = 0
    /// The event library and its version.
    public var eventLibrary = ""
    /// CPU time of the process in user mode.
    public var userMicroseconds: UInt64 = 0
    /// CPU time of the process in the kernel.
    public var systemMicroseconds: UInt64 = 0
    /// Clients of the other loops, and such as have a place and are not yet served.
    public var clientsElsewhere = 0
    /// Clients that there may be: connections-max, or fewer if the process may not open so many files.
    public var clientPlaces = 0
    /// How often clients had to wait in the kernel's queue because there were too many.
    public var listenersPaused: UInt64 = 0
    /// Clients that were turned away.
    public var clientsRejected: UInt64 = 0
    /// What the other loops last reported.
    public var otherLanes: [LaneStatus] = []
    /// What memcached servers last told the other loops.
    public var otherAnswers = StatAnswers()

    /// Nothing known yet.
    public init() {}
}
