import Configuration
import Kernel
import Ring
import Testing

/// Two readings of a site's files: what of it can change while a proxy runs is listed, and what cannot is named with what to do.
@Suite struct SiteChangeTests {
    private func change(
        federation: String = Sample.federation, site: String = Sample.site, proxy: String = "n1"
    ) throws -> SiteChange {
        SiteChange(from: try Sample.read(), to: try Sample.read(federation: federation, site: site), proxy: proxy)
    }

    /// The sample's site file with one piece replaced.
    private func site(_ old: String, _ new: String) -> String { Sample.spoiled(Sample.site, old, new) }

    private func live(_ site: String, proxy: String = "n1") throws -> [String] {
        let change = try change(site: site, proxy: proxy)
        #expect(change.needingRestart.isEmpty, "\(change.needingRestart)")
        return change.live.map(\.description)
    }

    @Test("The same files, written differently, change nothing")
    func unchanged() throws {
        #expect(try change().isEmpty)
        let reworded = Sample.site + "\n# a remark\nflush: local\nmemory-max: 512MiB\ntimes: {client-stalled: 1min}\n"
        #expect(try change(site: reworded).isEmpty)
    }

    @Test("Listeners come, go, and ask for other things; each is known by its address")
    func listeners() throws {
        #expect(
            try live(site("[0.0.0.0:11211]", "[0.0.0.0:11211, \"unix:/run/n1.sock\"]")) == [
                "listener unix:/run/n1.sock from=none to=open"
            ])
        #expect(
            try live(site("[0.0.0.0:11211]", "[0.0.0.0:11219]")) == [
                "listener 0.0.0.0:11211 from=open to=none", "listener 0.0.0.0:11219 from=none to=open",
            ])
        #expect(
            try live(
                site(
                    "[0.0.0.0:11211]",
                    "[{address: 0.0.0.0:11211, allow: 10.0.0.0/8, authentication: u.txt, tls: {certificate: c.pem, key: c.key}}]")
            )
                == [
                    "listener 0.0.0.0:11211 from=open to=tls /etc/meridian/c.pem /etc/meridian/c.key; "
                        + "authentication /etc/meridian/u.txt; allow 10.0.0.0/8"
                ])
    }

    @Test(
        "Limits, times and policies change while the proxy runs",
        arguments: [
            ("connections-max: 100", "connections-max from=4096 to=100"),
            ("connections-over: wait", "connections-over from=refuse to=wait"),
            ("memory-max: 1GiB", "memory-max from=512MiB to=1GiB"),
            ("unreachable-reads: error", "unreachable-reads from=miss to=error"),
            ("flush: deny", "flush from=local to=deny"),
            ("refill-keys-per-second: 0", "refill-keys-per-second from=20000 to=0"),
            ("times: {client-idle: 90s}", "times: client-idle from=off to=90s"),
            ("times: {client-request: 2min}", "times: client-request from=30s to=2min"),
            ("times: {backend-timeout: 250ms}", "times: backend-timeout from=1s to=250ms"),
            ("times: {stream-timeout: 4s}", "times: stream-timeout from=3s to=4s"),
        ])
    func limits(line: String, expected: String) throws {
        #expect(try live("\(Sample.site)\n\(line)\n") == [expected])
    }

    @Test("A server's address changes while the proxy runs; so do certificates' paths")
    func addresses() throws {
        #expect(
            try live(site("cache1: 10.1.0.21:11211", "cache1: 10.1.0.99:11211")) == [
                "server cache1 from=10.1.0.21:11211 to=10.1.0.99:11211"
            ])
        #expect(
            try live(site("certificate: tls/n1.pem", "certificate: tls/new.pem")) == [
                "certificate from=/etc/meridian/tls/n1.pem to=/etc/meridian/tls/new.pem"
            ])
    }

    @Test("Servers are added, removed and weighed anew while the proxy runs, on the ring and among the backups")
    func servers() throws {
        let heavier = try change(federation: Sample.spoiled(Sample.federation, "weight: 2", "weight: 3"))
        #expect(heavier.needingRestart.isEmpty)
        #expect(heavier.live.map(\.description) == ["ring: servers from=cache1,cache2*2 to=cache1,cache2*3"])
        #expect(
            try live("\(Sample.site)\nbackups: [{name: b1, address: 10.1.0.31:11211}]\n") == [
                "backups from=none to=b1", "backup b1 from=none to=10.1.0.31:11211",
            ])
    }

    @Test("Of another proxy of the site only matters where its clients find it")
    func others() throws {
        #expect(try live(site("folder: /var/lib/meridian/n2", "folder: /srv/n2")) == [])
        #expect(
            try live(site("[0.0.0.0:11212]", "[0.0.0.0:11213]")) == [
                "clients of proxy n2 from=0.0.0.0:11212 to=0.0.0.0:11213"
            ])
        #expect(try change(site: site("folder: /var/lib/meridian/n2", "folder: /srv/n2"), proxy: "n2").live.isEmpty)
        #expect(
            try change(site: site("folder: /var/lib/meridian/n2", "folder: /srv/n2"), proxy: "n2").needingRestart.map(\.name) == [
                "folder"
            ])
    }

    @Test(
        "What cannot change while the proxy runs is named, old and new, with a remedy",
        arguments: [
            ("durability: disk", "durability from=memory to=disk", "one after the other"),
            ("loops: 3", "loops from=2 to=3", "Stop all proxies"),
            ("log-segment: 128MiB", "log-segment from=64MiB to=128MiB", "one after the other"),
            ("times: {heartbeat: 50ms}", "times: heartbeat from=100ms to=50ms", "Stop all proxies"),
            ("times: {sibling-timeout: 2s}", "times: sibling-timeout from=1s to=2s", "Stop all proxies"),
            ("unix-mode: \"0600\"", "unix-mode from=0666 to=0600", "Restart"),
            ("unix-group: cache", "unix-group from=none to=cache", "Restart"),
            ("user: meridian", "user from=none to=meridian", "Restart"),
        ])
    func restart(line: String, expected: String, remedy: String) throws {
        let change = try change(site: "\(Sample.site)\n\(line)\n")
        let item = try #require(change.needingRestart.first)
        #expect(change.needingRestart.count == 1 && item.description == expected && item.remedy.contains(remedy))
    }

    @Test("One that cannot change does not hide what could, nor another one that cannot")
    func together() throws {
        let change = try change(site: "\(site("admin: 127.0.0.1:11400", "admin: 127.0.0.1:11500"))\nloops: 4\nmemory-max: 1GiB\n")
        #expect(change.needingRestart.map(\.name) == ["loops", "admin"])
        #expect(change.live.map(\.name) == ["memory-max"])
    }

    @Test("What sites share besides the ring takes a restart at every site")
    func shared() throws {
        for (old, new, name) in [
            ("replication: \"10.2.0.11:11300\"", "replication: \"10.2.0.12:11300\"", "sites: south"),
            ("federation: shop", "federation: shop\nitem-size-max: 2MiB", "item-size-max"),
            ("federation: shop", "federation: shop\nslots: 2048", "slots"),
            ("federation: shop", "federation: shop\ncrossing: [{keys: \"a*\", policy: none}]", "crossing"),
            ("federation: shop", "federation: mall", "federation"),
        ] {
            let change = try self.change(federation: Sample.spoiled(Sample.federation, old, new))
            #expect(change.needingRestart.map(\.name) == [name] && !change.needingRestart[0].remedy.isEmpty, "\(name)")
        }
    }

    @Test("A difference that has no name is no reason to go on as if there were none")
    func nameless() throws {
        // The order of sites is nobody's setting, and still not what this proxy began with.
        var (federation, site) = try Sample.read()
        federation.sites.reverse()
        let change = SiteChange(from: try Sample.read(), to: (federation, site), proxy: "n1")
        #expect(change.needingRestart.count == 1 && change.live.isEmpty)
    }
}
