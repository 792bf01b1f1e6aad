// Connections that the core asks for: memcached servers, peers over TLS, and lanes of this very process.

import Configuration
import EventLoop
import Glibc
import Kernel
import Proxy
import TLS

extension LaneShell {
    /// Begins a connection; its outcome is reported as `connected` or `closed`.
    func dial(_ id: ConnectionID, _ endpoint: Endpoint) {
        switch endpoint {
        case .backend(let address): dialServer(Connection(id, .backend, .resolving), address)
        case .listing(let address): dialServer(Connection(id, .listing, .resolving), address)
        case .peer(let identity, _, let lane) where identity == shared.identity:
            let connection = Connection(id, .local, .open)
            add(connection)
            dialSibling(connection, lane)
        case .peer(let identity, let address, let lane):
            let connection = Connection(id, .dialledPeer(identity, lane: lane), .resolving)
            add(connection)
            let times = running.site.times
            let isSibling = identity.site == shared.identity.site
            dial(
                connection, address,
                milliseconds: isSibling ? times.siblingTimeoutMilliseconds : times.streamTimeoutMilliseconds)
        }
    }

    private func dialServer(_ connection: Connection, _ address: HostPort) {
        add(connection)
        dial(connection, address, milliseconds: running.site.times.backendConnectMilliseconds)
    }

    private func dialSibling(_ connection: Connection, _ lane: UInt8) {
        do throws(SocketError) {
            let pair = try SocketPair()
            connection.socket = Socket(
                loop, descriptor: pair.near, role: Role.connection.rawValue, token: token(connection.id))
            connection.socket?.isReading = true
            shared.mailboxes[Int(lane) % shared.mailboxes.count].post(.sibling(descriptor: pair.far))
            reports.append(.connected(connection.id))
        } catch {
            lose(connection, error.description)
        }
    }

    private func dial(_ connection: Connection, _ address: HostPort, milliseconds: Int) {
        connection.target = address.description
        setDeadline(connection, after: UInt64(milliseconds) * 1_000)
        if let numeric = SocketAddress(numericHost: address.host, port: address.port) {
            connection.addresses = [numeric]
            return connectNext(connection)
        }
        connection.name = DialledName(address)
        look(up: address, for: connection.id, atLeisure: false)
    }

    private func look(up address: HostPort, for id: ConnectionID, atLeisure: Bool) {
        let mailbox = shared.mailboxes[number]
        shared.resolver.resolve(host: address.host, port: address.port, atLeisure: atLeisure) { mailbox.post(.resolved(id, $0)) }
    }

    /// Looks a server's name up once more. An address is what it is.
    func lookUpAgain(_ id: ConnectionID) {
        guard let connection = connection(id), connection.phase == .open, let name = connection.name, !name.isLookedUp else {
            return
        }
        name.isLookedUp = true
        look(up: name.address, for: id, atLeisure: true)
    }

    /// A host name was looked up; the connection may be gone by now.
    func resolved(_ id: ConnectionID, _ answer: Resolver.Answer) {
        guard let connection = connection(id) else { return }
        if connection.phase == .open { return compare(connection, answer) }
        guard connection.phase == .resolving else { return }
        switch answer {
        case .success(let addresses):
            connection.addresses = addresses[...]
            connectNext(connection)
        case .failure(let error): lose(connection, error.description)
        }
    }

    /// A name that cannot be looked up, as long as the connection stands, is nobody's trouble.
    private func compare(_ connection: Connection, _ answer: Resolver.Answer) {
        connection.name?.isLookedUp = false
        guard case .success(let addresses) = answer, let meaning = connection.name?.meaning,
            !addresses.contains(where: { $0.ip == meaning })
        else { return }
        step(.moved(connection.id))
    }

    /// A server that is known by name has been reached: where it was the last time?
    private func noteReached(_ connection: Connection) {
        guard case .backend = connection.purpose, let name = connection.name, let meaning = name.meaning else { return }
        let last = serversMet.updateValue(meaning, forKey: name.address)
        if let last, last != meaning { step(.moved(connection.id)) }
    }

    /// Tries the host's next address.
    private func connectNext(_ connection: Connection) {
        var reason = "\(connection.target) has no address"
        while let address = connection.addresses.popFirst() {
            do throws(SocketError) {
                connection.socket = try Socket.connect(
                    loop, to: address, role: Role.connection.rawValue, token: token(connection.id))
                if connection.isToMemcached { connection.socket?.abortOnClose() }
                connection.name?.meaning = address.ip
                connection.phase = .connecting
                return
            } catch {
                reason = error.description
            }
        }
        lose(connection, reason)
    }

    /// The socket says how the attempt went.
    func connectDecided(_ connection: Connection) {
        guard let socket = connection.socket else { return }
        if let code = socket.connectFailure() {
            socket.close()
            connection.socket = nil
            if !connection.addresses.isEmpty { return connectNext(connection) }
            return lose(
                connection, "cannot connect to \(connection.target): \(SystemError.text(code))",
                cause: code == ECONNREFUSED ? .absent : .lost)
        }
        if case .dialledPeer(_, let lane) = connection.purpose { return beginTLS(connection, lane) }
        opened(connection)
        noteReached(connection)
        step(.connected(connection.id))
    }

    private func beginTLS(_ connection: Connection, _ lane: UInt8) {
        do throws(TLSError) {
            let tls = Encryption(try TLSSession(shared.tlsContext, role: .dialing))
            tls.outgoing.append(Preamble(lane: lane).encoded)
            try tls.session.begin(into: tls.outgoing)
            connection.tls = tls
        } catch {
            return lose(connection, error.description)
        }
        connection.phase = .handshaking
        connection.socket?.isReading = true
        effects.dirty.append(connection.id)
    }
}
