// What a site's files say now, against what a proxy runs on: which of it can change while it runs, and which cannot. The proxy
// asks when it is told to read its files anew, and takes all of it or nothing.

/// The difference between two readings of a site's files, for one proxy.
public struct SiteChange: Sendable, Hashable {
    /// One setting that differs.
    public struct Item: Sendable, Hashable, CustomStringConvertible {
        /// The setting, as the file has it: `times: client-idle`, `listener 0.0.0.0:11211`.
        public var name: String
        /// What the proxy runs on; `none` for what is new.
        public var old: String
        /// What the file says now; `none` for what is gone.
        public var new: String
        /// What to do about it, where it cannot change while the proxy runs.
        public var remedy = ""

        /// `memory-max from=512MiB to=1GiB`
        public var description: String { "\(name) from=\(old) to=\(new)" }
    }

    /// What changes while the proxy runs.
    public let live: [Item]
    /// What does not. While there is any, nothing may change.
    public let needingRestart: [Item]

    /// Compares what runs with what the files say now.
    ///
    /// - Parameters:
    ///   - running: the shared file and the site file that the proxy runs on.
    ///   - read: the same files as they were read now.
    ///   - proxy: which of the site's proxies it is.
    public init(
        from running: (federation: Federation, site: Site), to read: (federation: Federation, site: Site), proxy: String
    ) {
        live = Self.differences(
            SiteFacts.live(running.federation, running.site, proxy: proxy),
            SiteFacts.live(read.federation, read.site, proxy: proxy))
        var fixed = Self.differences(
            SiteFacts.fixed(running.federation, running.site, proxy: proxy),
            SiteFacts.fixed(read.federation, read.site, proxy: proxy))
        // Whatever has no name here is not something that this proxy knows how to change.
        let hasMore =
            running.federation.takingRing(of: read.federation) != read.federation
            || running.site.takingLive(of: read.site, proxy: proxy) != read.site
        if hasMore && fixed.isEmpty {
            fixed.append(Item(name: "the site's files", old: "as read before", new: "something else", remedy: SiteFacts.restart))
        }
        needingRestart = fixed
    }

    /// True when there is nothing to do.
    public var isEmpty: Bool { live.isEmpty && needingRestart.isEmpty }

    private static func differences(_ old: [SiteFacts.Fact], _ new: [SiteFacts.Fact]) -> [Item] {
        let before = Dictionary(old.map { ($0.name, $0.text) }) { first, _ in first }
        let after = Dictionary(new.map { ($0.name, $0.text) }) { first, _ in first }
        var items: [Item] = []
        for fact in old where after[fact.name] != fact.text {
            items.append(Item(name: fact.name, old: fact.text, new: after[fact.name] ?? "none", remedy: fact.remedy))
        }
        for fact in new where before[fact.name] == nil {
            items.append(Item(name: fact.name, old: "none", new: fact.text, remedy: fact.remedy))
        }
        return items
    }
}

extension Federation {
    /// This federation with another reading's ring.
    func takingRing(of read: Federation) -> Federation {
        var federation = self
        federation.flavour = read.flavour
        federation.servers = read.servers
        return federation
    }
}

extension Site {
    /// This site with everything of another reading that may change while a proxy runs.
    func takingLive(of read: Site, proxy own: String) -> Site {
        var site = self
        site.primaries = read.primaries
        site.backups = read.backups
        if proxies.map(\.name) == read.proxies.map(\.name) {
            for (place, new) in read.proxies.enumerated() {
                // What is written of another proxy is that one's business, save where clients find it.
                guard new.name == own else {
                    site.proxies[place] = new
                    continue
                }
                site.proxies[place].clients = new.clients
                site.proxies[place].authorityPath = new.authorityPath
                site.proxies[place].certificatePath = new.certificatePath
                site.proxies[place].keyPath = new.keyPath
                site.proxies[place].clientConnectionsMax = new.clientConnectionsMax
            }
        }
        site.unreachable = read.unreachable
        site.flush = read.flush
        site.refillKeysPerSecond = read.refillKeysPerSecond
        for (key, path) in SiteFile.timeKeys where !SiteFacts.fixedTimes.contains(key) {
            site.times[keyPath: path] = read.times[keyPath: path]
        }
        site.clients.excess = read.clients.excess
        site.clients.memoryBytesMax = read.clients.memoryBytesMax
        return site
    }
}
