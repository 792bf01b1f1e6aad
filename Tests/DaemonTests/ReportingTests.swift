import EventLoop
import Foundation
import Status
import Testing

@testable import Daemon

@Suite struct MetricsTests {
    private func lane(_ name: String) -> LaneStatus {
        var lane = LaneStatus(lane: name, state: "serving")
        lane.counters = ["commands_get": 12]
        lane.gauges = ["index_entries": 1.5]
        lane.destinations = [
            DestinationStatus(
                site: "south", state: "streaming", message: "", lagSeconds: 0.25, lagRecords: 3, lagBytes: 400,
                acknowledgedPerSecond: 10, lastHeardSeconds: nil, acknowledgedPosition: 7)
        ]
        lane.backends = [
            BackendStatus(
                name: "a \"quoted\" \\ name", role: "primary", address: "127.0.0.1:1", state: "recovering", message: "",
                missedKeys: 2)
        ]
        lane.siblings = [SiblingStatus(lane: "s1p2l0", state: "dead", lastHeardSeconds: 4)]
        return lane
    }

    private var text: String {
        Metrics.text(
            ProxyStatus(
                federation: "shop", site: "north", proxy: "n1", version: "1.2", pid: 5, uptimeSeconds: 60,
                lanes: [lane("s1p1l0"), lane("s1p1l1")]))
    }

    @Test func everyFamilyIsDescribedOnceAndItsSamplesStandTogether() {
        var described: Set<String> = []
        var current = ""
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# HELP ") {
                current = String(line.split(separator: " ")[2])
                #expect(described.insert(current).inserted, "\(current) is described twice")
            } else if line.hasPrefix("# TYPE ") {
                #expect(line.split(separator: " ")[2] == current)
            } else {
                #expect(line.hasPrefix(current + "{") || line.hasPrefix(current + " "), "\(line) stands under \(current)")
            }
        }
        #expect(described.allSatisfy { $0.hasPrefix("meridian_") })
    }

    @Test func figuresCarryTheirLabels() {
        #expect(text.contains("meridian_commands_get_total{lane=\"s1p1l0\"} 12\n"))
        #expect(text.contains("meridian_index_entries{lane=\"s1p1l1\"} 1.5\n"))
        #expect(text.contains("meridian_lag_seconds{lane=\"s1p1l0\",destination=\"south\"} 0.25\n"))
        #expect(text.contains("meridian_sibling_alive{lane=\"s1p1l0\",sibling=\"s1p2l0\"} 0\n"))
        #expect(text.contains("backend=\"a \\\"quoted\\\" \\\\ name\""))
    }

    @Test func aSiteNeverHeardHasNoFigureInsteadOfZero() {
        #expect(!text.contains("meridian_last_heard_seconds"))
    }
}

@Suite struct AdminEndpointTests {
    private let endpoint: AdminEndpoint

    init() {
        let board = StatusBoard(lanes: 2)
        board.publish(LaneStatus(lane: "s1p1l1", state: "serving"), lane: 1)
        endpoint = AdminEndpoint(
            board: board, federation: "shop", site: "north", proxy: "n1", startedAtMicroseconds: Clock.monotonicMicroseconds())
    }

    @Test func statusIsTheReportAsJSON() throws {
        let response = endpoint.respond(.init(method: "GET", path: "/status"))
        #expect(response.status == 200)
        let report = try JSONDecoder().decode(ProxyStatus.self, from: Data(response.body))
        #expect(report.proxy == "n1" && report.lanes.map(\.lane) == ["s1p1l1"])
    }

    @Test(arguments: [
        ("GET", "/", 200), ("GET", "/metrics", 200), ("GET", "/nothing", 404), ("POST", "/status", 405), ("PUT", "/", 405),
    ])
    func everythingElseIsAnswered(method: String, path: String, status: Int32) {
        let response = endpoint.respond(.init(method: method, path: path))
        #expect(response.status == status)
        #expect(!response.body.isEmpty)
    }
}

@Suite struct LineLogTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (951_782_400_123_456, "2000-02-29T00:00:00.123Z"),
        (1_795_347_099_999_000, "2026-11-22T11:31:39.999Z"), (4_102_444_799_000_000, "2099-12-31T23:59:59.000Z"),
    ])
    func timesAreWrittenInUTC(microseconds: UInt64, text: String) {
        #expect(LineLogHandler.timestamp(microseconds) == text)
    }

    @Test func strangersCannotFillTheLog() {
        var throttle = LogThrottle()
        let permitted = (0..<1_000).filter { throttle.permit(atMonotonic: UInt64($0)) != nil }.count
        #expect(permitted == LogThrottle.linesPerWindowMax)
        #expect(throttle.permit(atMonotonic: LogThrottle.windowMicroseconds + 1) == " (990 more like it in the last minute)")
        #expect(throttle.permit(atMonotonic: LogThrottle.windowMicroseconds + 2) == "")
    }

    @Test func aFloodOfOneKindHidesNoOther() {
        var throttles = LogThrottles()
        for now in 0..<1_000 as Range<UInt64> { _ = throttles.permit("no preamble", atMonotonic: now) }
        #expect(throttles.permit("no preamble", atMonotonic: 1_000) == nil)
        #expect(throttles.permit("expired", atMonotonic: 1_000) == "")
        for kind in 0..<1_000 { _ = throttles.permit("kind \(kind)", atMonotonic: 1_000) }
        #expect(throttles.permit("one kind too many", atMonotonic: 1_000) == nil, "kinds are bounded, too")
        let later = LogThrottle.windowMicroseconds * 2
        #expect(throttles.permit("no preamble", atMonotonic: later) == " (991 more like it in the last minute)")
        #expect(throttles.permit("a new kind", atMonotonic: later) == "")
    }
}
