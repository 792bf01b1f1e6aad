// Where a key lives, at every site: the ring and the slots are the same everywhere, the addresses are not, and the owner
// depends on which lanes are alive.

import Configuration
import Kernel
import Ring
import Status

/// Where one key lives at one site.
public struct Placement: Sendable, Equatable {
    /// The key.
    public var key: String
    /// Its slot.
    public var slot: Int
    /// The site.
    public var site: String
    /// `cache1 10.1.0.21:11211`
    public var primary: String
    /// `backup1 10.1.0.23:11211`, or `-` when the site has no backups.
    public var backup: String
    /// `n1 s1p1l0`; `unknown` when no proxy of the site answered.
    public var owner: String

    /// Places a key at a site. `statuses` are the reports of the site's proxies that answered.
    public init(key: String, federation: Federation, site: Site, statuses: [ProxyStatus]) {
        self.key = key
        self.site = site.name
        slot = Slots.slot(of: key, count: federation.slotCount)
        let ring = Continuum(flavour: federation.flavour, servers: federation.servers)
        let primary = site.primaries[ring.server(for: key)]
        self.primary = "\(primary.name) \(primary.address)"
        let backups = Continuum(
            flavour: federation.flavour, servers: site.backups.map { RingServer(name: $0.name, weight: $0.weight) })
        backup = backups.isEmpty ? "-" : site.backups[backups.server(for: key)].described
        owner = Self.owner(of: slot, federation, site, statuses)
    }

    private static func owner(of slot: Int, _ federation: Federation, _ site: Site, _ statuses: [ProxyStatus]) -> String {
        let lanes = servingLanes(statuses.filter { $0.site == site.name && $0.federation == federation.name })
        guard let owner = Rendezvous.owner(of: slot, among: lanes) else { return "unknown" }
        let member = federation.sites.first { $0.id == owner.site.raw }
        let proxy = member?.proxies.first { $0.id == owner.proxy }?.name ?? "?"
        return "\(proxy) \(owner)"
    }

    /// The lanes that serve, by their own word and, for proxies that were not asked, by their siblings'.
    static func servingLanes(_ statuses: [ProxyStatus]) -> [LaneID] {
        let own = statuses.flatMap(\.lanes)
        var states: [String: String] = [:]
        for sibling in own.flatMap(\.siblings) { states[sibling.lane] = sibling.state }
        for lane in own { states[lane.lane] = lane.state }
        return states.filter { $0.value == "serving" }.keys.compactMap { LaneID($0) }.sorted()
    }
}

extension Backend {
    fileprivate var described: String { "\(name) \(address)" }
}

extension LaneID {
    /// Reads `s1p2l0`; nil when the text is something else.
    public init?(_ text: String) {
        guard let match = text.wholeMatch(of: /s([0-9]{1,3})p([0-9]{1,3})l([0-9]{1,3})/), let site = UInt8(match.1),
            let proxy = UInt8(match.2), let lane = UInt8(match.3)
        else { return nil }
        self.init(site: SiteID(site), proxy: proxy, lane: lane)
    }
}

/// The table of `meridian ring`.
public func placementLines(_ placements: [Placement]) -> [String] {
    var table = Table([
        ("KEY", .left), ("SLOT", .right), ("SITE", .left), ("PRIMARY", .left), ("BACKUP", .left), ("OWNER", .left),
    ])
    for place in placements {
        table.add([place.key, String(place.slot), place.site, place.primary, place.backup, place.owner])
    }
    return table.lines
}
