import Configuration
import Foundation
import Kernel
import OperatorTools
import Testing

@Suite struct HTTPResponseTests {
    private func read(_ text: String, ended: Bool = false) throws(HTTPResponse.Failure) -> HTTPResponse? {
        try HTTPResponse.read(Array(text.utf8), ended: ended)
    }

    private let sized = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
    private let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"

    @Test func `a document with a length, in chunks, or up to the end`() throws {
        let hello = HTTPResponse(status: 200, body: Array("hello".utf8))
        #expect(try read(sized) == hello)
        #expect(try read(chunked) == hello)
        let open = "HTTP/1.0 200 OK\n\nhello"
        #expect(try read(open) == nil)
        #expect(try read(open, ended: true) == hello)
        #expect(try read("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") == HTTPResponse(status: 404, body: []))
    }

    @Test func `a document that arrives byte by byte is read at its last byte and not before`() throws {
        for text in [sized, chunked] {
            let bytes = Array(text.utf8)
            let first = try (0...bytes.count).first { try HTTPResponse.read(Array(bytes.prefix($0)), ended: false) != nil }
            // The end of the last chunk is known once its length is.
            #expect(try #require(first) >= bytes.count - 2)
        }
    }

    @Test func `a connection that ends early is no document`() {
        for text in [sized, chunked] {
            for count in 0..<(text.utf8.count - 3) {
                #expect(throws: HTTPResponse.Failure.cutShort) {
                    try HTTPResponse.read(Array(text.utf8.prefix(count)), ended: true)
                }
            }
        }
    }

    @Test func `what is not HTTP is refused at once`() {
        #expect(throws: HTTPResponse.Failure.notHTTP) { try read("ERROR\r\n") }
        #expect(throws: HTTPResponse.Failure.notHTTP) { try read("HTTP/1.1 two OK\r\n\r\n") }
        #expect(throws: HTTPResponse.Failure.malformed) { try read("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n") }
        #expect(throws: HTTPResponse.Failure.malformed) { try read("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n") }
        #expect(throws: HTTPResponse.Failure.malformed) {
            try read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        }
    }

    @Test func `limits hold`() {
        let endless = "HTTP/1.1 200 OK\r\n" + String(repeating: "a: b\r\n", count: 20_000)
        #expect(throws: HTTPResponse.Failure.headTooLong) { try read(endless) }
        #expect(throws: HTTPResponse.Failure.bodyTooLong) { try read("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n") }
        #expect(throws: HTTPResponse.Failure.bodyTooLong) {
            try read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n")
        }
    }

    @Test func `spoiled answers never trap`() {
        var random = SeededRandom(seed: 29)
        for round in 0..<3_000 {
            var bytes = Array((round % 2 == 0 ? sized : chunked).utf8)
            for _ in 0...random.below(4) { bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
            _ = try? HTTPResponse.read(Array(bytes.prefix(random.below(bytes.count + 1))), ended: random.chance(0.5))
        }
    }
}

/// Answers one connection on a unix socket with fixed bytes.
final class OneAnswer: Sendable {
    let path = FileManager.default.temporaryDirectory.appending(path: "m\(UUID().uuidString.prefix(8)).sock").path
    private let listener: Int32

    init(_ answer: String?) throws {
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(listener, 4) == 0)
        guard let answer else { return }
        let opened = listener
        Thread.detachNewThread {
            let connection = accept(opened, nil, nil)
            var request = [UInt8](repeating: 0, count: 4_096)
            _ = recv(connection, &request, request.count, 0)
            // In two pieces, as a network would have it.
            let bytes = Array(answer.utf8)
            _ = send(connection, bytes, bytes.count / 2, Int32(MSG_NOSIGNAL))
            usleep(5_000)
            _ = bytes[(bytes.count / 2)...].withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            close(connection)
        }
    }

    deinit {
        close(listener)
        unlink(path)
    }
}

@Suite struct AdminClientTests {
    let client = AdminClient(timeoutMilliseconds: 300)

    @Test func `a document comes over a unix socket`() throws {
        let server = try OneAnswer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        #expect(try client.get("/status", from: .unix(path: server.path)) == Array("hello".utf8))
    }

    @Test func `every way of not answering is told apart`() throws {
        let missing = try OneAnswer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        #expect(throws: AdminFailure.status(404)) { try client.get("/x", from: .unix(path: missing.path)) }
        let memcached = try OneAnswer("ERROR\r\nERROR\r\n")
        #expect(throws: AdminFailure.answer(.notHTTP)) { try client.get("/x", from: .unix(path: memcached.path)) }
        let silent = try OneAnswer(nil)
        #expect(throws: AdminFailure.timedOut(milliseconds: 300)) { try client.get("/x", from: .unix(path: silent.path)) }
        #expect(throws: AdminFailure.noSocket) { try client.get("/x", from: .unix(path: "/nowhere.sock")) }
        // Port 1 is reserved and nobody listens there.
        #expect(throws: AdminFailure.refused) { try client.get("/x", from: .tcp(HostPort(host: "127.0.0.1", port: 1))) }
    }

    @Test func `who does not answer is named with address, file and remedy`() {
        var proxy = Sample.proxy
        proxy.admin = .tcp(HostPort(host: "127.0.0.1", port: 1))
        let result = query([AdminEndpoint(of: proxy, in: Sample.federation, siteFile: "north.yaml")], with: client)
        #expect(
            result.unanswered.map(\.description) == [
                "proxy n1 at 127.0.0.1:1 (from north.yaml): connection refused. "
                    + "Is meridiand running? Start it with: meridiand --config north.yaml --proxy n1."
            ])
    }

    @Test func `an address that another proxy answers at belongs to a proxy elsewhere`() throws {
        let body = String(decoding: try JSONEncoder().encode(report("n2", [])), as: UTF8.self)
        let server = try OneAnswer("HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        let other = try OneAnswer("HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        var proxy = Sample.proxy
        proxy.admin = .unix(path: server.path)
        let n1 = AdminEndpoint(of: proxy, in: Sample.federation, siteFile: "north.yaml")
        let n2 = AdminEndpoint(address: .unix(path: other.path))
        let both = query([n1, n2], with: client)
        #expect(both.statuses.count == 1)
        #expect(both.unanswered.isEmpty)
        #expect(both.elsewhere.first?.reason == "at this address north/n2 answers")
    }

    @Test func `a report of another version is refused with a remedy`() throws {
        let server = try OneAnswer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        let result = query([AdminEndpoint(address: .unix(path: server.path))], with: client)
        #expect(result.unanswered.first?.reason == "the answer is not a status report of this version")
    }
}
