// Files in words, and whether two sites' shared files agree.

import Configuration
import Ring

/// `right: federation shop, ring of 2 servers by ketama, 1024 slots, sites north (n1, n2) and south (s1)`
public func described(_ federation: Federation) -> String {
    let sites = federation.sites.map { "\($0.name) (\($0.proxies.map(\.name).joined(separator: ", ")))" }
    return "right: federation \(federation.name), ring of \(counted(federation.servers.count, "server")) by "
        + "\(federation.flavour.rawValue), \(federation.slotCount) slots, sites \(sites.joined(separator: ", "))"
}

/// `right: site north of shop, 2 primaries, 1 backup, proxies n1, n2 with 2 loops each`
public func described(_ site: Site, of federation: Federation) -> String {
    let proxies = site.proxies.map(\.name).joined(separator: ", ")
    let primaries = site.primaries.count == 1 ? "1 primary" : "\(site.primaries.count) primaries"
    return "right: site \(site.name) of \(federation.name), \(primaries), \(counted(site.backups.count, "backup")), proxies "
        + "\(proxies) with \(counted(site.loops, "loop")) each"
}

private func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// How two shared files differ in what must be the same everywhere, for people; nil when they agree.
public func federationDifference(_ here: Federation, _ there: Federation) -> String? {
    if here.name != there.name { return "federation: \(here.name) here, \(there.name) there" }
    let rings = [here, there].map { RingFingerprint(flavour: $0.flavour, servers: $0.servers, slotCount: $0.slotCount) }
    if let difference = rings[0].difference(from: rings[1]) { return difference }
    if here.itemBytesMax != there.itemBytesMax {
        return "item-size-max: \(Amount.bytes(UInt64(here.itemBytesMax))) here, \(Amount.bytes(UInt64(there.itemBytesMax))) there"
    }
    if Set(here.sites) != Set(there.sites) { return "sites: their ids, names, proxies or replication endpoints differ" }
    if here.crossing != there.crossing { return "crossing: the rules differ" }
    return nil
}
