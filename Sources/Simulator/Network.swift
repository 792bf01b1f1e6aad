import Kernel
import Proxy

// Connections as pairs of byte pipes. Each pipe keeps order; each item in it is late by a random time, some very late.
//
//     end 0 (who dialled) ── pipe 0: bytes, end … ──▶ end 1 (who accepted)
//                         ◀── pipe 1: established, bytes, end … ──
//
// A partition is between machines and one way at a time: what should arrive waits, as TCP's retransmissions do, until
// the way is free again or an end gives up. Nobody is told of a machine without power.

/// How far apart two ends are.
enum Reach {
    /// Two lanes of one process.
    case process
    /// Machines of one site.
    case site
    /// A proxy and a memcached server.
    case server
    /// Machines of different sites.
    case wide
}

/// What travels in a pipe.
enum PipeItem {
    case open
    case established
    case refused
    case bytes([UInt8])
    case end(reason: StaticString)
}

/// Somebody whom the world holds, and who is there for as long as it is. They hold their connections; if these held them, a run would
/// stay in memory when it is over.
struct Unowned<Somebody: AnyObject> {
    unowned let it: Somebody

    init(_ it: Somebody) { self.it = it }
}

/// Who holds an end of a connection.
enum Party {
    case nobody
    case lane(Unowned<LaneHost>, ConnectionID, life: UInt32)
    case server(Unowned<ServerHost>, Int)
    case client(Unowned<Client>)
}

/// Whom a connection is to.
enum Target {
    case lane(Unowned<LaneHost>, Acceptance)
    case server(Unowned<ServerHost>)
}

/// One direction of a connection.
struct Pipe {
    private var items: [PipeItem] = []
    private var head = 0
    /// Arrivals are in order: none before this time.
    var lastArrival: UInt64 = 0
    /// Items that were due while the way was blocked; no more than there are items.
    var held = 0
    /// Some of what is in it got lost on a blocked way: it and all behind it arrives only if the sender sends it again.
    private(set) var awaitsSender = false

    var isEmpty: Bool { head == items.count }

    mutating func append(_ item: PipeItem) { items.append(item) }

    mutating func popFirst() -> PipeItem? {
        guard head < items.count else { return nil }
        defer {
            head += 1
            if head == items.count {
                items.removeAll(keepingCapacity: true)
                head = 0
                awaitsSender = false
            }
        }
        return items[head]
    }

    /// What is due meets a blocked way.
    mutating func hold() {
        held += 1
        awaitsSender = true
    }

    mutating func removeAll() {
        items.removeAll()
        head = 0
        held = 0
        awaitsSender = false
    }
}

/// One connection between two machines.
final class Link {
    struct End {
        var party: Party
        let machine: Int
        var open = true
    }

    let number: Int
    let reach: Reach
    let target: Target
    var ends: [End]
    var pipes = [Pipe(), Pipe()]

    init(number: Int, reach: Reach, target: Target, dialler: Party, machines: (Int, Int)) {
        self.number = number
        self.reach = reach
        self.target = target
        ends = [End(party: dialler, machine: machines.0), End(party: .nobody, machine: machines.1)]
    }

    var isDead: Bool { !ends[0].open && !ends[1].open }
}

extension World {
    /// Begins a connection; the party at end 0 hears of it by `established` or `refused`.
    func dial(_ reach: Reach, from dialler: Party, machine: Int, to target: Target) -> Link {
        let there =
            switch target {
            case .lane(let host, _): host.it.proxy.machine
            case .server(let server): server.it.machine
            }
        linkCount += 1
        let link = Link(number: linkCount, reach: reach, target: target, dialler: dialler, machines: (machine, there))
        links.append(link)
        send(.open, over: link, from: 0)
        return link
    }

    /// Puts an item into the pipe that leaves an end.
    func send(_ item: PipeItem, over link: Link, from side: Int) {
        let arrival = max(link.pipes[side].lastArrival + 1, now + delay(link.reach))
        link.pipes[side].lastArrival = arrival
        link.pipes[side].append(item)
        heap.insert(.arrival(link, side: side), at: arrival)
    }

    /// Sends bytes, now and then in two parts.
    func send(bytes: [UInt8], over link: Link, from side: Int) {
        if bytes.count > 1, random.chance(0.1) {
            let cut = 1 + random.below(bytes.count - 1)
            send(.bytes(Array(bytes[..<cut])), over: link, from: side)
            send(.bytes(Array(bytes[cut...])), over: link, from: side)
        } else {
            send(.bytes(bytes), over: link, from: side)
        }
    }

    /// The end is closed by its holder: the other end hears of it, behind what was sent before.
    func close(_ link: Link, side: Int, reason: StaticString) {
        guard link.ends[side].open else { return }
        link.ends[side].open = false
        send(.end(reason: reason), over: link, from: side)
    }

    /// The end is closed at once (SO_LINGER of zero): what has not got through by now never will.
    func abort(_ link: Link, side: Int) {
        guard link.ends[side].open else { return }
        forsake(link, side: side)
        close(link, side: side, reason: "connection reset")
    }

    /// Both ends lose the connection, and what was on its way is lost.
    func reset(_ link: Link) {
        for side in 0...1 {
            link.pipes[side].removeAll()
            send(.end(reason: "connection reset"), over: link, from: side)
        }
    }

    /// One end gives up waiting; the other is not told.
    func giveUp(_ link: Link, side: Int) {
        guard link.ends[side].open else { return }
        link.ends[side].open = false
        forsake(link, side: side)
        tellClosed(link, side: side, reason: "connection timed out")
    }

    /// The end's kernel sends nothing again: what has not got through by now never will.
    func forsake(_ link: Link, side: Int) {
        guard link.pipes[side].awaitsSender || isBlocked(from: link.ends[side].machine, to: link.ends[1 - side].machine) else {
            return
        }
        link.pipes[side].removeAll()
    }

    private func delay(_ reach: Reach) -> UInt64 {
        let (low, high): (Int, Int)
        switch reach {
        case .process: (low, high) = (3, 30)
        case .site: (low, high) = (60, 400)
        case .server: (low, high) = (50 * Int(options.backendSlowness), 400 * Int(options.backendSlowness))
        case .wide: (low, high) = (4_000, 25_000)
        }
        let drawn = UInt64(low + random.below(high - low))
        return random.chance(0.06) && reach != .process ? drawn * 30 : drawn
    }

    /// Something arrives at the far end of a pipe, or waits because the way is blocked.
    func arrive(_ link: Link, side: Int) {
        let far = 1 - side
        guard !link.pipes[side].isEmpty else { return }
        if isBlocked(from: link.ends[side].machine, to: link.ends[far].machine) {
            link.pipes[side].hold()
            return
        }
        guard let item = link.pipes[side].popFirst() else { return }
        switch item {
        case .open: arriveOpen(link)
        case .established: if link.ends[far].open { tellConnected(link) }
        case .refused:
            link.ends[side].open = false
            if link.ends[far].open {
                link.ends[far].open = false
                tellClosed(link, side: far, reason: "connection refused", .absent)
            }
        case .bytes(let bytes):
            if link.ends[far].open {
                tellBytes(link, side: far, bytes)
            } else if link.ends[side].open, hasPower(link.ends[far].machine) {
                send(.end(reason: "connection reset"), over: link, from: far)
            }
        case .end(let reason):
            if link.ends[far].open {
                link.ends[far].open = false
                tellClosed(link, side: far, reason: reason)
            }
        }
    }

    private func arriveOpen(_ link: Link) {
        switch link.target {
        case .lane(let host, let acceptance):
            guard host.it.proxy.power == .on else { return }
            guard host.it.proxy.isRunning else { return send(.refused, over: link, from: 1) }
            // The kernel takes a client's connection at once; a peer's handshake needs the process.
            if case .client = acceptance {
                // Whoever leaves listens no more.
                guard !host.it.proxy.isLeaving else { return send(.refused, over: link, from: 1) }
                send(.established, over: link, from: 1)
            }
            let id = host.it.accept(link)
            arrival(.accepted(id, acceptance), at: host.it)
        case .server(let server):
            guard server.it.isRunning else { return send(.refused, over: link, from: 1) }
            link.ends[1].party = .server(server, server.it.accept(link))
            send(.established, over: link, from: 1)
        }
    }

    private func tellConnected(_ link: Link) {
        switch link.ends[0].party {
        case .lane(let host, let id, let life): if host.it.life == life { arrival(.connected(id), at: host.it) }
        case .client(let client): client.it.connected(self)
        case .server, .nobody: break
        }
    }

    private func tellBytes(_ link: Link, side: Int, _ bytes: [UInt8]) {
        switch link.ends[side].party {
        case .lane(let host, let id, let life): if host.it.life == life { arrival(.bytes(id, bytes), at: host.it) }
        case .client(let client): client.it.received(bytes, self)
        case .server(let server, let connection): server.it.received(bytes, connection, self)
        case .nobody: break
        }
    }

    private func tellClosed(_ link: Link, side: Int, reason: StaticString, _ cause: CloseCause = .lost) {
        switch link.ends[side].party {
        case .lane(let host, let id, let life): if host.it.life == life { arrival(.closed(id, reason, cause), at: host.it) }
        case .client(let client): client.it.closed(self)
        case .server(let server, let connection): server.it.closed(connection)
        case .nobody: break
        }
    }
}

// Partitions, by machine.
extension World {
    func isBlocked(from: Int, to: Int) -> Bool { from != to && blocks[from * machineCount + to] > 0 }

    /// Blocks or frees one direction between two machines; blocks add up.
    func block(from: Int, to: Int, _ blocked: Bool) {
        guard from != to else { return }
        if blocked {
            blocks[from * machineCount + to] += 1
        } else if blocks[from * machineCount + to] > 0 {
            blocks[from * machineCount + to] -= 1
        }
    }

    /// Sends what waited on its way wherever the way is free again.
    func release() {
        for link in links {
            for side in 0...1 where link.pipes[side].held > 0 {
                guard !isBlocked(from: link.ends[side].machine, to: link.ends[1 - side].machine) else { continue }
                var arrival = now + UInt64(random.below(400_000))
                for _ in 0..<link.pipes[side].held {
                    heap.insert(.arrival(link, side: side), at: arrival)
                    arrival += UInt64(random.below(200))
                }
                link.pipes[side].held = 0
            }
        }
    }

    /// Forgets connections that both ends have closed.
    func sweepLinks() {
        guard links.count > 64, links.count > linksAfterSweep * 2 else { return }
        links.removeAll { $0.isDead }
        linksAfterSweep = links.count
    }
}
