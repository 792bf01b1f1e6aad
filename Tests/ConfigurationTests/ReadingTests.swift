import Foundation
import Ring
import Testing

@testable import Configuration

@Suite struct ReadingTests {
    @Test func `two right files become a federation and a site with the defaults`() throws {
        let (federation, site) = try Sample.read()
        #expect(federation.name == "shop")
        #expect(federation.flavour == .ketama)
        #expect(federation.servers == [RingServer(name: "cache1", weight: 1), RingServer(name: "cache2", weight: 2)])
        #expect(federation.slotCount == 1_024)
        #expect(federation.itemBytesMax == 1_048_576)
        #expect(federation.sites.map(\.name) == ["north", "south"])
        #expect(
            federation.sites[1].proxies == [
                FederationProxy(id: 1, name: "s1", replication: HostPort(host: "10.2.0.11", port: 11_300))
            ])
        #expect(site.name == "north")
        #expect(site.primaries.map(\.address.description) == ["10.1.0.21:11211", "10.1.0.22:11211"])
        #expect(site.primaries.map(\.weight) == [1, 2])
        #expect(site.backups.isEmpty)
        #expect(site.loops == 2)
        #expect(site.durability == .memory)
        #expect(site.unreachable == .miss)
        #expect(site.flush == .local)
        #expect(site.times == SiteTimes())
        #expect(site.segmentBytes == 64 << 20)
        #expect(site.proxies.map(\.name) == ["n1", "n2"])
        #expect(site.proxies[0].clientConnectionsMax == 4_096)
    }

    @Test func `magent's names are hashed at every site, wherever its servers are`() throws {
        let federation = Sample.federation.replacing("ring:\n", with: "ring:\n  hash: magent-ketama\n")
            .replacing("name: cache1", with: "name: \"10.0.0.1:11211\"").replacing(
                "name: cache2", with: "name: \"10.0.0.2:11211\"")
        let site = Sample.site.replacing("cache1:", with: "10.0.0.1:11211:").replacing("cache2:", with: "10.0.0.2:11211:")
        let read = try Sample.read(federation: federation, site: site)
        #expect(read.federation.flavour == .magentKetama)
        #expect(read.federation.servers.map(\.name) == ["10.0.0.1:11211", "10.0.0.2:11211"])
        #expect(read.site.primaries.map(\.address.description) == ["10.1.0.21:11211", "10.1.0.22:11211"])
    }

    @Test func `locks stay at home unless the file says what crosses`() throws {
        let (byDefault, _) = try Sample.read()
        #expect(byDefault.crossing.map(\.policy) == [CrossingRule.Policy.none, CrossingRule.Policy.none])
        #expect(byDefault.crossing.map(\.suffix).contains(".lock"))
        let (given, _) = try Sample.read(
            federation: Sample.federation + "\ncrossing: [{keys: \"page.*.html\", policy: invalidate}]")
        #expect(given.crossing == [CrossingRule(prefix: "page.", suffix: ".html", policy: .invalidate)])
        let (nothing, _) = try Sample.read(federation: Sample.federation + "\ncrossing: []")
        #expect(nothing.crossing.isEmpty)
    }

    @Test func `relative paths belong to the file that names them`() throws {
        let (_, site) = try Sample.read()
        #expect(site.proxies[0].certificatePath == "/etc/meridian/tls/n1.pem")
        #expect(site.proxies[0].authorityPath == "/etc/meridian/tls/authority.pem")
        #expect(site.proxies[0].folder == "/var/lib/meridian/n1")
        let reference = try SiteFiles.federationReference(inSiteText: Sample.site, sitePath: "/etc/meridian/north.yaml")
        #expect(reference == .init(path: "/etc/meridian/federation.yaml", line: 2, column: 13))
        #expect(try SiteFiles.federationReference(inSiteText: "federation: ./a.yaml", sitePath: "north.yaml").path == "./a.yaml")
    }

    @Test func `proxies come in the shared file's order and servers in the ring's`() throws {
        let reversed = Sample.spoiled(
            Sample.spoiled(
                Sample.site, "cache1: 10.1.0.21:11211\n  cache2: 10.1.0.22:11211",
                "cache2: 10.1.0.22:11211\n  cache1: 10.1.0.21:11211"), "name: n1\n    clients: [0.0.0.0:11211]",
            "name: nX\n    clients: [0.0.0.0:11211]")
        let swapped = reversed.replacing("name: n2", with: "name: n1").replacing("name: nX", with: "name: n2")
        let (_, site) = try Sample.read(site: swapped)
        #expect(site.proxies.map(\.name) == ["n1", "n2"])
        #expect(site.proxies.map(\.clients.first?.description) == ["0.0.0.0:11212", "0.0.0.0:11211"])
        #expect(site.primaries.map(\.name) == ["cache1", "cache2"])
    }

    @Test func `everything that can be said is read`() throws {
        let more = """

            backups:
              - {name: backup1, address: "[fd00::9]:11211", weight: 3}
            loops: 4
            durability: disk
            reads: least-outstanding
            unreachable-reads: error
            flush: deny
            log-segment: 128 MiB
            connections-max: 100
            connections-over: wait
            memory-max: 64MiB
            unix-mode: 0660
            unix-group: www-data
            user: meridian
            group: cache
            times: {backend-timeout: 250ms, stream-timeout: 1min, heartbeat: 50ms, client-idle: 5min, client-request: 3s}
            """
        let text = Sample.spoiled(Sample.site, "[0.0.0.0:11212]", "[0.0.0.0:11212, unix:/run/n2.sock]\n    connections-max: 7")
        let (_, site) = try Sample.read(site: text + more)
        #expect(site.backups == [Backend(name: "backup1", weight: 3, address: HostPort(host: "fd00::9", port: 11_211))])
        #expect(site.loops == 4)
        #expect(site.durability == .disk)
        #expect(site.reads == .leastOutstanding)
        #expect(site.unreachable == .error)
        #expect(site.flush == .deny)
        #expect(site.segmentBytes == 128 << 20)
        #expect(site.times.backendTimeoutMilliseconds == 250)
        #expect(site.times.streamTimeoutMilliseconds == 60_000)
        #expect(site.times.clientIdleMilliseconds == 300_000)
        #expect(site.times.clientRequestMilliseconds == 3_000)
        #expect(site.clients.excess == .wait)
        #expect(site.clients.memoryBytesMax == 64 << 20)
        #expect(site.clients.unixMode == 0o660)
        #expect(site.clients.unixGroup == "www-data")
        #expect(site.account == SiteAccount(user: "meridian", group: "cache"))
        #expect(site.times.heartbeatMilliseconds == 50)
        #expect(site.proxies.map(\.clientConnectionsMax) == [100, 7])
        #expect(site.proxies[1].clients == [.tcp(HostPort(host: "0.0.0.0", port: 11_212)), .unix(path: "/run/n2.sock")])
    }

    @Test func `a ceiling for memory that nobody set has room for the largest items on every loop`() throws {
        let (_, usual) = try Sample.read()
        #expect(usual.clients.memoryBytesMax == 512 << 20)
        #expect(usual.account == nil)
        let (_, large) = try Sample.read(
            federation: Sample.federation + "\nitem-size-max: 128MiB", site: Sample.site + "\nlog-segment: 512MiB")
        #expect(large.clients.memoryBytesMax == 2 * 4 * 128 << 20)
        let (_, off) = try Sample.read(site: Sample.site + "\ntimes: {client-idle: off}")
        #expect(off.times.clientIdleMilliseconds == 0)
    }

    @Test func `each of a log's segments begins with what is known of all servers, and has room for it`() {
        #expect(SiteFile.segmentLeast(itemBytesMax: 1 << 10, servers: 4) == 1 << 20)
        #expect(SiteFile.segmentLeast(itemBytesMax: 1 << 20, servers: 4) == 4 << 20)
        #expect(SiteFile.segmentLeast(itemBytesMax: 1 << 10, servers: 2_048) == 8 << 20)
    }

    @Test func `a proxy without an admin address gets a socket in its folder`() throws {
        let (_, site) = try Sample.read(site: Sample.spoiled(Sample.site, "    admin: 127.0.0.1:11400\n", ""))
        #expect(site.proxies[0].admin == .unix(path: "/var/lib/meridian/n1/admin.sock"))
    }

    @Test func `the templates are right as they stand`() throws {
        let templates = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sites/templates")
        let federation = try String(contentsOf: templates.appending(path: "federation.yaml"), encoding: .utf8)
        let site = try String(contentsOf: templates.appending(path: "site.yaml"), encoding: .utf8)
        #expect(Sample.mistakes(federation: federation, site: site) == [])
        // So is the listener that it shows.
        let shown = try Sample.read(federation: federation, site: site.replacing(#/(?m)^      # /#, with: "      ")).site
        let listener = try #require(shown.proxies[0].clients.last)
        #expect(shown.proxies[0].clients.count == 3 && listener.allowed.count == 3)
        #expect(listener.tls?.clientAuthorityPath != nil && listener.authenticationPath != nil)
        // The defaults that the template tells are the defaults that hold.
        let keys = /(?m)^# (?=(durability|unreachable|flush|connections|memory|unix-mode|log-segment|times|  ))/
        let uncommented = site.replacing(keys, with: "")
        #expect(uncommented != site)
        #expect(
            try Sample.read(federation: federation, site: uncommented).site
                == Sample.read(federation: federation, site: site).site)
    }
}
