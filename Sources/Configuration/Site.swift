/// What is local to one site: the site file, checked against the shared file.
public struct Site: Sendable, Hashable {
    /// The site's name, as in the shared file.
    public var name: String
    /// Where this site's memcached for each ring server is, in the ring's order.
    public var primaries: [Backend]
    /// The backup pool; its ring is over these names and weights. May be empty.
    public var backups: [Backend]
    /// This site's proxies, in the shared file's order.
    public var proxies: [SiteProxy]
    /// Event loops of every proxy of the site; each is a lane.
    public var loops: Int
    /// When a write is answered.
    public var durability: Durability
    /// What a read answers when no server can be reached.
    public var unreachable: UnreachableReads
    /// Keys per second that a refill in the background looks up at most; 0: servers are refilled on demand only.
    public var refillKeysPerSecond = Site.refillKeysPerSecondByDefault
    /// What that is unless a site file says otherwise.
    public static let refillKeysPerSecondByDefault = 20_000
    /// What `flush_all` does.
    public var flush: FlushPolicy
    /// Time-outs and intervals.
    public var times: SiteTimes
    /// Bytes of a log segment, a power of two.
    public var segmentBytes: Int
    /// Which of a key's servers a read asks.
    public var reads = Reads.primary
    /// What all clients of a proxy together may have.
    public var clients = ClientPolicy()
    /// As whom a proxy runs; nil is whoever started it.
    public var account: SiteAccount?

    /// When a write is answered (`federation.md` section 4).
    public enum Durability: String, Sendable, Hashable, CaseIterable {
        /// The log has reached the kernel.
        case memory
        /// The log has been synced to the disk.
        case disk
    }

    /// What a read answers when no server can be reached.
    public enum UnreachableReads: String, Sendable, Hashable, CaseIterable {
        /// As if the key were absent.
        case miss
        /// `SERVER_ERROR`.
        case error
    }

    /// Which of a key's servers a read asks, while both can be trusted to have all that was written.
    public enum Reads: String, Sendable, Hashable, CaseIterable {
        /// The primary.
        case primary
        /// The primary; for keys that are found to be hot, primary and backup in turn.
        case hotInTurn = "hot-in-turn"
        /// Primary and backup in turn.
        case inTurn = "in-turn"
        /// Whichever has less to do for the asking loop.
        case leastOutstanding = "least-outstanding"
    }

    /// What `flush_all` does.
    public enum FlushPolicy: String, Sendable, Hashable, CaseIterable {
        /// Flushes this site's pool.
        case local
        /// Flushes the pools of all sites: whatever was written before, anywhere, is gone.
        case federation
        /// Is refused.
        case deny
    }

    /// Makes a site of parts that were checked already or that a test vouches for.
    public init(
        name: String, primaries: [Backend], backups: [Backend], proxies: [SiteProxy], loops: Int, durability: Durability,
        unreachable: UnreachableReads, flush: FlushPolicy, times: SiteTimes, segmentBytes: Int
    ) {
        self.name = name
        self.primaries = primaries
        self.backups = backups
        self.proxies = proxies
        self.loops = loops
        self.durability = durability
        self.unreachable = unreachable
        self.flush = flush
        self.times = times
        self.segmentBytes = segmentBytes
    }
}

/// One memcached server of the site.
public struct Backend: Sendable, Hashable {
    /// Its name on the ring.
    public var name: String
    /// Its weight on the ring.
    public var weight: UInt32
    /// Where it listens.
    public var address: HostPort

    /// Makes a server of its parts.
    public init(name: String, weight: UInt32, address: HostPort) {
        self.name = name
        self.weight = weight
        self.address = address
    }
}

/// One proxy of the site, with what only its own machine needs to know.
public struct SiteProxy: Sendable, Hashable {
    /// Its name, as in the shared file.
    public var name: String
    /// Where clients connect.
    public var clients: [ClientListener]
    /// Where peers connect; the shared file's endpoint unless given.
    public var replication: HostPort
    /// Where the admin endpoint listens: loopback or a unix socket.
    public var admin: ListenAddress
    /// Folder of the lanes' logs.
    public var folder: String
    /// Path of the certificate authority's certificate (PEM).
    public var authorityPath: String
    /// Path of this proxy's certificate chain (PEM).
    public var certificatePath: String
    /// Path of this proxy's private key (PEM).
    public var keyPath: String
    /// Most client connections at a time.
    public var clientConnectionsMax: Int

    /// Makes a proxy of its parts.
    public init(
        name: String, clients: [ClientListener], replication: HostPort, admin: ListenAddress, folder: String,
        authorityPath: String, certificatePath: String, keyPath: String, clientConnectionsMax: Int
    ) {
        self.name = name
        self.clients = clients
        self.replication = replication
        self.admin = admin
        self.folder = folder
        self.authorityPath = authorityPath
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.clientConnectionsMax = clientConnectionsMax
    }
}

/// Where something listens.
public enum ListenAddress: Sendable, Hashable, CustomStringConvertible {
    /// A TCP address.
    case tcp(HostPort)
    /// A unix socket's path.
    case unix(path: String)

    /// `host:port` or `unix:path`.
    public var description: String {
        switch self {
        case .tcp(let address): address.description
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// Time-outs and intervals of a site, in milliseconds.
public struct SiteTimes: Sendable, Hashable {
    /// How long a memcached server may take to accept a connection.
    public var backendConnectMilliseconds = 1_000
    /// How long a memcached server may take to answer.
    public var backendTimeoutMilliseconds = 1_000
    /// First wait before a broken connection is tried again; doubles, with jitter, up to `retryMaxMilliseconds`.
    public var retryMinMilliseconds = 100
    /// Longest wait before a broken connection is tried again.
    public var retryMaxMilliseconds = 2_000
    /// How often promises and heartbeats are sent.
    public var heartbeatMilliseconds = 100
    /// How long a silent sibling counts as alive.
    public var siblingTimeoutMilliseconds = 1_000
    /// How long a silent remote site's connection is kept.
    public var streamTimeoutMilliseconds = 3_000
    /// How often the log is synced when no write waits for it.
    public var syncMilliseconds = 200
    /// How long a client may take from the first byte of a request to its last.
    public var clientRequestMilliseconds = 30_000
    /// How long a client may read nothing of what waits for it.
    public var clientStalledMilliseconds = 60_000
    /// How long a client may send no command; 0 is for ever.
    public var clientIdleMilliseconds = 0

    /// The defaults.
    public init() {}
}
