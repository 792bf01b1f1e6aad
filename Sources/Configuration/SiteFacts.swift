// A site's files as a list of settings in words, for comparing two readings of them: what may change while a proxy runs, and
// what may not, each with what to do about it.

import Ring

enum SiteFacts {
    /// One setting.
    struct Fact {
        var name: String
        var text: String
        var remedy = ""
    }

    static let restart = "Restart the proxy"
    static let restartOneByOne = "Restart all proxies of the site, one after the other"
    static let restartTogether = "Stop all proxies of the site, then start them: they must agree on it"
    static let restartFederation =
        "It must be the same at every site: stop all proxies of a site, then start them with the new file, and then the next site's"
    /// Siblings hold each other to these: what one of them believes of another's silence, the other believes of itself.
    static let fixedTimes: Set<String> = ["heartbeat", "sibling-timeout"]

    // MARK: What may change

    static func live(_ federation: Federation, _ site: Site, proxy own: String) -> [Fact] {
        var facts = [
            Fact(name: "ring: hash", text: federation.flavour.rawValue),
            Fact(name: "ring: servers", text: ring(federation.servers)),
            Fact(name: "backups", text: ring(site.backups.map { RingServer(name: $0.name, weight: $0.weight) })),
        ]
        for proxy in site.proxies where proxy.name == own {
            facts += proxy.clients.map { Fact(name: "listener \($0)", text: $0.terms) }
            facts += [
                Fact(name: "authority", text: proxy.authorityPath), Fact(name: "certificate", text: proxy.certificatePath),
                Fact(name: "key", text: proxy.keyPath), Fact(name: "connections-max", text: "\(proxy.clientConnectionsMax)"),
            ]
        }
        facts += [
            Fact(name: "connections-over", text: site.clients.excess.rawValue),
            Fact(name: "memory-max", text: ProblemList.sizeText(site.clients.memoryBytesMax)),
            Fact(name: "unreachable-reads", text: site.unreachable.rawValue), Fact(name: "flush", text: site.flush.rawValue),
            Fact(name: "refill-keys-per-second", text: "\(site.refillKeysPerSecond)"),
        ]
        for (key, path) in SiteFile.timeKeys where !fixedTimes.contains(key) {
            facts.append(Fact(name: "times: \(key)", text: duration(site.times[keyPath: path])))
        }
        facts += site.primaries.map { Fact(name: "server \($0.name)", text: "\($0.address)") }
        facts += site.backups.map { Fact(name: "backup \($0.name)", text: "\($0.address)") }
        // Clients with auto-discovery are told of them.
        for proxy in site.proxies where proxy.name != own {
            let list = proxy.clients.map(\.description).joined(separator: ",")
            facts.append(Fact(name: "clients of proxy \(proxy.name)", text: list))
        }
        return facts
    }

    // MARK: What may not

    static func fixed(_ federation: Federation, _ site: Site, proxy own: String) -> [Fact] {
        var facts = fixed(federation)
        facts += [
            Fact(name: "site", text: site.name, remedy: restart),
            Fact(name: "loops", text: "\(site.loops)", remedy: restartTogether),
            // Where one proxy reads from backups, another must not answer writes before they are there.
            Fact(name: "reads", text: site.reads.rawValue, remedy: restartTogether),
            Fact(name: "durability", text: site.durability.rawValue, remedy: restartOneByOne),
            Fact(name: "log-segment", text: ProblemList.sizeText(site.segmentBytes), remedy: restartOneByOne),
        ]
        for (key, path) in SiteFile.timeKeys where fixedTimes.contains(key) {
            facts.append(Fact(name: "times: \(key)", text: duration(site.times[keyPath: path]), remedy: restartTogether))
        }
        for proxy in site.proxies where proxy.name == own {
            facts += [
                Fact(name: "replication", text: "\(proxy.replication)", remedy: restart),
                Fact(name: "admin", text: "\(proxy.admin)", remedy: restart),
                Fact(name: "folder", text: proxy.folder, remedy: restart),
            ]
        }
        let mode = String(site.clients.unixMode, radix: 8)
        return facts + [
            Fact(name: "unix-mode", text: "0\(mode)", remedy: restart),
            Fact(name: "unix-group", text: site.clients.unixGroup ?? "none", remedy: restart),
            Fact(name: "user", text: site.account?.user ?? "none", remedy: restart),
            Fact(name: "group", text: site.account?.group ?? "none", remedy: restart),
        ]
    }

    private static func fixed(_ federation: Federation) -> [Fact] {
        var facts = [
            Fact(name: "federation", text: federation.name, remedy: restartFederation),
            Fact(name: "slots", text: "\(federation.slotCount)", remedy: restartFederation),
            Fact(name: "item-size-max", text: ProblemList.sizeText(federation.itemBytesMax), remedy: restartFederation),
            Fact(name: "crossing", text: crossing(federation.crossing), remedy: restartFederation),
        ]
        for site in federation.sites {
            let proxies = site.proxies.map { "\($0.id) \($0.name) \($0.replication)" }.joined(separator: ", ")
            facts.append(
                Fact(name: "sites: \(site.name)", text: "id \(site.id), proxies \(proxies)", remedy: restartFederation))
        }
        return facts
    }

    // MARK: Words

    private static func ring(_ servers: [RingServer]) -> String {
        guard !servers.isEmpty else { return "none" }
        return servers.map { $0.weight == 1 ? $0.name : "\($0.name)*\($0.weight)" }.joined(separator: ",")
    }

    private static func crossing(_ rules: [CrossingRule]) -> String {
        rules.isEmpty ? "none" : rules.map { "\($0.prefix)*\($0.suffix) \($0.policy.rawValue)" }.joined(separator: ", ")
    }

    static func duration(_ milliseconds: Int) -> String {
        if milliseconds == 0 { return "off" }
        for (suffix, unit) in [("min", 60_000), ("s", 1_000)] where milliseconds % unit == 0 {
            return "\(milliseconds / unit)\(suffix)"
        }
        return "\(milliseconds)ms"
    }
}

extension ClientListener {
    /// What is asked of those who connect, in one line.
    var terms: String {
        var terms: [String] = []
        if let tls {
            terms.append("tls \(tls.certificatePath) \(tls.keyPath)")
            if let authority = tls.clientAuthorityPath { terms.append("client-authority \(authority)") }
        }
        if let authenticationPath { terms.append("authentication \(authenticationPath)") }
        if !allowed.isEmpty { terms.append("allow \(allowed.map(\.description).joined(separator: ","))") }
        return terms.isEmpty ? "open" : terms.joined(separator: "; ")
    }
}
