// What operators and monitoring read: /status as JSON, /metrics for Prometheus. Read-only, on loopback or a unix socket.

import EventLoop
import Foundation
import Status

/// Answers the admin endpoint's requests from the board.
struct AdminEndpoint {
    let board: StatusBoard
    let federation: String
    let site: String
    let proxy: String
    let startedAtMicroseconds: UInt64

    static let help = """
        Meridian's admin endpoint (read-only)

          GET /status    this proxy's report as JSON; `meridian status`, `lag` and `hot` read it
          GET /metrics   the same figures in Prometheus' text format

        """

    /// Answers one request.
    func respond(_ request: HTTPService.Request) -> HTTPService.Response {
        guard request.method == "GET" || request.method == "HEAD" else {
            return .init(status: 405, text: "only GET and HEAD are understood here\n", headers: [("Allow", "GET, HEAD")])
        }
        switch request.path {
        case "/", "": return .init(status: 200, text: Self.help)
        case "/status": return status()
        case "/metrics":
            return .init(status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", text: Metrics.text(report()))
        default: return .init(status: 404, text: "there is no \(request.path) here\n\n\(Self.help)")
        }
    }

    private func status() -> HTTPService.Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        do {
            return .init(status: 200, contentType: "application/json", body: Array(try encoder.encode(report())) + [10])
        } catch {
            return .init(status: 500, text: "the report cannot be written as JSON: \(error)\n")
        }
    }

    private func report() -> ProxyStatus {
        ProxyStatus(
            federation: federation, site: site, proxy: proxy, version: MeridianVersion.text, pid: getpid(),
            uptimeSeconds: Double(Clock.monotonicMicroseconds() - startedAtMicroseconds) / 1_000_000, lanes: board.read())
    }
}
