// Which proxies to ask, and what to tell the operator about those that do not answer.

import Configuration
import Foundation
import Status

/// An admin endpoint and how the operator named it.
public struct AdminEndpoint: Sendable, Hashable {
    /// Where it is.
    public var address: ListenAddress
    /// The site file that names it; nil when it was given by `--admin`.
    public var siteFile: String?
    /// The proxy that must answer there; nil when it was given by `--admin`.
    public var proxy: String?
    /// Host of the proxy's replication endpoint: which machine it runs on.
    public var machine: String?

    /// An endpoint given by `--admin`.
    public init(address: ListenAddress) { self.address = address }

    /// The endpoint of a proxy in a site file.
    public init(of proxy: SiteProxy, in federation: Federation, siteFile: String) {
        address = proxy.admin
        self.siteFile = siteFile
        self.proxy = proxy.name
        machine = federation.sites.flatMap(\.proxies).first { $0.name == proxy.name }?.replication.host
    }

    /// `proxy n1 at 127.0.0.1:11400 (from north.yaml)`
    public var description: String {
        guard let proxy, let siteFile else { return "the admin endpoint \(address) (from --admin)" }
        return "proxy \(proxy) at \(address) (from \(siteFile))"
    }
}

/// A proxy that did not answer, and what to do.
public struct Unanswered: Sendable, Hashable, CustomStringConvertible {
    /// Who was asked.
    public var endpoint: AdminEndpoint
    /// What happened.
    public var reason: String
    /// What to do.
    public var remedy: String

    /// `proxy n1 at 127.0.0.1:11400 (from north.yaml): connection refused. Is meridiand running? …`
    public var description: String { "\(endpoint.description): \(reason). \(remedy)" }
}

/// What the asked proxies said.
public struct QueryResult: Sendable {
    /// Those that answered.
    public var statuses: [ProxyStatus]
    /// Those that did not.
    public var unanswered: [Unanswered]

    /// Makes a result of its parts.
    public init(statuses: [ProxyStatus], unanswered: [Unanswered]) {
        self.statuses = statuses
        self.unanswered = unanswered
    }
}

/// Asks every endpoint for its status.
public func query(_ endpoints: [AdminEndpoint], with client: AdminClient) -> QueryResult {
    var result = QueryResult(statuses: [], unanswered: [])
    for endpoint in endpoints {
        do throws(AdminFailure) {
            let body = try client.get("/status", from: endpoint.address)
            switch understand(body, from: endpoint) {
            case .success(let status): result.statuses.append(status)
            case .failure(let problem): result.unanswered.append(problem.unanswered)
            }
        } catch {
            result.unanswered.append(unanswered(endpoint, error))
        }
    }
    return result
}

struct NotUnderstood: Error {
    var unanswered: Unanswered
}

/// Reads a status document and checks that it is the proxy's that was meant.
func understand(_ body: [UInt8], from endpoint: AdminEndpoint) -> Result<ProxyStatus, NotUnderstood> {
    guard let status = try? JSONDecoder().decode(ProxyStatus.self, from: Data(body)) else {
        return .failure(
            NotUnderstood(
                unanswered: Unanswered(
                    endpoint: endpoint, reason: "the answer is not a status report of this version",
                    remedy: "Use the meridian command of the version that the proxy runs")))
    }
    if let proxy = endpoint.proxy, proxy != status.proxy {
        let place = endpoint.machine.map { "It runs on \($0): ask there" } ?? "Ask on its own machine"
        return .failure(
            NotUnderstood(
                unanswered: Unanswered(
                    endpoint: endpoint, reason: "\(status.site)/\(status.proxy) answers at this address on this machine",
                    remedy: "\(place), or name a forwarded port with --admin")))
    }
    return .success(status)
}

/// The words for a failure.
func unanswered(_ endpoint: AdminEndpoint, _ failure: AdminFailure) -> Unanswered {
    let start = endpoint.proxy.map { "meridiand --config \(endpoint.siteFile ?? "FILE") --proxy \($0)" } ?? "meridiand"
    let elsewhere = endpoint.machine.map { " It is to run on \($0)" } ?? ""
    let isRunning = "Is meridiand running on this machine? Start it with: \(start).\(elsewhere)"
    let (reason, remedy): (String, String) =
        switch failure {
        case .refused: ("connection refused", isRunning)
        case .noSocket: ("there is no such socket", isRunning)
        case .forbidden: ("permission denied", "Run this as the user that meridiand runs as, or as root")
        case .timedOut(let milliseconds):
            (
                "no answer within \(milliseconds) ms",
                "The proxy may be stopped or overloaded; look at its log, or wait longer with --timeout"
            )
        case .unknownHost(let host): ("the host name \(host) is not known", "Check the address, or use an IP address")
        case .answer(let failure): ("\(failure)", "Check the address of the admin endpoint")
        case .status(let status):
            ("it answers with HTTP status \(status)", "Check that the address is a Meridian proxy's admin endpoint")
        case .system(let operation, let code):
            ("cannot \(operation): \(String(cString: strerror(code)))", "Check the address of the admin endpoint")
        }
    return Unanswered(endpoint: endpoint, reason: reason, remedy: remedy)
}
