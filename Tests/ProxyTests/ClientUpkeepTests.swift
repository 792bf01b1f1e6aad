import Configuration
import Kernel
import Testing

@testable import Proxy

/// What clients may not do to each other: hold memory without end, never finish a request, stay for ever, have every turn.
@Suite struct ClientUpkeepTests {
    /// A `set` of so many bytes, as it is typed.
    private func set(_ key: String, bytes: Int) -> String {
        "set \(key) 0 0 \(bytes)\r\n\(String(repeating: "v", count: bytes))\r\n"
    }

    private func plan(_ change: (inout BenchPlan) -> Void) -> BenchPlan {
        var plan = BenchPlan()
        plan.hasBackup = false
        change(&plan)
        return plan
    }

    // MARK: Half-sent requests

    @Test("What stands behind a quit is held by nobody")
    func quitLeavesNothing() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "quit\r\n" + String(repeating: "x", count: 10_000))
        #expect(bench.closed.contains(client))
        #expect(bench.node.clientMemory.heldBytes == 0 && bench.node.clientMemory.holders == 0)
    }

    @Test("A request that is not complete within its time ends its client; one that arrives slowly within it does not")
    func slowloris() {
        let bench = Bench.serving(plan { $0.times.clientRequestMilliseconds = 2_000 })
        let slow = bench.client()
        let honest = bench.client()
        bench.ask(slow, "set k 0 0 100\r\nv")
        bench.ask(honest, "set h 0 0 4\r\n")
        for byte in ["a", "b", "c", "d", "\r\n"] {
            bench.advance(milliseconds: 300)
            bench.ask(slow, "v")  // bytes alone are no excuse
            bench.ask(honest, byte)
        }
        #expect(bench.commands("cache1").hasPrefix("set h"))
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(honest) == "STORED\r\n")
        bench.advance(milliseconds: 1_500)
        #expect(bench.closed == [slow])
        #expect(bench.lines.contains { $0.contains("clients closed count=1") && $0.contains("client-request") })
        bench.advance(milliseconds: 60_000)
        #expect(!bench.closed.contains(honest), "who has nothing half sent has all the time in the world")
    }

    @Test("Clients that the shell gives up because they read nothing are counted and told of; those that break are not")
    func stalled() {
        let bench = Bench.serving(plan { $0.times.clientStalledMilliseconds = 2_000 })
        let (stalled, broken) = (bench.client(), bench.client())
        bench.lose(broken)
        bench.advance(milliseconds: 1_500)
        #expect(!bench.lines.contains { $0.contains("clients closed") })
        bench.lose(stalled, "it did not read what was sent to it", .stalled)
        bench.advance(milliseconds: 1_500)
        #expect(bench.node.status(at: bench.now).counters["clients_closed_stalled"] == 1)
        #expect(bench.warnings.contains { $0.contains("clients closed count=1") && $0.contains("client-stalled") })
    }

    @Test("A value that is refused and still being sent is a request, too")
    func slowSwallow() {
        let bench = Bench.serving(plan { $0.times.clientRequestMilliseconds = 2_000 })
        let client = bench.client()
        bench.ask(client, "set k 0 0 \(64 << 20)\r\nv")
        bench.advance(milliseconds: 1_000)
        bench.ask(client, "vvv")
        #expect(!bench.closed.contains(client))
        bench.advance(milliseconds: 2_000)
        #expect(bench.closed.contains(client))
    }

    @Test("Half a packet of the binary protocol has the same time")
    func slowPacket() {
        let bench = Bench.serving(plan { $0.times.clientRequestMilliseconds = 2_000 })
        let client = bench.client()
        bench.receive(client, [0x80, 0x00, 0x00])
        bench.advance(milliseconds: 3_000)
        #expect(bench.closed.contains(client))
    }

    @Test("Half a record of TLS is half a request, until the rest of it is there")
    func halfRecord() {
        let bench = Bench.serving(plan { $0.times.clientRequestMilliseconds = 2_000 })
        let silent = bench.client()
        let honest = bench.client()
        let saysNothing = bench.client()
        for client in [silent, honest, saysNothing] { bench.receiveHalf(client, "", isHalf: true) }
        bench.advance(milliseconds: 1_000)
        bench.receiveHalf(honest, "get k\r\n", isHalf: false)
        // A record of the protocol's own.
        bench.receiveHalf(saysNothing, "", isHalf: false)
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(honest) == "END\r\n")
        bench.advance(milliseconds: 2_000)
        #expect(bench.closed == [silent])
        #expect(bench.lines.contains { $0.contains("clients closed count=1") && $0.contains("client-request") })
        bench.advance(milliseconds: 60_000)
        #expect(bench.closed.isDisjoint(with: [honest, saysNothing]), "who stopped between two records is merely idle")
    }

    @Test("A large request has the same time over TLS as without it, however its records arrive")
    func largeInRecords() {
        let bench = Bench.serving(plan { $0.times.clientRequestMilliseconds = 2_000 })
        let plain = bench.client()
        let encrypted = bench.client()
        var closedAfter: [ConnectionID: Int] = [:]
        bench.ask(plain, "set k 0 0 10000\r\n")
        bench.receiveHalf(encrypted, "", isHalf: true)
        for round in 1...12 {
            bench.advance(milliseconds: 250)
            for client in [plain, encrypted] where bench.closed.contains(client) {
                closedAfter[client] = closedAfter[client] ?? round
            }
            if !bench.closed.contains(plain) { bench.ask(plain, "vvvv") }
            if !bench.closed.contains(encrypted) {
                bench.receiveHalf(encrypted, round == 2 ? "set k 0 0 10000\r\n" : round > 2 ? "vvvv" : "", isHalf: round % 4 != 0)
            }
        }
        #expect(closedAfter.count == 2 && closedAfter[plain] == closedAfter[encrypted], "\(closedAfter)")
    }

    @Test("One large request after another, each in its time, is no slow one, though there is always half a record waiting")
    func steadyRecords() {
        let bench = Bench.serving(plan { $0.times.clientRequestMilliseconds = 2_000 })
        let client = bench.client()
        bench.receiveHalf(client, "", isHalf: true)
        for _ in 0..<20 {
            bench.advance(milliseconds: 1_000)
            bench.receiveHalf(client, "set k 0 0 4\r\nvv", isHalf: true)
            bench.advance(milliseconds: 500)
            bench.receiveHalf(client, "vv\r\n", isHalf: true)
            bench.answer("cache1", "STORED\r\n")
        }
        #expect(bench.heard(client) == String(repeating: "STORED\r\n", count: 20))
        #expect(bench.closed.isEmpty)
        bench.advance(milliseconds: 3_000)
        #expect(bench.closed == [client])
    }

    @Test("Replies that are still owed come before half a record, too")
    func halfRecordBehindCommands() {
        let bench = Bench.serving(
            plan {
                $0.times.clientRequestMilliseconds = 1_000
                $0.times.backendTimeoutMilliseconds = 10_000
            })
        let client = bench.client()
        bench.receiveHalf(client, "get k\r\n", isHalf: true)
        bench.advance(milliseconds: 3_000)
        #expect(!bench.closed.contains(client))
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        bench.advance(milliseconds: 3_000)
        #expect(bench.closed.contains(client))
    }

    @Test("The replies that a client is owed come before its half-sent request is held against it")
    func owedReplies() {
        let bench = Bench.serving(
            plan {
                $0.times.clientRequestMilliseconds = 1_000
                $0.times.backendTimeoutMilliseconds = 10_000
            })
        let client = bench.client()
        bench.ask(client, "get k\r\nget")
        bench.advance(milliseconds: 3_000)
        #expect(!bench.closed.contains(client))
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        bench.advance(milliseconds: 3_000)
        #expect(bench.closed.contains(client))
    }

    // MARK: Idle clients

    @Test("Idle clients stay, unless the site sets a time; then whoever sends a command stays")
    func idle() {
        let patient = Bench.serving(plan { _ in })
        let old = patient.client()
        patient.advance(milliseconds: 600_000)
        #expect(!patient.closed.contains(old))
        let bench = Bench.serving(plan { $0.times.clientIdleMilliseconds = 5_000 })
        let silent = bench.client()
        let busy = bench.client()
        for _ in 0..<5 {
            bench.advance(milliseconds: 2_000)
            bench.ask(busy, "version\r\n")
        }
        #expect(bench.closed == [silent])
    }

    @Test("Who is still being sent to is not idle, also when what is left stands in the shell")
    func idleButRead() {
        let bench = Bench.serving(plan { $0.times.clientIdleMilliseconds = 5_000 })
        let reader = bench.client()
        bench.ask(reader, "get k\r\n")
        bench.stall(reader)
        bench.answer("cache1", "VALUE k 0 20000\r\n\(String(repeating: "v", count: 20_000))\r\nEND\r\n")
        // TLS has taken it in.
        bench.node.connections.outgoing(reader).removeAll()
        bench.advance(milliseconds: 20_000)
        #expect(!bench.closed.contains(reader))
        bench.drain(reader)
        bench.advance(milliseconds: 6_000)
        #expect(bench.closed == [reader])
    }

    @Test("A pipeline's places are given back when it is over")
    func placesGoBack() {
        let bench = Bench.serving(plan { _ in })
        let client = bench.client()
        for _ in 0..<100 {
            bench.ask(client, "get k\r\n")
            bench.answer("cache1", "END\r\n")
        }
        bench.ask(client, String(repeating: "get k\r\n", count: 100))
        let session = bench.node.sessions[client]!
        #expect(session.slots.count == 100 && session.keepsManySlots)
        bench.answer("cache1", String(repeating: "END\r\n", count: 100))
        #expect(session.slots.isEmpty && !session.keepsManySlots)
    }

    // MARK: Memory

    @Test("Large commands under way are bounded for each client: a server that answers slowly does not fill the proxy")
    func largeCommands() {
        let bench = Bench.serving(plan { $0.segmentBytes = 64 << 20 })
        let client = bench.client()
        for _ in 0..<8 {
            bench.ask(client, set("k", bytes: 1))
            #expect(bench.commands("cache1") == set("k", bytes: 1))
            bench.answer("cache1", "STORED\r\n")
            #expect(bench.heard(client) == "STORED\r\n")
        }
        bench.receive(client, Array((0..<40).map { set("k\($0)", bytes: 500_000) }.joined().utf8))
        var asked = bench.commands("cache1")
        #expect(asked.utf8.count >= Limits.clientCommandBytesMax)
        #expect(asked.utf8.count < Limits.clientCommandBytesMax + 600_000, "it must not be handed more than its share")
        #expect(bench.paused.contains(client), "what it still sends waits in the kernel")
        var answered = 0
        while !asked.isEmpty {
            let count = asked.split(separator: "\r\n").filter { $0.hasPrefix("set ") }.count
            answered += count
            bench.answer("cache1", String(repeating: "STORED\r\n", count: count))
            asked = bench.commands("cache1")
        }
        #expect(answered == 40)
        #expect(bench.heard(client) == String(repeating: "STORED\r\n", count: 40))
        #expect(!bench.paused.contains(client))
    }

    @Test("When clients hold too much, who holds most is paused, who holds little is not, and all go on when it is less")
    func tight() {
        let bench = Bench.serving(plan { $0.memoryBytesMax = 2 << 20 })
        let large = (0..<4).map { _ in bench.client() }
        for client in large { bench.ask(client, "set large 0 0 500000\r\n" + String(repeating: "v", count: 400_000)) }
        #expect(bench.node.clientMemory.isTight)
        let paused = large.filter { bench.paused.contains($0) }
        #expect(!paused.isEmpty)
        let small = bench.client()
        bench.ask(small, "get k\r\n")
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(small) == "END\r\n")
        #expect(!bench.paused.contains(small))
        // One who may go on finishes, and then another: half-sent requests do not block each other for good.
        var unfinished = Set(large)
        for _ in 0..<40 where !unfinished.isEmpty {
            bench.advance(milliseconds: 300)
            guard let next = unfinished.first(where: { !bench.paused.contains($0) }) else { continue }
            bench.ask(next, String(repeating: "v", count: 100_000) + "\r\n")
            #expect(bench.commands("cache1").utf8.count == 500_024)
            bench.answer("cache1", "STORED\r\n")
            #expect(bench.heard(next) == "STORED\r\n")
            unfinished.remove(next)
        }
        #expect(unfinished.isEmpty)
        #expect(!bench.node.clientMemory.isTight)
        #expect(bench.paused.isEmpty)
        #expect(bench.closed.isEmpty)
    }

    @Test("Honest uploads that are too much together are done one after the other; nobody is closed as long as they get done")
    func honestUploads() {
        let bench = Bench.serving(plan { $0.memoryBytesMax = 2 << 20 })
        let clients = (0..<8).map { _ in bench.client() }
        for client in clients { bench.ask(client, "set large 0 0 500000\r\n" + String(repeating: "v", count: 450_000)) }
        #expect(bench.node.clientMemory.isOver, "or this tests nothing")
        var unfinished = Set(clients)
        for _ in 0..<40 where !unfinished.isEmpty {
            // Each takes most of the time for which all of them may hold too much.
            bench.advance(milliseconds: 800)
            guard let next = unfinished.first(where: { !bench.paused.contains($0) }) else { continue }
            bench.ask(next, String(repeating: "v", count: 50_000) + "\r\n")
            bench.answer("cache1", "STORED\r\n")
            #expect(bench.heard(next) == "STORED\r\n")
            unfinished.remove(next)
        }
        #expect(unfinished.isEmpty && bench.closed.isEmpty && bench.paused.isEmpty)
    }

    @Test("Who drips a request in while memory is tight is not favoured for ever, and its time is up all the same")
    func favouredDripper() {
        let bench = Bench.serving(
            plan {
                $0.memoryBytesMax = 2 << 20
                $0.times.clientRequestMilliseconds = 12_000
            })
        let drippers = (0..<4).map { _ in bench.client() }
        for client in drippers { bench.ask(client, "set large 0 0 900000\r\n" + String(repeating: "v", count: 400_000)) }
        #expect(bench.node.clientMemory.isTight)
        var favoured: Set<ConnectionID> = []
        for _ in 0..<200 {
            bench.advance(milliseconds: 500)
            for client in drippers where !bench.closed.contains(client) && !bench.paused.contains(client) {
                bench.ask(client, "v")
                favoured.insert(client)
            }
        }
        #expect(favoured.count == 4, "each had its turn")
        #expect(bench.closed == Set(drippers))
        #expect(bench.node.clientMemory.heldBytes == 0)
    }

    @Test("A paused client still gets the replies that it is owed, and its commands go on one at a time")
    func pausedIsServed() {
        let bench = Bench.serving(plan { $0.memoryBytesMax = 2 << 20 })
        let client = bench.client()
        let other = bench.client()
        bench.ask(other, "set large 0 0 1000000\r\n" + String(repeating: "v", count: 900_000))
        bench.ask(client, (0..<10).map { self.set("k\($0)", bytes: 90_000) }.joined() + "get a\r\nget b\r\n")
        #expect(bench.paused.contains(client))
        var heard = ""
        for _ in 0..<20 {
            let asked = bench.commands("cache1")
            let lines = asked.split(separator: "\r\n")
            bench.answer(
                "cache1",
                lines.filter { $0.hasPrefix("set ") }.map { _ in "STORED\r\n" }.joined()
                    + lines.filter { $0.hasPrefix("get ") }.map { _ in "END\r\n" }.joined())
            heard += bench.heard(client)
        }
        #expect(heard == String(repeating: "STORED\r\n", count: 10) + "END\r\nEND\r\n")
    }

    @Test("Past the ceiling the client that asked for most is closed, and nobody else")
    func ceiling() {
        let bench = Bench.serving(plan { $0.memoryBytesMax = 1 << 20 })
        let reader = bench.client()
        let greedy = bench.client()
        let modest = bench.client()
        bench.stall(greedy)
        bench.stall(modest)
        let value = String(repeating: "v", count: 100_000)
        bench.ask(modest, "get k\r\n")
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "VALUE k 0 100000\r\n\(value)\r\nEND\r\n")
        let many = "get" + String(repeating: " k", count: 20) + "\r\n"
        bench.ask(greedy, many)
        bench.ask(reader, "get k\r\n")
        #expect(bench.commands("cache1") == many + "get k\r\n")
        let item = "VALUE k 0 100000\r\n\(value)\r\n"
        bench.answer("cache1", String(repeating: item, count: 12))
        #expect(bench.closed == [greedy], "it need not all have arrived")
        bench.answer("cache1", String(repeating: item, count: 8) + "END\r\n\(item)END\r\n")
        #expect(bench.closed == [greedy])
        #expect(bench.heard(reader).utf8.count == 100_000 + 25)
        #expect(bench.node.clientMemory.heldBytes <= 1 << 20)
        bench.advance(milliseconds: 1_000)
        #expect(bench.lines.contains { $0.contains("clients closed count=1") && $0.contains("memory-max") })
        bench.drain(modest)
        #expect(bench.heard(modest).utf8.count == 100_000 + 25)
        #expect(bench.node.clientMemory.heldBytes == 0)
    }

    @Test("What a client does not read counts until it has, also behind its quit, its end or half a request", arguments: 0..<3)
    func unreadBehindTheEnd(how: Int) {
        let bench = Bench.serving(
            plan {
                $0.memoryBytesMax = 1 << 20
                $0.times.clientRequestMilliseconds = 1_000
            })
        let client = bench.client()
        bench.stall(client)
        bench.ask(client, "get k\r\n" + (how == 0 ? "quit\r\n" : how == 2 ? "get" : ""))
        if how == 1 {
            bench.step(.ended(client))
            bench.settle()
        }
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "VALUE k 0 100000\r\n\(String(repeating: "v", count: 100_000))\r\nEND\r\n")
        bench.advance(milliseconds: 3_000)
        #expect(!bench.closed.contains(client) && bench.node.clientMemory.heldBytes > 100_000)
        bench.drain(client)
        #expect(bench.heard(client).utf8.count == 100_000 + 25)
        bench.advance(milliseconds: 1_500)
        #expect(bench.closed.contains(client) && bench.node.clientMemory.heldBytes == 0)
    }

    @Test("Of a client whose replies may be large few are asked for at first, and more once they have turned out small")
    func slowStart() {
        let bench = Bench.serving(plan { _ in })
        let client = bench.client()
        bench.ask(client, String(repeating: "get k\r\n", count: 500))
        var rounds: [Int] = []
        while true {
            let asked = bench.commands("cache1").utf8.count / 7
            guard asked > 0 else { break }
            rounds.append(asked)
            bench.answer("cache1", String(repeating: "END\r\n", count: asked))
        }
        #expect(rounds.first == Limits.clientRepliesFirst)
        #expect(rounds.reduce(0, +) == 500)
        #expect(rounds.count < 12, "it must not stay slow: \(rounds)")
        #expect(bench.heard(client) == String(repeating: "END\r\n", count: 500))
    }

    @Test("A client that leaves takes what it held out of the sum")
    func gone() {
        let bench = Bench.serving(plan { $0.memoryBytesMax = 1 << 20 })
        for _ in 0..<20 {
            let client = bench.client()
            bench.ask(client, "set k 0 0 600000\r\n" + String(repeating: "v", count: 500_000))
            #expect(bench.node.clientMemory.heldBytes > 500_000)
            bench.lose(client)
            #expect(bench.node.clientMemory.heldBytes == 0)
        }
    }

    // MARK: Turns

    @Test("A client that sends without end gets so many commands in a turn; the rest comes with the next")
    func turns() {
        let bench = Bench.serving(plan { _ in })
        let client = bench.client()
        let count = Limits.clientWorkPerTurnMax + 200
        #expect(bench.ask(client, String(repeating: "mn\r\n", count: count)).utf8.count == Limits.clientWorkPerTurnMax * 4)
        #expect(bench.node.nextDeadline == bench.now.monotonicMicroseconds + 1, "the next turn must not wait for anything")
        bench.step(.deadline)
        bench.settle()
        #expect(bench.heard(client).utf8.count == 200 * 4)
    }
    @Test("Nor does a client get more in a turn when its commands are answered at once, as while its server is away")
    func turnsOfAnsweredReads() {
        let bench = Bench.serving(plan { $0.hasBackup = false })
        bench.lose(bench.backend("cache1"))
        let client = bench.client()
        let count = Limits.clientWorkPerTurnMax + 200
        let heard = bench.ask(client, String(repeating: "get k\r\n", count: count))
        #expect(heard == String(repeating: "END\r\n", count: Limits.clientWorkPerTurnMax))
        bench.step(.deadline)
        bench.settle()
        #expect(bench.heard(client) == String(repeating: "END\r\n", count: 200))
    }
}
