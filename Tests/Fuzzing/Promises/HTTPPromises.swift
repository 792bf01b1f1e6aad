// HTTP: what a stranger may send to the admin endpoint, and what an operator's command may be answered.

import EventLoop
import Foundation
import Kernel
import OperatorTools
import Status

extension Promise {
    static let httpRequest = Promise(
        "http-request",
        "any bytes to the admin endpoint's HTTP: the same requests however they are cut, and answers of bounded size",
        bytesMax: 2_048,
        seeds: [
            "GET /status HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
            "POST /status HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD / HTTP/1.0\r\n\r\n",
            "PUT //a/../b?c=d#e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "GET http://host:1/%00%zz HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        ].map { Array($0.utf8) },
        words: [
            "GET ", "HEAD ", "POST ", "OPTIONS ", "CONNECT ", "/status", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "\r\n\r\n",
            "Content-Length: ", "Transfer-Encoding: chunked", "Connection: keep-alive", "Connection: close",
            "Expect: 100-continue",
            "http://", "?", "#", "%2f", "\n ", ": ",
        ]
    ) { bytes in
        let whole = HTTPVisit(sending: bytes, arriving: [bytes.count])
        precondition(whole.requests.count <= bytes.count / 12 + 1, "\(whole.requests.count) requests in \(bytes.count) bytes")
        precondition(whole.answerBytes <= 4_096 * (whole.requests.count + 2), "an answer of \(whole.answerBytes) bytes")
        for way in Arrivals.ways(bytes).prefix(2) {
            let cut = HTTPVisit(sending: bytes, arriving: way)
            precondition(cut.requests == whole.requests, "\(whole.requests) became \(cut.requests)")
        }
    }

    static let httpResponse = Promise(
        "http-response", "an answer to an operator's command: read at its last byte, and refused once it cannot become one",
        bytesMax: 4_096,
        seeds: [
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            "HTTP/1.0 404 No\n\nhello",
        ].map { Array($0.utf8) },
        words: [
            "HTTP/1.1 ", "Content-Length: ", "Transfer-Encoding: chunked", "\r\n", "\r\n\r\n", "0\r\n", "7fffffffffffffff", "-1",
        ]
    ) { bytes in
        let whole = HTTPReading(Array(bytes))
        let atEnd = HTTPReading(Array(bytes), ended: true)
        precondition(atEnd != .unfinished, "more is wanted of a connection that has ended")
        if whole != .unfinished { precondition(whole == atEnd, "the end of the connection changes what was read") }
        for count in Set(Arrivals.ways(bytes).flatMap { $0 }) {
            let early = HTTPReading(Array(bytes.prefix(count)))
            precondition(early == .unfinished || early == whole, "\(early) at \(count) bytes became \(whole)")
        }
    }

    static let statusReport = Promise(
        "status-report", "the JSON that proxies report in: whatever it says, an operator's command shows it", bytesMax: 4_096,
        seeds: StatusSeeds.reports,
        words: [
            "\"lanes\":[", "\"lagSeconds\":", "1e308", "-1", "18446744073709551615", "null", "\"\\u001b[2J\"", "\"gauges\":{",
        ]
    ) { bytes in
        guard let status = try? JSONDecoder().decode(ProxyStatus.self, from: Data(bytes)) else { return }
        var lines = StatusView(status).lines(all: true)
        for byProxy in [false, true] {
            let report = LagReport(QueryResult(statuses: [status]), byProxy: byProxy)
            lines += report.lines { "\($0)" }
            let check = LagCheck(warnSeconds: 1, criticalSeconds: 2).run(report) { "\($0)" }
            lines.append(check.line)
            precondition((try? JSONEncoder().encode(report)) != nil, "a report cannot be given to programs")
        }
        for line in lines {
            let isPlain = line.unicodeScalars.allSatisfy { $0.value >= 32 && !(127..<160).contains($0.value) }
            precondition(isPlain, "what a proxy says moves the terminal's cursor")
        }
        precondition((try? JSONEncoder().encode(status)) != nil, "a status that was read cannot be written")
    }
}

/// What the admin endpoint's HTTP made of a client's bytes.
private struct HTTPVisit {
    var requests: [String] = []
    var answerBytes = 0

    /// Turns of the loop without any progress after which nothing more will come.
    private static let idleTurnsMax = 4

    /// As in the daemon: who writes to a connection that is gone is told so, and does not die of it.
    private static let withoutSignal: Void = { signal(SIGPIPE, SIG_IGN) }()

    init(sending bytes: UnsafeRawBufferPointer, arriving: [Int]) {
        Self.withoutSignal
        let path = NSTemporaryDirectory() + "meridian-fuzz-\(getpid()).sock"
        do {
            let loop = try Loop()
            let seen = Seen()
            let service = try HTTPService(loop, try BoundSocket.unix(path: path)) { request in
                seen.requests.append("\(request.method) \(request.path)")
                return HTTPService.Response(status: 200, text: "ok")
            }
            try withExtendedLifetime(service) {
                let client = try Socket.connect(loop, to: try SocketAddress(path: path), role: 1, token: 0)
                defer { client.close() }
                visit(bytes, arriving, client, loop, seen)
            }
        } catch {
            preconditionFailure("no HTTP to ask: \(error)")
        }
    }

    private mutating func visit(
        _ bytes: UnsafeRawBufferPointer, _ arriving: [Int], _ client: Socket, _ loop: Loop, _ seen: Seen
    ) {
        let outgoing = ByteQueue()
        let incoming = ByteQueue()
        var sent = 0
        for available in arriving {
            outgoing.append(UnsafeRawBufferPointer(rebasing: bytes[sent..<available]))
            sent = available
            var idleTurns = 0
            while idleTurns < Self.idleTurnsMax {
                let before = (outgoing.count, answerBytes, seen.requests.count)
                if !outgoing.isEmpty { _ = client.write(from: outgoing) }
                loop.wait(until: 0)
                _ = client.read(into: incoming)
                answerBytes += incoming.count
                incoming.removeAll()
                idleTurns = before == (outgoing.count, answerBytes, seen.requests.count) ? idleTurns + 1 : 0
            }
        }
        requests = seen.requests
    }

    private final class Seen {
        var requests: [String] = []
    }
}

/// What was read of an answer.
private enum HTTPReading: Equatable {
    case unfinished
    case response(HTTPResponse)
    case refused(HTTPResponse.Failure)

    init(_ bytes: [UInt8], ended: Bool = false) {
        do throws(HTTPResponse.Failure) {
            self = try HTTPResponse.read(bytes, ended: ended).map { .response($0) } ?? .unfinished
        } catch {
            self = .refused(error)
        }
    }
}

/// Reports to begin with.
private enum StatusSeeds {
    static let reports: [[UInt8]] = {
        var lane = LaneStatus(lane: "s1p1l0", state: "serving")
        lane.gauges = ["slots_owned": 2_048, "client_connections": 3]
        lane.counters = ["gets": 17]
        lane.siblings = [SiblingStatus(lane: "s1p2l0", state: "up", lastHeardSeconds: 0.1)]
        lane.backends = [
            BackendStatus(name: "cache1", role: "primary", address: "10.1.0.21:11211", state: "up", message: "", missedKeys: 2)
        ]
        let empty = ProxyStatus(
            federation: "shop", site: "north", proxy: "n1", version: "1.0", pid: 7, uptimeSeconds: 3.5, lanes: [])
        var full = empty
        full.lanes = [lane]
        let encoder = JSONEncoder()
        return [empty, full].compactMap { try? Array(encoder.encode($0)) }
    }()
}
