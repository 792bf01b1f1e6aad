// From magent's flags to what every proxy runs on: a federation of one site with one proxy. Nothing of the proxy itself is
// different; only where its two files would be, there are flags.

import Ring

/// magent 0.6's flags, as far as they say what the proxy is; how the process is started is the command line's own business.
public struct MagentFlags: Sendable, Hashable {
    /// `-s`: the primaries, `ip` or `ip:port`.
    public var primaries: [String] = []
    /// `-b`: the backups, alike.
    public var backups: [String] = []
    /// `-k`: ketama; else modulo.
    public var isKetama = false
    /// `-l`: the address that clients connect to.
    public var host = Self.everywhere
    /// `-p`: the TCP port that clients connect to; 0 for none.
    public var port = Int(RingSpelling.portByDefault)
    /// `-f`: an absolute path of a unix socket for clients.
    public var socketPath: String?
    /// `-n`: most clients at a time.
    public var connectionsMax = SiteFile.connectionsByDefault
    /// `-i`: connections that magent kept to each server. Only looked at.
    public var keepAliveConnections = 20

    // What magent had no flag for.

    /// Event loops.
    public var loops = 1
    /// Longest value, in bytes.
    public var itemBytesMax = 1 << 20
    /// Folder of the log and of the admin endpoint's socket.
    public var folder = ""
    /// This machine's name, under which clients with auto-discovery find the proxy when it listens on all addresses.
    public var machine = "localhost"

    /// magent listens on all of the machine's addresses.
    public static let everywhere = "0.0.0.0"
    /// The names that the federation, its site and its proxy have in logs and in `meridian status`.
    public static let names = (federation: "magent", site: "local", proxy: "magent")

    /// What is wrong with the flags: one sentence for each mistake.
    public struct Mistakes: Error, Sendable, Hashable, CustomStringConvertible {
        /// The sentences; at least one.
        public var mistakes: [String]

        /// One line for each.
        public var description: String { mistakes.joined(separator: "\n") }
    }

    /// magent's defaults.
    public init() {}

    /// Reads a size such as `2MiB`; nil when it is none.
    public static func bytes(_ text: String) -> Int? { ProblemList.bytes(text) }

    /// True when other machines can connect.
    public var isOpenToOthers: Bool { port != 0 && !HostPort(host: host, port: 1).isLoopback }

    /// The federation and its one site.
    public func files() throws(Mistakes) -> (federation: Federation, site: Site) {
        var mistakes: [String] = []
        let primaries = read(self.primaries, flag: "-s", into: &mistakes)
        let backups = read(self.backups, flag: "-b", into: &mistakes)
        if self.primaries.isEmpty { mistakes.append("No memcached server is given. Add -s ip:port, once for each.") }
        for backup in backups where primaries.contains(backup) {
            mistakes.append(
                "-b \(backup) is a primary, too. Run a memcached of its own as backup, best on another machine.")
        }
        let clients = listeners(&mistakes)
        checkNumbers(&mistakes)
        guard mistakes.isEmpty else { throw Mistakes(mistakes: mistakes) }
        let names = Self.names
        let endpoint = HostPort(host: machine, port: RingSpelling.portByDefault)
        let federation = Federation(
            name: names.federation, flavour: isKetama ? .magentKetama : .magentModulo,
            servers: primaries.map { RingServer(name: $0.description, weight: 1) }, slotCount: 1_024, itemBytesMax: itemBytesMax,
            sites: [
                FederationSite(
                    id: 1, name: names.site, proxies: [FederationProxy(id: 1, name: names.proxy, replication: endpoint)])
            ], crossing: [])
        let proxy = SiteProxy(
            name: names.proxy, clients: clients.map { ClientListener($0) }, replication: endpoint,
            admin: .unix(path: "\(folder)/admin.sock"),
            folder: folder,
            authorityPath: "", certificatePath: "", keyPath: "", clientConnectionsMax: connectionsMax)
        var site = Site(
            name: names.site, primaries: Self.backends(primaries), backups: Self.backends(backups), proxies: [proxy],
            loops: loops, durability: .memory, unreachable: .miss, flush: .local, times: SiteTimes(),
            segmentBytes: segmentBytes(servers: primaries.count + backups.count))
        let memoryLeast = ClientPolicy.memoryBytesLeast(loops: loops, itemBytesMax: itemBytesMax)
        site.clients.memoryBytesMax = max(site.clients.memoryBytesMax, memoryLeast)
        return (federation, site)
    }

    /// Longest server, which is also its name there: the log keeps what is known of it under that.
    static let serverBytesMax = 250

    /// Servers of a flag, each once.
    private func read(_ texts: [String], flag: String, into mistakes: inout [String]) -> [HostPort] {
        if texts.count > Continuum.serversMax {
            mistakes.append("\(flag) is given \(texts.count) times. The most is \(Continuum.serversMax).")
            return []
        }
        var found: [HostPort] = []
        for text in texts {
            guard let address = HostPort(text, portByDefault: RingSpelling.portByDefault), !address.isWildcard,
                address.description.utf8.count <= Self.serverBytesMax
            else {
                mistakes.append(
                    "\(flag) \(shown(text)) is not a server. Write it like 10.0.0.1:11211; without a port it is "
                        + "\(RingSpelling.portByDefault).\(Self.looksLikeIPv6(text) ? " IPv6 stands in brackets: [\(text)]." : "")"
                )
                continue
            }
            if found.contains(address) {
                mistakes.append("\(flag) \(address) is given twice. Give each memcached once.")
            } else {
                found.append(address)
            }
        }
        return found
    }

    /// An IPv6 address without its brackets: where it ends and a port begins nobody can tell.
    private static func looksLikeIPv6(_ text: String) -> Bool {
        text.count { $0 == ":" } > 1 && HostPort("[\(text)]:1") != nil
    }

    private func listeners(_ mistakes: inout [String]) -> [ListenAddress] {
        var found: [ListenAddress] = []
        if port != 0 {
            if let port = UInt16(exactly: port), let address = HostPort(HostPort(host: host, port: port).description) {
                found.append(.tcp(address))
            } else {
                mistakes.append(
                    "-l \(shown(host)) -p \(port) is not an address. Give an ip or a host, and a port from 1 to 65535; 0 turns TCP off."
                )
            }
        }
        if let socketPath {
            if let address = ListenAddress("unix:\(socketPath)") {
                found.append(address)
            } else {
                mistakes.append(
                    "-f \(shown(socketPath)) is not a socket's path. Use one of 1 to \(ProblemList.unixPathBytesMax) bytes.")
            }
        }
        if found.isEmpty, mistakes.isEmpty {
            mistakes.append("-p 0 turns TCP off, and there is no -f: nobody could connect. Give one of them.")
        }
        return found
    }

    private func checkNumbers(_ mistakes: inout [String]) {
        let numbers = [
            ("-n", connectionsMax, 1...SiteFile.connectionsMax), ("-i", keepAliveConnections, 1...SiteFile.connectionsMax),
            ("--loops", loops, 1...SiteFile.loopsMax), ("--item-size-max", itemBytesMax, FederationFile.itemBytes),
        ]
        for (flag, value, range) in numbers where !range.contains(value) {
            mistakes.append("\(flag) is \(value). Use a number from \(range.lowerBound) to \(range.upperBound).")
        }
    }

    private static func backends(_ addresses: [HostPort]) -> [Backend] {
        addresses.map { Backend(name: $0.description, weight: 1, address: $0) }
    }

    /// As every site must have it, and no larger: the log is short-lived here.
    private func segmentBytes(servers: Int) -> Int {
        max(16 << 20, SiteFile.segmentLeast(itemBytesMax: itemBytesMax, servers: servers))
    }
}
