import OperatorTools
import Status
import Testing

/// What `meridian hot` makes of the proxies' reports.
@Suite struct HotTests {
    private func lane(_ readsPerSecond: Double, _ keys: [(String, Double)]) -> LaneStatus {
        var lane = LaneStatus(lane: "s1p1l0", state: "serving")
        var hot = HotStatus(readsPerSecond: readsPerSecond)
        hot.keys = keys.map { HotKeyStatus(key: $0.0, readsPerSecond: $0.1, servers: ["cache1", "backup1"]) }
        lane.hot = hot
        return lane
    }

    private func status(_ proxy: String, site: String = "north", _ lanes: [LaneStatus]) -> ProxyStatus {
        ProxyStatus(federation: "shop", site: site, proxy: proxy, version: "0.1.0", pid: 42, uptimeSeconds: 61, lanes: lanes)
    }

    @Test("A key's reads are summed over lanes and proxies, and shared by all reads of the site")
    func merged() {
        let result = QueryResult(statuses: [
            status("n1", [lane(1_000, [("user:1", 300), ("b", 20)]), lane(500, [("user:1", 100)])]),
            status("n2", [lane(500, [("user:1", 600), ("c", 50)])]),
        ])
        let report = HotReport(result, most: 2)
        #expect(report.keys.map(\.key) == ["user:1", "c"])
        #expect(
            report.lines == [
                "  READS   SHARE  SERVERS          KEY",
                "1,000/s  50.0 %  cache1, backup1  user:1",
                "   50/s   2.5 %  cache1, backup1  c",
                "north: 2,000/s reads in all",
            ])
    }

    @Test("Several sites are told apart: the same key is read at each of them from other servers")
    func sites() {
        let result = QueryResult(statuses: [
            status("n1", [lane(100, [("k", 50)])]), status("s1", site: "south", [lane(400, [("k", 100)])]),
        ])
        #expect(
            HotReport(result, most: 9).lines == [
                "READS   SHARE  SERVERS          SITE   KEY",
                "100/s  25.0 %  cache1, backup1  south  k",
                " 50/s  50.0 %  cache1, backup1  north  k",
                "north: 100/s reads in all",
                "south: 400/s reads in all",
            ])
    }

    @Test("Nothing hot, a proxy that is too old, one that did not answer: each says so")
    func nothing() {
        let old = status("n2", [LaneStatus(lane: "s1p2l0", state: "serving")])
        var result = QueryResult(statuses: [status("n1", [lane(12, [])]), old])
        result.unanswered = [
            Unanswered(
                endpoint: AdminEndpoint(of: Sample.proxy, in: Sample.federation, siteFile: "north.yaml"), reason: "no",
                remedy: "Try")
        ]
        #expect(
            HotReport(result, most: 9).lines == [
                "north: 12/s reads in all; no key stands out",
                "north/n2: its meridiand is too old to say what is hot; start it anew",
                "proxy n1 at 127.0.0.1:11400 (from north.yaml): no. Try.",
            ])
    }
}
