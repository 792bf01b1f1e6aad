/// Every bound of the core in one place; the unit is last in the name (style 5).
enum Limits {
    /// How long a server may be left alone before it is asked for a sign of life.
    static let probeMicroseconds: UInt64 = 1_000_000
    /// How often the name of a server that is connected is looked up, in microseconds.
    static let lookUpMicroseconds: UInt64 = 30_000_000
    /// Replies to a client that wait, if more are under way, until there are so many bytes.
    static let patientBytesMax = 16 << 10
    /// Replies that one client connection may have outstanding before its commands wait.
    static let clientRepliesMax = 256
    /// The same for a client whose replies' size is not known yet.
    static let clientRepliesFirst = 4
    /// Bytes that may wait for one client to read them before its commands wait.
    static let clientOutgoingBytesMax = 4 << 20
    /// Bytes of commands that may wait behind an earlier command of the same client before it is paused.
    static let clientIncomingBytesMax = 1 << 20
    /// Work of one client that is done in one turn, so that one who sends without end leaves the others their share. A command is one.
    static let clientWorkPerTurnMax = 256
    /// Keys of a retrieval that are as much work as a command.
    static let keysPerWork = 16
    /// How much work a `stats` is.
    static let statsWork = 64
    /// Keys of a `gat` that are on their way at a time: each is a write.
    static let touchesMax = 64
    /// Keys of a retrieval that are asked for at a time, if they are of values whose size is not known yet …
    static let partKeysFirst = 32
    /// … and of small ones.
    static let partKeysMax = 128
    /// Bytes of values that are asked for at a time, as far as the last ones tell.
    static let partBytes = 1 << 20
    /// What a command under way takes besides its bytes.
    static let commandUnderWayBytes = 256
    /// What a key of a retrieval takes besides its bytes.
    static let gatheredKeyBytes = 16
    /// Past so many bytes of a client's commands that are under way, its next ones wait.
    static let clientCommandBytesMax = 4 << 20
    /// Replies that a client waits for whose places are kept for the next ones.
    static let slotsKeptMax = 64
    /// Less than that of a client's replies is not counted as held: it leaves with the turn. A shell reports from here on that a
    /// queue ran empty.
    static let countedReplyBytesMin = 16 << 10
    /// Bytes that may wait for a client to read them while memory is tight. Above what a shell reports as drained (16 KiB).
    static let throttledOutgoingBytesMax = 64 << 10
    /// How long a favoured client may send nothing before another is, in microseconds …
    static let favourLookMicroseconds: UInt64 = 1_000_000
    /// … and how long it is favoured at most. All of them held half-sent at once would be too much.
    static let favourMicroseconds: UInt64 = 5_000_000
    /// How long clients may hold more than the ceiling before those go, too, that read what they get, in microseconds.
    static let memoryOverMicroseconds: UInt64 = 1_000_000
    /// How often clients' times are looked at, in microseconds.
    static let clientLookMicroseconds: UInt64 = 500_000
    /// How long a client must have sent no command to give back what its buffers took, in microseconds …
    static let quietMicroseconds: UInt64 = 2_000_000
    /// … and how many clients are looked at for it each time that clients' times are.
    static let quietLooksMax = 256
    /// Shortest time between two log lines of a kind about clients, in microseconds.
    static let clientReportMicroseconds: UInt64 = 10_000_000
    /// Bytes that may wait for a client that has not said who it is.
    static let strangerOutgoingBytesMax = 16 << 10
    /// Bytes of such a client that may wait before it is paused.
    static let strangerIncomingBytesMax = 64 << 10
    /// How often a lane tells of clients that did not get in, in microseconds.
    static let complaintMicroseconds: UInt64 = 10_000_000
    /// Keys that a cut-off server may miss before it is flushed instead of repaired.
    static let missedKeysMax = 100_000
    /// Repairs of a returned server that are under way at a time.
    static let repairsMax = 64
    /// Copies from a backup into a recovering primary that are under way at a time.
    static let copiesMax = 64
    /// A server whose clock says more has lost its mind, or is none.
    static let serverTimeSecondsMax: UInt64 = 1 << 40
    /// Keys that are looked up at a time at a server that is refilled.
    static let refillLooksMax = 64
    /// Keys that are kept of a server's list; if there are more, the list is taken in parts.
    static let refillKeysMax = 262_144
    /// How often a key is looked for that the server lacks and the owner was asked to copy …
    static let refillTriesMax = 5
    /// … and how long in between, in microseconds.
    static let refillTryMicroseconds: UInt64 = 100_000
    /// How often the list is gone through at most, if each time a key was found to be missing.
    static let refillRoundsMax = 3
    /// How often a server's keys are gone through before nothing is taken to be there that lives elsewhere: as long as something is found, and
    /// at least so many times.
    static let clearingRoundsMin = 2
    /// How often a server is gone through, always later, for keys that could not be copied.
    static let incompleteRefillsMax = 7
    /// How many times as long as a server may be silent a write waits for room in the log while segments come.
    static let roomPatienceFactor: UInt64 = 5
    /// How long a proxy that is silent keeps the others from changing the rings, in microseconds.
    static let ringPatienceMicroseconds: UInt64 = 60_000_000
    /// memcached begins to count its uptime at 2 s, and its clock may be a second behind: it started that much later than it tells.
    static let serverStartEarlySeconds: UInt64 = 3
    /// How often it is said what a change of the rings waits for, in microseconds.
    static let ringComplaintMicroseconds: UInt64 = 10_000_000
    /// How long a refill waits that could not begin or was broken off, in microseconds …
    static let refillRetryMicroseconds: UInt64 = 1_000_000
    /// … and when the server does not list its keys.
    static let refillRefusedMicroseconds: UInt64 = 60_000_000
    /// How often the operator hears how far a refill has come, in microseconds.
    static let refillReportMicroseconds: UInt64 = 10_000_000
    /// Keys whose copy was asked for lately.
    static let refillsAskedMax = 65_536
    /// How long a key that was read from a backup is not asked to be copied again, in microseconds.
    static let refillPauseMicroseconds: UInt64 = 10_000_000
    /// How long a doubted write may be settled under its own version, which keeps every site from forgetting, in microseconds.
    static let doubtPatienceMicroseconds: UInt64 = 60_000_000
    /// How long a server that missed a barrier keeps the barrier from being forgotten, in microseconds.
    static let barrierPatienceMicroseconds: UInt64 = 60_000_000
    /// Flushes that a lane keeps for later.
    static let barriersDueMax = 1_024
    /// Keys that are written again at a time after a barrier.
    static let wipedMax = 512
    /// How long the lane that holds a value may be away before the value is given up for lost, in microseconds.
    static let holderPatienceMicroseconds: UInt64 = 60_000_000
    /// Keys that two indexes tell of otherwise, and that wait for a lane that is away; more are written again at once.
    static let disputedKeysMax = 4_096
    /// How often a write, record or assertion may be passed on between lanes that disagree about the owner.
    static let hopsMax = 2
    /// Bytes that a stream may have under way, sent and not acknowledged.
    static let windowBytesMax = 16 << 20
    /// Records of one stream that are applied at a time.
    static let applyRecordsMax = 128
    /// Bytes of one stream that are applied at a time.
    static let applyBytesMax = 512 << 10
    /// Records that a stream may have under way.
    static let windowRecordsMax = 8_192
    /// Bytes of the outgoing queue past which a stream hands over no more records.
    static let streamOutgoingBytesMax = 4 << 20
    /// Samples of position, floor and bytes that are kept for promises and lag.
    static let samplesMax = 4_096
    /// Bytes of the log that writes must leave free for the outcomes of writes under way.
    static func logReserveBytes(_ segmentBytes: Int) -> Int { min(4 << 20, segmentBytes / 16) }
    /// How far ahead of the wall clock the persisted clock ceiling is set, in microseconds; half of it is left when it is renewed. So
    /// much may a restart set the lane's clock ahead; an idle lane logs a ceiling, and syncs it, each time that half of it is over.
    static let ceilingAheadMicroseconds: UInt64 = 2_000_000
    /// The same for a lane's clock that is ahead of the wall clock: restarts must not add up.
    static let ceilingAheadOfClockMicroseconds: UInt64 = 500_000
    /// How often that is doubled where the disk is too slow for it.
    static let ceilingDoublingsMax = 8
    /// Pinned keys of the index that are looked at in a tick, whether they may go.
    static let heldLooksMax = 2_048
    /// How late a lane must have come to its tick for the log to mention it, in microseconds.
    static let stallWarningMicroseconds: UInt64 = 500_000
    /// A link that ends sooner while one of its lanes starts was one of two that they made, in microseconds.
    static let youngLinkMicroseconds: UInt64 = 1_000_000
    /// Longest time that an orderly leave waits for its streams, in microseconds.
    static let leaveMicroseconds: UInt64 = 3_500_000
    /// How long ago an absolute expiry must have passed to be meant as dead on arrival, in microseconds.
    static let deadOnArrivalMicroseconds: UInt64 = 86_400_000_000
    /// How far ahead of this machine's clock another lane's may be before it is no longer listened to, in microseconds.
    static let clockRefusedMicroseconds: UInt64 = 86_400_000_000
    /// One of so many keys that are read is looked at, on average.
    static let hotSampleReads = 64
    /// Keys that are counted at a time. One that is read more often than one in so many is among them.
    static let hotKeysMax = 64
    /// Keys that an operator is told of.
    static let hotKeysToldMax = 32
    /// How often a sixteenth of what was counted is forgotten, in microseconds: half of it is over after some eleven of them.
    static let hotForgetMicroseconds: UInt64 = 1_000_000
    /// A key that was seen less often lately is not told of: it may be chance.
    static let hotSamplesMin = 4.0
    /// Where hot keys are read from both servers: a key's share of all reads in percent from which on it is …
    static let hotSharePercentMin = 1.0
    /// … if it is read so often in a second.
    static let hotReadsPerSecondMin = 100.0
    /// Keys that are read from both servers at a time.
    static let hotInTurnMax = 16
    /// Clock offset of a peer above which an alarm is raised, in microseconds.
    static let clockAlarmMicroseconds: UInt64 = 500_000
}
