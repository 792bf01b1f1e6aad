// The sockets at which clients arrive: bound first, each with the number of its listener, then accepted from by the loops.

import Configuration
import EventLoop

/// A bound socket of one of the listeners.
struct ClientSocket: Sendable {
    var bound: BoundSocket
    /// The listener's number.
    var listener: Int
}

/// The sockets of some listeners.
struct ClientSockets: Sendable {
    /// TCP sockets, one set for each loop.
    var tcp: [[ClientSocket]]
    /// Unix sockets; loop 0 accepts from them for all.
    var unix: [ClientSocket] = []

    /// None yet.
    init(loops: Int) { tcp = Array(repeating: [], count: loops) }

    /// Binds all addresses, or none of them.
    init(_ numbers: [Int], of running: [Int: ClientListener], loops: Int, policy: ClientPolicy) throws(SocketError) {
        self.init(loops: loops)
        do throws(SocketError) {
            for number in numbers {
                guard let listener = running[number] else { preconditionFailure("there is no listener \(number)") }
                try bind(listener.address, number, policy)
            }
        } catch {
            close()
            throw error
        }
    }

    private mutating func bind(_ address: ListenAddress, _ number: Int, _ policy: ClientPolicy) throws(SocketError) {
        switch address {
        case .tcp(let address):
            let sets = try BoundSocket.tcp(host: address.host, port: address.port, shared: tcp.count)
            for (loop, set) in sets.enumerated() { tcp[loop] += set.map { ClientSocket(bound: $0, listener: number) } }
        case .unix(let path):
            let bound = try BoundSocket.unix(path: path, mode: policy.unixMode, group: policy.unixGroup)
            unix.append(ClientSocket(bound: bound, listener: number))
        }
    }

    /// Begins to queue clients at all of them, or gives all of them up.
    func listen() throws(SocketError) {
        do throws(SocketError) {
            for socket in tcp.joined() { try socket.bound.listen() }
            for socket in unix { try socket.bound.listen() }
        } catch {
            close()
            throw error
        }
    }

    /// Gives all addresses up.
    func close() {
        for socket in tcp.joined() { socket.bound.close() }
        for socket in unix { socket.bound.close() }
    }
}

/// The sockets from which one loop accepts clients.
struct ClientEntrances {
    private struct Entrance {
        let listener: Listener
        let number: Int
    }

    private let role: UInt32
    private var nextToken: UInt64
    private var entrances: [UInt64: Entrance] = [:]

    /// None yet; the loop will report this role, and tokens from this one on.
    init(role: UInt32, firstToken: UInt64 = 0) {
        self.role = role
        nextToken = firstToken
    }

    /// Accepts from a bound socket, too.
    mutating func open(_ socket: ClientSocket, in loop: Loop) throws(SocketError) {
        entrances[nextToken] = Entrance(
            listener: try Listener(loop, socket.bound, role: role, token: nextToken), number: socket.listener)
        nextToken += 1
    }

    /// The socket with this token, and its listener's number; nil once it is closed.
    subscript(token: UInt64) -> (listener: Listener, number: Int)? {
        entrances[token].map { ($0.listener, $0.number) }
    }

    /// All of them.
    var all: [Listener] { entrances.values.map(\.listener) }

    /// Closes those of listeners that are no more; whoever waits there already is let in first.
    /// `letIn` says whether more may be waiting.
    mutating func close(allBut open: [Int], _ letIn: (Listener, Int) -> Bool) {
        for (token, entrance) in entrances where !open.contains(entrance.number) {
            while letIn(entrance.listener, entrance.number) {}
            entrance.listener.close()
            entrances[token] = nil
        }
    }

    /// Closes all of them.
    mutating func close() {
        for entrance in entrances.values { entrance.listener.close() }
        entrances = [:]
    }
}
