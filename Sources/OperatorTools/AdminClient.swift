// Asks a proxy's admin endpoint for one document over a socket of its own: TCP on loopback or a unix socket, with one
// deadline for everything. URLSession has no unix sockets.

import Configuration
import Glibc

/// Why an admin endpoint could not be asked.
public enum AdminFailure: Error, Sendable, Hashable {
    /// Nobody listens there.
    case refused
    /// The unix socket's file is not there.
    case noSocket
    /// This user may not open the unix socket.
    case forbidden
    /// No answer before the deadline.
    case timedOut(milliseconds: Int)
    /// The host name is not known.
    case unknownHost(String)
    /// Something answered, but not as an admin endpoint does.
    case answer(HTTPResponse.Failure)
    /// An HTTP status other than 200.
    case status(Int)
    /// Any other system error.
    case system(operation: String, code: Int32)
}

/// A minimal HTTP client: GET, one document, then the connection is closed.
public struct AdminClient: Sendable {
    /// Longest wait for connecting and the whole answer.
    public var timeoutMilliseconds: Int

    /// Makes a client with a deadline for each request.
    public init(timeoutMilliseconds: Int = 2_000) { self.timeoutMilliseconds = timeoutMilliseconds }

    /// The body of `GET path`.
    public func get(_ path: String, from address: ListenAddress) throws(AdminFailure) -> [UInt8] {
        let deadline = Self.now() + UInt64(timeoutMilliseconds)
        let socket = try connect(to: address, deadline: deadline)
        defer { close(socket) }
        let request = "GET \(path) HTTP/1.1\r\nHost: meridian\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        try send(Array(request.utf8), to: socket, deadline: deadline)
        let response = try receive(from: socket, deadline: deadline)
        guard response.status == 200 else { throw .status(response.status) }
        return response.body
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000 + UInt64(time.tv_nsec) / 1_000_000
    }

    // MARK: Connecting

    private func connect(to address: ListenAddress, deadline: UInt64) throws(AdminFailure) -> Int32 {
        switch address {
        case .unix(let path): try connect(toPath: path, deadline: deadline)
        case .tcp(let tcp): try connect(to: tcp, deadline: deadline)
        }
    }

    private func connect(toPath path: String, deadline: UInt64) throws(AdminFailure) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .system(operation: "use the socket's path", code: ENAMETOOLONG)
        }
        // The path was measured against the field; the field's last byte stays zero.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let socket = try open(family: AF_UNIX)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return try established(socket, result, deadline: deadline)
    }

    /// Tries each address of the host; the last one's failure counts.
    private func connect(to tcp: HostPort, deadline: UInt64) throws(AdminFailure) -> Int32 {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(tcp.host, String(tcp.port), &hints, &list) == 0 else { throw .unknownHost(tcp.host) }
        defer { freeaddrinfo(list) }
        var failure = AdminFailure.unknownHost(tcp.host)
        var entry = list
        // The list is the resolver's own and is freed only after the loop.
        while let info = entry?.pointee {
            entry = info.ai_next
            let socket = try open(family: info.ai_family)
            do throws(AdminFailure) {
                return try established(socket, Glibc.connect(socket, info.ai_addr, info.ai_addrlen), deadline: deadline)
            } catch { failure = error }
        }
        throw failure
    }

    private func open(family: Int32) throws(AdminFailure) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(family, kind, 0)
        guard socket >= 0 else { throw .system(operation: "open a socket", code: errno) }
        return socket
    }

    /// Waits for a connection that may still be in the making; closes the socket if it fails.
    private func established(_ socket: Int32, _ result: Int32, deadline: UInt64) throws(AdminFailure) -> Int32 {
        do throws(AdminFailure) {
            if result != 0 {
                guard errno == EINPROGRESS else { throw Self.connectFailure(errno) }
                try wait(for: Int16(POLLOUT), on: socket, deadline: deadline)
                var code: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &length)
                guard code == 0 else { throw Self.connectFailure(code) }
            }
            return socket
        } catch {
            close(socket)
            throw error
        }
    }

    private static func connectFailure(_ code: Int32) -> AdminFailure {
        switch code {
        case ECONNREFUSED: .refused
        case ENOENT: .noSocket
        case EACCES, EPERM: .forbidden
        default: .system(operation: "connect", code: code)
        }
    }

    // MARK: Talking

    private func send(_ bytes: [UInt8], to socket: Int32, deadline: UInt64) throws(AdminFailure) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                try wait(for: Int16(POLLOUT), on: socket, deadline: deadline)
            } else if errno != EINTR {
                throw .system(operation: "send the request", code: errno)
            }
        }
    }

    private func receive(from socket: Int32, deadline: UInt64) throws(AdminFailure) -> HTTPResponse {
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            try wait(for: Int16(POLLIN), on: socket, deadline: deadline)
            let count = buffer.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            if count < 0 {
                if errno == EAGAIN || errno == EINTR { continue }
                throw .system(operation: "read the answer", code: errno)
            }
            received += buffer[..<count]
            do throws(HTTPResponse.Failure) {
                if let response = try HTTPResponse.read(received, ended: count == 0) { return response }
            } catch { throw .answer(error) }
        }
    }

    private func wait(for events: Int16, on socket: Int32, deadline: UInt64) throws(AdminFailure) {
        while true {
            let now = Self.now()
            guard now < deadline else { throw .timedOut(milliseconds: timeoutMilliseconds) }
            var entry = pollfd(fd: socket, events: events, revents: 0)
            let ready = poll(&entry, 1, Int32(clamping: deadline - now))
            if ready > 0 { return }
            if ready < 0, errno != EINTR { throw .system(operation: "wait for the socket", code: errno) }
        }
    }
}

/// True when a host name or address is one of this machine's own: a datagram socket can be bound to it.
func isThisMachine(_ host: String) -> Bool {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, nil, &hints, &list) == 0 else { return false }
    defer { freeaddrinfo(list) }
    var entry = list
    // The list is the resolver's own and is freed only after the loop.
    while let info = entry?.pointee {
        entry = info.ai_next
        let socket = Glibc.socket(info.ai_family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { continue }
        defer { close(socket) }
        if bind(socket, info.ai_addr, info.ai_addrlen) == 0 { return true }
    }
    return false
}
