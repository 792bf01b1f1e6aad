import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// A lane and its sibling: forwarding, mirrors, assertions, floors (`Docs/stream-format.md`).
@Suite struct GroupTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.elsewhere = ["south"]
        plan.hasBackup = false
        return plan
    }

    private let bench = Bench.serving(Self.plan)
    private let ours = Bench.key(ownedBy: Bench.n1)
    private let theirs = Bench.key(ownedBy: Bench.n2)

    /// `set` of a key that is owned here, as n2 passes it on.
    private var passedOn: ForwardedWrite {
        ForwardedWrite(
            effect: 1, shape: 0, clientFlags: 0, exptime: 0, key: Array(ours.utf8),
            command: Array("set \(ours) 0 0 1\r\nx\r\n".utf8), payloadStart: UInt32(13 + ours.utf8.count - 1), payloadCount: 1)
    }

    private func tops(_ key: String, seconds: UInt64, holder: LaneID = Bench.n2) -> KeyTops {
        KeyTops(
            key: Array(key.utf8), version: Version(stamp: (1_800_000_000 + seconds) * 1_000_000 << 12, origin: holder),
            content: .value, touch: .zero, touchExpiry: 0, holder: holder)
    }

    @Test("A link that ends at once while a sibling starts was one of two; one that ends later is a loss")
    func lostWhileStarting() throws {
        func greeted() throws -> ConnectionID {
            let id = try bench.dialledSibling()
            bench.step(.connected(id))
            bench.settle()
            bench.tell(id, .hello(bench.hello(.group, from: Bench.n2)))
            return id
        }
        bench.lose(try greeted(), "it closed the connection")
        #expect(bench.lines.contains { $0.contains("sibling lost") } && !bench.warnings.contains { $0.contains("sibling lost") })
        let link = try greeted()
        for _ in 0..<6 {
            bench.advance(milliseconds: 250)
            bench.tell(
                link, .heartbeat(stamp: 1, state: .joining, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        }
        bench.lose(link, "it closed the connection")
        #expect(bench.warnings.contains { $0.contains("sibling lost") })
    }

    @Test("A sibling that is lost is a warning; one that leaves, or has called anew, is not")
    func lost() throws {
        bench.lose(try bench.linkSibling(), "it closed the connection")
        #expect(bench.warnings.count { $0.contains("sibling lost") } == 1)
        let link = try bench.linkSibling()
        let newer = bench.accept(.peer(Bench.identityOfN2))
        bench.tell(
            newer, .hello(bench.hello(.group, from: Bench.n2)),
            .heartbeat(stamp: 1, state: .leaving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        #expect(bench.closed.contains(link))
        bench.lose(newer, "it closed the connection")
        #expect(bench.lines.count { $0.contains("sibling lost") } == 3)
        #expect(bench.warnings.count { $0.contains("sibling lost") } == 1)
    }

    @Test("A landing is mirrored after it has landed, never before, and shipped only when the sibling has it")
    func mirrorThenShip() throws {
        let link = try bench.linkSibling()
        _ = try bench.messages(link)
        let client = bench.client()
        bench.ask(client, "set \(ours) 0 0 1\r\nx\r\n")
        #expect(try bench.words(link).isEmpty)
        bench.answer("cache1", "STORED\r\n")
        guard case .mirror(let sequence, let tops) = try bench.words(link).first else {
            Issue.record("no mirror")
            return
        }
        #expect(tops.key == Array(ours.utf8))
        #expect(tops.holder == Bench.n1)
        #expect(bench.node.shippable == .zero)
        bench.tell(link, .mirrored(sequence: sequence))
        #expect(bench.node.shippable == Position(1))
    }

    @Test("A forwarded write is done here and answered over the link")
    func servesOthers() throws {
        let link = try bench.linkSibling()
        _ = try bench.messages(link)
        bench.tell(link, .forward(request: 5, hops: 1, stamp: 0, write: passedOn))
        #expect(bench.commands("cache1") == "set \(ours) 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        let answered = try bench.words(link).contains {
            if case .forwardReply(5, 0, let stamp, let reply) = $0 {
                reply == Array("STORED\r\n".utf8) && stamp >= bench.logged[0].version.stamp
            } else {
                false
            }
        }
        #expect(answered)
    }

    @Test("When the owner goes away, a set is asked of its successor, and an incr is not")
    func redirected() throws {
        let link = try bench.linkSibling()
        let client = bench.client()
        let other = bench.client()
        bench.ask(client, "set \(theirs) 0 0 1\r\nx\r\n")
        bench.ask(other, "incr \(theirs) 1\r\n")
        #expect(bench.commands("cache1") == "")
        bench.lose(link)
        #expect(bench.heard(other).contains("the outcome is unknown"))
        #expect(bench.commands("cache1") == "", "n2 may yet read the set from the old link, and do it")
        bench.lose(try bench.dialledSibling(), "connection refused", .absent)
        #expect(bench.commands("cache1") == "set \(theirs) 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
    }

    @Test("A set under a broken link is asked for again over the next one, and of the successor when the lease is over")
    func askedAgain() throws {
        let link = try bench.linkSibling()
        let client = bench.client()
        bench.ask(client, "set \(theirs) 0 0 1\r\nx\r\n")
        bench.lose(link)
        let next = try bench.linkSibling()
        #expect(bench.node.forwards.values.map(\.target) == [Bench.n2])
        #expect(bench.commands("cache1") == "")
        bench.lose(next)
        bench.advance(milliseconds: 1_200)
        #expect(bench.commands("cache1") == "set \(theirs) 0 0 1\r\nx\r\n")
    }

    @Test("A write that a sibling passed on and that still waits for its version is not done once the link is gone")
    func droppedUnstamped() throws {
        var plan = Self.plan
        plan.durability = .disk
        let first = Bench.serving(plan)
        first.advance(milliseconds: 300)
        let bench = Bench(plan, after: first, syncHangs: true)
        bench.bringUp("cache1")
        let link = try bench.linkSibling()
        bench.tell(link, .forward(request: 5, hops: 1, stamp: 0, write: passedOn))
        #expect(bench.node.work.count == 1, "it waits for the ceiling")
        bench.lose(link)
        bench.syncHangs = false
        bench.step(.synced(bench.node.log.tail))
        bench.settle()
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "", "n2 asks another for it, and its client writes on")
        #expect(bench.node.work.isEmpty)
    }

    @Test("A write is not done for a sibling that has not heard of this lane lately: it may have asked another")
    func leaseIsOver() throws {
        let link = try bench.linkSibling()
        // What this lane says does not reach n2.
        for _ in 0..<9 {
            bench.tell(link, .heartbeat(stamp: 1, state: .serving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: 0))
            bench.advance(milliseconds: 100)
        }
        #expect(!bench.closed.contains(link))
        bench.tell(link, .forward(request: 5, hops: 1, stamp: 0, write: passedOn))
        #expect(bench.closed.contains(link))
        #expect(bench.commands("cache1") == "")
    }

    @Test("A sibling's landing below the top is repaired: the owner writes the top again")
    func asserts() throws {
        let link = try bench.linkSibling()
        let client = bench.client()
        bench.ask(client, "set \(ours) 0 0 3\r\ntop\r\n")
        bench.answer("cache1", "STORED\r\n")
        _ = bench.commands("cache1")
        bench.tell(link, .mirror(sequence: 1, tops: tops(ours, seconds: 0)))
        #expect(bench.commands("cache1") == "ms \(ours) 3\r\ntop\r\n")
        #expect(bench.logged.last?.kind == .applied)
    }

    @Test("A silent sibling is dead after its time, and what it owned is owned here")
    func silence() throws {
        let link = try bench.linkSibling()
        #expect(bench.node.owner(of: Array(theirs.utf8)) == Bench.n2)
        bench.advance(milliseconds: 1_200)
        #expect(bench.closed.contains(link))
        #expect(bench.node.owner(of: Array(theirs.utf8)) == Bench.n1)
    }

    /// n2 and the south say that they are done with everything up to a moment.
    private func settleFloors(_ bench: Bench, _ link: ConnectionID, _ stream: ConnectionID, seconds: UInt64) {
        let stamp = (1_800_000_000 + seconds) * 1_000_000 << 12
        bench.tell(stream, .promise(floor: stamp, stamp: stamp, wall: bench.now.wallMicroseconds, committed: Position(9)))
        for _ in 0..<4 {
            bench.tell(
                link, .heartbeat(stamp: stamp, state: .serving, floor: stamp, groupFloor: stamp, stable: 0, sentAt: 0, echo: .max)
            )
            bench.advance(milliseconds: 100)
        }
    }

    @Test("A lane that was paused drops its links before it does what it was asked; a clock that is set ahead is no pause")
    func pausedOrSet() throws {
        let link = try bench.linkSibling()
        bench.setClockAhead(seconds: 3_600)
        bench.advance(milliseconds: 50)
        #expect(!bench.closed.contains(link))
        bench.pause(milliseconds: 10_000)
        bench.tell(link, .forward(request: 5, hops: 1, stamp: 0, write: passedOn))
        #expect(bench.closed.contains(link))
        #expect(bench.commands("cache1") == "", "it was asked before the pause, and of another lane meanwhile")
        let client = bench.client()
        bench.ask(client, "set \(ours) 0 0 1\r\ny\r\n")
        #expect(bench.commands("cache1") == "", "what was written during the pause is unknown here: first n2 must tell")
        _ = try bench.linkSibling()
        #expect(bench.node.forwards.values.map(\.target) == [Bench.n2], "until this lane serves again, n2 does")
        #expect(bench.commands("cache1") == "")
    }

    @Test("A lane that is paused while it leaves ends; it does not take itself for the last one")
    func pausedWhileLeaving() throws {
        let link = try bench.linkSibling()
        let client = bench.client()
        bench.ask(client, "set \(ours) 0 0 1\r\nx\r\n")
        _ = bench.commands("cache1")
        bench.step(.leave)
        bench.settle()
        bench.pause(milliseconds: 10_000)
        bench.tell(link, .forward(request: 5, hops: 1, stamp: 0, write: passedOn))
        bench.advance(milliseconds: 100)
        #expect(bench.commands("cache1") == "")
        #expect(bench.finished)
    }

    @Test("A landing of something long stable, by a lane that was alone, is repaired where something younger is known")
    func stableLandsAgain() throws {
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        settleFloors(bench, link, stream, seconds: 2)
        #expect(bench.node.stableFloor == (1_800_000_002 * 1_000_000) << 12)
        bench.tell(stream, .record(Bench.record(ours, "new", position: 1, seconds: 3)))
        bench.answer("cache1", "HD\r\n")
        _ = bench.commands("cache1")
        bench.tell(link, .mirror(sequence: 7, tops: tops(ours, seconds: 1)))
        #expect(bench.commands("cache1") == "ms \(ours) 3\r\nnew\r\n")
    }

    @Test("What a server missed is written again even if its owner has let go of it; what was merely overtaken is not")
    func missedIsWrittenAgain() throws {
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        settleFloors(bench, link, stream, seconds: 2)
        var told = tops(ours, seconds: 1)
        told.content = .tombstone
        bench.tell(link, .assert(request: 8, hops: 1, cause: .overtaken, doubted: .zero, tops: told))
        #expect(bench.commands("cache1") == "")
        bench.tell(link, .assert(request: 9, hops: 1, cause: .missed, doubted: .zero, tops: told))
        #expect(bench.commands("cache1") == "md \(ours)\r\n")
    }

    @Test("A key leaves the index when every lane of the group and every lane elsewhere is past it, and not before")
    func forgets() throws {
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record(ours, "new", position: 1, seconds: 1)))
        bench.answer("cache1", "HD\r\n")
        for case .mirror(let sequence, _) in try bench.words(link) { bench.tell(link, .mirrored(sequence: sequence)) }
        bench.tell(
            link, .heartbeat(stamp: 0, state: .serving, floor: .max >> 1, groupFloor: .max >> 1, stable: 0, sentAt: 0, echo: .max)
        )
        bench.advance(milliseconds: 300)
        #expect(bench.node.index.count == 1, "the south has promised nothing")
        bench.advance(milliseconds: 2_000)
        let again = try bench.linkSibling()
        let stream2 = try bench.openStream(resume: 2)
        settleFloors(bench, again, stream2, seconds: 2)
        #expect(bench.node.index.count == 0)
        #expect(bench.node.stableFloor == (1_800_000_002 * 1_000_000) << 12)
    }

    @Test(
        "A record that was promised never to come again, and comes late over another connection, is not applied")
    func lateDuplicate() throws {
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        let old = Bench.record(ours, "old", position: 1, seconds: 1)
        bench.tell(stream, .record(old), .record(Bench.record(ours, "new", position: 2, seconds: 2)))
        _ = bench.commands("cache1")
        bench.answer("cache1", "HD\r\nHD\r\n")
        for case .mirror(let sequence, _) in try bench.words(link) { bench.tell(link, .mirrored(sequence: sequence)) }
        bench.advance(milliseconds: 3_000)
        let again = try bench.linkSibling()
        let stream2 = try bench.openStream(resume: 3)
        settleFloors(bench, again, stream2, seconds: 3)
        #expect(bench.node.index.count == 0)
        // The south's first attempt went to n2 and got stuck in the network; it arrives there now, and n2 passes it on.
        bench.tell(again, .apply(request: 1, hops: 1, record: old))
        #expect(bench.commands("cache1") == "", "the site holds the newer value")
        #expect(try bench.words(again).contains(.done(request: 1)))
    }

    @Test("Versions without a time are refused, not reckoned with")
    func stampZero() throws {
        let stream = try bench.openStream()
        var record = Bench.record(ours, "x", position: 1)
        record.version = Version(stamp: 0, origin: Bench.s1)
        bench.tell(stream, .record(record))
        #expect(bench.closed.contains(stream))
    }

    @Test("After a restart, a touch of a value that was long stable does not bring back that value over a younger one")
    func stableValueBelowATouch() throws {
        let first = Bench.serving(Self.plan)
        let link = try first.linkSibling()
        let stream = try first.openStream()
        first.tell(stream, .record(Bench.record(ours, "old", position: 1, seconds: 1)))
        first.answer("cache1", "HD\r\n")
        for case .mirror(let sequence, _) in try first.words(link) { first.tell(link, .mirrored(sequence: sequence)) }
        settleFloors(first, link, stream, seconds: 5)
        first.node.logCeiling()
        first.advance(milliseconds: 100)
        var touch = Bench.record(ours, "", position: 2, seconds: 9)
        touch.content = .touch
        touch.expiry = first.now.wallMicroseconds + 100_000_000
        first.tell(stream, .record(touch))
        first.answer("cache1", "HD\r\n")
        let bench = Bench.serving(Self.plan, after: first)
        let again = try bench.linkSibling()
        bench.advance(milliseconds: 100)
        for case .assert(let request, _, _, _, _) in try bench.words(again) { bench.tell(again, .done(request: request)) }
        // Meanwhile n2 has written the key, and everybody has; after a power failure it has yet to hear of the touch.
        bench.tell(again, .mirror(sequence: 0, tops: tops(ours, seconds: 3)))
        bench.advance(milliseconds: 100)
        let commands = bench.commands("cache1")
        #expect(commands.hasPrefix("mg \(ours) T"))
        #expect(!commands.contains("old"))
    }

    @Test("What everybody has let go of is no top again after a restart, and nothing older than it is either")
    func stableIsLogged() throws {
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record(ours, "old", position: 1, seconds: 1)))
        bench.answer("cache1", "HD\r\n")
        for case .mirror(let sequence, _) in try bench.words(link) { bench.tell(link, .mirrored(sequence: sequence)) }
        // While this lane did not own the key, n2 wrote it; only its mirror told of that.
        bench.tell(link, .mirror(sequence: 1, tops: tops(ours, seconds: 2)))
        settleFloors(bench, link, stream, seconds: 3)
        #expect(bench.node.index.count == 0)
        let after = Bench(Self.plan, after: bench)
        #expect(after.node.index[Array(ours.utf8)] == nil, "n2's value is the top, and nobody remembers it")
    }

    @Test("A lane that starts with an old log hears from its sibling what is stable, and lets go of it")
    func stableIsTold() throws {
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record(ours, "old", position: 1, seconds: 1)))
        bench.answer("cache1", "HD\r\n")
        for case .mirror(let sequence, _) in try bench.words(link) { bench.tell(link, .mirrored(sequence: sequence)) }
        bench.advance(milliseconds: 2_000)
        let after = Bench(Self.plan, after: bench)
        #expect(after.node.index[Array(ours.utf8)] != nil)
        let again = try after.linkSibling(stable: HybridClock.stamp(atWall: 1_800_000_002_000_000))
        #expect(after.node.index[Array(ours.utf8)] == nil)
        after.tell(again, .mirror(sequence: 0, tops: tops(ours, seconds: 1)))
        #expect(after.node.index[Array(ours.utf8)] == nil)
    }

    @Test("A lane that starts takes its slots only when it has tried its servers")
    func serversFirst() throws {
        let bench = Bench(Self.plan)
        _ = try bench.linkSibling()
        #expect(bench.node.state == .joining)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 100)
        #expect(bench.node.state == .serving)
    }
}
