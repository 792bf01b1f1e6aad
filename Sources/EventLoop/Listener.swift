// Where others connect. Binding comes first and by itself, so that a busy port is a clear line before anything else has
// begun; listening starts once the lane can serve.

import CEvent
import Glibc

/// A bound socket that may be handed to the loop that will accept from it.
public struct BoundSocket: Sendable {
    let descriptor: Int32
    /// The address as configured, for messages.
    public let name: String
    /// The unix socket's path, to be removed at the end.
    public let path: String?

    /// Connections that the kernel keeps waiting.
    public static let backlogMax: Int32 = 4_096

    /// Binds every address of a host (empty: all of this machine's). `shared` lets several loops of this process bind the
    /// same port, each with its own queue; the port is first tried alone, so that another program's port is still an error.
    public static func tcp(host: String, port: UInt16, shared: Int = 1) throws(SocketError) -> [[BoundSocket]] {
        let name = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        let addresses: [SocketAddress]
        do throws(SocketError) {
            addresses = try SocketAddress.resolve(host: host, port: port, passive: true)
        } catch {
            throw SocketError(action: "listen on", subject: name, code: 0, reason: error.reason, remedy: error.remedy)
        }
        var sets = [[BoundSocket]](repeating: [], count: shared)
        var missing: Int32 = 0
        for address in addresses {
            do throws(SocketError) {
                if shared > 1 && port != 0 { Glibc.close(try bind(address, name: name, shared: false)) }
                for index in 0..<shared {
                    let descriptor = try bind(address, name: name, shared: shared > 1)
                    sets[index].append(BoundSocket(descriptor: descriptor, name: name, path: nil))
                }
            } catch {
                // A name may have an IPv6 address that this machine lacks.
                missing = error.code
                if error.code == EADDRNOTAVAIL || error.code == EAFNOSUPPORT { continue }
                for bound in sets.joined() { bound.close() }
                throw error
            }
        }
        guard !sets[0].isEmpty else { throw Self.failure(name: name, code: missing) }
        return sets
    }

    /// Binds a unix socket. A file that a dead process left behind is replaced; one that somebody listens on is not.
    /// Mode and group are in place before anybody can connect.
    public static func unix(path: String, mode: UInt32 = 0o660, group: String? = nil) throws(SocketError) -> BoundSocket {
        let name = "unix:\(path)"
        let address = try SocketAddress(path: path)
        if meridian_exists(path) != 0 {
            guard meridian_is_socket(path) != 0 else {
                throw SocketError(
                    action: "listen on", subject: name, code: EEXIST, reason: "the file exists and is not a socket",
                    remedy: "remove it or choose another path")
            }
            try removeLeftover(path, address, name)
        }
        let descriptor = try bind(address, name: name, shared: false)
        let bound = BoundSocket(descriptor: descriptor, name: name, path: path)
        let failure = own(path, mode: mode, group: group)
        guard failure == 0 else {
            bound.close()
            guard let group else { throw Self.failure(name: name, code: failure) }
            throw SocketError(
                action: "give", subject: "\(name) to group \(group)", code: failure,
                reason: failure == ENOENT ? "there is no such group" : SystemError.text(failure),
                remedy: "correct 'unix-group'; only root may give a socket to a group that it is not a member of")
        }
        // From here on another process sees that the path is taken. Who connects now waits.
        do throws(SocketError) {
            try bound.listen()
        } catch {
            bound.close()
            throw error
        }
        return bound
    }

    /// Gives a socket its mode, and to a group, without following a link that somebody has put in its place; 0 or an errno.
    static func own(_ path: String, mode: UInt32, group name: String?) -> Int32 {
        var group = gid_t.max
        if let name {
            let failure = meridian_group(name, &group)
            guard failure == 0 else { return failure }
        }
        return meridian_own_socket(path, mode_t(mode), group)
    }

    /// Removes the socket of a process that is dead: nobody else's file, and none of which that is not known.
    private static func removeLeftover(_ path: String, _ address: SocketAddress, _ name: String) throws(SocketError) {
        let probe = withUnsafePointer(to: address.raw) { meridian_socket_connect($0) }
        if probe >= 0 { Glibc.close(probe) }
        switch -probe {
        case ECONNREFUSED: unlink(path)
        case ENOENT: break
        case EACCES, EPERM, EMFILE, ENFILE, ENOMEM:
            throw SocketError(
                action: "listen on", subject: name, code: -probe,
                reason: "a socket is there, and whether anybody listens cannot be told: \(SystemError.text(-probe))",
                remedy: "remove it if it is left over, or choose another path")
        default:
            throw SocketError(
                action: "listen on", subject: name, code: EADDRINUSE, reason: "another process listens there",
                remedy: "stop it or choose another path")
        }
    }

    /// Starts queueing connections.
    public func listen() throws(SocketError) {
        let failure = meridian_socket_listen(descriptor, Self.backlogMax)
        guard failure == 0 else { throw Self.failure(name: name, code: -failure) }
    }

    /// The TCP port that was bound; the system's choice when 0 was asked for.
    public var port: UInt16 { meridian_socket_port(descriptor) }

    /// Gives the address up, and removes a unix socket's file.
    public func close() {
        // Before a successor can find that nobody listens, and put its own there.
        if let path { unlink(path) }
        Glibc.close(descriptor)
    }

    private static func bind(_ address: SocketAddress, name: String, shared: Bool) throws(SocketError) -> Int32 {
        let descriptor = withUnsafePointer(to: address.raw) { meridian_socket_bind($0, shared ? 1 : 0) }
        guard descriptor >= 0 else { throw failure(name: name, code: -descriptor) }
        return descriptor
    }

    private static func failure(name: String, code: Int32) -> SocketError {
        let remedy =
            switch code {
            case EADDRINUSE: "another process listens there (see: ss -lptn); stop it or change the address"
            case EACCES: "ports below 1024, and some folders, need more rights; choose another address"
            case EADDRNOTAVAIL, EAFNOSUPPORT: "no interface of this machine has that address; correct it"
            case ENOENT: "make the folder first"
            case ENOTDIR: "a part of the path is a file and no folder; choose another path"
            default: ""
            }
        return SocketError(action: "listen on", subject: name, code: code, remedy: remedy)
    }
}

/// Accepts connections for a loop.
public final class Listener {
    /// A connection that was accepted: non-blocking, not yet watched.
    public struct Accepted: Sendable {
        /// The new connection's descriptor.
        public var descriptor: Int32
        /// Who connected, for people.
        public var peer: SocketAddress
    }

    /// Most connections accepted in one turn, so that a rush leaves the connected ones their share.
    public static let acceptsPerTurnMax = 64

    /// What is listened on.
    public let bound: BoundSocket
    private let watch: Watch
    /// Why nothing is accepted for now: call `resume` after a while.
    public enum Pause: Sendable {
        /// The process, or the system, had no descriptors left.
        case exhausted
        /// The owner does not want another one yet.
        case unwanted
    }

    /// Set while nothing is accepted.
    public private(set) var pause: Pause?

    /// Accepts from a bound socket; the loop reports `role` and `token` when somebody connects.
    public init(_ loop: Loop, _ bound: BoundSocket, role: UInt32, token: UInt64) throws(SocketError) {
        try bound.listen()
        self.bound = bound
        watch = Watch(loop, descriptor: bound.descriptor, role: role, token: token)
        watch.reading = true
    }

    /// Takes the connections that wait, up to the turn's limit. When the process has no descriptors left, or when
    /// `wanted` says no, accepting pauses: the listener would otherwise be reported without end.
    /// Returns true when only that limit ended it.
    @discardableResult
    public func accept(while wanted: () -> Bool = { true }, _ each: (Accepted) -> Void) -> Bool {
        for _ in 0..<Self.acceptsPerTurnMax {
            guard wanted() else { return stop(.unwanted) }
            var peer = meridian_address()
            let descriptor = meridian_socket_accept(bound.descriptor, &peer)
            if descriptor >= 0 {
                if bound.path == nil { meridian_socket_tune(descriptor) }
                each(Accepted(descriptor: descriptor, peer: SocketAddress(raw: peer)))
                continue
            }
            switch -descriptor {
            case EINTR, ECONNABORTED: continue
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: return stop(.exhausted)
            default: return false
            }
        }
        return true
    }

    private func stop(_ why: Pause) -> Bool {
        pause = why
        watch.reading = false
        return false
    }

    /// Accepts again after a pause.
    public func resume() {
        pause = nil
        watch.reading = true
    }

    /// Stops accepting and gives the address up.
    public func close() {
        watch.cancel()
        bound.close()
    }
}
