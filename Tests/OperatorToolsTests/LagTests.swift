import Foundation
import OperatorTools
import Status
import Testing

@Suite struct LagReportTests {
    @Test func `a link that streams shows its lag and when it was heard`() {
        let lines = lag(south(0.0004, records: 12)).lines(clock: clock)
        #expect(
            lines == [
                "FROM             TO        LAG  RECORDS    BYTES  ACKNOWLEDGED  HEARD      STATE",
                "north/n1 s1p1l0  south  0.4 ms       12  1.2 KiB          10/s  40 ms ago  streaming",
            ])
    }

    @Test func `a silent link is never shown as zero`() {
        let silent = lag(south(0, records: 0, heard: 42, state: "connecting", message: "connection refused"))
        let lines = silent.lines(clock: clock)
        #expect(
            lines[1] == "north/n1 s1p1l0  south  unknown        0    0 B          10/s  not heard since T-42 (42.0 s)  connecting"
        )
        #expect(lines[2] == "north/n1 s1p1l0 to south: connection refused")
    }

    @Test func `a silent link with a backlog shows the age of what waits`() {
        let lines = lag(south(17, records: 3, heard: 20)).lines(clock: clock)
        #expect(lines[1].contains("17.0 s") && lines[1].contains("not heard since T-20 (20.0 s)"))
    }

    @Test func `a site that was never heard says so`() {
        let lines = lag(south(heard: nil, state: "refused", message: "ring differs")).lines(clock: clock)
        #expect(lines[1].contains("unknown") && lines[1].contains("never heard"))
    }

    @Test func `lanes fold into their proxy without hiding the silent one`() {
        let folded = lag(
            south(0.5, records: 2), south(0, records: 0, heard: 9, state: "connecting", message: "cut"), byProxy: true)
        #expect(folded.links.count == 1)
        #expect(folded.links[0].records == 2)
        #expect(folded.links[0].acknowledgedPerSecond == 20)
        #expect(folded.links[0].state == "connecting")
        #expect(folded.links[0].certainSeconds == 9)
        #expect(folded.lines(clock: clock)[1].hasPrefix("north/n1  south  unknown"))
    }

    @Test func `a federation of one site lags behind nobody`() {
        #expect(LagReport(QueryResult()).lines(clock: clock) == ["There is no other site, so nothing lags."])
    }

    @Test func `JSON says null where nothing is known`() throws {
        let data = try JSONEncoder().encode(lag(south(0.25, records: 1), south(0, heard: nil)))
        let document = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
        let links = try #require(document["links"] as? [[String: Any]])
        #expect(links[0]["seconds"] as? Double == 0.25)
        #expect(links[0]["silent"] as? Bool == false)
        #expect(links[1]["seconds"] is NSNull)
        #expect(links[1]["lastHeardSeconds"] is NSNull)
        #expect(links[1]["silent"] as? Bool == true)
    }
}

@Suite struct LagCheckTests {
    let check = LagCheck(warnSeconds: 1, criticalSeconds: 5)

    @Test(
        arguments: [
            (0.0, 0.04, LagCheck.Outcome.ok), (0.999, 0.04, .ok), (1, 0.04, .warning), (4.999, 0.04, .warning),
            (5, 0.04, .critical),
            // Silence counts as lag, with or without a backlog.
            (0, 3.5, .warning), (0, 5.5, .critical), (0, nil, .critical),
        ] as [(Double, Double?, LagCheck.Outcome)])
    func `a lag at a limit has reached it`(seconds: Double, heard: Double?, expected: LagCheck.Outcome) {
        #expect(check.run(lag(south(seconds, records: 1, heard: heard)), clock: clock).outcome == expected)
    }

    @Test func `the worst link decides and is named`() {
        let (line, outcome) = check.run(lag(south(0.1, records: 1), south(2, records: 30)), clock: clock)
        #expect(outcome == .warning)
        #expect(
            line
                == "MERIDIAN LAG WARNING - north/n1 s1p1l1 to south 2.0 s; 31 records, 3.0 KiB behind over 2 links | "
                + "'north_n1_s1p1l0_south'=0.100000s;1;5;0 'north_n1_s1p1l0_south_records'=1;;;0 'north_n1_s1p1l0_south_bytes'=100B;;;0 "
                + "'north_n1_s1p1l1_south'=2.000000s;1;5;0 'north_n1_s1p1l1_south_records'=30;;;0 'north_n1_s1p1l1_south_bytes'=3000B;;;0"
        )
    }

    @Test func `a refused stream is critical even before anything waits`() {
        let (line, outcome) = check.run(
            lag(south(state: "refused", message: "server cache2: weight 1 here, 2 there | x")), clock: clock)
        #expect(outcome == .critical)
        // The one bar is where performance data begins.
        #expect(line.filter { $0 == "|" }.count == 1)
        #expect(line.contains("server cache2: weight 1 here, 2 there"))
    }

    @Test func `a proxy that does not answer makes the lag unknown, unless another is worse`() throws {
        let endpoint = AdminEndpoint(of: Sample.proxy, in: Sample.federation, siteFile: "north.yaml")
        let missing = Unanswered(endpoint: endpoint, reason: "connection refused", remedy: "Start it")
        let fine = LagReport(QueryResult(statuses: [report("n2", [south()])], unanswered: [missing]))
        let (line, outcome) = check.run(fine, clock: clock)
        #expect(outcome == .unknown)
        #expect(outcome.rawValue == 3)
        #expect(
            line.hasPrefix("MERIDIAN LAG UNKNOWN - proxy n1 at 127.0.0.1:11400 (from north.yaml): connection refused. Start it."))
        let bad = LagReport(QueryResult(statuses: [report("n2", [south(9, records: 1)])], unanswered: [missing]))
        #expect(check.run(bad, clock: clock).outcome == .critical)
        #expect(check.run(bad, clock: clock).line.contains("no answer from n1"))
    }

    @Test func `a proxy on another machine does not disturb the check`() {
        let endpoint = AdminEndpoint(of: Sample.proxy, in: Sample.federation, siteFile: "north.yaml")
        let elsewhere = Unanswered(endpoint: endpoint, reason: "at this address north/n2 answers", remedy: "Ask there")
        let result = QueryResult(statuses: [report("n2", [south()])], elsewhere: [elsewhere])
        #expect(check.run(LagReport(result), clock: clock).outcome == .ok)
    }

    @Test func `without limits only silence and refusal count`() {
        let none = LagCheck(warnSeconds: nil, criticalSeconds: nil)
        #expect(none.run(lag(south(900, records: 1)), clock: clock).outcome == .ok)
        #expect(none.run(lag(south(heard: nil)), clock: clock).outcome == .critical)
        #expect(none.run(lag(south(heard: nil)), clock: clock).line.contains("'north_n1_s1p1l0_south'=U;;;0"))
    }
}
