// What a proxy tells its operators: the JSON of the admin endpoint's /status, which `meridian status`, `lag` and `hot`
// read and /metrics is made from. Lanes fill it, the daemon serves it, the command line prints it.

/// One proxy process, as its admin endpoint reports it.
public struct ProxyStatus: Codable, Sendable {
    /// Name of the federation.
    public var federation: String
    /// Name of the site.
    public var site: String
    /// Name of the proxy within its site.
    public var proxy: String
    /// Meridian's version, digits and dots only.
    public var version: String
    /// Process id.
    public var pid: Int32
    /// Seconds since the daemon started.
    public var uptimeSeconds: Double
    /// One entry for each event loop.
    public var lanes: [LaneStatus]

    /// Makes a report of its parts.
    public init(
        federation: String, site: String, proxy: String, version: String, pid: Int32, uptimeSeconds: Double, lanes: [LaneStatus]
    ) {
        self.federation = federation
        self.site = site
        self.proxy = proxy
        self.version = version
        self.pid = pid
        self.uptimeSeconds = uptimeSeconds
        self.lanes = lanes
    }
}

/// One lane: an event loop with its log, backends, siblings and streams.
public struct LaneStatus: Codable, Sendable {
    /// The lane's id, such as `s1p1l0`.
    public var lane: String
    /// `joining`, `serving`, `leaving` or `stopped`.
    public var state: String
    /// Whole numbers that only rise, by metric name without prefix (`commands_get`, `records_committed` …).
    public var counters: [String: UInt64] = [:]
    /// Numbers that rise and fall, by metric name (`client_connections`, `index_entries` …).
    public var gauges: [String: Double] = [:]
    /// One entry for each other site.
    public var destinations: [DestinationStatus] = []
    /// One entry for each memcached server of the site.
    public var backends: [BackendStatus] = []
    /// One entry for each other lane of the group.
    public var siblings: [SiblingStatus] = []
    /// What a change of the ring waits for; nil while there is none.
    public var ringChange: String?
    /// What the lane's log holds.
    public var log = LogStatus()
    /// What the lane's clients read most; nil from a proxy that is too old to say.
    public var hot: HotStatus?

    /// An empty report for a lane.
    public init(lane: String, state: String) {
        self.lane = lane
        self.state = state
    }
}

/// What one lane has committed and one site has not yet acknowledged (`federation.md` section 10).
public struct DestinationStatus: Codable, Sendable {
    /// Name of the destination site.
    public var site: String
    /// `streaming`, `connecting`, `catching up`, `refused`.
    public var state: String
    /// Why it is not streaming, for people; empty while it is.
    public var message: String
    /// Age of the oldest unacknowledged record in seconds; 0 when there is none.
    public var lagSeconds: Double
    /// Records committed and not acknowledged.
    public var lagRecords: UInt64
    /// Bytes of those records.
    public var lagBytes: UInt64
    /// Records acknowledged per second, lately.
    public var acknowledgedPerSecond: Double
    /// Seconds since anything was heard from the site; nil when never.
    public var lastHeardSeconds: Double?
    /// Highest position that the site has acknowledged.
    public var acknowledgedPosition: UInt64

    /// Makes an entry of its parts.
    public init(
        site: String, state: String, message: String, lagSeconds: Double, lagRecords: UInt64, lagBytes: UInt64,
        acknowledgedPerSecond: Double, lastHeardSeconds: Double?, acknowledgedPosition: UInt64
    ) {
        self.site = site
        self.state = state
        self.message = message
        self.lagSeconds = lagSeconds
        self.lagRecords = lagRecords
        self.lagBytes = lagBytes
        self.acknowledgedPerSecond = acknowledgedPerSecond
        self.lastHeardSeconds = lastHeardSeconds
        self.acknowledgedPosition = acknowledgedPosition
    }
}

/// One memcached server as one lane sees it.
public struct BackendStatus: Codable, Sendable {
    /// The server's name on its ring.
    public var name: String
    /// `primary` or `backup`.
    public var role: String
    /// `host:port`.
    public var address: String
    /// `up`, `recovering`, `repairing` or `down`.
    public var state: String
    /// Why it is not up, for people; empty while it is.
    public var message: String
    /// Keys that were written while the server was cut off and are not yet repaired.
    public var missedKeys: Int
    /// Keys that live on other servers now may still be there; nil from a proxy that is too old to say.
    public var holdsMoved: Bool?
    /// Reads that the lane has asked of it; nil from a proxy that is too old to say.
    public var reads: UInt64?
    /// Answers that it owes the lane; nil from a proxy that is too old to say.
    public var pending: Int?

    /// Makes an entry of its parts.
    public init(name: String, role: String, address: String, state: String, message: String, missedKeys: Int) {
        self.name = name
        self.role = role
        self.address = address
        self.state = state
        self.message = message
        self.missedKeys = missedKeys
    }
}

/// Another lane of the group as this lane sees it.
public struct SiblingStatus: Codable, Sendable {
    /// Its id, such as `s1p2l0`.
    public var lane: String
    /// `serving`, `joining`, `leaving`, `dead`.
    public var state: String
    /// Seconds since anything was heard from it; nil when never.
    public var lastHeardSeconds: Double?

    /// Makes an entry of its parts.
    public init(lane: String, state: String, lastHeardSeconds: Double?) {
        self.lane = lane
        self.state = state
        self.lastHeardSeconds = lastHeardSeconds
    }
}

/// What a lane's log holds.
public struct LogStatus: Codable, Sendable {
    /// Bytes ever appended.
    public var tailBytes: UInt64 = 0
    /// Bytes known to be on the disk.
    public var syncedBytes: UInt64 = 0
    /// First segment still kept.
    public var firstSegment: UInt64 = 0
    /// Segment being written.
    public var lastSegment: UInt64 = 0
    /// Position of the last committed record.
    public var committedPosition: UInt64 = 0
    /// Why writes are refused (a full disk), for people; empty while they are not.
    public var message: String = ""

    /// An empty log.
    public init() {}
}
