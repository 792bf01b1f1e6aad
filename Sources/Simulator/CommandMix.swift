import Kernel

// What clients send: every write command of the text protocol, classic and meta, on few keys, in small pipelines.

extension Client {
    /// Composes a burst of commands.
    func compose(_ world: World) -> [Command] {
        if world.options.flushes, random.chance(0.008) {
            return [text("flush_all\r\n", world.everything, .flush, .flushed)]
        }
        switch random.below(10) {
        case 0, 1: return ownPipeline(world)
        case 2: return countOwn(world)
        case 3: return quietBatch(world)
        default: return (0..<1 + random.below(5)).map { _ in shared(world) }
        }
    }

    /// Commands to keys that nobody else writes.
    func composeOwn(_ world: World) -> [Command] { random.chance(0.4) ? ownPipeline(world) : countOwn(world) }

    // MARK: Shared keys

    private func shared(_ world: World) -> Command {
        let key = random.below(world.sharedKeys)
        if case .counter = world.keys[key].kind { return count(key, world) }
        switch random.below(20) {
        case 0...5: return store(key, world)
        case 6: return conditionalStore("add", key, world)
        case 7: return conditionalStore("replace", key, world)
        case 8: return extend("append", key, world)
        case 9: return extend("prepend", key, world)
        case 10: return compareAndStore(key, world)
        case 11, 12: return delete(key, world)
        case 13: return touch(key, world)
        case 14: return getAndTouch(key, world)
        case 15: return metaStore(key, world)
        case 16: return metaDelete(key, world)
        case 17: return text("incr \(world.keys[key].name) 1\r\n", key, .nothing, .number)
        default: return get(key, world)
        }
    }

    private func text(_ line: String, _ key: Int, _ effect: Command.Effect, _ reply: Command.ReplyForm) -> Command {
        Command(bytes: Array(line.utf8), key: key, effect: effect, reply: reply)
    }

    private func value(_ write: Int) -> String {
        let padding = random.chance(0.04) ? 1_600 + random.below(4_000) : random.below(24)
        return "w\(write)." + String(repeating: ".", count: padding)
    }

    private func expiry(_ world: World, mayEnd: Bool = false) -> String {
        switch random.below(16) {
        case 0: return String(2 + random.below(6))
        case 1, 2: return String(20 + random.below(200))
        case 3 where !world.options.faults.contains(.clocks):
            return String((SimulationOptions.wallMicroseconds + world.now) / 1_000_000 + UInt64(30 + random.below(200)))
        case 4: return mayEnd && random.chance(0.3) ? "-1" : "0"
        default: return "0"
        }
    }

    func store(_ key: Int, _ world: World) -> Command {
        let write = world.issue(key: key, client: number)
        let value = value(write)
        let silent = random.chance(0.1)
        let expiry = expiry(world, mayEnd: true)
        // What expires at once is stored and gone: nothing proves that it was committed.
        let effect = expiry == "-1" ? Command.Effect.nothing : .store(write, isConditional: false)
        return text(
            "set \(world.keys[key].name) \(write & 0xffff) \(expiry) \(value.utf8.count)\(silent ? " noreply" : "")\r\n\(value)\r\n",
            key, effect, silent ? .silent : .storage)
    }

    private func conditionalStore(_ verb: String, _ key: Int, _ world: World) -> Command {
        let write = world.issue(key: key, client: number)
        let value = value(write)
        return text(
            "\(verb) \(world.keys[key].name) \(write & 0xffff) \(expiry(world)) \(value.utf8.count)\r\n\(value)\r\n", key,
            .store(write, isConditional: true), .storage)
    }

    private func extend(_ verb: String, _ key: Int, _ world: World) -> Command {
        let write = world.issue(key: key, client: number)
        let piece = "w\(write)."
        return text("\(verb) \(world.keys[key].name) 0 0 \(piece.utf8.count)\r\n\(piece)\r\n", key, .extend(write), .storage)
    }

    private func compareAndStore(_ key: Int, _ world: World) -> Command {
        guard let token = tokens[key] else {
            return text("gets \(world.keys[key].name)\r\n", key, .read, .values([key], withTokens: true))
        }
        let write = world.issue(key: key, client: number)
        let value = value(write)
        return text(
            "cas \(world.keys[key].name) \(write & 0xffff) \(expiry(world)) \(value.utf8.count) \(token)\r\n\(value)\r\n", key,
            .store(write, isConditional: true), .storage)
    }

    private func delete(_ key: Int, _ world: World) -> Command {
        let silent = random.chance(0.1)
        return text("delete \(world.keys[key].name)\(silent ? " noreply" : "")\r\n", key, .delete, silent ? .silent : .deletion)
    }

    private func touch(_ key: Int, _ world: World) -> Command {
        text("touch \(world.keys[key].name) \(20 + random.below(300))\r\n", key, .touch, .touched)
    }

    private func getAndTouch(_ key: Int, _ world: World) -> Command {
        random.chance(0.5)
            ? text("gat \(20 + random.below(300)) \(world.keys[key].name)\r\n", key, .touch, .values([key], withTokens: false))
            : text("gats \(20 + random.below(300)) \(world.keys[key].name)\r\n", key, .touch, .values([key], withTokens: true))
    }

    private func get(_ key: Int, _ world: World) -> Command {
        if random.chance(0.3) {
            opaque += 1
            let touches = random.chance(0.2)
            return text(
                "mg \(world.keys[key].name) v f t O\(opaque)\(touches ? " T\(30 + random.below(200))" : "")\r\n", key,
                touches ? .touch : .read, .meta(opaque: opaque, isQuiet: false))
        }
        var asked = [key]
        while random.chance(0.3) {
            let more = random.below(world.sharedKeys)
            if !asked.contains(more) { asked.append(more) }
        }
        let names = asked.map { world.keys[$0].name }.joined(separator: " ")
        return text("get \(names)\r\n", key, .read, .values(asked, withTokens: false))
    }

    private func metaStore(_ key: Int, _ world: World) -> Command {
        let write = world.issue(key: key, client: number)
        let mode = ["S", "S", "E", "R", "A", "P"][random.below(6)]
        let value = mode == "A" || mode == "P" ? "w\(write)." : value(write)
        opaque += 1
        return text(
            "ms \(world.keys[key].name) \(value.utf8.count) T\(random.chance(0.7) ? 0 : 30 + random.below(100)) F\(write & 0xffff) "
                + "M\(mode) O\(opaque)\r\n\(value)\r\n", key,
            mode == "A" || mode == "P" ? .extend(write) : .store(write, isConditional: mode != "S"),
            .meta(opaque: opaque, isQuiet: false))
    }

    private func metaDelete(_ key: Int, _ world: World) -> Command {
        opaque += 1
        // What is marked as stale goes on being served at this site; to the others it is an invalidation.
        let mark = random.chance(0.3) ? " I T\(20 + random.below(60))" : ""
        return text("md \(world.keys[key].name)\(mark) O\(opaque)\r\n", key, .delete, .meta(opaque: opaque, isQuiet: false))
    }

    private func count(_ key: Int, _ world: World) -> Command {
        let name = world.keys[key].name
        switch random.below(8) {
        case 0: return text("add \(name) 0 0 1\r\n5\r\n", key, .nothing, .storage)
        case 1: return text("decr \(name) \(1 + random.below(3))\r\n", key, .nothing, .number)
        case 2:
            opaque += 1
            return text(
                "ma \(name) N0 J10 D\(1 + random.below(3)) v O\(opaque)\r\n", key, .nothing, .meta(opaque: opaque, isQuiet: false)
            )
        case 3: return text("delete \(name)\r\n", key, .delete, .deletion)
        case 4: return text("get \(name)\r\n", key, .read, .values([key], withTokens: false))
        default: return text("incr \(name) \(1 + random.below(9))\r\n", key, .nothing, .number)
        }
    }

    /// Quiet meta commands, with a no-op behind them that says that all were executed.
    private func quietBatch(_ world: World) -> [Command] {
        var commands: [Command] = []
        for _ in 0..<1 + random.below(4) {
            let key = random.below(world.options.hotKeys)
            opaque += 1
            let reply = Command.ReplyForm.meta(opaque: opaque, isQuiet: true)
            switch random.below(3) {
            case 0:
                let write = world.issue(key: key, client: number)
                let value = value(write)
                commands.append(
                    text(
                        "ms \(world.keys[key].name) \(value.utf8.count) F\(write & 0xffff) O\(opaque) q\r\n\(value)\r\n", key,
                        .store(write, isConditional: false), reply))
            case 1: commands.append(text("md \(world.keys[key].name) O\(opaque) q\r\n", key, .delete, reply))
            default: commands.append(text("mg \(world.keys[key].name) v f O\(opaque) q\r\n", key, .read, reply))
            }
        }
        commands.append(text("mn\r\n", 0, .nothing, .metaNoop))
        return commands
    }

    // MARK: Own keys

    /// Writes and reads of keys that nobody else writes, so that every reply is known beforehand.
    private func ownPipeline(_ world: World) -> [Command] {
        var commands: [Command] = []
        for _ in 0..<1 + random.below(4) {
            let key = world.sharedKeys + number * 3 + random.below(2)
            let name = world.keys[key].name
            switch random.below(8) {
            case 0, 1, 2, 3:
                let write = world.issue(key: key, client: number)
                let value = "w\(write)." + String(repeating: ".", count: random.below(30))
                let verb = ["set", "set", "set", "add", "replace"][random.below(5)]
                commands.append(
                    text(
                        "\(verb) \(name) \(write & 0xffff) 0 \(value.utf8.count)\r\n\(value)\r\n", key,
                        .store(write, isConditional: verb != "set"), .storage))
            case 4: commands.append(text("delete \(name)\r\n", key, .delete, .deletion))
            case 5: commands.append(text("touch \(name) 30000\r\n", key, .touch, .touched))
            default: break
            }
            commands.append(text("get \(name)\r\n", key, .read, .values([key], withTokens: false)))
        }
        return commands
    }

    private func countOwn(_ world: World) -> [Command] {
        let key = world.sharedKeys + number * 3 + 2
        let name = world.keys[key].name
        if counter.isMissing { return [text("add \(name) 0 0 1\r\n0\r\n", key, .beginCount, .storage)] }
        return (0..<1 + random.below(3)).map { _ in text("incr \(name) 1\r\n", key, .count, .number) }
    }
}
