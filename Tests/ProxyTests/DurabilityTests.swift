import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// What is owed to whom when the disk is slow or full, and when the process dies or leaves.
@Suite struct DurabilityTests {
    @Test("Durability disk: a reply is held until its outcome is synced; reads are not")
    func heldUntilSynced() {
        var plan = BenchPlan()
        plan.durability = .disk
        let bench = Bench.serving(plan)
        bench.advance(milliseconds: 300)
        bench.syncHangs = true
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "")
        let reader = bench.client()
        bench.ask(reader, "get k\r\n")
        bench.answer("cache1", "VALUE k 0 1\r\nx\r\nEND\r\n")
        #expect(bench.heard(reader) == "VALUE k 0 1\r\nx\r\nEND\r\n")
        bench.step(.synced(bench.node.log.tail))
        bench.settle()
        #expect(bench.heard(client) == "STORED\r\n")
    }

    @Test("Durability disk: no version is given above the ceiling that is on the disk, so that none is given twice")
    func ceilingFirst() {
        var plan = BenchPlan()
        plan.durability = .disk
        let first = Bench.serving(plan)
        first.advance(milliseconds: 300)
        let bench = Bench(plan, after: first, syncHangs: true)
        bench.bringUp("cache1")
        bench.bringUp("backup1")
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\nget k\r\n")
        #expect(bench.commands("cache1") == "", "a power failure would forget how far the clock has gone")
        bench.step(.synced(bench.node.log.tail))
        bench.settle()
        #expect(bench.commands("cache1") == "set k 0 0 1\r\nx\r\n", "and the read waits for the write")
    }

    @Test("A full disk refuses writes with a clear error, reads go on, and writes go on once there is room")
    func fullDisk() {
        let bench = Bench(diskIsFull: true)
        bench.bringUp("cache1")
        bench.bringUp("backup1")
        let client = bench.client()
        #expect(
            bench.ask(client, "set k 0 0 1\r\nx\r\n")
                == "SERVER_ERROR write log of lane s1p1l0 takes no more writes: No space left on device\r\n")
        #expect(bench.commands("cache1") == "", "no server sees what the log cannot hold")
        bench.ask(client, "get k\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        #expect(bench.lines.contains { $0.contains("log segment cannot be made") && $0.contains("No space left") })
        bench.diskIsFull = false
        bench.advance(milliseconds: 2_500)
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
    }

    @Test("Clients that come before the log has its first segment wait for it; nobody is refused for having been early")
    func earlyClients() {
        let bench = Bench(segmentsWait: true)
        bench.bringUp("cache1")
        bench.bringUp("backup1")
        let client = bench.client()
        #expect(bench.ask(client, "set k 0 0 1\r\nx\r\n") == "")
        bench.advance(milliseconds: 100)
        #expect(bench.heard(client) == "")
        bench.makeSegments()
        #expect(bench.commands("cache1") == "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
    }

    @Test("A disk that fills up while writes are under way takes their outcomes all the same")
    func outcomesFit() {
        var plan = BenchPlan()
        plan.itemBytesMax = 64 * 1024
        plan.segmentBytes = 1 << 20
        let bench = Bench.serving(plan)
        bench.diskIsFull = true
        let client = bench.client()
        let value = String(repeating: "v", count: 60_000)
        var refused = false
        for number in 0..<60 where !refused {
            let answer = bench.ask(client, "set k\(number) 0 0 60000\r\n\(value)\r\n")
            refused = answer.hasPrefix("SERVER_ERROR write log")
            if !refused {
                bench.answer("cache1", "STORED\r\n")
                bench.answer("backup1", "STORED\r\n")
                #expect(bench.heard(client) == "STORED\r\n")
            }
        }
        #expect(refused)
        let kinds = bench.logged.map(\.kind)
        #expect(kinds.filter { $0 == .intent }.count == kinds.filter { $0 == .commit }.count)
    }

    @Test("A set whose process died between log and reply is committed at the restart, and landed again")
    func openIntent() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        let again = Bench.serving(after: bench)
        #expect(again.logged.map(\.kind).prefix(2) == [.intent, .commit])
        again.advance(milliseconds: 300)
        #expect(again.commands("cache1").contains("ms k 1\r\nx\r\n"))
    }

    @Test("After a restart a touch that may not have landed is written again; the value below it, which had, is not")
    func onlyTheTouch() throws {
        var plan = BenchPlan()
        plan.hasBackup = false
        plan.elsewhere = ["south"]
        let first = Bench.serving(plan)
        let stream = try first.openStream()
        first.tell(stream, .record(Bench.record("k", "old", position: 1, seconds: 1)))
        first.answer("cache1", "HD\r\n")
        first.advance(milliseconds: 500)
        var touch = Bench.record("k", "", position: 2, seconds: 9)
        touch.content = .touch
        touch.expiry = first.now.wallMicroseconds + 100_000_000
        first.tell(stream, .record(touch))
        let bench = Bench.serving(plan, after: first)
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "mg k T99\r\n", "another lane may have written a younger value, long stable by now")
    }

    @Test("A value that was written again with a sibling's touch is landed with that touch after a restart")
    func touchOfASibling() throws {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.elsewhere = ["south"]
        plan.hasBackup = false
        let key = Bench.key(ownedBy: Bench.n1)
        let first = Bench.serving(plan)
        let link = try first.linkSibling()
        let stream = try first.openStream()
        let record = Bench.record(key, "v", position: 1, seconds: 1)
        first.tell(stream, .record(record))
        first.answer("cache1", "HD\r\n")
        first.advance(milliseconds: 500)
        let touch = Version(stamp: HybridClock.stamp(atWall: 1_800_000_002_000_000), origin: Bench.n2)
        let expiry = first.now.wallMicroseconds + 100_000_000
        let tops = KeyTops(
            key: Array(key.utf8), version: .zero, content: .none, touch: touch, touchExpiry: expiry, holder: Bench.n2)
        first.tell(
            link, .mirror(sequence: 1, tops: tops),
            .assert(
                request: 1, hops: 1, cause: .overtaken, doubted: .zero, tops: tops))
        first.advance(milliseconds: 100)
        #expect(first.commands("cache1").hasSuffix("ms \(key) 1 T100\r\nv\r\n"))
        let bench = Bench.serving(plan, after: first)
        for _ in 0..<40 where bench.node.state != .serving { bench.advance(milliseconds: 100) }
        bench.advance(milliseconds: 100)
        #expect(bench.commands("cache1").hasPrefix("ms \(key) 1 T9"))
    }

    @Test("A lane that starts at the beginning of a segment says there what the older ones said, before they are deleted")
    func carriesAfterARestart() throws {
        var plan = BenchPlan()
        plan.elsewhere = ["south"]
        plan.hasBackup = false
        plan.segmentBytes = 1 << 20
        plan.itemBytesMax = 100_000
        let first = Bench.serving(plan)
        let client = first.client()
        let value = String(repeating: "v", count: 90_000)
        for _ in 0..<12 {
            first.ask(client, "set k 0 0 90000\r\n\(value)\r\n")
            first.answer("cache1", "STORED\r\n")
        }
        let bench = Bench(plan, after: first, segmentsWait: true, diskBytes: plan.segmentBytes)
        #expect(bench.node.log.tail.raw == UInt64(plan.segmentBytes))
        bench.makeSegments()
        bench.bringUp("cache1")
        bench.advance(milliseconds: 300)
        let carried = Bench.records(in: bench.disk).filter { $0.offset.raw >= UInt64(plan.segmentBytes) }.map(\.record.kind)
        #expect(carried.contains(.ceiling) && carried.contains(.acknowledged) && carried.contains(.backendState))
    }

    @Test("An incr whose process died is in doubt: what the site holds is read and written again, the incr is not")
    func openDerived() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "incr n 1\r\n")
        let again = Bench.serving(after: bench)
        again.advance(milliseconds: 300)
        let commands = again.commands("cache1") + again.commands("backup1")
        #expect(commands.contains("mg n"))
        #expect(!commands.contains("incr"))
    }

    @Test("A lane never gives a version that it may have given before, even if the wall clock was set back")
    func clockSetBack() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        let given = bench.logged.map(\.version.stamp).max() ?? 0
        let again = Bench.serving(after: bench, clockSetBackSeconds: 3_600)
        let other = again.client()
        // What may not have landed is landed again first.
        for _ in 0..<2 {
            again.advance(milliseconds: 200)
            for name in ["cache1", "backup1"] where again.commands(name).contains("ms k") { again.answer(name, "HD\r\n") }
        }
        again.ask(other, "set k 0 0 1\r\ny\r\n")
        #expect(again.logged.last { $0.kind == .intent }?.version.stamp ?? 0 > given)
    }

    @Test("Restarts in a row do not carry a lane's clock away from the time (seed 637164)", arguments: [0, 3_600])
    func restartsDoNotAddUp(clockSetBackSeconds: UInt64) {
        var bench = Bench.serving()
        bench.advance(milliseconds: 500)
        bench = Bench.serving(after: bench, clockSetBackSeconds: clockSetBackSeconds)
        for _ in 0..<12 {
            bench.advance(milliseconds: 500)
            let last = bench.node.clock.last
            bench = Bench.serving(after: bench)
            #expect(bench.node.clock.last >= last, "what was given before must not be given again")
        }
        let clock = HybridClock.wall(of: bench.node.clock.last)
        let ahead = clock - min(clock, bench.now.wallMicroseconds)
        #expect(ahead <= Limits.ceilingAheadMicroseconds + clockSetBackSeconds * 1_000_000, "it is \(ahead / 1_000) ms ahead")
    }

    @Test("Durability disk: a lane that follows clocks far ahead goes on writing, however slow its disk is")
    func slowDiskUnderFastClocks() throws {
        var plan = BenchPlan()
        plan.durability = .disk
        plan.proxies = ["n1", "n2"]
        let bench = Bench.serving(plan)
        let sibling = try bench.linkSibling()
        func hear() {
            let stamp = HybridClock.stamp(atWall: bench.now.wallMicroseconds + 3_600_000_000)
            bench.tell(
                sibling,
                .heartbeat(stamp: stamp, state: .serving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        }
        hear()
        bench.syncHangs = true
        let client = bench.client()
        let key = Bench.key(ownedBy: Bench.n1)
        bench.ask(client, "set \(key) 0 0 1\r\nx\r\n")
        for _ in 0..<6 where bench.commands("cache1") == "" {
            let asked = bench.node.log.tail
            for _ in 0..<15 {
                bench.advance(milliseconds: 100)
                hear()
            }
            bench.step(.synced(asked))
            bench.settle()
        }
        #expect(bench.logged.contains { $0.kind == .intent }, "a write must not wait for ever")
    }

    @Test("Leaving: clients are answered and let go, then the lane is finished")
    func leaves() {
        let bench = Bench.serving()
        let client = bench.client()
        let idle = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.step(.leave)
        bench.settle()
        #expect(bench.closed.contains(idle))
        #expect(!bench.closed.contains(client), "it is owed a reply")
        bench.advance(milliseconds: 100)
        #expect(!bench.finished)
        bench.answer("cache1", "STORED\r\n")
        bench.answer("backup1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        #expect(bench.closed.contains(client))
        bench.advance(milliseconds: 300)
        #expect(bench.finished)
        #expect(bench.lines.contains("lane left complete=true"))
        #expect(bench.node.nextDeadline == nil)
    }

    @Test("Leaving does not wait for ever: a server that never answers is given its time, a site that is away is not waited for")
    func leavesLate() {
        var plan = BenchPlan()
        plan.elsewhere = ["south"]
        let bench = Bench.serving(plan)
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        bench.step(.leave)
        bench.settle()
        bench.advance(milliseconds: 4_000)
        #expect(bench.finished)
    }
}
