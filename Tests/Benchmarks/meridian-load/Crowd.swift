// Opens the connections of a load, some at a time: a listener's queue is short, and who does not fit in it waits a second.

import EventLoop

/// Connections to one server, watched by one loop; a connection's token is its number.
struct Crowd {
    /// Connections that are being made at the same time.
    private static let connectingMax = 64
    /// How long the next connection may take.
    private static let connectSecondsMax: UInt64 = 20
    /// Descriptors that a process has besides its connections.
    private static let descriptorsSpare = 64

    let loop: Loop
    private(set) var members: [LoadConnection] = []

    /// Connects `count` times to `address`; throws when one fails.
    init(_ loop: Loop, to address: SocketAddress, count: Int, texts: Texts, depth: Int) throws {
        self.loop = loop
        // A server that closes is an error of the next write, not our end.
        Signals.ignoreBrokenPipes()
        let limit = Descriptor.raiseLimit(to: count + Self.descriptorsSpare)
        guard limit >= count + Self.descriptorsSpare else {
            throw LoadFailure(description: "\(count) connections need more open files than \(limit); raise ulimit -n")
        }
        while members.count < count {
            let first = members.count
            for number in first..<min(first + Self.connectingMax, count) {
                let socket = try Socket.connect(loop, to: address, role: 0, token: UInt64(number))
                members.append(LoadConnection(socket, texts, depth: depth))
            }
            try awaitConnections(from: first, at: address)
        }
    }

    private func awaitConnections(from first: Int, at address: SocketAddress) throws {
        var missing = members.count - first
        let deadline = Clock.monotonicMicroseconds() + Self.connectSecondsMax * 1_000_000
        while missing > 0 {
            guard Clock.monotonicMicroseconds() < deadline else {
                throw LoadFailure(description: "\(address) does not accept connection \(first + 1) of \(members.count)")
            }
            loop.wait(until: deadline)
            for index in 0..<loop.readyCount where loop.ready(index).writable {
                let number = Int(loop.ready(index).token)
                guard number >= first else { continue }
                let socket = members[number].socket
                if let code = socket.connectFailure() {
                    throw LoadFailure(description: "connection \(number + 1) to \(address) failed with error \(code)")
                }
                socket.isReading = true
                missing -= 1
            }
        }
    }
}
