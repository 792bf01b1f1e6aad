import Kernel
import Proxy

// A memcached client: one connection to any proxy of its site, pipelined commands, replies checked as they come. When the
// connection ends it goes to another proxy, as clients do, and does not know what became of its unanswered writes.
//
//     compose ─▶ pipe ─▶ proxy ─▶ pipe ─▶ buffer ─▶ front command takes its reply ─▶ what it proves

/// One client of one site.
final class Client {
    /// Longest wait of a patient client, in microseconds: a proxy that serves answers within it, if only with an error.
    static let patienceMicroseconds: UInt64 = 15_000_000
    /// Wait of the others, in microseconds.
    static let impatienceMicroseconds: UInt64 = 2_500_000

    /// Longest wait for a connection, in microseconds.
    static let connectMicroseconds: UInt64 = 1_000_000

    let number: Int
    let site: Int
    let machine: Int
    var random: SeededRandom
    let isPatient: Bool
    private(set) var link: Link?
    private(set) var proxy: ProxyProcess?
    private var isConnected = false
    private var redialPlanned = false
    /// Commands without a reply yet, in the order of sending.
    private(set) var pending: [Command] = []
    private var buffer: [UInt8] = []
    /// Commands composed while there was no connection.
    private var unsent: [Command] = []
    var opaque = 0
    /// CAS tokens from the last `gets`, by key.
    var tokens: [Int: UInt64] = [:]
    /// What is known of the keys that nobody else writes.
    var own: [Int: OwnKey] = [:]
    var counter = OwnCounter()
    /// A scenario's client: replies are kept, and it stays with the proxy that it was told to use.
    var scripted: ProxyProcess?
    var transcript: [Reply] = []
    /// An error has come in the quiet batch under way: it may be any of its commands', so silence proves nothing.
    var quietErrors = false
    /// The run is at rest: what is read now is compared with the ledger.
    var finalReads = false

    init(number: Int, site: Int, machine: Int, seed: UInt64) {
        self.number = number
        self.site = site
        self.machine = machine
        random = SeededRandom(seed: seed)
        isPatient = random.chance(0.35)
    }

    var name: String { "client\(number)" }
    var isIdle: Bool { pending.isEmpty && unsent.isEmpty }

    // MARK: Sending

    /// Sends commands in one go, as a pipeline.
    func send(_ commands: [Command], _ world: World) {
        guard !commands.isEmpty else { return }
        world.figures[.commands] += UInt64(commands.count)
        guard let link, isConnected else {
            unsent += commands
            return dial(world)
        }
        var bytes: [UInt8] = []
        for var command in commands {
            command.sentAt = world.now
            bytes += command.bytes
            noteSent(command)
            if command.reply != .silent { pending.append(command) }
        }
        if world.story.told { world.tell(name, "to \(proxy?.name ?? "?"): \(Story.readable(bytes, most: 400))") }
        world.send(bytes: bytes, over: link, from: 0)
        planPatience(world)
    }

    private func planPatience(_ world: World) {
        guard !pending.isEmpty else { return }
        let patience = isPatient ? Self.patienceMicroseconds : Self.impatienceMicroseconds
        world.perform(after: patience) { [weak self] world in self?.patienceEnds(world, patience) }
    }

    private func patienceEnds(_ world: World, _ patience: UInt64) {
        guard let oldest = pending.first, world.now - oldest.sentAt >= patience, let proxy else { return }
        if isPatient, proxy.isRunning, !proxy.isPaused, world.now - proxy.steadySince >= patience {
            world.violate(
                .repliesInOrder,
                "\(name) has waited \(patience / 1_000) ms at \(proxy.name) for a reply to \(Story.readable(oldest.bytes))")
        }
        world.figures[.clientTimeouts] += 1
        world.tell(name, "gives up waiting for \(proxy.name)")
        hangUp(world)
    }

    // MARK: The connection

    /// Connects to one of the site's proxies.
    func dial(_ world: World) {
        guard link == nil, !redialPlanned, !isIdle || scripted != nil else { return }
        let choice = scripted ?? world.sites[site].proxies[random.below(world.sites[site].proxies.count)]
        let lane = choice.lanes[random.below(choice.lanes.count)]
        proxy = choice
        let dialled = world.dial(
            .site, from: .client(Unowned(self)), machine: machine, to: .lane(Unowned(lane), .client(from: name)))
        link = dialled
        world.perform(after: Self.connectMicroseconds) { [weak self] world in
            guard let self, link === dialled, !isConnected else { return }
            world.tell(name, "cannot reach \(choice.name)")
            world.close(dialled, side: 0, reason: "closed by client")
            closed(world)
        }
    }

    func connected(_ world: World) {
        isConnected = true
        let commands = unsent
        unsent = []
        send(commands, world)
    }

    func closed(_ world: World) {
        if !pending.isEmpty {
            world.tell(name, "loses its connection to \(proxy?.name ?? "?") with \(pending.count) replies to come")
        }
        forget()
        guard !isIdle, !redialPlanned else { return }
        redialPlanned = true
        world.perform(after: UInt64(20_000 + random.below(400_000))) { [weak self] world in
            self?.redialPlanned = false
            self?.dial(world)
        }
    }

    /// Closes the connection from this side.
    func hangUp(_ world: World) {
        if let link { world.close(link, side: 0, reason: "closed by client") }
        forget()
    }

    private func forget() {
        for command in pending { outcomeUnknown(command) }
        pending.removeAll()
        buffer.removeAll()
        link = nil
        isConnected = false
    }

    /// Drops what was never sent: the run is coming to its end.
    func giveUpUnsent() { unsent.removeAll() }

    // MARK: Replies

    func received(_ bytes: [UInt8], _ world: World) {
        buffer += bytes
        if world.story.told { world.tell(name, "from \(proxy?.name ?? "?"): \(Story.readable(bytes, most: 400))") }
        var start = 0
        while start < buffer.count, world.violation == nil {
            guard let command = pending.first else {
                return world.violate(
                    .repliesInOrder, "\(name) got \(Story.readable(buffer[start...])) and had asked for nothing more")
            }
            switch ReplyReader.read(buffer[start...], for: command, world) {
            case .incomplete:
                buffer.removeFirst(start)
                return
            case .suppressed:
                pending.removeFirst()
                take(Reply(kind: .suppressed), command, world)
            case .malformed(let what):
                return world.violate(
                    .repliesInOrder,
                    "\(name) sent \(Story.readable(command.bytes)) and got \(Story.readable(buffer[start...])): \(what)")
            case .reply(let reply, let count):
                pending.removeFirst()
                start += count
                world.figures[.replies] += 1
                if scripted != nil { transcript.append(reply) }
                take(reply, command, world)
            }
        }
        buffer.removeAll()
    }
}
