import Configuration
import Kernel

// A memcached server's machine: the model of memcached behind connections, which can be stopped, cut off, and started
// again with an empty memory.

/// One memcached server of one site.
final class ServerHost {
    /// For people: `n.cache0`.
    let name: String
    /// On the ring: `cache0`.
    let shortName: String
    /// Index of the site.
    let site: Int
    let isBackup: Bool
    let address: HostPort
    let machine: Int
    let itemBytesMax: Int
    var model: MemcachedModel
    var isRunning = true
    var isStalled = false
    /// How often it has started with an empty memory, after the first time.
    var restarts = 0
    /// It was out of reach of some proxy at some time, so that keys may have been deleted from it.
    var wasCutOff = false
    /// It evicted these keys by itself.
    var evicted: Set<Int> = []

    private var connections: [(link: Link, incoming: ByteQueue)?] = []
    /// Closed by their proxies while the server was stopped.
    private var orphans: [Int] = []
    private let outgoing = ByteQueue()
    /// It was flushed by a proxy: what it held was given up.
    var wasFlushed = false

    init(name: String, shortName: String, site: Int, isBackup: Bool, address: HostPort, machine: Int, itemBytesMax: Int) {
        self.name = name
        self.shortName = shortName
        self.site = site
        self.isBackup = isBackup
        self.address = address
        self.machine = machine
        self.itemBytesMax = itemBytesMax
        model = MemcachedModel(
            itemBytesMax: itemBytesMax, pid: UInt32(1_000 + machine),
            startedAtWallSeconds: SimulationOptions.wallMicroseconds / 1_000_000 - 1_000)
    }

    func accept(_ link: Link) -> Int {
        connections.append((link, ByteQueue()))
        return connections.count - 1
    }

    /// Bytes from a proxy; answered at once, unless the process is stopped.
    func received(_ bytes: [UInt8], _ connection: Int, _ world: World) {
        guard let place = connections[connection] else { return }
        place.incoming.append(bytes)
        if !isStalled { serve(connection, world) }
    }

    /// The proxy is gone. What the kernel has taken in before is still read and executed, if only after a stop.
    func closed(_ connection: Int) {
        guard connections.indices.contains(connection), connections[connection] != nil else { return }
        if isStalled { return orphans.append(connection) }
        connections[connection] = nil
        model.disconnect(connection)
    }

    /// The server goes on after a stop: what waited is executed now, on connections that its clients may have left.
    func unstall(_ world: World) {
        isStalled = false
        for connection in connections.indices where connections[connection] != nil { serve(connection, world) }
        for connection in orphans { closed(connection) }
        orphans.removeAll()
    }

    private func serve(_ connection: Int, _ world: World) {
        guard let place = connections[connection], !place.incoming.isEmpty else { return }
        if world.story.told { world.tell(name, "c\(connection) gets \(Story.readable(place.incoming.readable))") }
        model.receive(
            place.incoming, from: connection, into: outgoing, wallMicroseconds: SimulationOptions.wallMicroseconds + world.now)
        guard !outgoing.isEmpty else { return }
        let reply = [UInt8](outgoing.readable)
        outgoing.removeAll()
        if world.story.told { world.tell(name, "c\(connection) answers \(Story.readable(reply))") }
        world.send(bytes: reply, over: place.link, from: 1)
    }

    /// The process ends; its memory is gone.
    func stop(_ world: World) {
        guard isRunning else { return }
        isRunning = false
        isStalled = false
        restarts += 1
        world.tell(name, "ends, with its memory")
        for place in connections { if let place { world.close(place.link, side: 1, reason: "connection reset") } }
        connections.removeAll()
        orphans.removeAll()
    }

    /// A new process, empty.
    func start(_ world: World) {
        guard !isRunning else { return }
        isRunning = true
        world.tell(name, "starts, empty")
        model = MemcachedModel(
            itemBytesMax: itemBytesMax, pid: UInt32(1_000 + machine + restarts * 100),
            startedAtWallSeconds: (SimulationOptions.wallMicroseconds + world.now) / 1_000_000)
    }
}

extension World {
    /// True once a lane of the site has flushed a server that it could not repair: what was there and nowhere else is gone.
    func wasFlushed(_ site: Int) -> Bool { servers.contains { $0.site == site && $0.wasFlushed } }
}
