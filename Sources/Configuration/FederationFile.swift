// The file that all sites share. Every value is checked on its own first, then against the others.

import Ring
import Yams

/// Reads the shared file; see Sites/templates/federation.yaml for one with every key.
struct FederationFile {
    private let problems: ProblemList

    /// Most sites: ids are 1 to 255.
    static let sitesMax = 255
    /// Most proxies of one site.
    static let proxiesMax = 64
    /// Most rules about what crosses.
    static let crossingMax = 256
    /// Heaviest server.
    static let weightMax = 65_535
    static let itemBytes = 1 << 10...128 << 20
    static let slotCounts = 16...Slots.countMax

    init(_ problems: ProblemList) { self.problems = problems }

    /// The federation as far as it could be read; only good if nothing was reported.
    func read(_ root: Node) -> Federation? {
        let known = ["federation", "ring", "slots", "item-size-max", "sites", "crossing"]
        guard let fields = Fields(root, "the shared file", known: known, problems) else { return nil }
        let name = fields.required("federation", example: "shop").flatMap { problems.name($0, "federation") }
        let ring = fields.required("ring", example: "{servers: [cache1, cache2]}").flatMap(readRing)
        let slots = fields["slots"].map(readSlots) ?? 1_024
        let item = fields["item-size-max"].map { problems.size($0, "item-size-max", in: Self.itemBytes) } ?? 1 << 20
        let sites = fields.required("sites", example: "[{id: 1, name: north, proxies: […]}]").flatMap(readSites)
        let crossing = fields["crossing"].map(readCrossing) ?? Self.crossingByDefault
        guard let name, let ring, let slots, let item, let sites, let crossing else { return nil }
        return Federation(
            name: name, flavour: ring.flavour, servers: ring.servers, slotCount: slots, itemBytesMax: item, sites: sites,
            crossing: crossing)
    }

    /// Locks stay at home (`commands.md` section 3).
    static let crossingByDefault = [
        CrossingRule(prefix: "memc.sess.key.lock.", suffix: "", policy: .none),
        CrossingRule(prefix: "", suffix: ".lock", policy: .none),
    ]

    private func readSlots(_ node: Node) -> Int? {
        guard let count = problems.integer(node, "slots", in: Self.slotCounts) else { return nil }
        guard count & (count - 1) == 0 else {
            var below = 1
            while below * 2 < count { below *= 2 }
            problems.report(node, "slots is \(count), not a power of two", remedy: "Use \(below) or \(below * 2)")
            return nil
        }
        return count
    }
}

// The ring.
extension FederationFile {
    private func readRing(_ node: Node) -> (flavour: RingFlavour, servers: [RingServer])? {
        guard let fields = Fields(node, "ring", known: ["hash", "servers"], problems) else { return nil }
        let flavour = fields["hash"].map { problems.choice($0, "hash", of: RingFlavour.self) } ?? .ketama
        guard let list = fields.required("servers", example: "[cache1, cache2]"),
            let nodes = problems.list(list, "servers", least: 1, most: Continuum.serversMax)
        else { return nil }
        var names = Unique<String>()
        var servers: [(server: RingServer, node: Node)] = []
        for node in nodes {
            guard let server = readServer(node) else { continue }
            names.insert(server.name, "server name \(server.name)", at: node, remedy: "Give each server its own name", problems)
            servers.append((server, node))
        }
        guard let flavour else { return nil }
        problems.check(servers, flavour: flavour)
        return servers.count == nodes.count ? (flavour, servers.map(\.server)) : nil
    }

    /// `cache1` or `{name: cache1, weight: 2}`.
    private func readServer(_ node: Node) -> RingServer? {
        if case .scalar = node { return problems.serverName(node, "server").map { RingServer(name: $0, weight: 1) } }
        guard let fields = Fields(node, "a server of the ring", known: ["name", "weight"], problems) else { return nil }
        let name = fields.required("name", example: "cache1").flatMap { problems.serverName($0, "server name") }
        let weight = fields["weight"].map { problems.integer($0, "weight", in: 1...Self.weightMax) } ?? 1
        guard let name, let weight else { return nil }
        return RingServer(name: name, weight: UInt32(weight))
    }
}

// Sites and proxies.
extension FederationFile {
    private func readSites(_ node: Node) -> [FederationSite]? {
        guard let nodes = problems.list(node, "sites", least: 1, most: Self.sitesMax) else { return nil }
        var ids = Unique<Int>()
        var names = Unique<String>()
        var proxies = ProxyUniqueness()
        let sites = nodes.compactMap { readSite($0, ids: &ids, names: &names, proxies: &proxies) }
        return sites.count == nodes.count ? sites : nil
    }

    private struct ProxyUniqueness {
        var names = Unique<String>()
        var endpoints = Unique<HostPort>()
    }

    private func readSite(
        _ node: Node, ids: inout Unique<Int>, names: inout Unique<String>, proxies: inout ProxyUniqueness
    ) -> FederationSite? {
        guard let fields = Fields(node, "a site", known: ["id", "name", "proxies"], problems) else { return nil }
        let id = fields.required("id", example: "1").flatMap { readID($0, "site id", unique: &ids) }
        var name: String?
        if let field = fields.required("name", example: "north") {
            name = problems.name(field, "site name")
            if let name { names.insert(name, "site name \(name)", at: field, remedy: "Give each site its own name", problems) }
        }
        guard let list = fields.required("proxies", example: "[{id: 1, name: n1, replication: 10.0.0.1:11300}]"),
            let nodes = problems.list(list, "proxies of site \(name ?? "?")", least: 1, most: Self.proxiesMax)
        else { return nil }
        var proxyIDs = Unique<Int>()
        let members = nodes.compactMap { readProxy($0, ids: &proxyIDs, unique: &proxies) }
        guard let id, let name, members.count == nodes.count else { return nil }
        return FederationSite(id: id, name: name, proxies: members)
    }

    private func readProxy(_ node: Node, ids: inout Unique<Int>, unique: inout ProxyUniqueness) -> FederationProxy? {
        guard let fields = Fields(node, "a proxy", known: ["id", "name", "replication"], problems) else { return nil }
        let id = fields.required("id", example: "1").flatMap { readID($0, "proxy id", unique: &ids) }
        var name: String?
        if let field = fields.required("name", example: "n1") {
            name = problems.name(field, "proxy name")
            if let name {
                unique.names.insert(
                    name, "proxy name \(name)", at: field, remedy: "Give each proxy of the federation its own name", problems)
            }
        }
        var endpoint: HostPort?
        if let field = fields.required("replication", example: "10.0.0.1:11300") {
            endpoint = problems.hostPort(field, "replication")
            if let endpoint { check(endpoint, at: field, unique: &unique) }
        }
        guard let id, let name, let endpoint else { return nil }
        return FederationProxy(id: id, name: name, replication: endpoint)
    }

    private func check(_ endpoint: HostPort, at node: Node, unique: inout ProxyUniqueness) {
        unique.endpoints.insert(
            endpoint, "replication \(endpoint)", at: node, remedy: "Give each proxy its own address or port", problems)
        if endpoint.isWildcard {
            problems.report(
                node, "replication \(endpoint) is not an address that peers can connect to",
                remedy: "Name the proxy's own address here; the site file's 'replication' says where to listen")
        }
    }

    private func readID(_ node: Node, _ what: String, unique: inout Unique<Int>) -> UInt8? {
        guard let number = problems.integer(node, what, in: 1...255) else { return nil }
        unique.insert(
            number, "\(what) \(number)", at: node, remedy: "Use another; an id is never changed or used again", problems)
        return UInt8(number)
    }
}

// What crosses.
extension FederationFile {
    private func readCrossing(_ node: Node) -> [CrossingRule]? {
        guard let nodes = problems.list(node, "crossing", most: Self.crossingMax) else { return nil }
        let rules = nodes.compactMap(readRule)
        return rules.count == nodes.count ? rules : nil
    }

    private func readRule(_ node: Node) -> CrossingRule? {
        guard let fields = Fields(node, "a crossing rule", known: ["keys", "policy"], problems) else { return nil }
        let keys = fields.required("keys", example: "\"*.lock\"").flatMap { problems.keyPattern($0, "keys") }
        let policy = fields.required("policy", example: "none").flatMap {
            problems.choice($0, "policy", of: CrossingRule.Policy.self)
        }
        guard let keys, let policy else { return nil }
        return CrossingRule(prefix: keys.prefix, suffix: keys.suffix, policy: policy)
    }
}
