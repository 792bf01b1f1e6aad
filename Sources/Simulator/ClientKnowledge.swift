import Kernel
import Proxy

// What a client may conclude from its replies (invariants 4 and 5). A value says which writes made it; a key that one
// client alone writes has a known history; a counter that one client alone counts up never runs ahead of its attempts.

/// The writes of one key, by the only client that writes it.
struct OwnKey {
    enum State {
        case pending
        case acknowledged
        case refused
        /// The reply never came, or was an error: the write may have happened, or may still.
        case unknown
    }

    struct Attempt {
        /// The write's number; nil for a deletion.
        var write: Int?
        var state: State
        /// Deletes where it does not store: a value that is too large.
        var mayDelete: Bool
    }

    var attempts: [Attempt] = []

    /// Place of the last acknowledged attempt; -1 before the first.
    var lastAcknowledged: Int { attempts.lastIndex { $0.state == .acknowledged } ?? -1 }

    /// True when every outcome is known.
    var isCertain: Bool { attempts.allSatisfy { $0.state == .acknowledged || $0.state == .refused } }

    /// True where the key may hold this write's value, or nothing for nil.
    func mayHold(_ write: Int?) -> Bool {
        let last = lastAcknowledged
        if write == nil, last < 0 { return true }
        return attempts.enumerated().contains { place, attempt in
            let matches = write == nil ? attempt.write == nil || attempt.mayDelete : attempt.write == write
            return matches
                && (attempt.state == .unknown || attempt.state == .pending || (place >= last && attempt.state == .acknowledged))
        }
    }
}

/// A counter that one client alone counts up.
struct OwnCounter {
    var isMissing = true
    var beginnings = 0
    var last: UInt64 = 0
    /// Counts whose outcome is unknown and which have not shown up in a reply.
    var unknown: UInt64 = 0
    var attempts: UInt64 = 0
    /// The count went back once (a server lost it): only the sum of all attempts bounds it.
    var isLoose = false
}

extension Client {
    func noteSent(_ command: Command) {
        switch command.effect {
        case .store(let write, _): own[command.key, default: OwnKey()].attempts.append(attempt(write, command))
        case .delete: own[command.key, default: OwnKey()].attempts.append(attempt(nil, command))
        case .count: counter.attempts += 1
        default: break
        }
    }

    private func attempt(_ write: Int?, _ command: Command) -> OwnKey.Attempt {
        OwnKey.Attempt(write: write, state: command.reply == .silent ? .unknown : .pending, mayDelete: false)
    }

    private func conclude(_ command: Command, _ state: OwnKey.State) {
        guard let key = own[command.key] else { return }
        let place: Int?
        switch command.effect {
        case .store(let write, _): place = key.attempts.lastIndex { $0.write == write }
        case .delete: place = key.attempts.firstIndex { $0.write == nil && $0.state == .pending }
        default: return
        }
        guard let place else { return }
        own[command.key]?.attempts[place].state = state
        if state == .unknown { own[command.key]?.attempts[place].mayDelete = true }
    }

    /// The connection ended before the reply came.
    func outcomeUnknown(_ command: Command) {
        conclude(command, .unknown)
        if case .count = command.effect { counter.unknown += 1 }
    }

    /// A reply has come: what does it prove?
    func take(_ reply: Reply, _ command: Command, _ world: World) {
        if reply.kind == .error {
            world.figures[.clientErrors] += 1
            if case .meta(_, isQuiet: true) = command.reply { quietErrors = true }
            return outcomeUnknown(command)
        }
        if reply.kind == .suppressed, quietErrors { return outcomeUnknown(command) }
        if reply.kind == .noop { quietErrors = false }
        switch command.effect {
        case .store(let write, let isConditional):
            let stored = reply.kind == .stored || reply.kind == .metaDone || (reply.kind == .suppressed && !isConditional)
            conclude(command, stored ? .acknowledged : .refused)
            if stored { proveCommitted(write, command, world) }
        case .extend(let write):
            if reply.kind == .stored || reply.kind == .metaDone { proveCommitted(write, command, world) }
        case .delete:
            conclude(command, .acknowledged)
            proveDeleted(command, world)
        case .count: counted(reply, world)
        case .beginCount: beganCount(reply)
        case .flush: if reply.kind == .flushed, !world.options.faults.contains(.clocks) { flushed() }
        case .read, .touch, .nothing: break
        }
        if finalReads, reply.kind == .values { world.checkFinal(reply, of: world.keys[command.key], at: site) }
        for value in reply.values { check(value.data, of: value.key, world) }
        if case .values(let keys, let withTokens) = command.reply {
            if withTokens { for value in reply.values { tokens[value.key] = value.token } }
            if case .read = command.effect, keys == [command.key] { checkOwn(reply, command, world) }
        }
    }

    /// Whatever it was told before is gone; what it sent since may come.
    private func flushed() {
        for (key, known) in own {
            var after = known.attempts.filter { $0.state == .unknown }
            after.append(OwnKey.Attempt(write: nil, state: .acknowledged, mayDelete: false))
            after += known.attempts.filter { $0.state == .pending }
            own[key]?.attempts = after
        }
    }

    private func proveCommitted(_ write: Int, _ command: Command, _ world: World) {
        world.acknowledgedWrites.insert(write)
        world.figures[.writesProven] += 1
        if case .extend = command.effect, world.now <= world.sites[site].disturbedUntil || world.options.flushes {
            // A flush may come between an append and its read-back.
            // With two owners for a while, what was read back behind an append may be what the other one had just stored.
            return
        }
        if case .extend = command.effect, world.history.tombstonesAt[command.key][site] ?? 0 >= command.sentAt {
            // What it was put to may have expired, or been evicted, before it was read back.
            return
        }
        if !world.history.committedWrites.contains(write) {
            world.violate(
                .acknowledgedSurvives,
                "\(name) was told that w\(write) of key \(world.keys[command.key].name) is stored; nobody committed it")
        }
    }

    private func proveDeleted(_ command: Command, _ world: World) {
        let committed = world.history.tombstonesAt[command.key][site]
        if committed ?? 0 < command.sentAt || committed == nil {
            world.violate(
                .acknowledgedSurvives,
                "\(name) was told that key \(world.keys[command.key].name) is deleted or was not there; nobody committed a tombstone"
            )
        }
    }

    /// What was read must have been written to this very key.
    private func check(_ data: [UInt8], of key: Int, _ world: World) {
        world.figures[.readsChecked] += 1
        switch world.keys[key].kind {
        case .counter, .ownCounter:
            if !data.allSatisfy({ $0 >= 48 && $0 <= 57 || $0 == 32 }) {
                world.violate(.repliesInOrder, "\(name) reads \(Story.readable(data)) from the counter \(world.keys[key].name)")
            }
        case .hot, .own, .everything:
            guard let pieces = World.pieces(of: data),
                pieces.allSatisfy({ $0 < world.writes.count && world.writes[$0].key == key })
            else {
                return world.violate(
                    .repliesInOrder, "\(name) reads \(Story.readable(data)) from \(world.keys[key].name): nobody wrote that")
            }
        }
    }

    /// Where no fault can hide it, a client reads what it last wrote.
    private func checkOwn(_ reply: Reply, _ command: Command, _ world: World) {
        guard case .own = world.keys[command.key].kind, world.readsAreExact, let key = own[command.key] else { return }
        let found = reply.values.first.flatMap { World.pieces(of: $0.data) }?.max()
        if found == nil, world.readsMayMiss || world.wasFlushed(site) { return }
        if world.now <= world.sites[site].disturbedUntil {
            // At the moment when a server dies, its partner may have more than was read so far, or not yet the last outcome;
            // in runs where no server dies, and proxies only leave, there is no such moment.
            if !world.deathsAreOrderly { return }
            // A lane that has just started, and is alone, serves before it has reached servers.
            if found == nil, world.options.faults.contains(.leaves) { return }
        }
        // Later commands of the pipeline have not been executed when this read was.
        let before = key.attempts.filter { $0.state != .pending }
        let known = OwnKey(attempts: before)
        if !known.mayHold(found) {
            world.violate(
                .repliesInOrder,
                "\(name) reads \(found.map { "w\($0)" } ?? "nothing") from \(world.keys[command.key].name), which it had written since"
            )
        }
    }

    private func counted(_ reply: Reply, _ world: World) {
        guard reply.kind == .number else {
            counter.isMissing = true
            return
        }
        let most = counter.isLoose ? counter.attempts : counter.last + 1 + counter.unknown
        if reply.number > most {
            world.violate(
                .appliedIsCommitted,
                "\(name) counted \(world.keys[world.sharedKeys + number * 3 + 2].name) to \(reply.number), at most \(most) is right"
            )
        }
        // It counts what it was told, and nothing else counts there.
        if world.deathsAreOrderly, world.readsAreExact, !world.readsMayMiss, !counter.isLoose, reply.number <= counter.last {
            world.violate(
                .repliesInOrder,
                "\(name) counted \(world.keys[world.sharedKeys + number * 3 + 2].name) to \(reply.number), and to \(counter.last) before"
            )
        }
        if reply.number > counter.last {
            counter.unknown -= min(counter.unknown, reply.number - counter.last - 1)
        } else {
            counter.isLoose = true
        }
        counter.last = reply.number
    }

    private func beganCount(_ reply: Reply) {
        counter.isMissing = false
        if reply.kind == .stored {
            counter.beginnings += 1
            if counter.beginnings > 1 { counter.isLoose = true }
        } else {
            counter.isLoose = true
        }
    }
}
