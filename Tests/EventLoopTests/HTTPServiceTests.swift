import Foundation
import Glibc
import Kernel
import Testing

@testable import EventLoop

/// Who may connect to the admin endpoint, and how often.
@Suite struct HTTPServiceTests {
    /// A service on a unix socket, in a loop of its own.
    private func serving(
        _ body: (_ loop: Loop, _ service: HTTPService, _ address: SocketAddress) throws -> Void
    ) throws {
        Signals.ignoreBrokenPipes()
        let path = NSTemporaryDirectory() + "meridian-http-\(UUID().uuidString.prefix(8))"
        let loop = try Loop()
        let service = try HTTPService(loop, try BoundSocket.unix(path: path)) { _ in
            HTTPService.Response(status: 200, text: "fine")
        }
        try withExtendedLifetime(service) { try body(loop, service, try SocketAddress(path: path)) }
    }

    private func turn(_ loop: Loop, _ service: HTTPService, times: Int = 4) {
        for _ in 0..<times { loop.wait(until: 0) }
        service.keepHouse()
    }

    /// True when the service has closed it.
    private func isClosed(_ socket: Socket) -> Bool {
        switch socket.read(into: ByteQueue()) {
        case .end, .failed: true
        case .bytes, .nothing: false
        }
    }

    @Test("Idle connections go for newer ones, the longest-standing first, and never are there many")
    func crowd() throws {
        try serving { loop, service, address in
            var crowd: [Socket] = []
            defer { for socket in crowd { socket.close() } }
            for round in 1...20 {
                for _ in 0..<20 {
                    crowd.append(try Socket.connect(loop, to: address, role: 1, token: 0))
                    turn(loop, service, times: 1)
                }
                turn(loop, service)
                let open = crowd.filter { !isClosed($0) }.count
                #expect(open == min(round * 20, HTTPService.connectionsMax), "after \(crowd.count)")
            }
            #expect(crowd.suffix(HTTPService.connectionsMax).allSatisfy { !isClosed($0) }, "the newest have stayed")
        }
    }

    /// Asks once, over a connection of its own, and waits for the end; what was answered.
    private func ask(_ loop: Loop, _ service: HTTPService, _ address: SocketAddress, _ request: StaticString) throws -> String {
        let asking = try Socket.connect(loop, to: address, role: 1, token: 0)
        defer { asking.close() }
        let queue = ByteQueue()
        queue.append(request)
        _ = asking.write(from: queue)
        let answer = ByteQueue()
        for _ in 0..<50 {
            turn(loop, service, times: 1)
            if case .end = asking.read(into: answer) { break }
        }
        return String(decoding: answer.readable, as: UTF8.self)
    }

    @Test("Who has been answered and has gone pushes nobody out")
    func comersAndGoers() throws {
        try serving { loop, service, address in
            let idle = try Socket.connect(loop, to: address, role: 1, token: 0)
            defer { idle.close() }
            for round in 1...100 {
                let requests: [StaticString] = [
                    "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "no HTTP\r\n\r\n",
                ]
                let answer = try ask(loop, service, address, requests[round % 3])
                #expect(answer.hasPrefix("HTTP/1.") && answer.contains(round % 3 == 2 ? " 400 " : " 200 "), "\(answer)")
                #expect(!isClosed(idle), "after \(round) who came and went")
            }
            turn(loop, service)
            #expect(service.connectionCount == 1, "nobody is kept who has gone")
        }
    }

    @Test("One connection asks again and again")
    func persistent() throws {
        try serving { loop, service, address in
            let asking = try Socket.connect(loop, to: address, role: 1, token: 0)
            defer { asking.close() }
            for _ in 0..<5 {
                let request = ByteQueue()
                request.append("GET / HTTP/1.1\r\n\r\n")
                _ = asking.write(from: request)
                turn(loop, service)
                let answer = ByteQueue()
                _ = asking.read(into: answer)
                #expect(String(decoding: answer.readable, as: UTF8.self).hasSuffix("fine"))
            }
            #expect(service.connectionCount == 1)
        }
    }

    @Test("Many who come at once are not all accepted at once, and whoever asks is answered")
    func rush() throws {
        try serving { loop, service, address in
            var crowd: [Socket] = []
            defer { for socket in crowd { socket.close() } }
            for _ in 0..<300 { crowd.append(try Socket.connect(loop, to: address, role: 1, token: 0)) }
            let asking = try Socket.connect(loop, to: address, role: 1, token: 0)
            defer { asking.close() }
            let request = ByteQueue()
            request.append("GET / HTTP/1.0\r\n\r\n")
            _ = asking.write(from: request)
            let answer = ByteQueue()
            var turns = 0
            while answer.isEmpty, turns < 50 {
                turn(loop, service)
                _ = asking.read(into: answer)
                turns += 1
            }
            #expect(turns > 3, "some had to wait")
            #expect(String(decoding: answer.readable, as: UTF8.self).hasPrefix("HTTP/1.0 200 "))
        }
    }
}
