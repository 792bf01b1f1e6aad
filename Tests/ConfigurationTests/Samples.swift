import Configuration
import Testing

/// A shared file and a site file that are right, for tests to spoil.
enum Sample {
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
              - {id: 2, name: n2, replication: 10.1.0.11:11301}
          - id: 2
            name: south
            proxies: [{id: 1, name: s1, replication: "10.2.0.11:11300"}]
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
          - name: n2
            clients: [0.0.0.0:11212]
            admin: 127.0.0.1:11401
            folder: /var/lib/meridian/n2
            certificate: tls/n2.pem
            key: tls/n2.key
        """

    static func read(
        federation: String = Sample.federation, site: String = Sample.site
    ) throws -> (federation: Federation, site: Site) {
        try SiteFiles.parse(
            federationText: federation, federationPath: "/etc/meridian/federation.yaml", siteText: site,
            sitePath: "/etc/meridian/north.yaml", cores: 2)
    }

    /// The mistakes that are found, each as `north.yaml:3:7: message. remedy.`
    static func mistakes(federation: String = Sample.federation, site: String = Sample.site) -> [String] {
        do {
            _ = try read(federation: federation, site: site)
            return []
        } catch let problems as ConfigurationProblems {
            return problems.problems.map { String($0.description.dropFirst("/etc/meridian/".count)) }
        } catch {
            return ["unexpected: \(error)"]
        }
    }

    /// The sample with one piece replaced; the piece must be there.
    static func spoiled(_ text: String, _ old: String, _ new: String) -> String {
        precondition(text.contains(old), "the sample has no '\(old)'")
        return text.replacing(old, with: new, maxReplacements: 1)
    }
}
