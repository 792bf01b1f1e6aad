import Ring

/// What must be identical at every site: the shared file, checked. Its ring is compared in every handshake.
public struct Federation: Sendable, Hashable {
    /// The federation's name; peers of another federation are refused.
    public var name: String
    /// The ring's flavour; `ketama` unless a site is being migrated.
    public var flavour: RingFlavour
    /// The primaries' names and weights, in file order.
    public var servers: [RingServer]
    /// Number of slots, a power of two.
    public var slotCount: Int
    /// Longest value that clients may store, in bytes (memcached's `-I`).
    public var itemBytesMax: Int
    /// All sites, in file order.
    public var sites: [FederationSite]
    /// What crosses to other sites, by key; the first pattern that matches decides, `value` when none does.
    public var crossing: [CrossingRule]

    /// Makes a federation of parts that were checked already (`SiteFiles`) or that a test vouches for.
    public init(
        name: String, flavour: RingFlavour, servers: [RingServer], slotCount: Int, itemBytesMax: Int, sites: [FederationSite],
        crossing: [CrossingRule]
    ) {
        self.name = name
        self.flavour = flavour
        self.servers = servers
        self.slotCount = slotCount
        self.itemBytesMax = itemBytesMax
        self.sites = sites
        self.crossing = crossing
    }
}

/// One site, as all sites know it.
public struct FederationSite: Sendable, Hashable {
    /// 1 to 255; never changes, never reused.
    public var id: UInt8
    /// Such as `north`.
    public var name: String
    /// The site's proxies and where their siblings and the other sites reach them.
    public var proxies: [FederationProxy]

    /// Makes a site of its parts.
    public init(id: UInt8, name: String, proxies: [FederationProxy]) {
        self.id = id
        self.name = name
        self.proxies = proxies
    }
}

/// One proxy, as all sites know it.
public struct FederationProxy: Sendable, Hashable {
    /// 1 to 255 within the site; never changes, never reused.
    public var id: UInt8
    /// Such as `n1`; unique in the federation.
    public var name: String
    /// Where peers connect for replication and group links.
    public var replication: HostPort

    /// Makes a proxy of its parts.
    public init(id: UInt8, name: String, replication: HostPort) {
        self.id = id
        self.name = name
        self.replication = replication
    }
}

/// A host name or address with a port.
public struct HostPort: Sendable, Hashable, CustomStringConvertible {
    /// Name, IPv4 or IPv6 address (without brackets).
    public var host: String
    /// TCP port.
    public var port: UInt16

    /// Makes an address of its parts.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// `host:port`, IPv6 in brackets.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Which keys cross to other sites, and how (`commands.md` section 3).
public struct CrossingRule: Sendable, Hashable {
    /// What happens to a write of a matching key.
    public enum Policy: String, Sendable, Hashable, CaseIterable {
        /// The item itself is replicated.
        case value
        /// A deletion is replicated instead of the item.
        case invalidate
        /// Nothing is replicated.
        case none
    }

    /// The key begins with these bytes …
    public var prefix: String
    /// … and ends with these.
    public var suffix: String
    /// What happens then.
    public var policy: Policy

    /// Makes a rule; an empty prefix or suffix matches every key.
    public init(prefix: String, suffix: String, policy: Policy) {
        self.prefix = prefix
        self.suffix = suffix
        self.policy = policy
    }
}
