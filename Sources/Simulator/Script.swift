import Kernel
import Proxy
import Ring

// What a directed scenario says: clients that send one command at a time, faults at chosen moments, and what must come
// of it. The world and the checkers are those of every other run; only chance is taken away.

/// One directed history.
final class Script {
    let world: World
    private var speakers: [Client] = []

    /// Starts a federation and waits until all lanes serve.
    init(_ options: SimulationOptions, told: Bool) {
        world = World(options, told: told)
        for proxy in world.proxies { world.start(proxy) }
        until("all lanes serve and stream") { [world] in world.proxies.allSatisfy { $0.lanes.allSatisfy { $0.isServing(world) } }
        }
        wait(milliseconds: 500)
    }

    /// A quiet federation: two sites of two proxies, one primary and one backup each, and no chance.
    static func options(
        seed: UInt64, proxies: [Int] = [2, 2], backups: [Int] = [1, 1], itemLimits: [Int] = [1 << 20, 1 << 20]
    ) -> SimulationOptions {
        var options = SimulationOptions(seed: seed)
        options.sites = proxies.indices.map {
            SiteOptions(
                proxies: proxies[$0], lanes: 1, backups: backups[$0], durability: .memory, itemBytesMax: itemLimits[$0],
                clients: 4)
        }
        options.primaries = 1
        options.faults = []
        options.faultCount = 0
        options.hotKeys = 4
        options.crossingRules = false
        options.flushes = false
        options.ringChanges = false
        options.skewMicrosecondsMax = 0
        options.backendSlowness = 1
        options.slotCount = 16
        return options
    }

    // MARK: Time

    func wait(milliseconds: UInt64) { world.run(for: milliseconds * 1_000) }

    /// Runs until something is so; a breach when it does not become so within a virtual minute.
    func until(_ what: String, seconds: UInt64 = 60, _ condition: () -> Bool) {
        let limit = world.now + seconds * 1_000_000
        while !condition() {
            guard world.advance(upTo: limit) else {
                return world.violate(.scenario, "\(what): not within \(seconds) s")
            }
        }
    }

    func expect(_ condition: Bool, _ what: @autoclosure () -> String) {
        if !condition { world.violate(.scenario, what()) }
    }

    // MARK: Places

    func key(_ number: Int) -> SimulatedKey { world.keys[number] }

    var counter: SimulatedKey { world.keys[world.options.hotKeys] }

    func proxy(_ site: Int, _ number: Int) -> ProxyProcess { world.sites[site].proxies[number] }

    /// The proxy that owns a key while all run, and another one of the site.
    func owner(of key: SimulatedKey, at site: Int) -> ProxyProcess {
        let lanes = world.sites[site].proxies.flatMap { $0.lanes.map(\.configuration.laneID) }
        let slot = Slots.slot(of: key.name, count: world.federation.slotCount)
        let owner = Rendezvous.owner(of: slot, among: lanes.sorted())
        return world.sites[site].proxies.first { $0.lanes.contains { $0.configuration.laneID == owner } } ?? proxy(site, 0)
    }

    func other(than proxy: ProxyProcess) -> ProxyProcess {
        world.sites[proxy.site].proxies.first { $0 !== proxy } ?? proxy
    }

    func primary(of key: SimulatedKey, at site: Int) -> ServerHost { world.primary(of: key, at: site) }

    func backup(of key: SimulatedKey, at site: Int) -> ServerHost? {
        world.backup(of: key, at: site)
    }

    /// What a server holds of a key now.
    func held(_ key: SimulatedKey, _ server: ServerHost) -> [UInt8]? {
        server.model.item(key.bytes, atWallMicroseconds: SimulationOptions.wallMicroseconds + world.now)?.value
    }

    /// Blocks or frees the ways between machines, both ways or from the first to the second only.
    func cut(_ a: [Int], _ b: [Int], oneWay: Bool = false, _ isCut: Bool = true) {
        for from in a {
            for to in b {
                world.block(from: from, to: to, isCut)
                if !oneWay { world.block(from: to, to: from, isCut) }
            }
        }
        if !isCut { world.release() }
        for site in world.sites.indices { world.disturb(site) }
        world.tell(
            "script",
            "\(isCut ? "cuts" : "mends") the way \(oneWay ? "from" : "between") machines \(a) \(oneWay ? "to" : "and") \(b)")
    }

    func machines(_ site: Int) -> [Int] { world.sites[site].proxies.map(\.machine) }

    // MARK: Clients

    /// A client that stays with one proxy. At most four per site.
    func client(of proxy: ProxyProcess) -> Client {
        let taken = speakers.count { $0.site == proxy.site }
        let candidates = world.clients.filter { $0.site == proxy.site }
        let client = candidates[taken % candidates.count]
        client.scripted = proxy
        speakers.append(client)
        client.dial(world)
        return client
    }

    /// Sends a store without waiting; the write's number is in its value.
    @discardableResult
    func send(set key: SimulatedKey, by client: Client, expiry: Int = 0, bytes: Int = 0) -> Int {
        let write = world.issue(key: key.index, client: client.number)
        let value = "w\(write)." + String(repeating: ".", count: bytes)
        send(
            "set \(key.name) \(write) \(expiry) \(value.utf8.count)\r\n\(value)\r\n", key, .store(write, isConditional: false),
            .storage,
            by: client)
        return write
    }

    func send(_ text: String, _ key: SimulatedKey, _ effect: Command.Effect, _ reply: Command.ReplyForm, by client: Client) {
        client.send([Command(bytes: Array(text.utf8), key: key.index, effect: effect, reply: reply)], world)
    }

    /// Waits for the client's replies and returns the last of them; nil where the connection ended instead.
    @discardableResult
    func reply(to client: Client) -> Reply? {
        let before = client.transcript.count
        until("\(client.name) is answered") { client.isIdle || world.violation != nil }
        return client.transcript.count > before ? client.transcript.last : nil
    }

    @discardableResult
    func set(_ key: SimulatedKey, by client: Client, expiry: Int = 0, bytes: Int = 0) -> Int {
        let write = send(set: key, by: client, expiry: expiry, bytes: bytes)
        let reply = reply(to: client)
        expect(reply?.kind == .stored, "\(client.name) sets \(key.name) and is told \(line(reply))")
        return write
    }

    @discardableResult
    func delete(_ key: SimulatedKey, by client: Client) -> Reply? {
        send("delete \(key.name)\r\n", key, .delete, .deletion, by: client)
        return reply(to: client)
    }

    /// The write that made what the client reads; nil for a miss.
    func get(_ key: SimulatedKey, by client: Client) -> Int? {
        send("get \(key.name)\r\n", key, .read, .values([key.index], withTokens: false), by: client)
        let reply = reply(to: client)
        expect(reply?.kind == .values, "\(client.name) reads \(key.name) and is told \(line(reply))")
        return reply?.values.first.flatMap { World.pieces(of: $0.data)?.max() }
    }

    func line(_ reply: Reply?) -> String { reply.map { Story.readable($0.line) } ?? "nothing" }

    // MARK: The end

    /// Heals, comes to rest, compares; the write that every site must hold at the end (nil: nothing), unless it does not matter.
    func end(_ key: SimulatedKey, holds expected: Int??) -> Outcome {
        for client in speakers { client.scripted = nil }
        world.end()
        if let expected, world.violation == nil {
            for site in world.sites.indices {
                let found = held(key, primary(of: key, at: site)).flatMap { World.pieces(of: $0)?.max() }
                expect(
                    found == expected,
                    "site \(site + 1) ends with \(found.map { "w\($0)" } ?? "nothing"), expected \(expected.map { "w\($0)" } ?? "nothing")"
                )
            }
        }
        return world.outcome
    }
}

extension LaneHost {
    func isServing(_ world: World) -> Bool {
        guard let node else { return false }
        let status = node.status(at: world.instant(proxy))
        return status.state == "serving"
            && status.destinations.allSatisfy { $0.state == "streaming" || $0.state == "catching up" }
    }
}
