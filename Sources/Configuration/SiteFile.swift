// One site's file, read against the shared file that it belongs to. Values first, each on its own; then what must agree
// with the shared file and what would collide.

import Kernel
import Ring
import Yams

/// Reads a site file; see Sites/templates/site.yaml for one with every key.
struct SiteFile {
    let problems: ProblemList
    let path: String
    private let cores: Int

    /// Most event loops of one proxy.
    static let loopsMax = 64
    /// Most clients of one proxy.
    static let connectionsMax = 1_000_000
    /// Clients of one proxy unless the file says otherwise: magent's number.
    static let connectionsByDefault = 4_096
    /// Most addresses that one proxy listens at.
    static let listenersMax = 16
    /// Most is what a log can have (`Docs/log-format.md`).
    static let segmentBytes = 1 << 20...1 << 30
    /// Every time-out and interval …
    static let milliseconds = 1...3_600_000
    /// … but those that others wait for: every time-out is looked at once in a heartbeat, and until the next sync nothing is forgotten.
    static let millisecondsMax = ["heartbeat": 10_000, "sync": 60_000]
    /// Most keys per second that a refill may look up.
    static let refillKeysPerSecondMax = 10_000_000
    /// Silence counts as death only after this many heartbeats failed to come.
    static let heartbeatsMissedMin = 6

    private static let keys =
        [
            "site", "federation", "servers", "backups", "proxies", "authority", "loops", "durability", "reads",
            "unreachable-reads", "flush", "refill-keys-per-second", "times", "log-segment", "connections-max",
        ] + ClientPolicyFile.keys

    init(_ problems: ProblemList, cores: Int) {
        self.problems = problems
        path = problems.file
        self.cores = cores
    }

    /// Where the shared file is: the one key that is needed before the shared file can be read.
    func federationReference(_ root: Node) -> SiteFiles.FederationReference? {
        guard case .mapping(let mapping) = root else {
            problems.report(
                root, "the site file must be names with values, not \(problems.kind(of: root))",
                remedy: "Start from Sites/templates/site.yaml")
            return nil
        }
        guard let node = mapping.first(where: { $0.key.scalar?.string == "federation" })?.value else {
            problems.report(
                root, "the site file lacks 'federation'", remedy: "Add 'federation: federation.yaml', the path of the shared file"
            )
            return nil
        }
        return problems.path(node, "federation", relativeTo: path).map {
            SiteFiles.FederationReference(path: $0, line: node.mark?.line ?? 1, column: node.mark?.column ?? 1)
        }
    }

    /// The site as far as it could be read; only good if nothing was reported. Without a federation (its file has mistakes of
    /// its own) values are checked, but not whether they agree.
    func read(_ root: Node, federation: Federation?) -> Site? {
        guard let fields = Fields(root, "the site file", known: Self.keys, problems) else { return nil }
        _ = fields.required("federation", example: "federation.yaml").flatMap {
            problems.path($0, "federation", relativeTo: path)
        }
        let name = fields.required("site", example: "north").flatMap { problems.name($0, "site") }
        let member = name.flatMap { findMember(named: $0, at: fields["site"], federation) }
        let primaries = readPrimaries(fields, federation)
        let backups = fields["backups"].map { readBackups($0, federation, primaries: primaries) } ?? []
        let authority = fields.required("authority", example: "authority.pem").flatMap {
            problems.path($0, "authority", relativeTo: path)
        }
        let shared = SharedByProxies(
            authority: authority ?? "",
            connectionsMax: fields["connections-max"].map(readConnections) ?? Self.connectionsByDefault)
        let proxies = fields.required("proxies", example: "[{name: n1, clients: […], …}]").flatMap {
            readProxies($0, member, shared)
        }
        let loops = readLoops(fields["loops"], root, member, federation)
        let segment = readSegment(
            fields["log-segment"], federation, servers: (primaries?.count ?? 0) + (backups?.count ?? 0))
        let durability = fields["durability"].map { problems.choice($0, "durability", of: Site.Durability.self) } ?? .memory
        let reads = fields["reads"].map { readReads($0, backups: fields["backups"]) } ?? .primary
        let unreachable =
            fields["unreachable-reads"].map { problems.choice($0, "unreachable-reads", of: Site.UnreachableReads.self) } ?? .miss
        let flush = fields["flush"].map { problems.choice($0, "flush", of: Site.FlushPolicy.self) } ?? .local
        let refill =
            fields["refill-keys-per-second"].map {
                problems.integer($0, "refill-keys-per-second", in: 0...Self.refillKeysPerSecondMax)
            } ?? Site.refillKeysPerSecondByDefault
        let times = fields["times"].map(readTimes) ?? SiteTimes()
        let all = ClientPolicyFile(problems: problems)
        let policy = all.read(fields, loops: loops, itemBytesMax: federation?.itemBytesMax)
        let account = all.readAccount(fields)
        guard let name, let primaries, let backups, let proxies, let loops, let durability, let reads, let unreachable,
            let flush, let refill, let times, let segment, let policy
        else { return nil }
        var site = Site(
            name: name, primaries: primaries, backups: backups, proxies: proxies, loops: loops, durability: durability,
            unreachable: unreachable, flush: flush, times: times, segmentBytes: segment)
        site.refillKeysPerSecond = refill
        site.reads = reads
        site.clients = policy
        site.account = account
        return site
    }

    private struct SharedByProxies {
        var authority: String
        var connectionsMax: Int?
    }

    private func findMember(named name: String, at node: Node?, _ federation: Federation?) -> FederationSite? {
        guard let federation, let node else { return nil }
        if let site = federation.sites.first(where: { $0.name == name }) { return site }
        problems.report(
            node, "the federation has no site '\(name)'", remedy: Spelling.remedy(for: name, among: federation.sites.map(\.name)))
        return nil
    }

    private func readConnections(_ node: Node) -> Int? { problems.integer(node, "connections-max", in: 1...Self.connectionsMax) }

    /// Reads can only be spread where each key has a second server.
    private func readReads(_ node: Node, backups: Node?) -> Site.Reads? {
        guard let reads = problems.choice(node, "reads", of: Site.Reads.self) else { return nil }
        if reads != .primary, backups?.sequence?.isEmpty ?? true {
            problems.report(
                node, "reads is \(reads.rawValue), and the site has no backups that could be read from",
                remedy: "List its backups, or use primary")
        }
        return reads
    }

    /// Loops are lanes, and every proxy of a group must know how many lanes its siblings have.
    private func readLoops(_ node: Node?, _ root: Node, _ member: FederationSite?, _ federation: Federation?) -> Int? {
        let proxies = member?.proxies ?? []
        if node == nil, Set(proxies.map(\.replication.host)).count > 1 {
            problems.report(
                root, "the site file lacks 'loops', and the site's proxies run on several hosts, which must agree on it",
                remedy: "Add 'loops: \(cores)', the number of cores of the smallest")
            return nil
        }
        let loops = node.map { problems.integer($0, "loops", in: 1...Self.loopsMax) } ?? min(max(cores, 1), Self.loopsMax)
        if let loops, let federation, loops * max(proxies.count, 1) > federation.slotCount {
            problems.report(
                node ?? root,
                "\(proxies.count) proxies with \(loops) loops each are more than the federation's "
                    + "\(federation.slotCount) slots", remedy: "Use fewer loops, or more slots at every site")
        }
        return loops
    }

    private func readSegment(_ node: Node?, _ federation: Federation?, servers: Int) -> Int? {
        let least = Self.segmentLeast(itemBytesMax: federation?.itemBytesMax ?? 0, servers: servers)
        guard let node else { return max(64 << 20, least) }
        guard let bytes = problems.size(node, "log-segment", in: Self.segmentBytes) else { return nil }
        if bytes & (bytes - 1) != 0 {
            problems.report(node, "log-segment is not a power of two", remedy: "Use 16MiB, 32MiB, 64MiB, 128MiB …")
        } else if bytes < least {
            let reason = bytes < 4 * (federation?.itemBytesMax ?? 0) ? "the federation's item-size-max" : "\(servers) servers"
            problems.report(
                node, "log-segment is too small for \(reason)", remedy: "Use \(ProblemList.sizeText(least)) or more")
        }
        return bytes
    }

    /// A record never spans segments; four of the largest items keep what is wasted at a segment's end small. And each segment begins with
    /// what is known of the servers, and the rings: less than 1 KiB for each, which may take half of it.
    static func segmentLeast(itemBytesMax: Int, servers: Int) -> Int {
        let wanted = max(4 * itemBytesMax, 2 * (32 + servers) << 10)
        var bytes = segmentBytes.lowerBound
        while bytes < wanted { bytes *= 2 }
        return bytes
    }
}

// The memcached servers.
extension SiteFile {
    private func readPrimaries(_ fields: Fields, _ federation: Federation?) -> [Backend]? {
        guard let node = fields.required("servers", example: "{cache1: 10.0.0.1:11211}"),
            let pairs = problems.pairs(node, "servers")
        else { return nil }
        var addresses = Unique<HostPort>()
        var found: [String: HostPort] = [:]
        let names = federation?.servers.map(\.name) ?? []
        for (key, name, value) in pairs {
            if federation != nil, !names.contains(name) {
                problems.report(
                    key, "the ring has no server '\(shown(name))'", remedy: Spelling.remedy(for: name, among: names))
            }
            guard let address = backendAddress(value, "the address of \(shown(name))") else { continue }
            addresses.insert(
                address, "the address \(address)", at: value, remedy: "Give each server its own memcached", problems)
            found[name] = address
        }
        for name in names where !pairs.contains(where: { $0.name == name }) {
            problems.report(
                node, "servers lacks '\(name)', which is on the ring",
                remedy: "Add '\(name): host:port', where it is at this site")
        }
        guard let federation else { return nil }
        return federation.servers.compactMap { server in
            found[server.name].map { Backend(name: server.name, weight: server.weight, address: $0) }
        }
    }

    private func backendAddress(_ node: Node, _ what: String) -> HostPort? {
        guard let address = problems.hostPort(node, what) else { return nil }
        guard !address.isWildcard else {
            problems.report(
                node, "\(what) is \(address), which cannot be connected to", remedy: "Name the memcached's own address")
            return nil
        }
        return address
    }

    private func readBackups(_ node: Node, _ federation: Federation?, primaries: [Backend]?) -> [Backend]? {
        guard let nodes = problems.list(node, "backups", most: Continuum.serversMax) else { return nil }
        var names = Unique<String>()
        var addresses = Unique<HostPort>()
        var found: [(backend: Backend, node: Node)] = []
        for node in nodes {
            guard let backend = readBackup(node) else { continue }
            names.insert(backend.name, "backup name \(backend.name)", at: node, remedy: "Give each its own name", problems)
            addresses.insert(
                backend.address, "the address \(backend.address)", at: node, remedy: "Give each its own memcached", problems)
            if let primary = primaries?.first(where: { $0.address == backend.address }) {
                problems.report(
                    node, "backup \(backend.name) is the same memcached as the primary \(primary.name)",
                    remedy: "Run a memcached of its own as backup, best on another machine")
            }
            if let primary = primaries?.first(where: { $0.name == backend.name }) {
                problems.report(
                    node, "backup name \(backend.name) is also a server of the ring (\(primary.address))",
                    remedy: "Give the backup its own name, so that messages tell them apart")
            }
            found.append((backend, node))
        }
        if let federation {
            let servers = found.map { (RingServer(name: $0.backend.name, weight: $0.backend.weight), $0.node) }
            problems.check(servers, flavour: federation.flavour)
        }
        return found.count == nodes.count ? found.map(\.backend) : nil
    }

    private func readBackup(_ node: Node) -> Backend? {
        guard let fields = Fields(node, "a backup", known: ["name", "address", "weight"], problems) else { return nil }
        let name = fields.required("name", example: "backup1").flatMap { problems.serverName($0, "backup name") }
        let address = fields.required("address", example: "10.0.0.9:11211").flatMap { backendAddress($0, "address") }
        let weight = fields["weight"].map { problems.integer($0, "weight", in: 1...FederationFile.weightMax) } ?? 1
        guard let name, let address, let weight else { return nil }
        return Backend(name: name, weight: UInt32(weight), address: address)
    }
}

// The proxies.
extension SiteFile {
    private static let proxyKeys = [
        "name", "clients", "replication", "admin", "folder", "certificate", "key", "connections-max",
    ]

    private func readProxies(_ node: Node, _ member: FederationSite?, _ shared: SharedByProxies) -> [SiteProxy]? {
        guard let nodes = problems.list(node, "proxies", least: 1, most: FederationFile.proxiesMax) else { return nil }
        var names = Unique<String>()
        var found: [(proxy: SiteProxy, node: Node)] = []
        var named: Set<String> = []
        for node in nodes {
            guard let fields = Fields(node, "a proxy", known: Self.proxyKeys, problems) else { continue }
            guard let field = fields.required("name", example: "n1"), let name = problems.name(field, "proxy name") else {
                continue
            }
            names.insert(name, "proxy name \(name)", at: field, remedy: "Give each proxy its own entry", problems)
            named.insert(name)
            let peer = member?.proxies.first { $0.name == name }
            if let member, peer == nil {
                problems.report(
                    field, "site \(member.name) has no proxy '\(name)' in the shared file",
                    remedy: Spelling.remedy(for: name, among: member.proxies.map(\.name)))
            }
            if let proxy = readProxy(fields, name: name, peer, shared) { found.append((proxy, node)) }
        }
        for proxy in member?.proxies ?? [] where !named.contains(proxy.name) {
            problems.report(
                node, "proxies lacks '\(proxy.name)', which the shared file gives to this site",
                remedy: "Add an entry '- name: \(proxy.name)' with its clients, admin, folder, certificate and key")
        }
        checkCollisions(found, member)
        guard let member else { return nil }
        return member.proxies.compactMap { wanted in found.first { $0.proxy.name == wanted.name }?.proxy }
    }

    private func readProxy(_ fields: Fields, name: String, _ peer: FederationProxy?, _ shared: SharedByProxies) -> SiteProxy? {
        let clients = fields.required("clients", example: "[0.0.0.0:11211]").flatMap(readClients)
        let replication: HostPort?
        if let node = fields["replication"] {
            replication = problems.hostPort(node, "replication")
        } else {
            replication = peer?.replication ?? HostPort(host: "0.0.0.0", port: 1)
        }
        let folder = fields.required("folder", example: "/var/lib/meridian/\(name)").flatMap {
            problems.path($0, "folder", relativeTo: path)
        }
        let certificate = fields.required("certificate", example: "\(name).pem").flatMap {
            problems.path($0, "certificate", relativeTo: path)
        }
        let key = fields.required("key", example: "\(name).key").flatMap { problems.path($0, "key", relativeTo: path) }
        let admin = readAdmin(fields, folder: folder)
        let connections = fields["connections-max"].map(readConnections) ?? shared.connectionsMax
        guard let clients, let replication, let folder, let certificate, let key, let admin, let connections else { return nil }
        return SiteProxy(
            name: name, clients: clients, replication: replication, admin: admin, folder: folder,
            authorityPath: shared.authority, certificatePath: certificate, keyPath: key, clientConnectionsMax: connections)
    }

    /// Whoever reaches the admin endpoint may look at everything: so only this machine may.
    private func readAdmin(_ fields: Fields, folder: String?) -> ListenAddress? {
        guard let node = fields["admin"] else {
            guard let folder else { return nil }
            let path = "\(folder)/admin.sock"
            if path.utf8.count > ProblemList.unixPathBytesMax {
                problems.report(
                    fields.node, "'admin' is not given, and \(shown(path)) is too long for a socket",
                    remedy: "Add 'admin: 127.0.0.1:11400'")
            }
            return .unix(path: path)
        }
        guard let address = problems.listenAddress(node, "admin", relativeTo: path) else { return nil }
        if case .tcp(let tcp) = address, !tcp.isLoopback {
            problems.report(
                node, "admin \(tcp) can be reached from other machines, and it asks for no password",
                remedy: "Use 127.0.0.1:\(tcp.port) or unix:/run/meridian/admin.sock")
            return nil
        }
        return address
    }

    /// Two listeners of one machine cannot share an address, nor two proxies a folder. Proxies whose replication host differs
    /// are taken to be on different machines.
    private func checkCollisions(_ found: [(proxy: SiteProxy, node: Node)], _ member: FederationSite?) {
        var listeners = Unique<String>()
        var folders = Unique<String>()
        for (proxy, node) in found {
            guard let peer = member?.proxies.first(where: { $0.name == proxy.name }) else { continue }
            let machine = peer.replication.host
            for address in proxy.clients.map(\.address) + [.tcp(proxy.replication), proxy.admin] {
                listeners.insert(
                    "\(machine) \(address)", "proxy \(proxy.name): the address \(address) on this machine", at: node,
                    remedy: "Give each listener its own port or path", problems)
            }
            folders.insert(
                "\(machine) \(proxy.folder)", "proxy \(proxy.name): the folder \(proxy.folder) on this machine", at: node,
                remedy: "Give each proxy its own folder", problems)
        }
    }
}

// Time-outs and intervals.
extension SiteFile {
    static let timeKeys: [(key: String, path: WritableKeyPath<SiteTimes, Int> & Sendable)] = [
        ("backend-connect", \.backendConnectMilliseconds), ("backend-timeout", \.backendTimeoutMilliseconds),
        ("retry-min", \.retryMinMilliseconds), ("retry-max", \.retryMaxMilliseconds),
        ("heartbeat", \.heartbeatMilliseconds), ("sibling-timeout", \.siblingTimeoutMilliseconds),
        ("stream-timeout", \.streamTimeoutMilliseconds), ("sync", \.syncMilliseconds),
        ("client-request", \.clientRequestMilliseconds), ("client-stalled", \.clientStalledMilliseconds),
        ("client-idle", \.clientIdleMilliseconds),
    ]

    /// The one time that nobody needs to set: its default is no limit.
    private static let timeThatMayBeOff = "client-idle"

    private func readTimes(_ node: Node) -> SiteTimes? {
        guard let fields = Fields(node, "times", known: Self.timeKeys.map(\.key), problems) else { return nil }
        var times = SiteTimes()
        for (key, path) in Self.timeKeys {
            if key == Self.timeThatMayBeOff, fields[key]?.scalar?.string == "off" { continue }
            let most = Self.millisecondsMax[key] ?? Self.milliseconds.upperBound
            guard let node = fields[key], let value = problems.duration(node, key, in: Self.milliseconds.lowerBound...most) else {
                continue
            }
            times[keyPath: path] = value
        }
        if times.retryMinMilliseconds > times.retryMaxMilliseconds {
            problems.report(
                fields["retry-min"] ?? fields["retry-max"] ?? node,
                "retry-min (\(times.retryMinMilliseconds)ms) is above retry-max (\(times.retryMaxMilliseconds)ms)",
                remedy: "Lower retry-min or raise retry-max")
        }
        for (key, value) in [
            ("sibling-timeout", times.siblingTimeoutMilliseconds), ("stream-timeout", times.streamTimeoutMilliseconds),
        ] where value < times.heartbeatMilliseconds * Self.heartbeatsMissedMin {
            problems.report(
                fields[key] ?? fields["heartbeat"] ?? node,
                "\(key) (\(value)ms) is below \(Self.heartbeatsMissedMin) heartbeats of \(times.heartbeatMilliseconds)ms",
                remedy: "Raise \(key) or lower heartbeat, or every late packet counts as a death")
        }
        return times
    }
}
