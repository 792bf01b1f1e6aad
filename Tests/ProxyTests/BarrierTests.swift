import Configuration
import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// `flush_all` of the whole federation: what is older goes, everywhere and however late it comes; what is younger stays.
@Suite struct BarrierTests {
    private static func plan(_ proxies: [String] = ["n1"]) -> BenchPlan {
        var plan = BenchPlan()
        plan.proxies = proxies
        plan.elsewhere = ["south"]
        plan.hasBackup = false
        plan.flush = .federation
        return plan
    }

    private let ours = Bench.key(ownedBy: Bench.n1)

    private func barrier(position: UInt64, seconds: UInt64) -> ReplicatedRecord {
        var record = Bench.record("", "", position: position, seconds: seconds)
        record.content = .tombstone
        return record
    }

    @Test("flush_all is logged, empties the servers, is answered, and goes to the other sites")
    func reachesOthers() throws {
        let bench = Bench.serving(Self.plan())
        let client = bench.client()
        #expect(bench.ask(client, "flush_all\r\n") == "")
        #expect(bench.commands("cache1") == "flush_all\r\n")
        bench.answer("cache1", "OK\r\n")
        #expect(bench.heard(client) == "OK\r\n")
        #expect(bench.logged.map(\.kind) == [.intent, .commit])
        #expect(bench.logged[0].key.isEmpty && bench.logged[0].content == .tombstone)
        #expect(bench.node.committed == Position(1))
    }

    @Test("A site whose flush_all is local or denied takes another site's barrier all the same")
    func takesAnothers() throws {
        var plan = Self.plan()
        plan.flush = .deny
        let bench = Bench.serving(plan)
        let stream = try bench.openStream()
        bench.tell(stream, .record(barrier(position: 1, seconds: 2)))
        #expect(bench.commands("cache1") == "flush_all\r\n")
        bench.answer("cache1", "OK\r\n")
        #expect(try bench.words(stream) == [.acknowledge(Position(1))])
    }

    @Test("What is older and comes later is superseded; what is younger and was there is written again behind the flush")
    func olderAndYounger() throws {
        let bench = Bench.serving(Self.plan())
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record("younger", "y", position: 1, seconds: 3)))
        bench.tell(stream, .record(Bench.record("older", "o", position: 2, seconds: 1)))
        _ = bench.commands("cache1")
        bench.answer("cache1", "HD\r\nHD\r\n")
        bench.tell(stream, .record(barrier(position: 3, seconds: 2)))
        #expect(bench.commands("cache1") == "flush_all\r\nms younger 1\r\ny\r\n")
        bench.answer("cache1", "OK\r\nHD\r\n")
        bench.tell(stream, .record(Bench.record("late", "l", position: 4, seconds: 1)))
        #expect(bench.commands("cache1") == "")
        bench.tell(stream, .record(Bench.record("new", "n", position: 5, seconds: 4)))
        #expect(bench.commands("cache1") == "ms new 1\r\nn\r\n")
        bench.answer("cache1", "HD\r\n")
        guard case .acknowledge(let position) = try bench.words(stream).last else { throw BenchError.notGreeted }
        #expect(position == Position(5))
    }

    @Test("What is under way and younger when the barrier is sent behind it is written again once it is known")
    func underWay() throws {
        let bench = Bench.serving(Self.plan())
        let stream = try bench.openStream()
        bench.setClockAhead(seconds: 5)
        bench.ask(bench.client(), "add k 0 0 1\r\nx\r\n")
        bench.tell(stream, .record(barrier(position: 1, seconds: 2)))
        #expect(bench.commands("cache1") == "add k 0 0 1\r\nx\r\nflush_all\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.commands("cache1") == "ms k 1\r\nx\r\n")
    }

    @Test("A lane whose sibling has flushed writes again what it holds, and deletes what landed late")
    func siblingFlushed() throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record(ours, "y", position: 1, seconds: 3)))
        let other = Bench.key(ownedBy: Bench.n1, 1)
        bench.tell(stream, .record(Bench.record(other, "o", position: 2, seconds: 1)))
        _ = bench.commands("cache1")
        bench.answer("cache1", "HD\r\n")
        let version = Version(stamp: HybridClock.stamp(atWall: 1_800_000_002_000_000), origin: Bench.n2)
        let tops = KeyTops(
            key: allKeys, version: version, content: .tombstone, touch: .zero, touchExpiry: 0, holder: Bench.n2)
        bench.tell(link, .mirror(sequence: 1, tops: tops))
        #expect(bench.commands("cache1") == "ms \(ours) 1\r\ny\r\n")
        #expect(try bench.words(link).contains(.mirrored(sequence: 1)))
        bench.answer("cache1", "HD\r\n")
        #expect(bench.commands("cache1") == "md \(other)\r\n", "it was under way: nobody knows whether it came after the flush")
    }

    @Test(
        "A sibling could not flush a server: a lane that cannot either, or loses it meanwhile, flushes it before it uses it",
        arguments: [false, true])
    func neitherReaches(isLostBefore: Bool) throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        bench.tell(link, .backend(server: 0, cutOff: true, emptied: 0))
        if isLostBefore { bench.lose(bench.backend("cache1")) }
        let version = Version(stamp: HybridClock.stamp(atWall: 1_800_000_002_000_000), origin: Bench.n2)
        let tops = KeyTops(
            key: allKeys, version: version, content: .tombstone, touch: .zero, touchExpiry: 0, holder: Bench.n2)
        bench.tell(link, .mirror(sequence: 1, tops: tops))
        if !isLostBefore {
            #expect(bench.commands("cache1") == "flush_all\r\n")
            bench.lose(bench.backend("cache1"))
        }
        #expect(bench.node.servers[0].missedTooMany)
    }

    @Test("A server that cannot be reached is flushed before it is used again")
    func serverAway() throws {
        let bench = Bench.serving(Self.plan())
        bench.lose(bench.backend("cache1"))
        let client = bench.client()
        #expect(bench.ask(client, "flush_all\r\n") == "OK\r\n")
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        #expect(bench.commands("cache1") == "flush_all\r\n")
    }

    @Test("A server that restarted before the flush is flushed, too; what was written since is written again behind that")
    func serverRestarted() throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.lose(bench.backend("cache1"))
        bench.tell(link, .apply(request: 1, hops: 2, record: barrier(position: 1, seconds: 2)))
        bench.tell(stream, .record(Bench.record(ours, "y", position: 1, seconds: 3)))
        bench.advance(milliseconds: 900)
        _ = try bench.words(link)
        bench.bringUp("cache1", pid: 2, startedAt: 1_001)
        #expect(bench.commands("cache1") == "flush_all\r\n", "n2 may have found it before, and filled it again")
        bench.answer("cache1", "OK\r\n")
        #expect(bench.commands("cache1") == "ms \(ours) 1\r\ny\r\n")
        let told = try bench.words(link).contains { if case .mirror(_, let tops) = $0 { tops.key == allKeys } else { false } }
        #expect(told, "n2 must write again what it holds")
    }

    @Test("A flush whose process died is done again, and what is younger is written again")
    func diesInBetween() throws {
        let bench = Bench.serving(Self.plan())
        let client = bench.client()
        bench.ask(client, "flush_all\r\n")
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        let again = Bench.serving(Self.plan(), after: bench)
        again.advance(milliseconds: 200)
        let commands = again.commands("cache1")
        #expect(commands.hasPrefix("flush_all\r\n"))
        #expect(!bench.logged.contains { $0.key == Array("k".utf8) } || commands.hasSuffix("ms k 1\r\nx\r\n"))
    }

    @Test("A barrier is forgotten like a key: when nothing older can come any more")
    func forgotten() throws {
        let bench = Bench.serving(Self.plan())
        let stream = try bench.openStream()
        bench.tell(stream, .record(barrier(position: 1, seconds: 1)))
        bench.answer("cache1", "OK\r\n")
        #expect(bench.node.index.barrier > .zero)
        let stamp = HybridClock.stamp(atWall: 1_800_000_009_000_000)
        bench.tell(stream, .promise(floor: stamp, stamp: stamp, wall: bench.now.wallMicroseconds, committed: Position(9)))
        bench.advance(milliseconds: 10_000)
        #expect(bench.node.index.count == 0)
        #expect(bench.node.index.barrier == .zero)
    }

    @Test("A delayed flush_all waits; a server that refuses it is named")
    func delayedAndRefused() throws {
        let bench = Bench.serving(Self.plan())
        let client = bench.client()
        #expect(bench.ask(client, "flush_all 2\r\n") == "OK\r\n")
        bench.advance(milliseconds: 1_500)
        #expect(bench.commands("cache1") == "")
        bench.advance(milliseconds: 1_000)
        #expect(bench.commands("cache1") == "flush_all\r\n")
        bench.answer("cache1", "OK\r\n")
        bench.ask(client, "flush_all\r\n")
        bench.answer("cache1", "CLIENT_ERROR flush_all not allowed\r\n")
        #expect(bench.heard(client) == "CLIENT_ERROR flush_all not allowed\r\n", "as memcached -F says it")
        bench.ask(client, "flush_all 1\r\n")
        bench.advance(milliseconds: 1_100)
        bench.answer("cache1", "CLIENT_ERROR flush_all not allowed\r\n")
        _ = bench.commands("cache1")
        bench.advance(milliseconds: 3_000)
        #expect(bench.commands("cache1") == "", "what is not allowed is not tried again")
    }

    @Test("A delayed flush that finds the log full is tried again")
    func delayedTriedAgain() throws {
        let bench = Bench(Self.plan(), diskIsFull: true)
        bench.bringUp("cache1")
        #expect(bench.ask(bench.client(), "flush_all 1\r\n") == "OK\r\n")
        bench.advance(milliseconds: 2_000)
        #expect(bench.commands("cache1") == "")
        bench.diskIsFull = false
        var asked = ""
        for _ in 0..<100 where asked.isEmpty {
            bench.advance(milliseconds: 100)
            asked = bench.commands("cache1")
        }
        #expect(asked == "flush_all\r\n")
    }

    @Test("What a sibling must not say of a barrier is refused")
    func nonsense() throws {
        let version = Version(stamp: HybridClock.stamp(atWall: 1_800_000_000_000_000), origin: Bench.n2)
        func tops(_ version: Version, touch: Version = .zero) -> KeyTops {
            KeyTops(key: allKeys, version: version, content: .tombstone, touch: touch, touchExpiry: 0, holder: Bench.n2)
        }
        let messages: [Message] = [
            .assert(request: 1, hops: 1, cause: .doubt, doubted: version, tops: tops(.zero)),
            .assert(request: 1, hops: 1, cause: .missed, doubted: .zero, tops: tops(version)),
            .assert(request: 1, hops: 1, cause: .touched, doubted: .zero, tops: tops(version, touch: version)),
            .mirror(sequence: 1, tops: tops(.zero)), .mirror(sequence: 1, tops: tops(version, touch: version)),
        ]
        for message in messages {
            let bench = Bench.serving(Self.plan(["n1", "n2"]))
            let link = try bench.linkSibling()
            bench.tell(link, message)
            #expect(bench.closed.contains(link))
        }
    }

    @Test("A server that only a sibling cannot reach is emptied here, before anything that it holds is changed and written again")
    func reachableHereOnly() throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        bench.tell(link, .backend(server: 0, cutOff: true, emptied: 0))
        let tops = KeyTops(
            key: allKeys, version: Version(stamp: HybridClock.stamp(atWall: 1_800_000_000_000_000), origin: Bench.n2),
            content: .tombstone, touch: .zero, touchExpiry: 0, holder: Bench.n2)
        bench.tell(link, .mirror(sequence: 1, tops: tops))
        #expect(bench.commands("cache1") == "flush_all\r\n")
        bench.answer("cache1", "OK\r\n")
        bench.tell(link, .mirror(sequence: 2, tops: tops))
        #expect(bench.commands("cache1") == "", "once: two lanes that tell each other of their flushes must come to an end")
    }

    @Test("A forwarded barrier is done by its owner, whatever command it claims to be")
    func forwarded() throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        var write = Write.barrier.forwarded
        write.command = Array("shutdown\r\n".utf8)
        bench.tell(link, .forward(request: 5, hops: 2, stamp: 0, write: write))
        #expect(bench.commands("cache1") == "flush_all\r\n")
    }

    @Test(
        "An outcome that reaches the backup behind a barrier which it is older than is deleted there again, in a lane without siblings too (seed 50638)"
    )
    func outcomeBehindBarrier() {
        var plan = Self.plan()
        plan.elsewhere = []
        plan.hasBackup = true
        let bench = Bench.serving(plan)
        let writer = bench.client()
        let flusher = bench.client()
        bench.ask(writer, "prepend k 0 0 1\r\nx\r\n")
        _ = bench.commands("cache1")
        bench.ask(flusher, "flush_all\r\n")
        #expect(bench.commands("cache1") == "flush_all\r\n")
        #expect(bench.commands("backup1") == "flush_all\r\n")
        bench.answer("cache1", "STORED\r\nVA 2 s2 f0 t-1 c1\r\nxy\r\nOK\r\n")
        #expect(bench.commands("backup1") == "ms k 2\r\nxy\r\n", "it was not known when the barrier was sent")
        bench.answer("backup1", "OK\r\nHD\r\n")
        #expect(bench.commands("backup1") == "md k\r\n")
        #expect(bench.commands("cache1") == "md k\r\n")
    }
}
