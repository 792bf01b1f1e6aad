import Kernel
import Memcache
import Replication
import Testing

@testable import Proxy

/// A server that came back empty is refilled in the background from the other pool.
@Suite struct RefillTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.refillKeysPerSecond = 1_000
        return plan
    }

    /// The lane's own connections to its two servers, and the one over which the keys are listed.
    private struct Wires {
        let bench: Bench
        var primary: ConnectionID
        var backup: ConnectionID
        var list: ConnectionID

        func answerPrimary(_ text: String) { bench.receive(primary, Array(text.utf8)) }
        func answerBackup(_ text: String) { bench.receive(backup, Array(text.utf8)) }
        func listed(_ keys: String...) {
            let lines = keys.map { "key=\($0) exp=-1 la=1 cas=2 fetch=no cls=1 size=60\n" }.joined()
            bench.receive(list, Array((lines + "END\r\n").utf8))
        }
    }

    /// One of the servers restarted while the other kept what it had.
    private func restarted(_ name: String, on bench: Bench = Bench.serving(Self.plan)) throws -> Wires {
        let other = name == "cache1" ? "backup1" : "cache1"
        let kept = bench.backend(other)
        bench.lose(bench.backend(name))
        bench.advance(milliseconds: 1_000)
        bench.bringUp(name, pid: 2, startedAt: 2_000)
        let fresh = bench.backend(name)
        bench.advance(milliseconds: 200)
        let list = bench.backend(other)
        #expect(list != kept, "the keys are listed over a connection of its own")
        bench.step(.connected(list))
        bench.settle()
        #expect(bench.heard(list) == "lru_crawler metadump all\r\n")
        return name == "cache1"
            ? Wires(bench: bench, primary: fresh, backup: kept, list: list)
            : Wires(bench: bench, primary: kept, backup: fresh, list: list)
    }

    @Test("What the backup holds and the primary lacks is copied; then the backup is no longer asked")
    func refillsThePrimary() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        wires.listed("a", "user%3A7")
        #expect(bench.heard(wires.primary) == "me a\r\nme user:7\r\n")
        wires.answerPrimary("ME a exp=-1 la=1 cas=2 fetch=no cls=1 size=60\r\nEN\r\n")
        #expect(bench.heard(wires.backup) == "mg user:7 u s v f t c\r\n")
        wires.answerBackup("VA 2 s2 f3 t60 c1\r\nhi\r\n")
        #expect(bench.heard(wires.primary) == "ms user:7 2 F3 T60 ME\r\nhi\r\n")
        wires.answerPrimary("HD\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.heard(wires.primary) == "me user:7\r\n", "only what is seen there is done")
        wires.answerPrimary("ME user:7 exp=60 la=1 cas=2 fetch=no cls=1 size=60\r\n")
        #expect(bench.heard(wires.list) == "lru_crawler metadump all\r\n", "a key was missing: once more")
        wires.listed("a", "user%3A7")
        _ = bench.heard(wires.primary)
        wires.answerPrimary(
            "ME a exp=-1 la=1 cas=2 fetch=no cls=1 size=60\r\nME user:7 exp=60 la=1 cas=2 fetch=no cls=1 size=60\r\n")
        #expect(bench.closed.contains(wires.list))
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        wires.answerPrimary("END\r\n")
        #expect(bench.heard(client) == "END\r\n", "a miss is a miss again")
        #expect(bench.node.servers[0].recovering, "for a while the backup still decides: other lanes may not have heard")
        bench.advance(milliseconds: 2_500)
        #expect(!bench.node.servers[0].recovering)
        #expect(bench.lines.contains("memcached has recovered server=cache1"))
        #expect(bench.logged.isEmpty, "a copy is no write")
    }

    @Test("A backup that came back empty is refilled from the primaries")
    func refillsTheBackup() throws {
        let wires = try restarted("backup1")
        let bench = wires.bench
        wires.listed("k")
        #expect(bench.heard(wires.backup) == "me k\r\n")
        wires.answerBackup("EN\r\n")
        #expect(bench.heard(wires.primary) == "mg k u s v f t c\r\n")
        wires.answerPrimary("VA 1 s1 f0 t-1 c1\r\nx\r\n")
        #expect(bench.heard(wires.backup) == "ms k 1 ME\r\nx\r\n")
        let client = bench.client()
        bench.ask(client, "get k\r\n")
        #expect(bench.heard(wires.primary) == "get k\r\n", "clients notice nothing")
    }

    @Test("A refill that is broken off goes, with the keys that it would have looked up again")
    func isGoneWhenBrokenOff() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        wires.listed("k", "l")
        wires.answerPrimary("EN\r\nEN\r\n")
        weak let refill = bench.node.refill
        #expect(refill?.again.count == 2)
        bench.lose(wires.list)
        #expect(bench.node.refill == nil)
        #expect(refill == nil, "a refill of a server that comes and goes would fill the memory")
    }

    @Test("A write during the copy wins")
    func writesWin() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        wires.listed("k")
        _ = bench.heard(wires.primary)
        wires.answerPrimary("EN\r\n")
        #expect(bench.heard(wires.backup) == "mg k u s v f t c\r\n")
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\ny\r\n")
        wires.answerBackup("VA 1 s1 f0 t-1 c1\r\nx\r\nSTORED\r\n")
        #expect(bench.heard(wires.primary) == "set k 0 0 1\r\ny\r\n")
    }

    /// The backup lists a key that the primary goes on lacking, until the backup is asked whether it has it at all.
    private func lackForGood(_ key: String, _ wires: Wires, copying value: String) {
        let bench = wires.bench
        wires.listed(key)
        for _ in 0...Limits.refillTriesMax {
            #expect(bench.heard(wires.primary) == "me \(key)\r\n")
            wires.answerPrimary("EN\r\n")
            if bench.heard(wires.backup) == "mg \(key) u s v f t c\r\n" { wires.answerBackup(value) }
            bench.advance(milliseconds: 200)
        }
    }

    @Test(
        "A key that is never copied, because it is marked as stale, too large, or gone, holds nothing up",
        arguments: [
            "HD s1 W X\r\n", "HD s1048577\r\n", "EN\r\n",
        ])
    func givesUpAKey(measured: String) throws {
        let wires = try restarted("cache1")
        lackForGood("stale", wires, copying: "EN\r\n")
        wires.answerBackup(measured)
        #expect(!wires.bench.node.servers[0].lacksItems)
    }

    @Test("As long as the backup has a key that nobody has copied, the primary is not whole; in the end somebody is told")
    func incomplete() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        lackForGood("k", wires, copying: "EN\r\n")
        wires.answerBackup("HD s1\r\n")
        #expect(bench.node.servers[0].lacksItems)
        #expect(bench.lines.last == "refill broken off server=cache1 from=backup1 reason=1 keys could not be copied")
        bench.node.servers[0].incompleteRefills = Limits.incompleteRefillsMax - 1
        bench.advance(milliseconds: 2_500)
        var again = wires
        again.list = bench.backend("backup1")
        bench.step(.connected(again.list))
        bench.settle()
        lackForGood("k", again, copying: "EN\r\n")
        again.answerBackup("HD s1\r\n")
        #expect(!bench.node.servers[0].lacksItems)
        #expect(bench.lines.contains("refill gives up server=cache1 reason=1 keys could not be copied"))
    }

    @Test("A source that another lane does not trust is not copied from, and a refill from it is not called complete")
    func distrustedSource() throws {
        var plan = Self.plan
        plan.proxies = ["n1", "n2"]
        plan.primaries = 8
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        let own = try #require(
            bench.node.servers.first { !$0.isBackup && bench.node.owner(of: Array($0.definition.name.utf8)) == Bench.n1 })
        bench.tell(link, .backend(server: 8, cutOff: true, emptied: 0))
        bench.tell(link, .backend(server: UInt16(own.index), cutOff: false, emptied: 20))
        bench.advance(milliseconds: 300)
        #expect(bench.node.refill == nil && own.lacksItems)
        bench.tell(link, .backend(server: 8, cutOff: false, emptied: 0))
        bench.advance(milliseconds: 300)
        #expect(bench.node.refill != nil)
    }

    @Test(
        "Which of two servers that restarted has what the other lost does not depend on which is met first",
        arguments: [false, true])
    func metInAnyOrder(primaryFirst: Bool) throws {
        let bench = Bench.serving(Self.plan)
        let lives = [("backup1", 3_000), ("cache1", 4_000)]
        for (name, _) in lives { bench.lose(bench.backend(name)) }
        bench.advance(milliseconds: 1_000)
        for (name, startedAt) in primaryFirst ? lives.reversed() : lives { bench.bringUp(name, pid: 2, startedAt: startedAt) }
        #expect(bench.node.servers[0].recoveringFrom == [1], "the backup lives longer, and may have what was written since")
        #expect(bench.node.servers[1].recoveringFrom == [])
    }

    /// The backup is flushed, and the primary answers a second later; then it restarts, before the flush by the seconds of the clocks.
    private func outliving(_ bench: Bench, _ link: ConnectionID) {
        bench.node.servers[1].missEverything()
        bench.lose(bench.backend("backup1"))
        letASecondPass(bench, link)
        bench.bringUp("backup1")
        #expect(bench.commands("backup1") == "flush_all\r\n")
        bench.answer("backup1", "OK\r\n")
        #expect(bench.node.servers[1].recoveringFrom == [0])
        letASecondPass(bench, link)
        showsLife(bench)
        bench.lose(bench.backend("cache1"))
        letASecondPass(bench, link)
    }

    /// The primary answers something.
    private func showsLife(_ bench: Bench) {
        bench.advance(milliseconds: 1)
        bench.node.ask(bench.node.servers[0], .probe, .meta) { Command.noop(into: $0) }
        bench.settle()
        _ = bench.commands("cache1")
        bench.answer("cache1", "MN\r\n")
    }

    @Test(
        "A server that lived on when its partner was emptied, and then restarts, is refilled from that (seeds 740887, 751169)",
        arguments: [false, true])
    func outlived(refilledFromNobody: Bool) throws {
        let (bench, link) = try withSibling()
        outliving(bench, link)
        let refilled = Message.refilled(
            server: 0, upTo: bench.node.stampOfEmptying(at: 1_009), incarnation: Array("2.1009".utf8))
        if refilledFromNobody { bench.tell(link, refilled) }
        bench.bringUp("cache1", pid: 2, startedAt: 1_009)
        #expect(bench.node.servers[0].recoveringFrom == [1], "by the seconds of its clock it started before the flush")
        #expect(bench.node.servers[1].recoveringFrom == [0], "as at lanes that have not seen it live on")
    }

    @Test("A life seen at another address tells nothing of the memcached that is looked for here now")
    func outlivedElsewhere() throws {
        let (bench, link) = try withSibling()
        outliving(bench, link)
        bench.node.servers[0].noteMoved()
        #expect(bench.node.outlived(by: bench.node.servers[0]).isEmpty)
        bench.node.servers[0].hasMoved = false
        #expect(bench.node.outlived(by: bench.node.servers[0]) == [1])
        bench.node.servers[1].cutOffAt = [Bench.n2]
        #expect(bench.node.outlived(by: bench.node.servers[0]).isEmpty, "n2 asked for a flush that may not be done yet")
    }

    @Test("What outlived another, and was emptied, still gives what it was written since to one that is emptied after it")
    func emptiedInTurns() throws {
        let (bench, link) = try withSibling()
        outliving(bench, link)
        bench.lose(bench.backend("backup1"))
        bench.bringUp("cache1", pid: 2, startedAt: 1_009)
        letASecondPass(bench, link)
        bench.bringUp("backup1", pid: 2, startedAt: 1_010)
        #expect(bench.node.servers[1].recoveringFrom == [0])
    }

    @Test(
        "Before a flush is answered nobody has outlived it: not at the lane that asks for it, and not at others",
        arguments: [false, true], [false, true])
    func flushUnderWay(bySibling: Bool, isDoneSince: Bool) throws {
        let (bench, link) = try withSibling()
        if bySibling {
            let flushed = bench.node.stampOfEmptying(at: 1_010)
            bench.tell(link, .backend(server: 1, cutOff: true, emptied: flushed))
        } else {
            bench.node.servers[1].missEverything()
            bench.lose(bench.backend("backup1"))
            letASecondPass(bench, link)
            bench.bringUp("backup1")
        }
        #expect(bench.node.servers[1].recoveringFrom == [0])
        showsLife(bench)
        bench.advance(milliseconds: 1)
        if isDoneSince && bySibling {
            bench.tell(link, .backend(server: 1, cutOff: false, emptied: bench.node.servers[1].emptied))
        } else if isDoneSince {
            bench.answer("backup1", "OK\r\n")
        }
        bench.lose(bench.backend("cache1"))
        letASecondPass(bench, link)
        bench.bringUp("cache1", pid: 2, startedAt: 1_009)
        #expect(bench.node.servers[0].recoveringFrom == [])
        #expect(bench.node.servers[1].recoveringFrom == [0], "what was written before the flush was done only that holds")
    }

    @Test("What lanes have seen counts for more than the servers' clocks", arguments: [false, true])
    func seenToLive(primaryLives: Bool) throws {
        let (bench, link) = try withSibling()
        if !primaryLives { bench.lose(bench.backend("cache1")) }
        bench.lose(bench.backend("backup1"))
        letASecondPass(bench, link)
        bench.bringUp("backup1", pid: 2, startedAt: 4_000)
        if primaryLives {
            showsLife(bench)
            bench.lose(bench.backend("cache1"))
        }
        letASecondPass(bench, link)
        bench.bringUp("cache1", pid: 2, startedAt: 3_000)
        #expect(bench.node.servers[0].recoveringFrom == (primaryLives ? [1] : []), "a greeting is no sign of the life before")
        #expect(bench.node.servers[1].recoveringFrom == [0])
    }

    @Test("A server was flushed when its own clock says so: a proxy's may be ahead by hours (seed 638167)")
    func flushedByItsOwnClock() {
        let bench = Bench.serving(Self.plan)
        bench.node.servers[1].missEverything()
        bench.lose(bench.backend("backup1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("backup1")
        #expect(bench.commands("backup1") == "flush_all\r\n")
        bench.answer("backup1", "OK\r\n")
        #expect(bench.node.servers[1].recoveringFrom == [0])
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.node.servers[0].recoveringFrom == [1], "the backup holds what was written since it was flushed")
        #expect(bench.node.servers[1].recoveringFrom == [])
    }

    @Test("A flush is as late as when it is asked for, though the server told its time before this lane was paused (seed 710111)")
    func flushedAfterAPause() {
        let bench = Bench.serving(Self.plan)
        let server = bench.node.servers[1]
        server.missEverything()
        bench.lose(bench.backend("backup1"))
        bench.advance(milliseconds: 1_000)
        bench.step(.connected(bench.backend("backup1")))
        bench.settle()
        bench.pause(milliseconds: 5_500)
        bench.answer("backup1", "STAT pid 1\r\nSTAT uptime 10\r\nSTAT time 1010\r\nEND\r\n")
        #expect(bench.commands("backup1").hasSuffix("flush_all\r\n"))
        // Else a sibling's refill of meanwhile would be taken for one that came after it.
        #expect(server.emptied >= bench.node.stampOfEmptying(at: 1_016))
    }

    @Test("A server that is flushed now is so after all that is known, though others' clocks are ahead of its own")
    func flushedAfterAll() {
        let bench = Bench.serving(Self.plan)
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 9_000)
        bench.node.servers[1].missEverything()
        bench.lose(bench.backend("backup1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("backup1")
        #expect(bench.commands("backup1") == "flush_all\r\n")
        #expect(bench.node.servers[1].recoveringFrom == [0])
        #expect(bench.node.servers[0].recoveringFrom == [], "what it was to get from there is gone")
    }

    @Test("Two servers that were emptied one after the other never recover from each other", arguments: [false, true])
    func neverFromEachOther(primaryLast: Bool) {
        let bench = Bench.serving(Self.plan)
        let stamp = HybridClock.stamp(atWall: 2_000_000_000_000_000)
        let (first, last) = primaryLast ? (1, 0) : (0, 1)
        bench.node.noteEmptied(bench.node.servers[first], at: stamp, from: [last])
        bench.node.noteEmptied(bench.node.servers[last], at: stamp + 1, from: [first])
        #expect(bench.node.servers[first].recoveringFrom == [])
        #expect(bench.node.servers[last].recoveringFrom == [first])
    }

    @Test("A copy under way does no harm to a lane that has yet to hear of any floor")
    func beforeAnyFloor() throws {
        var plan = Self.plan
        plan.proxies = ["n1", "n2"]
        let wires = try restarted("cache1", on: Bench.serving(plan))
        let bench = wires.bench
        #expect(bench.node.stableFloor == 0)
        wires.listed("k")
        wires.answerPrimary("EN\r\n")
        #expect(bench.heard(wires.backup) == "mg k u s v f t c\r\n")
        bench.advance(milliseconds: 300)
        #expect(bench.node.refill != nil)
    }

    @Test("A copy that is lost with its connection is not missed: it was no write")
    func lostCopy() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        wires.listed("k")
        wires.answerPrimary("EN\r\n")
        wires.answerBackup("VA 1 s1 f0 t-1 c1\r\nx\r\n")
        #expect(bench.heard(wires.primary).hasSuffix("ms k 1 ME\r\nx\r\n"))
        bench.lose(wires.primary)
        #expect(!bench.node.servers[0].isBehind)
    }

    @Test("A write that the backup decides is answered when the primary has its outcome, even if that recovers meanwhile")
    func answerWaits() throws {
        var plan = Self.plan
        plan.times.backendTimeoutMilliseconds = 60_000
        let wires = try restarted("cache1", on: Bench.serving(plan))
        let bench = wires.bench
        let client = bench.client()
        bench.ask(client, "incr n 1\r\n")
        wires.listed()
        bench.advance(milliseconds: 2_500)
        #expect(!bench.node.servers[0].recovering)
        wires.answerBackup("7\r\nVA 1 s1 f0 t-1 c1\r\n7\r\n")
        #expect(bench.heard(client) == "")
        #expect(bench.heard(wires.primary).contains("ms n 1"))
        wires.answerPrimary("HD\r\n")
        #expect(bench.heard(client) == "7\r\n")
    }

    @Test("A server that is busy is asked again soon; one that does not list its keys, much later")
    func refused() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        bench.receive(wires.list, Array("BUSY currently processing crawler request\r\n".utf8))
        #expect(bench.closed.contains(wires.list))
        bench.advance(milliseconds: 1_500)
        let again = bench.backend("backup1")
        #expect(again != wires.list)
        bench.step(.connected(again))
        bench.settle()
        bench.receive(again, Array("CLIENT_ERROR lru crawler disabled\r\n".utf8))
        #expect(
            bench.lines.last
                == "refill broken off server=cache1 from=backup1 reason=asked for its keys it said: CLIENT_ERROR lru crawler disabled"
        )
        bench.advance(milliseconds: 5_000)
        #expect(bench.backend("backup1") == wires.backup, "no third connection")
    }

    @Test("The list breaks off: it is begun anew. The server is lost: it waits until that is back")
    func broken() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        bench.receive(wires.list, Array("key=a exp=-1 la=1 cas=2 fe".utf8))
        bench.lose(wires.list)
        bench.advance(milliseconds: 1_500)
        #expect(bench.backend("backup1") != wires.list)
        bench.lose(wires.primary)
        bench.advance(milliseconds: 200)
        #expect(bench.node.refill == nil)
    }

    /// A lane with a sibling, which does not refill anything itself.
    private func withSibling() throws -> (Bench, ConnectionID) {
        var plan = Self.plan
        plan.proxies = ["n1", "n2"]
        plan.refillKeysPerSecond = 0
        let bench = Bench.serving(plan)
        return (bench, try bench.linkSibling())
    }

    /// The sibling is heard all the while.
    private func letASecondPass(_ bench: Bench, _ link: ConnectionID) {
        for _ in 0..<10 {
            bench.advance(milliseconds: 100)
            bench.tell(link, .heartbeat(stamp: 1, state: .serving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        }
    }

    @Test("A refill by another lane ends this lane's recovering, if it was not before the server was emptied")
    func toldByAnother() throws {
        let (bench, link) = try withSibling()
        // As long as that after what it tells, memcached may have started.
        let startedAt = HybridClock.stamp(atWall: (2_000 + Limits.serverStartEarlySeconds) * 1_000_000)
        bench.lose(bench.backend("cache1"))
        letASecondPass(bench, link)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.node.servers[0].lacksItems)
        bench.tell(link, .refilled(server: 0, upTo: startedAt - 1, incarnation: Array("1.1000".utf8)))
        #expect(bench.node.servers[0].lacksItems, "that was the life before")
        bench.tell(link, .refilled(server: 0, upTo: startedAt, incarnation: Array("2.2000".utf8)))
        #expect(!bench.node.servers[0].lacksItems)
    }

    @Test(
        "Whether a server lacks anything does not depend on what a lane hears first (seeds 613, 2640)", arguments: [false, true])
    func anyOrder(refilledFirst: Bool) throws {
        let (bench, link) = try withSibling()
        let told: [Message] = [
            .backend(server: 0, cutOff: false, emptied: 20), .refilled(server: 0, upTo: 20, incarnation: Array("2.2000".utf8)),
        ]
        for message in refilledFirst ? told.reversed() : told { bench.tell(link, message) }
        #expect(!bench.node.servers[0].lacksItems)
        bench.tell(link, .backend(server: 0, cutOff: false, emptied: 19))
        #expect(!bench.node.servers[0].lacksItems, "old news")
        bench.tell(link, .backend(server: 0, cutOff: false, emptied: 21))
        #expect(bench.node.servers[0].lacksItems, "and emptied again")
    }

    @Test("When nobody is left who could have what a server lost, the others are told so (seed 2390)")
    func nobodyLeft() throws {
        var plan = Self.plan
        plan.proxies = ["n1", "n2"]
        plan.primaries = 8
        plan.hasBackup = false
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        let owners = bench.node.servers.map { bench.node.owner(of: Array($0.definition.name.utf8)) }
        #expect(Set(owners) == [Bench.n1, Bench.n2])
        _ = try bench.messages(link)
        for server in owners.indices { bench.tell(link, .backend(server: UInt16(server), cutOff: false, emptied: 20)) }
        for _ in owners { bench.advance(milliseconds: 100) }
        let told = try bench.messages(link).compactMap { if case .refilled(let server, 20, _) = $0 { Int(server) } else { nil } }
        #expect(told.sorted() == owners.indices.filter { owners[$0] == Bench.n1 }, "by the lane that refills it, and no other")
    }

    @Test("A server that is emptied while it is refilled is refilled from the beginning")
    func emptiedAgain() throws {
        let wires = try restarted("cache1")
        let bench = wires.bench
        bench.node.noteEmptied(bench.node.servers[0], at: 0, from: [1])
        #expect(bench.node.refill == nil)
        bench.advance(milliseconds: 1_500)
        #expect(bench.node.refill?.list.connection == bench.backend("backup1"))
    }

    @Test("While the backup has yet to decide a write, it decides the next one, even if the primary has recovered")
    func authorityStays() throws {
        var plan = Self.plan
        plan.times.backendTimeoutMilliseconds = 60_000
        let wires = try restarted("cache1", on: Bench.serving(plan))
        let bench = wires.bench
        let client = bench.client()
        bench.ask(client, "incr n 1\r\n")
        #expect(bench.heard(wires.backup).hasPrefix("incr n 1\r\n"))
        wires.listed()
        bench.advance(milliseconds: 2_500)
        #expect(!bench.node.servers[0].recovering)
        let other = bench.client()
        bench.ask(other, "incr n 1\r\n")
        #expect(bench.heard(wires.primary) == "")
        #expect(bench.heard(wires.backup).hasPrefix("incr n 1\r\n"))
        bench.ask(bench.client(), "incr m 1\r\n")
        #expect(bench.heard(wires.primary).hasPrefix("incr m 1\r\n"), "of other keys the primary decides again")
    }
    @Test("A read waits for its client's write that the backup still decides, though the primary has recovered")
    func readAwaitsTheBackup() throws {
        var plan = Self.plan
        plan.times.backendTimeoutMilliseconds = 60_000
        let wires = try restarted("cache1", on: Bench.serving(plan))
        let bench = wires.bench
        bench.ask(bench.client(), "incr n 1\r\n")
        wires.listed()
        bench.advance(milliseconds: 2_500)
        #expect(!bench.node.servers[0].recovering)
        let client = bench.client()
        bench.ask(client, "incr n 1\r\nget n\r\n")
        #expect(bench.heard(wires.backup).hasSuffix("incr n 1\r\nmg n u s v f t c\r\n"))
        #expect(bench.heard(wires.primary) == "", "the primary would answer with what was before the client's own incr")
    }
}
