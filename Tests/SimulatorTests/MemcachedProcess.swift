// A real memcached beside a test: started on a free loopback port, spoken to over a blocking socket, ended with the test.

import Foundation
import Glibc

/// What went wrong between the test and the process.
struct MemcachedProcessError: Error, CustomStringConvertible {
    let description: String
}

/// One memcached process.
final class MemcachedProcess {
    static let path: String? = ["/usr/bin/memcached", "/usr/local/bin/memcached"].first { access($0, X_OK) == 0 }
    static var isInstalled: Bool { path != nil }

    private var pid: pid_t = 0
    private var port: UInt16 = 0

    /// Starts one and waits until it listens. A free port may be taken by another in the meantime, so it tries again.
    init(arguments: [String] = []) throws {
        guard let path = Self.path else { throw MemcachedProcessError(description: "memcached is not installed") }
        for attempt in 1...3 {
            try start(path, arguments)
            do {
                _ = try connect()
                return
            } catch {
                stop()
                if attempt == 3 { throw error }
            }
        }
    }

    deinit { stop() }

    private func start(_ path: String, _ arguments: [String]) throws {
        port = try Self.freePort()
        var words = [path, "-l", "127.0.0.1", "-p", String(port), "-U", "0", "-t", "1"] + arguments
        if geteuid() == 0 { words += ["-u", "root"] }
        var list: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for word in list { free(word) } }
        let failure = posix_spawn(&pid, path, nil, nil, &list, environ)
        if failure != 0 { throw MemcachedProcessError(description: "\(path) does not start: errno \(failure)") }
    }

    private func stop() {
        // It holds nothing worth an orderly end.
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }

    private static func freePort() throws -> UInt16 {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Glibc.close(socket) }
        var address = address(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(socket, $0, size) == 0 && getsockname(socket, $0, &size) == 0
            }
        }
        guard bound else { throw MemcachedProcessError(description: "no free port: errno \(errno)") }
        return UInt16(bigEndian: address.sin_port)
    }

    /// A connection; waits up to five seconds for the process to listen.
    func connect() throws -> MemcachedSocket {
        for _ in 0..<500 {
            let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.address(port)
            let connected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            if connected { return MemcachedSocket(socket) }
            Glibc.close(socket)
            usleep(10_000)
        }
        throw MemcachedProcessError(description: "memcached does not listen on port \(port)")
    }
}

/// A client's connection to it.
final class MemcachedSocket {
    private let socket: Int32

    init(_ socket: Int32) {
        self.socket = socket
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { Glibc.close(socket) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { throw MemcachedProcessError(description: "send: errno \(errno)") }
            sent += count
        }
    }

    /// Reads until there are `count` bytes, the other end closes, or nothing comes for `milliseconds`.
    func receive(_ count: Int, milliseconds: Int32 = 2_000) -> [UInt8] {
        var received: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while received.count < count {
            var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            if Glibc.poll(&poll, 1, milliseconds) <= 0 { break }
            let bytes = recv(socket, &room, room.count, 0)
            if bytes <= 0 { break }
            received += room[0..<bytes]
        }
        return received
    }

    /// True when the other end has closed, or does so within a second.
    func isClosed() -> Bool {
        var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        var byte: UInt8 = 0
        return Glibc.poll(&poll, 1, 1_000) > 0 && recv(socket, &byte, 1, Int32(MSG_PEEK)) <= 0
    }

    /// The number behind a name in `stats`.
    func stat(_ name: String) throws -> UInt64 {
        try send(Array("stats\r\n".utf8))
        var text = ""
        while !text.hasSuffix("END\r\n") {
            let more = receive(1)
            if more.isEmpty { throw MemcachedProcessError(description: "stats is not answered") }
            text += String(decoding: more, as: UTF8.self)
        }
        for line in text.components(separatedBy: "\r\n") where line.hasPrefix("STAT \(name) ") {
            if let number = UInt64(line.dropFirst(6 + name.utf8.count)) { return number }
        }
        throw MemcachedProcessError(description: "stats does not tell \(name)")
    }
}
