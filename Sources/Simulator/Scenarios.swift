import Kernel
import Proxy

// The histories that broke other designs (`federation.md` section 14), and then ours, each as a directed run.

/// One named history.
public struct Scenario: Sendable {
    /// Its number: up to 15 that in `federation.md` section 14.
    public let number: Int
    /// What happens, in one sentence.
    public let title: String
    private let play: @Sendable (Bool, PlantedBugs) -> Outcome

    /// Plays it, with a known bug if one is named.
    public func run(told: Bool = false, bug: String? = nil) -> Outcome { play(told, SimulationOptions.bugs(named: bug)) }

    /// All of them, by number.
    public static let all: [Scenario] = [
        Scenario(number: 1, title: "Two proxies of a site write one key at once", play: Histories.twoProxiesWriteOneKey),
        Scenario(number: 2, title: "A delete races a set through another proxy", play: Histories.deleteRacesSet),
        Scenario(number: 3, title: "A backend connection dies after incr was sent", play: Histories.incrementUnanswered),
        Scenario(
            number: 4, title: "A proxy restarts with an empty index while an old record is on its way",
            play: Histories.restartBeforeOldRecord),
        Scenario(
            number: 5, title: "An acknowledgement is lost and the record sent again after a newer write",
            play: Histories.acknowledgementLost),
        Scenario(number: 6, title: "A touch overtakes the set before it on another stream", play: Histories.touchOvertakesSet),
        Scenario(number: 7, title: "A proxy joins 400 ms behind; a clock jumps an hour ahead", play: Histories.clocksApart),
        Scenario(number: 8, title: "A logout where the session was evicted already", play: Histories.logoutOfEvictedSession),
        Scenario(
            number: 9, title: "The primary is cut off while its backup takes a logout", play: Histories.cutOffPrimaryReturns),
        Scenario(
            number: 10, title: "A primary restarts empty while its backup holds everything", play: Histories.emptyPrimaryRefills),
        Scenario(number: 11, title: "A write to the backup is lost; later the primary dies", play: Histories.lostBackupWrite),
        Scenario(
            number: 12, title: "A stream is cut for an hour with both sites writing the same keys", play: Histories.hourApart),
        Scenario(number: 13, title: "A record larger than the remote memcached's item limit", play: Histories.recordTooLarge),
        Scenario(
            number: 14, title: "The owner is stopped for ten seconds, its slots are taken over, then it wakes",
            play: Histories.ownerPaused),
        Scenario(number: 15, title: "The disk is full, slow, or returns an error on fsync", play: Histories.diskTroubles),
        Scenario(
            number: 16, title: "The owner leaves while its last write is on its way to the backup", play: Histories.ownerLeaves),
    ]
}

/// What happens in each.
enum Histories {
    private static func script(
        _ number: UInt64, _ told: Bool, _ planted: PlantedBugs, proxies: [Int] = [2, 2], backups: [Int] = [1, 1],
        itemLimits: [Int] = [1 << 20, 1 << 20], _ adjust: (inout SimulationOptions) -> Void = { _ in }
    ) -> Script {
        var options = Script.options(seed: number, proxies: proxies, backups: backups, itemLimits: itemLimits)
        options.planted = planted
        adjust(&options)
        return Script(options, told: told)
    }

    static func twoProxiesWriteOneKey(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(1, told, planted) { $0.backendSlowness = 10 }
        let key = script.key(0)
        let (one, two) = (script.client(of: script.proxy(0, 0)), script.client(of: script.proxy(0, 1)))
        for _ in 0..<20 {
            script.send(set: key, by: one)
            script.send(set: key, by: two)
            script.reply(to: one)
            script.reply(to: two)
        }
        return script.end(key, holds: .none)
    }

    static func deleteRacesSet(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(2, told, planted) { $0.backendSlowness = 10 }
        let key = script.key(1)
        let (one, two) = (script.client(of: script.proxy(0, 0)), script.client(of: script.proxy(0, 1)))
        for turn in 0..<20 {
            script.send(set: key, by: one)
            script.wait(milliseconds: UInt64(turn % 5))
            script.send("delete \(key.name)\r\n", key, .delete, .deletion, by: two)
            script.reply(to: one)
            script.reply(to: two)
        }
        return script.end(key, holds: .none)
    }

    static func incrementUnanswered(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(3, told, planted, backups: [0, 0])
        let key = script.counter
        let owner = script.owner(of: key, at: 0)
        let client = script.client(of: owner)
        script.send("add \(key.name) 0 0 1\r\n5\r\n", key, .nothing, .storage, by: client)
        script.reply(to: client)
        script.send("incr \(key.name) 1\r\n", key, .nothing, .number, by: client)
        let server = script.primary(of: key, at: 0)
        script.until("the server has counted") { script.held(key, server) == Array("6".utf8) }
        script.world.disturb(0)
        server.wasCutOff = true
        for link in script.world.links {
            if case .server(let target) = link.target, target.it === server, link.ends[0].machine == owner.machine {
                script.world.reset(link)
            }
        }
        let reply = script.reply(to: client)
        script.expect(reply?.kind == .error, "the client is told \(script.line(reply)) of an increment that nobody can vouch for")
        let outcome = script.end(key, holds: .none)
        for site in 0...1 where outcome.violation == nil {
            let found = script.held(key, script.primary(of: key, at: site))
            script.expect(
                found == Array("6".utf8), "site \(site + 1) counts \(found.map { Story.readable($0) } ?? "nothing"), not 6")
        }
        return script.world.outcome
    }

    static func restartBeforeOldRecord(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(4, told, planted, proxies: [1, 1])
        let key = script.key(0)
        let (north, south) = (script.client(of: script.proxy(0, 0)), script.client(of: script.proxy(1, 0)))
        script.cut(script.machines(0), script.machines(1))
        script.set(key, by: south)
        script.wait(milliseconds: 200)
        let newer = script.set(key, by: north)
        script.wait(milliseconds: 200)
        script.world.crash(script.proxy(0, 0), losesPower: false)
        script.wait(milliseconds: 500)
        script.world.start(script.proxy(0, 0))
        script.wait(milliseconds: 500)
        script.cut(script.machines(0), script.machines(1), false)
        script.wait(milliseconds: 5_000)
        return script.end(key, holds: newer)
    }

    static func acknowledgementLost(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(5, told, planted, proxies: [1, 1])
        let key = script.key(0)
        let (north, south) = (script.client(of: script.proxy(0, 0)), script.client(of: script.proxy(1, 0)))
        script.cut(script.machines(1), script.machines(0), oneWay: true)
        let older = script.set(key, by: north)
        let there = script.primary(of: key, at: 1)
        script.until("the record is applied in the south") { script.held(key, there).flatMap { World.pieces(of: $0) } == [older] }
        let newer = script.set(key, by: south)
        for link in script.world.links where link.reach == .wide { script.world.reset(link) }
        script.wait(milliseconds: 6_000)
        script.cut(script.machines(1), script.machines(0), oneWay: true, false)
        script.wait(milliseconds: 5_000)
        return script.end(key, holds: newer)
    }

    static func touchOvertakesSet(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(6, told, planted)
        let key = script.key(0)
        let first = script.owner(of: key, at: 0)
        let second = script.other(than: first)
        script.cut([first.machine], script.machines(1))
        let write = script.set(key, by: script.client(of: first), expiry: 60)
        script.wait(milliseconds: 1_000)
        script.world.crash(first, losesPower: false)
        script.wait(milliseconds: 4_000)
        let client = script.client(of: second)
        script.send("touch \(key.name) 600\r\n", key, .touch, .touched, by: client)
        let reply = script.reply(to: client)
        script.expect(reply?.kind == .touched, "a touch is answered \(script.line(reply))")
        script.wait(milliseconds: 2_000)
        script.world.start(first)
        script.wait(milliseconds: 2_000)
        script.cut([first.machine], script.machines(1), false)
        script.wait(milliseconds: 5_000)
        return script.end(key, holds: write)
    }

    static func clocksApart(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(7, told, planted)
        let key = script.key(0)
        let first = script.owner(of: key, at: 0)
        let second = script.other(than: first)
        let (one, two) = (script.client(of: first), script.client(of: second))
        script.world.crash(second, losesPower: false)
        script.wait(milliseconds: 300)
        second.skew = -400_000
        script.world.start(second)
        script.set(key, by: one)
        script.wait(milliseconds: 3_000)
        script.set(key, by: two)
        first.skew = 3_600_000_000
        script.world.clockSkewMax = 3_600_000_000
        script.set(key, by: one)
        script.wait(milliseconds: 1_000)
        script.world.crash(first, losesPower: false)
        script.wait(milliseconds: 4_000)
        let last = script.set(key, by: two)
        script.wait(milliseconds: 500)
        first.skew = 0
        script.world.start(first)
        script.wait(milliseconds: 5_000)
        script.expect(script.get(key, by: two) == last, "the last write does not win")
        return script.end(key, holds: last)
    }

    static func logoutOfEvictedSession(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(8, told, planted)
        let key = script.key(0)
        let client = script.client(of: script.proxy(0, 0))
        script.set(key, by: client)
        script.wait(milliseconds: 2_000)
        script.expect(script.held(key, script.primary(of: key, at: 1)) != nil, "the south does not hold the session")
        for server in [script.primary(of: key, at: 0), script.backup(of: key, at: 0)].compactMap({ $0 }) {
            server.model.evict(key.bytes)
            server.evicted.insert(key.index)
        }
        let reply = script.delete(key, by: client)
        script.expect(reply?.kind == .notFound, "a delete of an evicted key is answered \(script.line(reply))")
        script.wait(milliseconds: 2_000)
        return script.end(key, holds: .some(nil))
    }

    static func cutOffPrimaryReturns(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(9, told, planted)
        let key = script.key(0)
        let client = script.client(of: script.proxy(0, 0))
        script.set(key, by: client)
        script.wait(milliseconds: 1_000)
        let primary = script.primary(of: key, at: 0)
        primary.wasCutOff = true
        script.cut(script.machines(0), [primary.machine])
        script.wait(milliseconds: 3_000)
        // The first command after the cut may be the one that finds it out.
        var reply = script.delete(key, by: client)
        if reply?.kind == .error { reply = script.delete(key, by: client) }
        script.expect(reply?.kind == .deleted || reply?.kind == .notFound, "a logout is answered \(script.line(reply))")
        script.expect(script.held(key, primary) != nil, "the primary was to keep the session while it was cut off")
        script.cut(script.machines(0), [primary.machine], false)
        script.wait(milliseconds: 8_000)
        script.expect(script.get(key, by: client) == nil, "the session is back")
        return script.end(key, holds: .some(nil))
    }

    static func emptyPrimaryRefills(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(10, told, planted)
        let client = script.client(of: script.proxy(0, 0))
        let written = (0..<4).map { (script.key($0), script.set(script.key($0), by: client, expiry: $0 == 1 ? 500 : 0)) }
        script.wait(milliseconds: 2_000)
        let primary = script.primary(of: script.key(0), at: 0)
        script.world.disturb(0)
        primary.stop(script.world)
        script.wait(milliseconds: 1_000)
        for (key, write) in written {
            script.expect(script.get(key, by: client) == write, "\(key.name) is lost while the primary is down")
        }
        primary.start(script.world)
        script.wait(milliseconds: 4_000)
        for (key, write) in written {
            script.expect(script.get(key, by: client) == write, "\(key.name) is lost with the primary")
        }
        script.wait(milliseconds: 2_000)
        for (key, _) in written {
            script.expect(script.held(key, primary) != nil, "\(key.name) was not put back into the primary")
        }
        return script.end(written[0].0, holds: written[0].1)
    }

    static func lostBackupWrite(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(11, told, planted)
        let key = script.key(0)
        let client = script.client(of: script.proxy(0, 0))
        script.set(key, by: client)
        script.wait(milliseconds: 1_000)
        guard let backup = script.backup(of: key, at: 0) else { preconditionFailure("scenario 11 has a backup") }
        backup.wasCutOff = true
        script.cut(script.machines(0), [backup.machine])
        let newer = script.set(key, by: client)
        script.wait(milliseconds: 4_000)
        script.cut(script.machines(0), [backup.machine], false)
        script.wait(milliseconds: 8_000)
        script.world.disturb(0)
        script.primary(of: key, at: 0).stop(script.world)
        script.wait(milliseconds: 3_000)
        let found = script.get(key, by: client)
        script.expect(found == newer, "the backup answers \(found.map { "w\($0)" } ?? "nothing"), not w\(newer)")
        return script.end(key, holds: .none)
    }

    static func hourApart(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(12, told, planted)
        let (north, south) = (script.client(of: script.proxy(0, 0)), script.client(of: script.proxy(1, 0)))
        script.cut(script.machines(0), script.machines(1))
        var last = 0
        for minute in 0..<60 {
            for (client, offset) in [(north, 0), (south, 1)] {
                last = script.set(script.key((minute + offset) % 4), by: client)
                if minute % 7 == 3 { script.delete(script.key((minute + 2) % 4), by: client) }
                script.wait(milliseconds: 30_000)
            }
        }
        script.cut(script.machines(0), script.machines(1), false)
        script.wait(milliseconds: 10_000)
        return script.end(script.key(60 % 4), holds: last)
    }

    static func recordTooLarge(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(13, told, planted, itemLimits: [1 << 20, SimulationOptions.smallItemBytesMax])
        let key = script.key(0)
        let client = script.client(of: script.proxy(0, 0))
        script.set(key, by: client)
        script.wait(milliseconds: 1_000)
        script.set(key, by: client, bytes: 4_000)
        let after = script.set(script.key(1), by: client)
        script.wait(milliseconds: 2_000)
        script.expect(
            script.held(key, script.primary(of: key, at: 1)) == nil, "the south keeps an older value of what it cannot store")
        return script.end(script.key(1), holds: after)
    }

    static func ownerPaused(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(14, told, planted) { $0.backendSlowness = 10 }
        let key = script.key(0)
        let first = script.owner(of: key, at: 0)
        let (one, two) = (script.client(of: first), script.client(of: script.other(than: first)))
        script.set(key, by: one)
        script.send(set: key, by: one)
        script.wait(milliseconds: 1)
        script.world.pause(first)
        script.send(set: key, by: one)
        script.wait(milliseconds: 5_000)
        for _ in 0..<3 {
            script.set(key, by: two)
            script.wait(milliseconds: 1_000)
        }
        script.wait(milliseconds: 2_000)
        script.world.resume(first)
        script.send(set: key, by: two)
        script.wait(milliseconds: 5_000)
        return script.end(key, holds: .none)
    }

    static func diskTroubles(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(15, told, planted) { $0.sites[0].durability = .disk }
        let key = script.key(0)
        let owner = script.owner(of: key, at: 0)
        let (one, two) = (script.client(of: owner), script.client(of: script.other(than: owner)))
        owner.slowDiskUntil = script.world.now + 3_000_000
        script.set(key, by: one)
        owner.fullDiskUntil = script.world.now + 8_000_000
        for _ in 0..<30 {
            script.send(set: key, by: one, bytes: 3_000)
            script.reply(to: one)
        }
        script.wait(milliseconds: 10_000)
        script.set(key, by: one)
        owner.failsNextSync = true
        script.send(set: key, by: two)
        script.until("the process has ended") { !owner.isRunning }
        script.wait(milliseconds: 4_000)
        let last = script.set(key, by: two)
        script.wait(milliseconds: 1_000)
        script.world.start(owner)
        script.wait(milliseconds: 5_000)
        return script.end(key, holds: last)
    }

    static func ownerLeaves(_ told: Bool, _ planted: PlantedBugs) -> Outcome {
        let script = script(16, told, planted)
        let key = script.key(0)
        let owner = script.owner(of: key, at: 0)
        let (one, two) = (script.client(of: owner), script.client(of: script.other(than: owner)))
        guard let backup = script.backup(of: key, at: 0) else { preconditionFailure("the north has no backup") }
        script.set(key, by: one)
        script.wait(milliseconds: 100)
        script.cut([owner.machine], [backup.machine])
        let first = script.set(key, by: one)
        script.world.leave(owner)
        script.wait(milliseconds: 50)
        let second = script.send(set: key, by: two)
        script.wait(milliseconds: 200)
        script.expect(!two.isIdle, "w\(second) is done before w\(first), which the former owner has yet to land on the backup")
        script.cut([owner.machine], [backup.machine], false)
        let reply = script.reply(to: two)
        script.expect(reply?.kind == .stored, "the successor's client is told \(script.line(reply))")
        script.expect(
            script.held(key, backup).flatMap { World.pieces(of: $0)?.max() } != first, "the backup is left with what was replaced"
        )
        script.wait(milliseconds: 5_000)
        script.world.start(owner)
        script.wait(milliseconds: 2_000)
        return script.end(key, holds: second)
    }
}
