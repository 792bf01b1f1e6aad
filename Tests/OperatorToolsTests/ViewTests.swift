import Configuration
import Kernel
import OperatorTools
import Ring
import Status
import Testing

@Suite struct StatusViewTests {
    private var status: ProxyStatus {
        var status = report("n1", [south(), south(state: "refused", message: "ring differs: slots")])
        for index in status.lanes.indices {
            status.lanes[index].gauges["slots_owned"] = 512
            status.lanes[index].gauges["client_connections"] = 3
            status.lanes[index].counters["commands_get"] = 1_234
            status.lanes[index].log.tailBytes = 2_048
            status.lanes[index].log.syncedBytes = 1_024
            status.lanes[index].backends = [
                BackendStatus(
                    name: "cache1", role: "primary", address: "10.0.0.1:11211", state: index == 0 ? "up" : "down",
                    message: index == 0 ? "" : "connection refused", missedKeys: index)
            ]
            status.lanes[index].siblings = [SiblingStatus(lane: "s1p2l0", state: "dead", lastHeardSeconds: nil)]
        }
        status.lanes[1].log.message = "no space left on /var"
        return status
    }

    @Test func `a proxy's report in tables, and what needs attention`() {
        #expect(
            StatusView(status).lines(all: false) == [
                "north/n1 of shop: meridiand 0.1.0, pid 42, up 1 min 1 s",
                "  LANE    STATE    SLOTS  CLIENTS  COMMITTED      LOG  UNSYNCED  SEGMENTS",
                "  s1p1l0  serving    512        3          0  2.0 KiB   1.0 KiB         1",
                "  s1p1l1  serving    512        3          0  2.0 KiB   1.0 KiB         1",
                "",
                "  SERVER  ROLE     ADDRESS         STATE                   MISSED KEYS",
                "  cache1  primary  10.0.0.1:11211  s1p1l0 up, s1p1l1 down            1",
                "",
                "  LANE    SIBLING  STATE  HEARD",
                "  s1p1l0  s1p2l0   dead   never",
                "  s1p1l1  s1p2l0   dead   never",
                "",
                "  s1p1l1: writes are refused: no space left on /var",
                "  s1p1l1: server cache1 (10.0.0.1:11211): connection refused",
                "  s1p1l1: site south is refused: ring differs: slots",
            ])
    }

    @Test func `all adds every number of every lane`() {
        let lines = StatusView(status).lines(all: true)
        #expect(lines.contains("  commands_get         1,234   1,234"))
    }

    @Test func `numbers that make no sense do no harm`() {
        var odd = status
        odd.lanes[0].log.syncedBytes = .max
        odd.lanes[0].log.firstSegment = 9
        odd.lanes[0].gauges["client_connections"] = .nan
        odd.lanes[0].backends[0].missedKeys = -5
        odd.uptimeSeconds = -.infinity
        #expect(!StatusView(odd).lines(all: true).isEmpty)
    }
}

@Suite struct PlacementTests {
    @Test func `a key is placed on the ring, among the backups and with its owner`() {
        let place = Placement(
            key: "user:1", federation: Sample.federation, site: Sample.site, statuses: [report("n1", [south()])])
        let ring = Continuum(flavour: .ketama, servers: Sample.federation.servers)
        #expect(place.primary == "\(["cache1 10.0.0.1:11211", "cache2 10.0.0.2:11211"][ring.server(for: "user:1")])")
        #expect(place.backup == "backup1 10.0.0.9:11211")
        #expect(place.slot == Slots.slot(of: "user:1", count: 1_024))
        #expect(place.owner == "n1 s1p1l0")
    }

    @Test func `the owner is drawn among the lanes that serve`() throws {
        var status = report("n1", [south()])
        status.lanes[0].siblings = [SiblingStatus(lane: "s1p2l0", state: "serving", lastHeardSeconds: 0.1)]
        let both = [try #require(LaneID("s1p1l0")), try #require(LaneID("s1p2l0"))]
        for key in (0..<50).map({ "key\($0)" }) {
            let place = Placement(key: key, federation: Sample.federation, site: Sample.site, statuses: [status])
            let owner = try #require(Rendezvous.owner(of: place.slot, among: both))
            #expect(place.owner == (owner.proxy == 1 ? "n1 s1p1l0" : "n2 s1p2l0"))
        }
        status.lanes[0].state = "joining"
        status.lanes[0].siblings[0].state = "dead"
        #expect(Placement(key: "a", federation: Sample.federation, site: Sample.site, statuses: [status]).owner == "unknown")
    }

    @Test func `a site without backups and without answers says so`() {
        var site = Sample.site
        site.backups = []
        let place = Placement(key: "a", federation: Sample.federation, site: site, statuses: [])
        #expect(place.backup == "-")
        #expect(place.owner == "unknown")
        #expect(placementLines([place])[0] == "KEY  SLOT  SITE   PRIMARY                BACKUP  OWNER")
    }

    @Test(arguments: ["s1p1l0", "s255p2l12"])
    func `lanes are read as they are written`(text: String) throws {
        #expect(try #require(LaneID(text)).description == text)
    }

    @Test(arguments: ["", "s1", "s1p1l", "s256p1l0", "x1p1l0", "s1p1l0 ", "s-1p1l0"])
    func `other texts are no lanes`(text: String) {
        #expect(LaneID(text) == nil)
    }
}

@Suite struct AgreementTests {
    @Test func `shared files that differ are told apart by what differs`() {
        var other = Sample.federation
        #expect(federationDifference(Sample.federation, other) == nil)
        other.servers[1].weight = 3
        #expect(federationDifference(Sample.federation, other) == "server cache2: weight 1 here, 3 there")
        other = Sample.federation
        other.itemBytesMax = 2 << 20
        #expect(federationDifference(Sample.federation, other) == "item-size-max: 1.0 MiB here, 2.0 MiB there")
        other = Sample.federation
        other.sites[0].proxies[0].replication.port = 1
        #expect(federationDifference(Sample.federation, other)?.hasPrefix("sites:") == true)
    }

    @Test func `files that are right are described`() {
        #expect(
            described(Sample.site, of: Sample.federation)
                == "right: site north of shop, 2 primaries, 1 backup, proxies n1 with 1 loop each")
        #expect(
            described(Sample.federation)
                == "right: federation shop, ring of 2 servers by ketama, 1024 slots, sites north (n1, n2)")
    }
}
