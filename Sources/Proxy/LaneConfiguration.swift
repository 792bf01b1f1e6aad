import Configuration
import Kernel

/// Everything a lane must know of the federation and of itself.
public struct LaneConfiguration: Sendable {
    /// The shared file, with the ring that is in effect.
    public internal(set) var federation: Federation
    /// The site file as it was read last, with the servers that are in effect.
    public internal(set) var site: Site
    /// The lane's own id.
    public let laneID: LaneID
    /// The names in this proxy's certificate.
    public let identity: PeerIdentity
    /// Known bugs to exhibit; the simulator's.
    public let planted: PlantedBugs
    /// From how many bytes on values are shared by whom they go to, instead of copied.
    public let sharedBytesMin: Int
    /// Bytes of committed records that are kept in memory for the streams; older ones, and what is larger, are read from the log.
    public let tailBytesMax: Int

    /// Finds the lane in the federation. The names must exist: the configuration was checked before.
    public init(
        federation: Federation, site: Site, proxy: String, lane: Int, planted: PlantedBugs = [],
        sharedBytesMin: Int = ByteQueue.idleBytesMax, tailBytesMax: Int = 32 << 20
    ) {
        guard let here = federation.sites.first(where: { $0.name == site.name }),
            let own = here.proxies.first(where: { $0.name == proxy })
        else { preconditionFailure("proxy \(proxy) is not at site \(site.name) of federation \(federation.name)") }
        precondition(lane >= 0 && lane < site.loops, "lane \(lane) of \(site.loops)")
        self.federation = federation
        self.site = site
        laneID = LaneID(site: SiteID(here.id), proxy: own.id, lane: UInt8(lane))
        identity = PeerIdentity(federation: federation.name, site: site.name, proxy: proxy)
        self.planted = planted
        self.sharedBytesMin = sharedBytesMin
        self.tailBytesMax = tailBytesMax
    }

    /// The own site, as the shared file has it.
    public var here: FederationSite { federation.sites.first { $0.id == laneID.site.raw }! }  // found in init

    /// Where the own proxy's clients connect.
    public var clientListeners: [ClientListener] { site.proxies.first { $0.name == identity.proxy }?.clients ?? [] }

    /// The same by number: at the start a listener's number is its place in the file.
    public var numberedListeners: [Int: ClientListener] {
        Dictionary(uniqueKeysWithValues: clientListeners.enumerated().map { ($0.offset, $0.element) })
    }

    /// The other sites, in file order.
    public var elsewhere: [FederationSite] { federation.sites.filter { $0.id != laneID.site.raw } }

    /// All lanes of the own group, this one too, in order.
    public var group: [LaneID] {
        here.proxies.flatMap { proxy in
            (0..<site.loops).map { LaneID(site: laneID.site, proxy: proxy.id, lane: UInt8($0)) }
        }.sorted()
    }
}
