import Kernel
import Proxy

// One run from its seed: load and faults, then peace, then the comparison.

/// What became of one run.
public struct Outcome: Sendable {
    /// The run's seed.
    public let seed: UInt64
    /// What was drawn for it, for people.
    public let options: String
    /// What happened, in numbers.
    public let figures: Figures
    /// The first breach of a rule, if there was one.
    public let violation: Violation?
    /// What happened, if it was told.
    public let story: Story
    /// A fingerprint of the whole history: equal for equal seeds.
    public let digest: UInt64
}

/// Runs one seed.
public enum Simulation {
    /// Runs a federation as drawn, to its end or to the first violation.
    public static func run(
        _ options: SimulationOptions, told: Bool = false, listener: (@Sendable (String) -> Void)? = nil
    ) -> Outcome {
        let world = World(options, told: told, listener: listener)
        world.tell("world", "seed \(options.seed): \(options.description)")
        world.begin()
        world.run(for: options.loadMicroseconds)
        world.end()
        return world.outcome
    }
}

extension World {
    /// What became of the run so far.
    var outcome: Outcome {
        figures[.seeds] = 1
        figures[.virtualMicroseconds] = now
        var digest = random
        return Outcome(
            seed: options.seed, options: options.description, figures: figures, violation: violation, story: story,
            digest: digest.next() ^ figures[.steps] << 20 ^ figures[.commits])
    }

    /// Starts all proxies and plans load and faults.
    func begin() {
        for proxy in proxies { perform(after: UInt64(random.below(1_500_000))) { $0.start(proxy) } }
        planFaults()
        planRingChanges()
        for _ in 0..<options.bursts {
            perform(after: UInt64(random.below(Int(options.loadMicroseconds)))) { $0.burst() }
        }
    }

    /// Some clients send commands within a short time, so that they meet on the same keys.
    func burst() {
        guard !isHealed else { return }
        let spread = [500, 5_000, 50_000, 1_000_000][random.below(4)]
        for client in clients where random.chance(0.6) {
            for _ in 0..<1 + random.below(3) {
                perform(after: UInt64(random.below(spread))) { world in
                    guard !world.isHealed, client.pending.count < 64 else { return }
                    client.send(client.compose(world), world)
                    if client.random.chance(0.05) { client.hangUp(world) }
                }
            }
        }
    }

    /// A site's clients write and read keys of their own without a break for a while, so that some of it meets a change of who owns them.
    func rush(_ site: Int) {
        for client in clients where client.site == site {
            for _ in 0..<Self.rushCommands {
                perform(after: UInt64(random.below(Self.rushMicroseconds))) { world in
                    guard !world.isHealed, client.isIdle else { return }
                    client.send(client.composeOwn(world), world)
                }
            }
        }
    }

    private static let rushCommands = 500
    private static let rushMicroseconds = 600_000

    /// Heals everything, waits for rest, and compares.
    func end() {
        guard violation == nil else { return }
        heal()
        run(for: 2_000_000)
        comeToRest()
        guard violation == nil else { return }
        checkAtRest()
        guard violation == nil else { return }
        readEverything()
    }

    /// The last check is a client's: every key is read through a proxy of every site, and a recovering primary is refilled.
    private func readEverything() {
        for site in sites.indices {
            guard let client = clients.first(where: { $0.site == site }) else { continue }
            client.finalReads = true
            let commands = itemKeys.map { key in
                Command(
                    bytes: Array("get \(key.name)\r\n".utf8), key: key.index, effect: .read,
                    reply: .values([key.index], withTokens: false))
            }
            client.send(commands, self)
        }
        for _ in 0..<40 where clients.contains(where: { !$0.isIdle }) { run(for: 500_000) }
        for client in clients where !client.isIdle { violate(.repliesInOrder, "\(client.name) gets no answer at rest") }
    }

    /// What a client read at rest.
    func checkFinal(_ reply: Reply, of key: SimulatedKey, at site: Int) {
        guard !history.isDoubtful(key.index) else { return }
        let wanted = Wanted(key, at: site, in: self)
        guard !wanted.isEdge else { return }
        let found = reply.values.first
        let (primary, backup) = (primary(of: key, at: site), backup(of: key, at: site))
        func held(by server: ServerHost?) -> MemcachedItem? {
            server?.model.item(key.bytes, atWallMicroseconds: SimulationOptions.wallMicroseconds + now)
        }
        if let found {
            // An item that was marked as stale is served, and counts for nothing; on the backup, if the primary was away then.
            if held(by: primary)?.isStale ?? false || held(by: backup)?.isStale ?? false { return }
            guard wanted.isLive, let record = wanted.record, found.data == record.value, found.flags == record.flags else {
                return violate(
                    .sitesAgree,
                    "a client of site \(site + 1) reads \(Story.readable(found.data)) from \(key.name); \(wanted.description)")
            }
        } else if wanted.isLive {
            let lost = primary.restarts > 0 || primary.wasFlushed || primary.evicted.contains(key.index) || primary.wasCutOff
            if !lost || (held(by: backup) != nil && !primary.evicted.contains(key.index)) {
                violate(.sitesAgree, "a client of site \(site + 1) misses \(key.name); \(wanted.description)")
            }
            figures[.missesExcused] += 1
        }
    }
}
