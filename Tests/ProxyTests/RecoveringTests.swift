import Kernel
import Testing

@testable import Proxy

/// Servers that come back: empty, or with what they had.
@Suite struct RecoveringTests {
    /// The primary died and came back with an empty memory.
    private func recovering() -> Bench {
        let bench = Bench.serving()
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        bench.advance(milliseconds: 200)
        #expect(bench.node.servers[0].recovering)
        #expect(bench.lines.contains { $0 == "memcached restarted server=cache1 recovering=true" })
        return bench
    }

    @Test("A server that was met before the log could take it down, and restarted while the lane was away, is recovering")
    func metBeforeTheLogWasReady() {
        let first = Bench(diskIsFull: true)
        first.bringUp("cache1")
        first.bringUp("backup1")
        first.diskIsFull = false
        first.advance(milliseconds: 3_000)
        let bench = Bench(after: first)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.lines.contains { $0 == "memcached restarted server=cache1 recovering=true" })
    }

    @Test("A miss on a recovering primary is asked of the backup, and the primary fills up again")
    func missIsRefilled() {
        let bench = recovering()
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("cache1") == "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "", "the backup may know")
        #expect(bench.commands("backup1") == "get k\r\n")
        bench.answer("backup1", "VALUE k 3 2\r\nhi\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE k 3 2\r\nhi\r\nEND\r\n")
        // The copy: read with its remaining time, added so that anything newer wins.
        #expect(bench.commands("backup1") == "mg k u s v f t c\r\n")
        bench.answer("backup1", "VA 2 s2 f3 t60 c1\r\nhi\r\n")
        #expect(bench.commands("cache1") == "ms k 2 F3 T60 ME\r\nhi\r\n")
        bench.answer("cache1", "HD\r\n")
        #expect(bench.logged.isEmpty, "a copy is no write: nothing of it is replicated")
    }

    @Test(
        "While the backup decides for a recovering primary, a write is answered when the primary has it too: reads look there first"
    )
    func answeredWhenReadable() {
        let bench = recovering()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "", "a neighbour would still read the older value")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        bench.ask(client, "incr n 1\r\n")
        bench.answer("backup1", "5\r\nVA 1 s1 f0 t-1 c9\r\n5\r\n")
        #expect(bench.heard(client) == "")
        bench.lose(bench.backend("cache1"))
        #expect(bench.heard(client) == "5\r\n", "nobody reads there any more")
    }

    @Test("An append that a set overtakes on its way to the recovering primary is answered when the set has arrived there")
    func overtakenOutcome() {
        let bench = recovering()
        let (one, two) = (bench.client(), bench.client())
        bench.ask(one, "append k 0 0 1\r\na\r\n")
        bench.ask(two, "set k 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "set k 0 0 1\r\nx\r\n", "the append's outcome is not known yet")
        bench.answer("backup1", "STORED\r\nVA 2 s2 f0 t-1 c9\r\noa\r\nSTORED\r\n")
        #expect(bench.heard(one) == "", "a neighbour would still read what was there before the append")
        #expect(bench.commands("cache1") == "mn\r\n")
        bench.answer("cache1", "STORED\r\nMN\r\n")
        #expect(bench.heard(one) == "STORED\r\n")
        #expect(bench.heard(two) == "STORED\r\n")
    }

    @Test("Reads that want a CAS value go on asking the backup; each key is copied once, not at every read")
    func copiedOnce() {
        let bench = recovering()
        let client = bench.client()
        for round in 0..<3 {
            bench.ask(client, "gets k\r\n")
            bench.answer("backup1", "VALUE k 0 2 7\r\nhi\r\nEND\r\n")
            #expect(bench.heard(client) == "VALUE k 0 2 \(bench.token(7, of: "backup1"))\r\nhi\r\nEND\r\n")
            let commands = bench.commands("backup1")
            #expect(commands.contains("mg k u s v f t c") == (round == 0))
            if round == 0 {
                bench.answer("backup1", "VA 2 s2 f0 t-1 c7\r\nhi\r\n")
                bench.answer("cache1", "HD\r\n")
            }
        }
    }

    @Test("A server that is flushed because it missed too much is not trusted before it has said that it is empty")
    func flushIsAwaited() {
        let bench = Bench.serving()
        bench.lose(bench.backend("cache1"))
        bench.node.servers[0].missEverything()
        for _ in 0..<2 {
            bench.advance(milliseconds: 3_000)
            bench.bringUp("cache1")
            #expect(bench.commands("cache1") == "flush_all\r\n")
            #expect(bench.node.servers[0].isBehind)
            bench.lose(bench.backend("cache1"))
        }
        bench.advance(milliseconds: 3_000)
        bench.bringUp("cache1")
        bench.answer("cache1", "CLIENT_ERROR flush_all not allowed\r\n")
        #expect(bench.node.servers[0].message == "it refuses flush_all: was it started with -F?")
        bench.advance(milliseconds: 3_000)
        bench.bringUp("cache1")
        bench.answer("cache1", "OK\r\n")
        #expect(bench.node.servers[0].isUp)
    }

    @Test("What a recovering primary missed is not copied but written again: it may hold something older")
    func missedIsNotCopied() {
        let bench = Bench.serving()
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("backup1", "STORED\r\n")
        _ = (bench.heard(client), bench.commands("backup1"))
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("backup1") == "get k\r\n")
        bench.answer("backup1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect(bench.commands("backup1") == "", "no copy is begun")
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "ms k 1\r\nx\r\n")
    }

    @Test("A hit on a recovering primary is a hit; a miss on both is a miss")
    func hitAndMiss() {
        let bench = recovering()
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        bench.answer("cache1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE k 0 1\r\nx\r\nEND\r\n")
        bench.ask(client, "mg k v\r\n")
        bench.answer("cache1", "EN\r\n")
        bench.answer("backup1", "EN\r\n")
        #expect(bench.heard(client) == "EN\r\n")
    }

    @Test("A delete that comes while a copy is under way wins")
    func deleteBeatsCopy() {
        let bench = recovering()
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        bench.answer("cache1", "END\r\n")
        bench.answer("backup1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        _ = bench.commands("cache1") + bench.commands("backup1")
        bench.ask(client, "delete k\r\n")
        bench.answer("backup1", "VA 1 s1 f0 t-1 c1\r\nx\r\n")
        #expect(!bench.commands("cache1").contains("ms k"), "the copy was read before the delete")
    }

    @Test("A conditional write on a recovering primary is decided by the backup, which knows")
    func backupDecides() {
        let bench = recovering()
        let client = bench.client()
        bench.ask(client, "add k 0 0 1\r\nx\r\n")
        #expect(bench.commands("backup1") == "add k 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "")
        bench.answer("backup1", "NOT_STORED\r\n")
        #expect(bench.heard(client) == "NOT_STORED\r\n")
    }

    @Test("A primary that was only cut off gets what it missed before it is asked again")
    func cutOff() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.lose(bench.backend("cache1"))
        bench.ask(client, "set k 0 0 3\r\nnew\r\n")
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        _ = bench.commands("backup1")
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        #expect(bench.node.servers[0].phase == .repairing)
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("backup1") == "get k\r\n", "the primary still holds the old value")
        bench.answer("backup1", "VALUE k 0 3\r\nnew\r\nEND\r\n")
        #expect(bench.heard(client).hasPrefix("VALUE"))
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "ms k 3\r\nnew\r\n")
        #expect(bench.commands("backup1") == "ms k 3\r\nnew\r\n")
        bench.answer("cache1", "HD\r\n")
        bench.answer("backup1", "HD\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.node.servers[0].isUp)
        bench.ask(client, "get k\r\n")
        #expect(bench.commands("cache1") == "get k\r\n")
    }

    @Test("Reads under way on a connection that breaks are asked of the other server")
    func readsMove() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a b\r\n")
        bench.answer("cache1", "VALUE a 0 1\r\n1\r\n")
        bench.lose(bench.backend("cache1"))
        #expect(bench.commands("backup1") == "get b\r\n", "what it said stands, the rest is asked of the backup")
        bench.answer("backup1", "VALUE b 0 1\r\n2\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n")
    }

    @Test("Of a retrieval of many keys, a recovering primary's misses are asked of the backup in one command")
    func missesOfMany() {
        let bench = recovering()
        let client = bench.client()
        bench.ask(client, "get a b c d\r\n")
        #expect(bench.commands("cache1") == "get a b c d\r\n")
        bench.answer("cache1", "VALUE b 0 1\r\n2\r\nEND\r\n")
        #expect(bench.heard(client) == "", "the backup may know the others")
        #expect(bench.commands("backup1") == "get a c d\r\n")
        bench.answer("backup1", "VALUE c 0 1\r\n3\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE b 0 1\r\n2\r\nVALUE c 0 1\r\n3\r\nEND\r\n")
        #expect(bench.commands("backup1") == "mg c u s v f t c\r\n", "what it had is copied")
    }

    @Test("A retrieval of many keys ends when both servers break under it, each key as the site wants it")
    func nobodyIsLeft() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a b\r\n")
        bench.lose(bench.backend("cache1"))
        #expect(bench.commands("backup1") == "get a b\r\n")
        bench.answer("backup1", "VALUE a 0 1\r\n1\r\n")
        bench.lose(bench.backend("backup1"))
        #expect(bench.heard(client) == "VALUE a 0 1\r\n1\r\nEND\r\n")
    }

    @Test("Copies that could not begin, because so many were under way, begin at the next read")
    func copiedLater() {
        let bench = recovering()
        let client = bench.client()
        // Its values are small: it may ask for many.
        bench.ask(client, "get a b\r\n")
        bench.answer("cache1", "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n1\r\nEND\r\n")
        _ = (bench.commands("cache1"), bench.heard(client))
        let names = (0..<Limits.copiesMax + 1).map { "k\($0)" }
        let values = names.map { "VALUE \($0) 0 1\r\nx\r\n" }.joined() + "END\r\n"
        func read() -> Int {
            bench.ask(client, "get \(names.joined(separator: " "))\r\n")
            bench.answer("cache1", "END\r\n")
            _ = bench.commands("backup1")
            bench.answer("backup1", values)
            return bench.commands("backup1").split(separator: "\r\n").filter { $0.hasPrefix("mg ") }.count
        }
        #expect(read() == Limits.copiesMax)
        bench.answer("backup1", String(repeating: "EN\r\n", count: Limits.copiesMax))
        #expect(read() == 1, "the one that was left over")
    }
}
