import EventLoop

/// Every bound of the daemon in one place; the unit is last in the name (style 5).
enum DaemonLimits {
    /// Rounds of obeying and reporting in one turn; what is left then waits for the next turn.
    static let roundsPerTurnMax = 8
    /// Open files that a lane needs at least besides its clients: memcached servers, peers, segments, eventfds; …
    static let filesPerLaneMin = 96
    /// … and those that are neither servers nor peers.
    static let filesPerLaneBesides = 48
    /// How long a client's replies wait for those behind them while the loop has other things to do.
    static let patienceMicroseconds: UInt64 = 2_000
    /// Open files that a process needs besides its lanes': listeners, certificates, preambles, the admin endpoint.
    static let filesPerProcessMin = 32 + preamblesMax + HTTPService.filesMax
    /// How often a lane looks at its time-outs and hangs up its report.
    static let housekeepingMicroseconds: UInt64 = 100_000
    /// A queue that held so much, or was left over from an earlier turn, is reported as drained when it runs empty.
    static let drainedReportBytesMin = 16 * 1024
    /// Rounds of encrypting and writing for one connection in one turn.
    static let encryptRoundsMax = 4
    /// What TLS itself may have to say beyond a client's replies before the client has read any of it.
    static let protocolBytesMax = 64 << 10
    /// How long a connection that is being closed may take to send what it still has.
    static let closingMicroseconds: UInt64 = 5_000_000
    /// How long a new peer connection may take to send its preamble.
    static let preambleMicroseconds: UInt64 = 5_000_000
    /// New peer connections that may be waiting for their preamble at a time.
    static let preamblesMax = 64
    /// Peers of a lane that may be shaking hands at a time.
    static let strangersMax = 32
    /// How long an accepted peer or client may take for the TLS handshake.
    static let handshakeMicroseconds: UInt64 = 5_000_000
    /// Longest file of names and passwords that is read; memcached's eight longest lines take less.
    static let credentialsFileBytesMax = 4_096
    /// How long lanes may take to finish leaving.
    static let leaveMicroseconds: UInt64 = 4_500_000
    /// When the process ends, come what may, after it was told to.
    static let leaveMicrosecondsMax: UInt64 = 4_900_000
}
