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

    /// Makes an entry of its parts.
    public init(endpoint: AdminEndpoint, reason: String, remedy: String) {
        self.endpoint = endpoint
        self.reason = reason
        self.remedy = remedy
    }

    /// `proxy n1 at 127.0.0.1:11400 (from north.yaml): connection refused. Is meridiand running? …`
    public var description: String { "\(endpoint.description): \(reason). \(remedy)." }
}

/// What the asked proxies said.
public struct QueryResult: Sendable {
    /// Those that answered.
    public var statuses: [ProxyStatus]
    /// Those that should have answered and did not.
    public var unanswered: [Unanswered]
    /// Those that run on other machines, where their admin endpoints cannot be reached from here; no fault of theirs.
    public var elsewhere: [Unanswered]

    /// Makes a result of its parts.
    public init(statuses: [ProxyStatus] = [], unanswered: [Unanswered] = [], elsewhere: [Unanswered] = []) {
        self.statuses = statuses
        self.unanswered = unanswered
        self.elsewhere = elsewhere
    }

    /// When nobody answered, this is not the machine to ask from, and that is worth a failure.
    mutating func settle() {
        guard statuses.isEmpty else { return }
        unanswered += elsewhere
        elsewhere = []
    }
}

/// Asks every endpoint for its status.
public func query(_ endpoints: [AdminEndpoint], with client: AdminClient) -> QueryResult {
    var result = QueryResult()
    for endpoint in endpoints {
        do throws(AdminFailure) {
            let body = try client.get("/status", from: endpoint.address)
            understand(body, from: endpoint, into: &result)
        } catch {
            let problem = unanswered(endpoint, error)
            let isAbsent = error == .refused || error == .noSocket
            if isAbsent, let machine = endpoint.machine, !isThisMachine(machine) {
                result.elsewhere.append(problem)
            } else {
                result.unanswered.append(problem)
            }
        }
    }
    result.settle()
    return result
}

/// Reads a status document and checks that it is the proxy's that was meant.
func understand(_ body: [UInt8], from endpoint: AdminEndpoint, into result: inout QueryResult) {
    guard let status = try? JSONDecoder().decode(ProxyStatus.self, from: Data(body)) else {
        result.unanswered.append(
            Unanswered(
                endpoint: endpoint, reason: "the answer is not a status report of this version",
                remedy: "Use the meridian command of the version that the proxy runs"))
        return
    }
    if let proxy = endpoint.proxy, proxy != status.proxy {
        let place = endpoint.machine.map { "It runs on \($0): ask there" } ?? "Ask on its own machine"
        result.elsewhere.append(
            Unanswered(
                endpoint: endpoint, reason: "at this address \(status.site)/\(status.proxy) answers",
                remedy: "\(place), or name a forwarded port with --admin"))
        return
    }
    result.statuses.append(status)
}

/// The words for a failure.
func unanswered(_ endpoint: AdminEndpoint, _ failure: AdminFailure) -> Unanswered {
    let isRunning = remedyWhenAbsent(endpoint)
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

private func remedyWhenAbsent(_ endpoint: AdminEndpoint) -> String {
    guard let proxy = endpoint.proxy, let file = endpoint.siteFile else {
        return "Check that meridiand runs on this machine, and that its site file gives this address as 'admin'"
    }
    if let machine = endpoint.machine, !isThisMachine(machine) {
        return "It runs on \(machine): ask there, or name a forwarded port with --admin"
    }
    return "Is meridiand running? Start it with: meridiand --config \(file) --proxy \(proxy)"
}
