import Configuration
import Kernel
import Testing

@testable import Proxy

/// Reads that ask a key's primary and its backup.
@Suite struct SpreadingTests {
    private func bench(_ reads: Site.Reads, primaries: Int = 1) -> Bench {
        var plan = BenchPlan()
        plan.reads = reads
        plan.primaries = primaries
        return Bench.serving(plan)
    }

    /// Reads a key once; who was asked.
    private func reader(_ bench: Bench, _ client: ConnectionID, _ command: String = "get k\r\n") -> String {
        bench.ask(client, command)
        for name in ["cache1", "backup1"] where !bench.commands(name).isEmpty {
            bench.answer(name, command.hasPrefix("mg") ? "HD\r\n" : "VALUE k 0 1\r\nx\r\nEND\r\n")
            #expect(!bench.heard(client).isEmpty)
            return name
        }
        return "nobody"
    }

    @Test("Unless the site says otherwise, the primary is asked")
    func primaryByDefault() {
        let bench = Bench.serving()
        let client = bench.client()
        #expect((0..<4).map { _ in reader(bench, client) } == Array(repeating: "cache1", count: 4))
    }

    @Test("In turn: the backup, the primary, the backup …; meta reads likewise")
    func inTurn() {
        let bench = bench(.inTurn)
        let client = bench.client()
        #expect((0..<4).map { _ in reader(bench, client) } == ["backup1", "cache1", "backup1", "cache1"])
        #expect((0..<2).map { _ in reader(bench, client, "mg k v\r\n") } == ["backup1", "cache1"])
        #expect(bench.node.counters.spreadReads == 3)
        #expect(!bench.commands("backup1").contains("mg"), "nothing is copied: the primary lacks nothing")
    }

    @Test("What is of one server and not of the value comes from the primary: CAS values, when an item was last read")
    func oneServers() {
        let bench = bench(.inTurn)
        let client = bench.client()
        for _ in 0..<3 {
            bench.ask(client, "gets k\r\n")
            #expect(bench.commands("cache1") == "gets k\r\n")
            bench.answer("cache1", "VALUE k 0 1 7\r\nx\r\nEND\r\n")
            #expect(bench.heard(client) == "VALUE k 0 1 \(bench.token(7, of: "cache1"))\r\nx\r\nEND\r\n")
            bench.ask(client, "gets k l\r\n")
            #expect(bench.commands("cache1") == "gets k l\r\n")
            bench.answer("cache1", "END\r\n")
        }
        for command in ["mg k c v\r\n", "mg k h\r\n", "mg k l\r\n", "mg k c v\r\n"] {
            #expect(reader(bench, client, command) == "cache1", "\(command)")
        }
        #expect(bench.node.counters.spreadReads == 0)
    }

    @Test("What the backup lacks is asked of the primary, which has the last word")
    func backupMisses() {
        let bench = bench(.inTurn)
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("backup1") == "get k\r\n")
        bench.answer("backup1", "END\r\n")
        #expect(bench.heard(client) == "", "it may have been evicted there")
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE k 0 1\r\nx\r\nEND\r\n")
        bench.ask(client, "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n", "a miss of the primary is a miss")
        #expect(bench.commands("backup1") == "")
    }

    @Test("The server that is asked breaks: the other one answers")
    func breaks() {
        let bench = bench(.inTurn)
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("backup1") == "get k\r\n")
        bench.lose(bench.backend("backup1"))
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect((0..<2).map { _ in reader(bench, client) } == ["cache1", "cache1"])
    }

    @Test("A write is answered when both servers have it, whatever kind it is, so that any next read sees it")
    func answeredByBoth() {
        let bench = bench(.inTurn)
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "", "the next read may ask the backup")
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        bench.ask(client, "incr n 1\r\n")
        bench.answer("cache1", "5\r\nVA 1 s1 f0 t-1 c9\r\n5\r\n")
        #expect(bench.heard(client) == "")
        bench.answer("backup1", "HD\r\n")
        #expect(bench.heard(client) == "5\r\n")
        bench.ask(client, "delete k\r\n")
        bench.answer("backup1", "DELETED\r\n")
        #expect(bench.heard(client) == "")
        bench.answer("cache1", "DELETED\r\n")
        #expect(bench.heard(client) == "DELETED\r\n")
        bench.ask(client, "cas k 0 0 1 9\r\nx\r\n")
        bench.answer("cache1", "EXISTS\r\n")
        #expect(bench.heard(client) == "EXISTS\r\n", "nothing was written")
    }

    @Test("A server that is down, or goes down, is not waited for, and not read before it has what it missed")
    func downIsNotWaitedFor() {
        let bench = bench(.inTurn)
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        bench.lose(bench.backend("backup1"))
        #expect(bench.heard(client) == "STORED\r\n")
        bench.ask(client, "set k 0 0 1\r\ny\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        bench.advance(milliseconds: 300)
        bench.bringUp("backup1")
        #expect(bench.commands("backup1") == "", "the repair waits for the tick")
        _ = bench.commands("cache1")
        #expect((0..<2).map { _ in reader(bench, client) } == ["cache1", "cache1"])
        bench.advance(milliseconds: 100)
        #expect(bench.commands("backup1") == "ms k 1\r\ny\r\n")
        bench.answer("backup1", "HD\r\n")
        bench.answer("cache1", "HD\r\n")
        _ = bench.commands("cache1")
        #expect(Set((0..<2).map { _ in reader(bench, client) }) == ["cache1", "backup1"])
    }

    @Test("Behind a write of its own connection a read follows it to the primary, and waits for nothing")
    func behindOwnWrite() {
        let bench = bench(.inTurn)
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\nget k\r\nget k\r\n")
        #expect(bench.commands("cache1") == "set k 0 0 1\r\nx\r\nget k\r\nget k\r\n")
        #expect(bench.commands("backup1") == "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
    }

    @Test("A write behind a read of the backup waits for it: they travel different paths")
    func writeBehindRead() {
        let bench = bench(.inTurn)
        let client = bench.client()
        bench.ask(client, "get k\r\nset k 0 0 1\r\nx\r\n")
        #expect(bench.commands("backup1") == "get k\r\n")
        #expect(bench.commands("cache1") == "", "the read must not see the write behind it")
        bench.answer("backup1", "VALUE k 0 1\r\na\r\nEND\r\n")
        #expect(bench.commands("cache1") == "set k 0 0 1\r\nx\r\n")
    }

    @Test("A retrieval of many keys takes one turn: each server is asked once, and for what the backup lacks the primaries are")
    func manyKeys() {
        let bench = bench(.inTurn, primaries: 2)
        let client = bench.client()
        let keys = (1...8).map { "k\($0)" }
        let get = "get \(keys.joined(separator: " "))\r\n"
        bench.ask(client, get)
        #expect(bench.commands("cache1") == "" && bench.commands("cache2") == "")
        #expect(bench.commands("backup1") == get)
        bench.answer("backup1", keys.dropFirst(4).map { "VALUE \($0) 0 1\r\nx\r\n" }.joined() + "END\r\n")
        var asked: [String] = []
        for name in ["cache1", "cache2"] {
            let words = bench.commands(name).split(separator: "\r\n")
            #expect(words.count <= 1)
            let found = words.flatMap { $0.split(separator: " ").dropFirst().map(String.init) }
            asked += found
            if !found.isEmpty { bench.answer(name, found.map { "VALUE \($0) 0 1\r\ny\r\n" }.joined() + "END\r\n") }
        }
        #expect(asked.sorted() == Array(keys.prefix(4)))
        let values = keys.enumerated().map { "VALUE \($1) 0 1\r\n\($0 < 4 ? "y" : "x")\r\n" }.joined()
        #expect(bench.heard(client) == values + "END\r\n")
        bench.ask(client, get)
        #expect(bench.commands("backup1") == "", "now it is the primaries' turn")
        #expect(!(bench.commands("cache1") + bench.commands("cache2")).isEmpty)
    }

    @Test("Least outstanding: the server with fewer replies to come, in turn when they are equal")
    func leastOutstanding() {
        let bench = bench(.leastOutstanding)
        let (slow, client) = (bench.client(), bench.client())
        #expect((0..<3).map { _ in reader(bench, client) } == ["backup1", "cache1", "backup1"])
        bench.ask(slow, "gets k\r\n")
        #expect(bench.commands("cache1") == "gets k\r\n")
        #expect((0..<3).map { _ in reader(bench, client) } == ["backup1", "backup1", "backup1"], "the primary is busy")
    }

    @Test("A primary that came back empty is asked first, as ever, and the backup for what it lacks")
    func recovering() {
        let bench = bench(.inTurn)
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        bench.advance(milliseconds: 200)
        let client = bench.client()
        for _ in 0..<2 {
            bench.ask(client, "get k\r\n")
            #expect(bench.commands("cache1") == "get k\r\n")
            #expect(bench.commands("backup1") == "")
            bench.answer("cache1", "VALUE k 0 1\r\nx\r\nEND\r\n")
            _ = bench.heard(client)
        }
    }

    @Test(
        "A backup that came back empty is left alone until it has been refilled; where nobody refills it, it is asked all the same"
    )
    func emptyBackup() {
        for keysPerSecond in [1_000, 0] {
            var plan = BenchPlan()
            plan.reads = .inTurn
            plan.refillKeysPerSecond = keysPerSecond
            let bench = Bench.serving(plan)
            bench.lose(bench.backend("backup1"))
            bench.advance(milliseconds: 1_000)
            bench.bringUp("backup1", pid: 2, startedAt: 2_000)
            let client = bench.client()
            let asked = Set((0..<2).map { _ in reader(bench, client) })
            #expect(asked == (keysPerSecond == 0 ? ["cache1", "backup1"] : ["cache1"]))
        }
    }

    @Test(
        "Hot in turn: a key that is found to be hot is read from both, any other from the primary; once it has cooled, it is too")
    func hotInTurn() {
        let bench = bench(.hotInTurn)
        let client = bench.client()
        func readMuch(_ key: String, times: Int) -> [String: Int] {
            var asked: [String: Int] = [:]
            for _ in 0..<times { asked[reader(bench, client, "get \(key)\r\n".replacing("\(key)", with: "k")), default: 0] += 1 }
            return asked
        }
        #expect(readMuch("k", times: 2_000) == ["cache1": 2_000], "nobody knows yet")
        bench.advance(milliseconds: 1_100)
        #expect(bench.node.hotKeys.inTurn == [Array("k".utf8)])
        #expect(readMuch("k", times: 10) == ["cache1": 5, "backup1": 5])
        bench.ask(client, "get other\r\n")
        #expect(bench.commands("cache1") == "get other\r\n")
        bench.answer("cache1", "END\r\n")
        bench.ask(client, "get k other\r\nget k other\r\n")
        #expect(bench.commands("cache1").contains("get other\r\n"))
        #expect(bench.commands("backup1") == "get k\r\n")
        bench.advance(milliseconds: 60_000)
        #expect(bench.node.hotKeys.inTurn.isEmpty)
    }
}
