import Foundation
import Kernel
import Replication
import Testing

@testable import Proxy

/// Which server decides a write, and when its client may hear of it, while servers and siblings come and go.
@Suite struct DecidingTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.elsewhere = ["south"]
        plan.times.backendTimeoutMilliseconds = 60_000
        return plan
    }

    private let ours = Bench.key(ownedBy: Bench.n1)
    private let primary: UInt16 = 0
    private let backup: UInt16 = 1

    // MARK: Who decides

    @Test("While a server has yet to decide a write, it decides the next one, even if another lane finds it cut off meanwhile")
    func undecidedStays() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        bench.ask(bench.client(), "add \(ours) 0 0 1\r\n1\r\n")
        #expect(bench.commands("cache1") == "add \(ours) 0 0 1\r\n1\r\n")
        bench.tell(link, .backend(server: primary, cutOff: true, emptied: 0))
        bench.ask(bench.client(), "add \(ours) 0 0 1\r\n2\r\n")
        #expect(bench.commands("backup1") == "", "both would have the lock")
        #expect(bench.commands("cache1") == "add \(ours) 0 0 1\r\n2\r\n")
        bench.answer("cache1", "STORED\r\nNOT_STORED\r\n")
        bench.answer("backup1", "HD\r\n")
        _ = bench.commands("backup1")
        bench.ask(bench.client(), "add \(ours) 0 0 1\r\n3\r\n")
        #expect(bench.commands("backup1") == "add \(ours) 0 0 1\r\n3\r\n", "nothing is under way any more")
    }

    @Test("The backup of an empty primary decides, even if it lacks a write of another lane")
    func fullBackupDecides() throws {
        let bench = Bench.serving(Self.plan)
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.node.servers[0].recovering)
        let link = try bench.linkSibling()
        bench.tell(link, .backend(server: backup, cutOff: true, emptied: 0))
        _ = bench.commands("backup1")
        bench.ask(bench.client(), "add \(ours) 0 0 1\r\nx\r\n")
        #expect(bench.commands("backup1") == "add \(ours) 0 0 1\r\nx\r\n", "the empty primary would grant a lock that is held")
        #expect(bench.commands("cache1") == "")
    }

    // MARK: When it is answered

    @Test(
        "While siblings read the backup, for this lane's writes are missing at the primary, what the primary decides waits for both"
    )
    func awaitsTheBackup() throws {
        let bench = Bench.serving(Self.plan)
        _ = try bench.linkSibling()
        let other = Bench.key(ownedBy: Bench.n1, 1)
        bench.lose(bench.backend("cache1"))
        bench.ask(bench.client(), "set \(other) 0 0 1\r\nx\r\n")
        bench.answer("backup1", "STORED\r\n")
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        #expect(bench.node.servers[0].isBehind)
        let client = bench.client()
        _ = bench.commands("backup1")
        bench.ask(client, "incr \(ours) 1\r\n")
        #expect(bench.commands("cache1").hasPrefix("incr \(ours) 1\r\n"))
        bench.answer("cache1", "5\r\nVA 1 s1 f0 t-1 c9\r\n5\r\n")
        #expect(bench.heard(client) == "", "a sibling's client would still read 4")
        #expect(bench.commands("backup1").hasPrefix("ms \(ours) 1"))
        bench.answer("backup1", "HD\r\n")
        #expect(bench.heard(client) == "5\r\n")
    }

    @Test("A refusal that tells of a write which the other server may not have yet waits with that")
    func refusalWaits() {
        var plan = BenchPlan()
        plan.reads = .inTurn
        let bench = Bench.serving(plan)
        let first = bench.client()
        let second = bench.client()
        bench.ask(first, "add k 0 0 1\r\n1\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(first) == "")
        bench.ask(second, "add k 0 0 1\r\n2\r\n")
        bench.answer("cache1", "NOT_STORED\r\n")
        #expect(bench.heard(second) == "", "its next read may ask the backup, which has nothing yet")
        bench.answer("backup1", "HD\r\n")
        #expect(bench.heard(first) == "STORED\r\n")
        bench.answer("backup1", "MN\r\n")
        #expect(bench.heard(second) == "NOT_STORED\r\n")
    }

    // MARK: What comes of it

    @Test("A read that makes an empty item, and whose answer is lost, is no write: nobody else gets that item")
    func lostVivify() throws {
        let bench = Bench.serving(Self.plan)
        _ = try bench.linkSibling()
        let client = bench.client()
        bench.ask(client, "mg \(ours) v N30\r\n")
        _ = bench.commands("cache1")
        bench.lose(bench.backend("cache1"))
        #expect(
            bench.heard(client)
                == "SERVER_ERROR server cache1 (cache1:11211) did not answer: connection reset; the outcome is unknown\r\n")
        #expect(bench.node.doubts.isEmpty && !bench.node.servers[0].isBehind)
        let next = Bench(Self.plan, after: bench)
        next.bringUp("cache1")
        next.bringUp("backup1")
        next.advance(milliseconds: 2_000)
        #expect(next.node.doubts.isEmpty)
        #expect(next.commands("cache1") == "")
    }

    @Test("The process dies under a read that makes an empty item: there is nothing to settle")
    func vivifyOfAnEarlierLife() {
        let first = Bench.serving()
        first.ask(first.client(), "mg k v N30\r\n")
        #expect(first.logged.contains { $0.kind == .derivedIntent })
        let bench = Bench.serving(after: first)
        bench.advance(milliseconds: 2_000)
        #expect(bench.node.doubts.isEmpty)
        #expect(bench.commands("cache1") == "")
    }

    @Test("A server that lacks a key's value is not trusted with it for having marked an older one")
    func markedIsNotWhole() throws {
        let bench = Bench.serving(Self.plan)
        _ = try bench.linkSibling()
        bench.lose(bench.backend("cache1"))
        let client = bench.client()
        bench.ask(client, "set \(ours) 0 0 3\r\nnew\r\n")
        bench.answer("backup1", "STORED\r\n")
        bench.lose(bench.backend("backup1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        bench.ask(bench.client(), "md \(ours) I T30\r\n")
        if bench.commands("cache1").hasPrefix("md ") { bench.answer("cache1", "HD\r\n") }
        #expect(bench.node.servers[0].missed[Array(ours.utf8)] != nil, "it still holds what was before `new`")
    }

    // MARK: Without room, without end

    @Test("A write behind a record of another site for which the log has no room is refused, and does not wait for a disk")
    func refusedBehindARecord() throws {
        var plan = Self.plan
        plan.segmentBytes = 1 << 20
        plan.itemBytesMax = 500_000
        plan.hasBackup = false
        plan.proxies = ["n1"]
        let bench = Bench.serving(plan)
        let stream = try bench.openStream()
        bench.diskIsFull = true
        let filler = bench.client()
        while !bench.ask(filler, "set f 0 0 100000\r\n\(String(repeating: "v", count: 100_000))\r\n").hasPrefix("SERVER_ERROR") {
            bench.answer("cache1", "STORED\r\n")
            _ = (bench.heard(filler), bench.commands("cache1"))
        }
        bench.tell(stream, .record(Bench.record("k", String(repeating: "r", count: 400_000), position: 1)))
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.advance(milliseconds: 200)
        #expect(
            bench.heard(client) == "SERVER_ERROR write log of lane s1p1l0 takes no more writes: No space left on device\r\n")
    }

    @Test(
        "Very many records of one key, behind a write that no server decides, land one after the other when the servers are lost")
    func oneAfterTheOther() async throws {
        // On a small stack: landing one inside the landing of another would need a large one.
        let left = await withCheckedContinuation { done in
            let thread = Thread { done.resume(returning: Result { try keysLeftBehindRecords(count: 8_000) }) }
            thread.stackSize = 256 << 10
            thread.start()
        }
        #expect(try left.get() == 0)
    }

    private func keysLeftBehindRecords(count: UInt64) throws -> Int {
        var plan = Self.plan
        plan.proxies = ["n1"]
        plan.hasBackup = false
        let bench = Bench.serving(plan)
        let stream = try bench.openStream()
        bench.ask(bench.client(), "incr k 1\r\n")
        for position in 1...count {
            var record = Bench.record("k", "1", position: position)
            record.version = Version(stamp: record.version.stamp - 1_000_000 + position, origin: Bench.s1)
            bench.tell(stream, .record(record))
        }
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 200)
        return bench.node.work.count
    }
}
