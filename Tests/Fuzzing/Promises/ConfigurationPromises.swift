// The two files of a site, whatever they hold: values that can be run with, or mistakes that can be shown.

import Configuration
import Kernel
import Ring

extension Promise {
    static let siteFile = Promise(
        "site-file", "a site's file: mistakes with a line each, or values; line ends do not matter", bytesMax: 4_096,
        seeds: [Array(SiteSeeds.site.utf8), Array(SiteSeeds.siteInOtherWords.utf8)], words: SiteSeeds.words
    ) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        _ = try? SiteFiles.federationReference(inSiteText: text, sitePath: SiteSeeds.sitePath)
        checkFiles(federation: SiteSeeds.federation, site: text)
        if text.utf8.allSatisfy({ $0 != 13 }) { checkLineEnds(federation: SiteSeeds.federation, site: text) }
    }

    static let federationFile = Promise(
        "federation-file", "the file that all sites share: mistakes with a line each, or a ring that keys can be placed on",
        bytesMax: 4_096, seeds: [Array(SiteSeeds.federation.utf8), Array(SiteSeeds.federationInOtherWords.utf8)],
        words: SiteSeeds.words
    ) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        _ = SiteFiles.isSharedFile(text)
        checkFiles(federation: text, site: SiteSeeds.site)
        guard let federation = try? SiteFiles.parse(federationText: text, federationPath: SiteSeeds.federationPath) else {
            return
        }
        checkRing(of: federation)
    }

    private static func parse(federation: String, site: String) -> Result<Values, ConfigurationProblems> {
        Result { () throws(ConfigurationProblems) in
            let (federation, site) = try SiteFiles.parse(
                federationText: federation, federationPath: SiteSeeds.federationPath, siteText: site,
                sitePath: SiteSeeds.sitePath, cores: 2)
            return Values(federation: federation, site: site)
        }
    }

    private struct Values: Equatable {
        var federation: Federation
        var site: Site
    }

    /// Mistakes are few enough to read, one line each, and stand in the file.
    private static func checkFiles(federation: String, site: String) {
        guard case .failure(let mistakes) = parse(federation: federation, site: site) else { return }
        // A hundred from each file at most.
        precondition(mistakes.problems.count <= 200)
        for problem in mistakes.problems {
            let text = problem.file == SiteSeeds.sitePath ? site : federation
            // YAML knows line ends that Swift does too: LF, CR, CRLF, NEL, LS and PS.
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).count
            precondition(problem.line >= 1 && problem.line <= lines + 1, "line \(problem.line) of \(lines)")
            precondition(problem.column >= 1)
            precondition(!problem.message.isEmpty && !problem.remedy.isEmpty)
            precondition(!problem.description.contains(where: \.isNewline), "a mistake of more than one line: \(problem)")
            precondition(problem.description.utf8.count < 4_096, "a mistake as long as a file")
        }
    }

    /// A file that was edited on another system means the same.
    private static func checkLineEnds(federation: String, site: String) {
        let other = site.replacing("\n", with: "\r\n")
        switch (parse(federation: federation, site: site), parse(federation: federation, site: other)) {
        case (.success(let one), .success(let same)): precondition(one == same, "line ends change what a file means")
        case (.failure, .failure): break
        default: preconditionFailure("line ends decide whether a file can be read")
        }
    }

    /// Keys can be placed, and the ring can be told to another site.
    private static func checkRing(of federation: Federation) {
        let ring = Continuum(flavour: federation.flavour, servers: federation.servers)
        for key in ["", "user:1234", "\u{0}"] {
            precondition(federation.servers.indices.contains(ring.server(for: key)), "a key is placed on no server")
        }
        let told = RingFingerprint(flavour: federation.flavour, servers: federation.servers, slotCount: federation.slotCount)
        do {
            let heard = try RingFingerprint.decode(told.encode())
            precondition(heard.difference(from: told) == nil)
        } catch {
            preconditionFailure("a site file's ring cannot be told: \(error)")
        }
    }
}

/// Files to begin with.
private enum SiteSeeds {
    static let federationPath = "/etc/meridian/federation.yaml"
    static let sitePath = "/etc/meridian/north.yaml"

    static let federation = """
        federation: shop
        ring:
          servers:
            - {name: cache1, weight: 1}
            - {name: cache2, weight: 2}
        sites:
          - id: 1
            name: north
            proxies:
              - {id: 1, name: n1, replication: 10.1.0.11:11300}
          - id: 2
            name: south
            proxies: [{id: 1, name: s1, replication: "[2001:db8::1]:11300"}]
        """

    static let federationInOtherWords = """
        federation: 'shop'
        ring: {hash: magent-modulo, slots: 1024, servers: [{name: "cache1", weight: 4294967295}, {name: cache2, weight: 1}]}
        sites: [{id: 1, name: north, proxies: [{id: 1, name: n1, replication: "host:1"}]}]
        crossing:
          - {keys: "*.lock", policy: none}
          - {keys: "user:*", policy: invalidate}
        """

    static let site = """
        site: north
        federation: federation.yaml
        servers:
          cache1: 10.1.0.21:11211
          cache2: 10.1.0.22:11211
        authority: tls/authority.pem
        proxies:
          - name: n1
            clients: [0.0.0.0:11211]
            admin: 127.0.0.1:11400
            folder: /var/lib/meridian/n1
            certificate: tls/n1.pem
            key: tls/n1.key
        """

    static let siteInOtherWords = """
        # a comment
        site: "north"
        federation: ../federation.yaml
        loops: 4
        durability: disk
        flush: federation
        reads: in-turn
        unreachable-reads: error
        connections-max: 100
        log-segment: 128MiB
        servers: {cache1: 10.1.0.21:11211, cache2: 10.1.0.22:11211}
        backups: [{name: backup1, address: 10.1.0.31:11211}]
        times: {backend-timeout: 500ms, sibling-timeout: 2s}
        authority: tls/authority.pem
        proxies:
          - {name: n1, clients: ["[::1]:11211", "unix:/run/m"], admin: unix:/run/a, folder: /var, certificate: c, key: k}
        """

    static let words = [
        "federation:", "ring:", "servers:", "sites:", "proxies:", "name:", "weight:", "replication:", "site:", "clients:",
        "admin:",
        "folder:", "certificate:", "key:", "authority:", "backups:", "durability:", "loops:", "times:", "keys:", "policy:",
        "hash:", "slots:", "unix:/", "- ", ": ", "[", "]", "{", "}", "\"",
        "'", "|\n", ">\n", "&a ", "*a", "!!int ", "---\n", "...\n", "%YAML 1.2\n", "\u{feff}", "\u{2028}", "~", "null", "1e9",
        "0x10",
        "10.1.0.1:1", "[::1]:1", "64MiB", "500ms", "<<: ",
    ]
}
