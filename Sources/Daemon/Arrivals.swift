// Connections that others make: clients, peers whose preamble has been read, lanes of this process.

import Configuration
import EventLoop
import Kernel
import Proxy
import Synchronization
import TLS

extension LaneShell {
    /// A memcached client that has a place.
    func welcome(_ descriptor: Int32, from address: String) {
        Descriptor.setUserTimeout(descriptor, milliseconds: shared.site.times.clientStalledMilliseconds)
        let connection = take(descriptor, .client, .open)
        connection.socket?.isReading = true
        step(.accepted(connection.id, .client(from: address)))
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
        guard let names = session.peer else { preconditionFailure("\(connection.id) is established without a peer") }
        let identity = PeerIdentity(federation: names.federation, site: names.site, proxy: names.proxy)
        switch connection.purpose {
        case .acceptedPeer:
            if let objection = shared.objection(to: names) { return lose(connection, objection) }
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
        case .client, .backend, .local: preconditionFailure("\(connection.id) has no business with TLS")
        }
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
