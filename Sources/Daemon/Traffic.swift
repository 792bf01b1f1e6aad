// Bytes in, bytes out: between sockets and the core's queues, through TLS where there is any.

import EventLoop
import Glibc
import Kernel
import Proxy
import Synchronization
import TLS

extension LaneShell {
    /// The connection with this id; nil when it has been released.
    func connection(_ id: ConnectionID) -> Connection? {
        let index = Int(id.index)
        guard index < connections.count, let connection = connections[index], connection.id == id else { return nil }
        return connection
    }

    /// Remembers a new connection.
    func add(_ connection: Connection) {
        let index = Int(connection.id.index)
        while connections.count <= index { connections.append(nil) }
        connections[index] = connection
    }

    /// The number by which the loop reports a connection.
    func token(_ id: ConnectionID) -> UInt64 { UInt64(id.generation) << 32 | UInt64(id.index) }

    /// A connection's socket is ready.
    func handle(_ connection: Connection, writable: Bool) {
        switch connection.phase {
        case .connecting: if writable { connectDecided(connection) }
        case .handshaking, .open: if writable { flush(connection) } else { read(connection) }
        case .closing: if writable { flush(connection) }
        case .resolving, .lost: break
        }
    }

    // MARK: In

    private func read(_ connection: Connection) {
        guard let socket = connection.socket, connection.wantsToRead else { return }
        let incoming = node.connections.incoming(connection.id)
        switch socket.read(into: connection.tls?.incoming ?? incoming) {
        case .bytes:
            if let tls = connection.tls { return decrypt(connection, tls, into: incoming) }
            step(.received(connection.id))
        case .nothing: break
        case .end: ended(connection)
        case .failed(let code): broke(connection, code)
        }
    }

    private func decrypt(_ connection: Connection, _ tls: Encryption, into incoming: ByteQueue) {
        let before = incoming.count
        do throws(TLSError) {
            try tls.session.receive(from: tls.incoming, into: incoming, answering: tls.outgoing)
        } catch {
            // The alert, if there is one, tells the peer why.
            if !tls.outgoing.isEmpty, let socket = connection.socket { _ = socket.write(from: tls.outgoing) }
            return lose(connection, error.description, cause: .refused)
        }
        if connection.phase == .handshaking && tls.session.isEstablished { authenticated(connection, tls.session) }
        if !tls.outgoing.isEmpty { effects.dirty.append(connection.id) }
        guard connection.phase == .open || connection.phase == .handshaking else { return }
        // What the protocol itself says is little, unless somebody makes it talk and does not listen.
        if tls.outgoing.count > TLSSession.waitingBytesMax + DaemonLimits.protocolBytesMax {
            return lose(connection, "it has TLS answer more than it reads", cause: .refused)
        }
        guard connection.phase == .open else { return }
        if connection.isClient, tls.session.isHalfway != tls.isHalfway {
            tls.isHalfway.toggle()
            step(.halfReceived(connection.id, tls.isHalfway))
        } else if incoming.count > before {
            step(.received(connection.id))
        }
        if !tls.session.hasEnded { return }
        if connection.isClient { ended(connection) } else { lose(connection, "the peer ended the connection") }
    }

    /// The other side sends no more. A client may still be owed replies: `printf 'get k\r\n' | nc` ends at once.
    private func ended(_ connection: Connection) {
        if connection.isClient && connection.phase == .open {
            connection.isHalfClosed = true
            connection.socket?.isReading = false
            step(.ended(connection.id))
        } else if case .acceptedPeer(let address) = connection.purpose, connection.phase == .handshaking {
            // No alert says that anything is wrong with us: where two proxies start, one of two calls is given up.
            refusePeer(address, "it closed the connection during the handshake", .notice)
            drop(connection)
        } else {
            lose(
                connection,
                connection.phase == .handshaking ? "it closed the connection during the handshake" : "it closed the connection")
        }
    }

    // MARK: Out

    /// Writes what the turn has queued, each connection once.
    func flushDirty() {
        guard !effects.dirty.isEmpty else { return }
        let dirty = effects.dirty
        effects.dirty.removeAll(keepingCapacity: true)
        for id in dirty {
            guard let connection = connection(id), let socket = connection.socket, !socket.isWriting else { continue }
            switch connection.phase {
            case .handshaking, .open, .closing: flush(connection)
            case .resolving, .connecting, .lost: break
            }
        }
    }

    private func flush(_ connection: Connection) {
        guard let socket = connection.socket else { return }
        let outgoing = node.connections.beginWriting(connection.id)
        let waiting = outgoing.count
        let unsent = waiting + (connection.tls?.outgoing.count ?? 0)
        let sent: Socket.Sent
        if let tls = connection.tls {
            sent = encrypt(connection, tls, from: outgoing, to: socket)
        } else {
            sent = socket.write(from: outgoing)
        }
        switch sent {
        case .all:
            let reportable = connection.hasBacklog || waiting >= DaemonLimits.drainedReportBytesMin
            flushed(connection)
            if connection.phase == .open && reportable && outgoing.isEmpty { reports.append(.drained(connection.id)) }
        case .some:
            let isRead = outgoing.count + (connection.tls?.outgoing.count ?? 0) < unsent
            if !connection.hasBacklog || isRead { stalled(connection) }
            if !connection.hasBacklog && connection.isClient { reports.append(.stalled(connection.id)) }
            connection.hasBacklog = true
        case .failed(let code): broke(connection, code)
        }
    }

    /// A socket failed. Where a client has acknowledged nothing for too long, that is how the kernel says so (`TCP_USER_TIMEOUT`);
    /// of one that was owed nothing it says that its machine has vanished.
    private func broke(_ connection: Connection, _ code: Int32) {
        let isStalled = connection.isClient && code == ETIMEDOUT && connection.socket?.isOwedAcknowledgement ?? false
        lose(connection, SystemError.text(code), cause: isStalled ? .stalled : .lost)
    }

    /// Everything that was queued has reached the kernel.
    private func flushed(_ connection: Connection) {
        connection.hasBacklog = false
        if connection.phase == .closing {
            drop(connection)
        } else if connection.phase == .open {
            connection.deadline = nil
        }
    }

    /// A client that reads nothing is given up in the end, also when that is all that is left to do; the core watches over backends
    /// and peers itself.
    private func stalled(_ connection: Connection) {
        if connection.isClient && (connection.phase == .open || connection.phase == .closing) {
            setDeadline(connection, after: UInt64(running.site.times.clientStalledMilliseconds) * 1_000)
        }
    }

    private func encrypt(_ connection: Connection, _ tls: Encryption, from plaintext: ByteQueue, to socket: Socket) -> Socket.Sent
    {
        for _ in 0..<DaemonLimits.encryptRoundsMax {
            if tls.session.isEstablished && connection.phase != .handshaking {
                do throws(TLSError) {
                    try tls.session.send(from: plaintext, into: tls.outgoing)
                } catch {
                    return .failed(EPROTO)
                }
                if plaintext.isEmpty && connection.phase == .closing { tls.session.end(into: tls.outgoing) }
            }
            let sent = socket.write(from: tls.outgoing)
            if sent != .all || plaintext.isEmpty || connection.phase == .handshaking { return sent }
        }
        effects.dirty.append(connection.id)
        return .some
    }

    // MARK: The end

    /// The core is done with a connection.
    func close(_ connection: Connection, flush: Bool) {
        var pending = !node.connections.outgoing(connection.id).isEmpty || connection.tls.map { !$0.outgoing.isEmpty } ?? false
        // A client that speaks TLS is told that this is the end, not that somebody has cut it off.
        if connection.isClient, connection.tls != nil { pending = true }
        guard flush, pending, connection.phase == .open || connection.phase == .closing else { return drop(connection) }
        connection.phase = .closing
        connection.socket?.isReading = false
        setDeadline(connection, after: DaemonLimits.closingMicroseconds)
        effects.dirty.append(connection.id)
    }

    /// A connection broke, or could not be made: the core hears of it, then the id is released.
    func lose(_ connection: Connection, _ reason: String, cause: CloseCause = .lost) {
        guard connection.phase != .lost else { return }
        if case .acceptedPeer(let address) = connection.purpose, connection.phase == .handshaking {
            // The core has never heard of it.
            refusePeer(address, reason)
            return drop(connection)
        }
        if case .client(let address, let listener) = connection.purpose, connection.phase == .handshaking {
            refuseClient(address, listener, reason)
            return drop(connection)
        }
        if connection.phase == .closing { return drop(connection) }
        connection.phase = .lost
        connection.socket?.close()
        reports.append(.closed(connection.id, reason: reason, cause: cause))
    }

    /// Releases a connection and its id.
    func drop(_ connection: Connection) {
        connection.phase = .lost
        connection.socket?.close()
        connection.socket = nil
        connections[Int(connection.id.index)] = nil
        node.connections.release(connection.id)
        noStranger(connection)
        if connection.isClient { shared.leavePlace() }
        tellFinished()
    }

    /// One line for an unwelcome peer, unless there were many.
    func refusePeer(_ address: String, _ reason: String, _ level: LogLevel = .warning) {
        if let note = peerRefusals.permit(reason, atMonotonic: now.monotonicMicroseconds) {
            log(level, "peer refused address=\(address) reason=\(reason)\(note)")
        }
    }

    /// One line for an unwelcome client, unless there were many.
    func refuseClient(_ address: String, _ listener: Int, _ reason: String) {
        if let note = clientRefusals.permit(reason, atMonotonic: now.monotonicMicroseconds) {
            log(.warning, "client refused address=\(address) listener=\(self.listener(listener)) reason=\(reason)\(note)")
        }
    }

    // MARK: Time

    func setDeadline(_ connection: Connection, after microseconds: UInt64) {
        connection.deadline = now.monotonicMicroseconds + microseconds
        guard !connection.isTimed else { return }
        connection.isTimed = true
        timed.append(connection.id)
    }

    /// Gives up what has taken too long. Looked at with the housekeeping, so up to one of its intervals late.
    func giveUpOverdue(_ monotonic: UInt64) {
        guard !timed.isEmpty else { return }
        let watched = timed
        timed.removeAll(keepingCapacity: true)
        for id in watched {
            guard let connection = connection(id) else { continue }
            guard let deadline = connection.deadline, deadline > monotonic else {
                connection.isTimed = false
                if connection.deadline != nil { overdue(connection) }
                continue
            }
            timed.append(id)
        }
    }

    private func overdue(_ connection: Connection) {
        connection.deadline = nil
        switch connection.phase {
        case .resolving: lose(connection, "the name server did not answer in time")
        case .connecting: lose(connection, "\(connection.target) did not accept the connection in time")
        case .handshaking: lose(connection, "the TLS handshake took too long")
        case .closing: drop(connection)
        case .open: lose(connection, "it did not read what was sent to it", cause: .stalled)
        case .lost: break
        }
    }
}
