// Connections that others make: clients, peers whose preamble has been read, lanes of this process.

import Configuration
import EventLoop
import Kernel
import Proxy
import Synchronization
import TLS

extension LaneShell {
    /// A memcached client over TCP that has a place, unless it comes from where nobody is let in.
    func meet(_ accepted: Listener.Accepted, at number: Int) {
        let listener = listener(number)
        guard listener.allowed.isEmpty || listener.admits(accepted.peer.ip) else {
            refuseClient(accepted.peer.description, number, "its network is not in the listener's allow")
            shared.leavePlace()
            return Descriptor.close(accepted.descriptor)
        }
        welcome(accepted.descriptor, from: accepted.peer.description, at: number)
    }

    /// A memcached client that has a place.
    func welcome(_ descriptor: Int32, from address: String, at number: Int) {
        Descriptor.setUserTimeout(descriptor, milliseconds: running.site.times.clientStalledMilliseconds)
        let purpose = Connection.Purpose.client(address: address, listener: number)
        if listener(number).tls != nil { return shakeHands(take(descriptor, purpose, .handshaking), number) }
        let connection = take(descriptor, purpose, .open)
        connection.socket?.isReading = true
        accepted(connection, address, number)
    }

    /// The core hears of a client.
    private func accepted(_ connection: Connection, _ address: String, _ number: Int) {
        let local = connection.socket.flatMap { HostPort("\($0.localAddress)") }
        step(.accepted(connection.id, .client(from: address, at: local, listener: number)))
    }

    /// A client that is to speak TLS. The core hears of it once that is agreed on.
    private func shakeHands(_ connection: Connection, _ number: Int) {
        guard let context = running.doors.contexts[number] else { preconditionFailure("listener \(number) has no certificate") }
        do throws(TLSError) {
            connection.tls = Encryption(try TLSSession(context))
        } catch {
            return lose(connection, error.description)
        }
        connection.socket?.isReading = true
        setDeadline(connection, after: DaemonLimits.handshakeMicroseconds)
    }

    /// A lane of this process.
    func welcomeSibling(_ descriptor: Int32) {
        let connection = take(descriptor, .local, .open)
        connection.socket?.isReading = true
        step(.accepted(connection.id, .peer(shared.identity)))
    }

    /// A peer whose preamble was in order. The core hears of it once TLS has shown who it is.
    func shakeHands(_ descriptor: Int32, from address: String) {
        let connection = take(descriptor, .acceptedPeer(address: address), .handshaking)
        connection.isStranger = true
        strangers += 1
        // Each costs a descriptor, with which a server might be reached again.
        guard strangers <= DaemonLimits.strangersMax else { return lose(connection, "\(strangers - 1) others are shaking hands") }
        do throws(TLSError) {
            connection.tls = Encryption(try TLSSession(shared.tlsContext, role: .accepting))
        } catch {
            return lose(connection, error.description)
        }
        connection.socket?.isReading = true
        setDeadline(connection, after: DaemonLimits.handshakeMicroseconds)
    }

    /// The handshake is done, and the certificate is of our authority. Is it also whom we expect?
    func authenticated(_ connection: Connection, _ session: TLSSession) {
        if case .client(let address, let listener) = connection.purpose {
            opened(connection)
            return accepted(connection, address, listener)
        }
        guard let names = session.peer else { preconditionFailure("\(connection.id) is established without a peer") }
        let identity = PeerIdentity(federation: names.federation, site: names.site, proxy: names.proxy)
        switch connection.purpose {
        case .acceptedPeer:
            if let objection = shared.objection(to: names) { return lose(connection, objection) }
            noStranger(connection)
            opened(connection)
            step(.accepted(connection.id, .peer(identity)))
        case .dialledPeer(let expected, _):
            guard identity == expected else {
                return lose(
                    connection, "the certificate at \(connection.target) names \(identity), expected \(expected)", cause: .refused
                )
            }
            opened(connection)
            step(.connected(connection.id))
        case .client, .backend, .listing, .local: preconditionFailure("\(connection.id) is no peer")
        }
    }

    /// It is known, or gone.
    func noStranger(_ connection: Connection) {
        guard connection.isStranger else { return }
        connection.isStranger = false
        strangers -= 1
    }

    /// Bytes may flow.
    func opened(_ connection: Connection) {
        connection.phase = .open
        connection.deadline = nil
        connection.addresses = []
        connection.socket?.isReading = connection.wantsToRead
        effects.dirty.append(connection.id)
    }

    private func take(_ descriptor: Int32, _ purpose: Connection.Purpose, _ phase: Connection.Phase) -> Connection {
        let id = node.connections.open()
        let connection = Connection(id, purpose, phase)
        connection.socket = Socket(loop, descriptor: descriptor, role: Role.connection.rawValue, token: token(id))
        add(connection)
        return connection
    }
}
