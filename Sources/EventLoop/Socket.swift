// One connected (or connecting) stream socket of a loop. We read and write it ourselves, straight into and out of byte
// queues; libevent only says when.

import CEvent
import Glibc
import Kernel

/// A non-blocking stream socket, watched by one loop.
public final class Socket {
    /// What one read found.
    public enum Received: Sendable, Equatable {
        /// Bytes were appended to the queue.
        case bytes(Int)
        /// Nothing there yet.
        case nothing
        /// The peer closed its side.
        case end
        /// The connection is broken, with the system's error number.
        case failed(Int32)
    }

    /// What one write achieved.
    public enum Sent: Sendable, Equatable {
        /// The queue is empty.
        case all
        /// The socket is full; the loop reports when it is not.
        case some
        /// The connection is broken, with the system's error number.
        case failed(Int32)
    }

    /// Least room that is offered to a read. Small enough for many idle connections.
    public static let readBytesMin = 16 * 1024
    /// Most bytes read from one socket in one turn, so that a fast one leaves the others their share.
    public static let readBytesMax = 256 * 1024

    /// Most pieces of a queue that one write takes.
    private static let piecesMax = 64

    private let descriptor: Int32
    private let watch: Watch
    private var appetite = Socket.readBytesMin
    private var closed = false

    /// Takes over a connected descriptor (non-blocking). Nothing is reported until `isReading` is set.
    public init(_ loop: Loop, descriptor: Int32, role: UInt32, token: UInt64) {
        self.descriptor = descriptor
        watch = Watch(loop, descriptor: descriptor, role: role, token: token)
    }

    deinit { close() }

    /// Begins a connection. The loop reports writable when it is decided; then ask `connectFailure`.
    public static func connect(
        _ loop: Loop, to address: SocketAddress, role: UInt32, token: UInt64
    ) throws(SocketError) -> Socket {
        let descriptor = withUnsafePointer(to: address.raw) { meridian_socket_connect($0) }
        guard descriptor >= 0 else { throw SocketError(action: "connect to", subject: "\(address)", code: -descriptor) }
        let socket = Socket(loop, descriptor: descriptor, role: role, token: token)
        socket.watch.writing = true
        return socket
    }

    /// Once the socket is writable: the error number of a connection that failed, or nil when it is established.
    public func connectFailure() -> Int32? {
        watch.writing = false
        let failure = meridian_socket_error(descriptor)
        return failure == 0 ? nil : failure
    }

    /// The address that the other end has reached.
    public var localAddress: SocketAddress {
        var address = meridian_address()
        _ = meridian_socket_name(descriptor, &address)
        return SocketAddress(raw: address)
    }

    /// Something that was written has not been acknowledged; known for a connection that has just broken, too.
    public var isOwedAcknowledgement: Bool { meridian_socket_unacknowledged(descriptor) > 0 }

    /// Whether readable is reported.
    public var isReading: Bool {
        get { watch.reading }
        set { watch.reading = newValue }
    }

    /// True while a short write waits for the socket to have room.
    public var isWriting: Bool { watch.writing }

    /// Reads once, at most `limit` bytes, into the queue.
    public func read(into queue: ByteQueue, limit: Int = Socket.readBytesMax) -> Received {
        let wanted = min(appetite, limit)
        let room = queue.reserve(wanted)
        let done = meridian_read(descriptor, room.baseAddress, wanted)
        if done > 0 {
            queue.commit(done)
            if done == wanted {
                appetite = min(appetite * 2, Self.readBytesMax)
            } else if done < appetite / 4 {
                appetite = max(appetite / 2, Self.readBytesMin)
            }
            return .bytes(done)
        }
        if done == 0 { return .end }
        let failure = Int32(truncatingIfNeeded: -done)
        return failure == EAGAIN || failure == EINTR ? .nothing : .failed(failure)
    }

    /// Writes once, as much as the socket takes, from the queue's front; of very many pieces the first. While bytes are left, writable
    /// is reported.
    public func write(from queue: ByteQueue) -> Sent {
        while !queue.isEmpty {
            let done = queue.isInPieces ? writePieces(queue) : meridian_write(descriptor, queue.readable.baseAddress, queue.count)
            if done >= 0 {
                queue.consume(done)
                if queue.isEmpty { break }
            } else {
                let failure = Int32(truncatingIfNeeded: -done)
                if failure == EINTR { continue }
                guard failure == EAGAIN else { return .failed(failure) }
            }
            watch.writing = true
            return .some
        }
        watch.writing = false
        return .all
    }

    private func writePieces(_ queue: ByteQueue) -> Int {
        let pieces = queue.pieces(atMost: Self.piecesMax).map {
            iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress), iov_len: $0.count)
        }
        return meridian_write_pieces(descriptor, pieces, Int32(pieces.count))
    }

    /// From now on closing, and the end of the process too, cuts the connection off: the peer gets nothing more of what was
    /// written. An old command must not reach a server after what a new connection has already said.
    public func abortOnClose() {
        var option = linger(l_onoff: 1, l_linger: 0)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    /// Ends watching and closes. What the current wait already noted about it is late from now on.
    public func close() {
        guard !closed else { return }
        closed = true
        watch.cancel()
        Glibc.close(descriptor)
    }
}

/// Two ends of one local connection, both non-blocking, neither watched yet.
public struct SocketPair: Sendable {
    /// One end.
    public let near: Int32
    /// The other.
    public let far: Int32

    /// Makes a connected pair of unix sockets.
    public init() throws(SocketError) {
        var near: Int32 = -1
        var far: Int32 = -1
        let failure = meridian_socket_pair(&near, &far)
        guard failure == 0 else {
            throw SocketError(
                action: "make", subject: "a socket pair", code: -failure, remedy: "raise the limit on open files (ulimit -n)")
        }
        self.near = near
        self.far = far
    }
}

/// A raw descriptor on its way from one loop to another, or being thrown away.
public enum Descriptor {
    /// Raises this process's limit on open files, as far as the system allows, to `wanted`; returns what it is now.
    public static func raiseLimit(to wanted: Int) -> Int { Int(clamping: meridian_raise_open_files(UInt64(wanted))) }

    /// Closes a descriptor that nobody watches.
    public static func close(_ descriptor: Int32) { Glibc.close(descriptor) }

    /// Reads up to `count` bytes; empty at the end of the stream, nil when there is nothing yet.
    public static func read(_ descriptor: Int32, count: Int) throws(SocketError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let done = meridian_read(descriptor, &bytes, count)
        if done >= 0 { return Array(bytes.prefix(done)) }
        let failure = Int32(truncatingIfNeeded: -done)
        if failure == EAGAIN || failure == EINTR { return nil }
        throw SocketError(action: "read", subject: "a new connection", code: failure)
    }

    /// Writes a short farewell; whether it arrives does not matter.
    public static func writeOnce(_ descriptor: Int32, _ text: String) {
        let bytes = Array(text.utf8)
        _ = meridian_write(descriptor, bytes, bytes.count)
    }

    /// Writes a line to stderr for people. Where it cannot be written, on a full disk or to a reader that is gone, it is lost: nobody
    /// can be told, and nothing else may end for it.
    public static func writeError(_ line: String) {
        var rest = Array((line + "\n").utf8)[...]
        while !rest.isEmpty {
            let done = rest.withUnsafeBytes { meridian_write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if done == -Int(EINTR) { continue }
            guard done > 0 else { return }
            rest = rest.dropFirst(done)
        }
    }

    /// Gives a TCP connection up when what was sent stays unacknowledged, or unread, for so long.
    public static func setUserTimeout(_ descriptor: Int32, milliseconds: Int) {
        meridian_socket_user_timeout(descriptor, UInt32(clamping: milliseconds))
    }

    /// Sets what every TCP connection of ours has: no delay for small writes, keep-alive probes.
    public static func tune(_ descriptor: Int32) { meridian_socket_tune(descriptor) }
}
