import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// Records of another site: applied, compared, acknowledged; and the own ones on their way out.
@Suite struct StreamTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.hasBackup = false
        plan.elsewhere = ["south"]
        return plan
    }

    private let bench = Bench.serving(Self.plan)

    /// The stream that this lane opened to the south, greeted back.
    private func outgoing(_ other: Bench? = nil) throws -> ConnectionID {
        let bench = other ?? bench
        guard let id = bench.dialled({ if case .peer(Bench.identityOfS1, _, _) = $0 { true } else { false } }) else {
            throw BenchError.notDialled
        }
        bench.step(.connected(id))
        bench.settle()
        bench.tell(id, .hello(bench.hello(.stream, from: Bench.s1)))
        return id
    }

    @Test("A record is logged, applied, and acknowledged only when memcached has it")
    func applied() throws {
        let id = try bench.openStream()
        bench.tell(id, .record(Bench.record("k", "hi", position: 1)))
        #expect(bench.commands("cache1") == "ms k 2\r\nhi\r\n")
        #expect(bench.logged.map(\.kind) == [.applied])
        #expect(try bench.words(id).isEmpty)
        bench.answer("cache1", "HD\r\n")
        #expect(try bench.words(id) == [.acknowledge(Position(1))])
    }

    @Test("A record that is more than memory keeps for the streams goes out as soon as the log has it, and not with the next one")
    func largerThanMemory() throws {
        var plan = Self.plan
        plan.tailBytesMax = 100
        let bench = Bench.serving(plan)
        let stream = try outgoing(bench)
        let client = bench.client()
        for (number, value) in [String(repeating: "x", count: 500), "y"].enumerated() {
            bench.ask(client, "set k 0 0 \(value.count)\r\n\(value)\r\n")
            _ = try bench.words(stream)
            bench.answer("cache1", "STORED\r\n")
            bench.advance(milliseconds: 100)
            let sent = try bench.words(stream).compactMap { if case .record(let record) = $0 { record } else { nil } }
            #expect(sent.map(\.value) == [Array(value.utf8)])
            bench.tell(stream, .acknowledge(Position(UInt64(number + 1))))
        }
    }

    @Test("Who reads the log for a site does not stay behind in a segment that is deleted (seed 730733)")
    func deletedUnderReader() throws {
        var plan = Self.plan
        plan.tailBytesMax = 100
        plan.segmentBytes = 1 << 16
        let bench = Bench.serving(plan)
        let stream = try outgoing(bench)
        let client = bench.client()
        let sender = try #require(bench.node.senders[SiteID(2)])
        let value = String(repeating: "x", count: 2_000)
        var position: UInt64 = 0
        func write() throws -> Int {
            position += 1
            bench.ask(client, "set k 0 0 \(value.count)\r\n\(value)\r\n")
            bench.answer("cache1", "STORED\r\n")
            bench.advance(milliseconds: 100)
            let sent = try bench.words(stream).count { if case .record = $0 { true } else { false } }
            if sent > 0 { bench.tell(stream, .acknowledge(Position(position))) }
            return sent
        }
        while bench.node.log.segment == 0 { #expect(try write() == 1) }
        // All that it has shipped was in the first segment, and it has not looked further.
        sender.cursor = LogCursor(from: LogOffset(60_000), to: LogOffset(60_000), segmentBytes: plan.segmentBytes)
        let stamp = (1_800_000_000 + 9) * 1_000_000 << 12 as UInt64
        let back = try bench.openStream()
        bench.tell(back, .promise(floor: stamp, stamp: stamp, wall: bench.now.wallMicroseconds, committed: Position(1)))
        bench.advance(milliseconds: 12_000)
        #expect(bench.deleted == [0])
        #expect(sender.cursor == nil, "it begins anew, in what there is")
    }

    @Test("An older record is dropped and acknowledged")
    func superseded() throws {
        let id = try bench.openStream()
        bench.tell(
            id, .record(Bench.record("k", "new", position: 1, seconds: 9)), .record(Bench.record("k", "old", position: 2)))
        #expect(bench.commands("cache1") == "ms k 3\r\nnew\r\n")
        #expect(try bench.words(id).isEmpty, "what supersedes it has not landed itself")
        bench.answer("cache1", "HD\r\n")
        #expect(try bench.words(id) == [.acknowledge(Position(2))])
    }

    @Test("Positions are acknowledged without gaps, in whatever order records finish")
    func noGaps() throws {
        let bench = Bench.serving(Self.plan)
        let client = bench.client()
        // A derived write holds back what is older than it, for its own key alone.
        bench.ask(client, "incr a 1\r\n")
        _ = bench.commands("cache1")
        let id = try bench.openStream()
        var old = Bench.record("a", "old", position: 1)
        old.version = Version(stamp: 1 << 12, origin: Bench.s1)
        bench.tell(id, .record(old), .record(Bench.record("b", "x", position: 2, seconds: 9)))
        #expect(bench.commands("cache1") == "ms b 1\r\nx\r\n")
        bench.answer("cache1", "5\r\nVA 1 s1 f0 t-1 c1\r\n5\r\nHD\r\n")
        #expect(try bench.words(id).last == .acknowledge(Position(2)))
    }

    @Test("A gap, a foreign origin, and a key that no command can carry end the stream")
    func refused() throws {
        let gap = try bench.openStream()
        bench.tell(gap, .record(Bench.record("k", "x", position: 2)))
        #expect(try bench.messages(gap) == [.refuse("position #2 came where #1 was due")])
        let foreign = try bench.openStream()
        var record = Bench.record("k", "x", position: 1)
        record.version = Version(stamp: 5, origin: Bench.n2)
        bench.tell(foreign, .record(record))
        #expect(
            try bench.messages(foreign)
                == [.refuse("lane s2p1l0 sent a record of s1p2l0: only a record's origin sends it")])
        let odd = try bench.openStream()
        bench.tell(odd, .record(Bench.record(String(repeating: " ", count: 250), "x", position: 1)))
        #expect(try bench.messages(odd) == [.refuse("a record's key cannot be carried")])
        #expect(bench.commands("cache1") == "")
    }

    @Test("A record that memcached cannot store is deleted there, counted, and holds nothing up")
    func tooLarge() throws {
        let id = try bench.openStream()
        bench.tell(id, .record(Bench.record("k", "hi", position: 1)))
        _ = bench.commands("cache1")
        bench.answer("cache1", "SERVER_ERROR object too large for cache\r\n")
        #expect(bench.commands("cache1") == "md k\r\n")
        #expect(try bench.words(id) == [.acknowledge(Position(1))])
        #expect(bench.node.counters.recordsRefused == 1)
    }

    @Test("A record that has expired on the way deletes; an expiry is applied as what remains")
    func expiries() throws {
        let id = try bench.openStream()
        var dead = Bench.record("a", "x", position: 1)
        dead.expiry = bench.now.wallMicroseconds - 1
        var living = Bench.record("b", "x", position: 2)
        living.expiry = bench.now.wallMicroseconds + 59_500_000
        bench.tell(id, .record(dead), .record(living))
        #expect(bench.commands("cache1") == "md a\r\nms b 1 T60\r\nx\r\n")
    }

    @Test("A touch that overtakes its value loses neither")
    func touchFirst() throws {
        let id = try bench.openStream()
        var touch = Bench.record("k", "", position: 1, seconds: 9)
        touch.content = .touch
        touch.expiry = bench.now.wallMicroseconds + 100_000_000
        bench.tell(id, .record(touch), .record(Bench.record("k", "hi", position: 2, seconds: 5)))
        #expect(bench.commands("cache1") == "mg k T100\r\nms k 2 T100\r\nhi\r\n")
    }

    @Test("A touch that arrives in a value's last second, or after it, brings the value back")
    func lateTouch() throws {
        let id = try bench.openStream()
        var value = Bench.record("k", "hi", position: 1, seconds: 1)
        value.expiry = bench.now.wallMicroseconds + 3_000_000
        bench.tell(id, .record(value))
        #expect(bench.commands("cache1") == "ms k 2 T3\r\nhi\r\n")
        bench.answer("cache1", "HD\r\n")
        bench.advance(milliseconds: 2_200)
        var touch = Bench.record("k", "", position: 2, seconds: 4)
        touch.content = .touch
        touch.expiry = bench.now.wallMicroseconds + 100_000_000
        let again = try bench.openStream(resume: 2)
        bench.tell(again, .record(touch))
        #expect(bench.commands("cache1") == "ms k 2 T100\r\nhi\r\n", "memcached counts whole seconds: it may be gone already")
    }

    @Test("A touch that overtakes an undecided append keeps neither the value nor its own expiry from the backup")
    func touchOvertakesAppend() throws {
        var plan = Self.plan
        plan.hasBackup = true
        let bench = Bench.serving(plan)
        let client = bench.client()
        bench.ask(client, "append k 0 0 1\r\n!\r\n")
        let id = try bench.openStream()
        var touch = Bench.record("k", "", position: 1, seconds: 9)
        touch.content = .touch
        touch.expiry = bench.now.wallMicroseconds + 100_000_000
        bench.tell(id, .record(touch))
        #expect(bench.commands("backup1") == "mg k T100\r\n")
        bench.answer("cache1", "STORED\r\nVA 3 s3 f0 t50 c1\r\nhi!\r\nHD\r\n")
        #expect(bench.commands("backup1") == "ms k 3 T100\r\nhi!\r\n")
    }

    @Test("A committed write goes out, and is promised never to come again once its acknowledgement is on the disk")
    func promise() throws {
        let id = try outgoing()
        _ = try bench.messages(id)
        let client = bench.client()
        bench.ask(client, "set k 0 0 1\r\nx\r\n")
        #expect(try bench.words(id).isEmpty, "nothing leaves before it has landed")
        bench.answer("cache1", "STORED\r\n")
        guard case .record(let record) = try bench.words(id).first else {
            Issue.record("the record was not sent")
            return
        }
        #expect(record.position == Position(1))
        func floors() throws -> [UInt64] {
            try bench.messages(id).compactMap { if case .promise(let floor, _, _, _) = $0 { floor } else { nil } }
        }
        bench.advance(milliseconds: 300)
        #expect(try floors().allSatisfy { $0 < record.version.stamp })
        bench.syncHangs = true
        bench.tell(id, .acknowledge(Position(1)))
        bench.advance(milliseconds: 500)
        #expect(try floors().allSatisfy { $0 < record.version.stamp }, "a crash could still forget the acknowledgement")
        bench.syncHangs = false
        bench.step(.synced(bench.node.log.tail))
        bench.advance(milliseconds: 200)
        #expect(try floors().last ?? 0 > record.version.stamp)
    }

    @Test("Durability disk: what was applied is acknowledged, and what was committed is shipped, once it is on the disk")
    func toldFromTheDisk() throws {
        var plan = Self.plan
        plan.durability = .disk
        let bench = Bench.serving(plan)
        let incoming = try bench.openStream()
        bench.advance(milliseconds: 300)
        bench.syncHangs = true
        bench.tell(incoming, .record(Bench.record("k", "hi", position: 1)))
        bench.answer("cache1", "HD\r\n")
        let client = bench.client()
        bench.ask(client, "set mine 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\n")
        let early = try bench.words(incoming)
        #expect(!early.contains(.acknowledge(Position(1))), "a power failure could still make this lane forget the record")
        #expect(bench.node.shippable == .zero, "a power failure could still make this lane give the position to another write")
        bench.step(.synced(bench.node.log.tail))
        bench.settle()
        #expect(try bench.words(incoming) == [.acknowledge(Position(1))])
        #expect(bench.node.shippable == Position(1))
    }

    @Test("A port that nobody listens on is merely not reached; a peer that would not have us refuses")
    func refusedOrNot() throws {
        bench.lose(try outgoing(), "connection refused")
        func destination() -> (state: String, message: String) {
            let told = bench.node.status(at: bench.now).destinations[0]
            return (told.state, told.message)
        }
        #expect(destination() == ("connecting", "connection refused"))
        bench.advance(milliseconds: 3_000)
        bench.tell(try outgoing(), .refuse("the rings differ: weight of cache1"))
        #expect(destination() == ("refused", "south/s1 refuses: the rings differ: weight of cache1"))
        bench.advance(milliseconds: 3_000)
        _ = try outgoing()
        #expect(destination().state == "streaming")
    }

    @Test("A segment goes once every site has what is in it, even if writes were under way when the next one began")
    func segmentsGo() throws {
        var plan = Self.plan
        plan.itemBytesMax = 64 * 1024
        plan.segmentBytes = 1 << 20
        let bench = Bench.serving(plan)
        let id = try outgoing(bench)
        let client = bench.client()
        let value = String(repeating: "v", count: 60_000)
        bench.ask(client, "set k0 0 0 60000\r\n\(value)\r\n")
        for number in 1..<40 {
            // One write is under way at any time.
            bench.ask(client, "set k\(number) 0 0 60000\r\n\(value)\r\n")
            bench.answer("cache1", "STORED\r\n")
            _ = bench.commands("cache1")
        }
        bench.answer("cache1", "STORED\r\n")
        _ = try bench.words(id)
        bench.advance(milliseconds: 500)
        #expect(bench.deleted.isEmpty, "the south has none of it")
        let stamp = (1_800_000_000 + 9) * 1_000_000 << 12 as UInt64
        let back = try bench.openStream()
        bench.tell(back, .promise(floor: stamp, stamp: stamp, wall: bench.now.wallMicroseconds, committed: Position(1)))
        bench.tell(id, .acknowledge(Position(40)))
        bench.advance(milliseconds: 12_000)
        #expect(bench.deleted.first == 0)
    }

    @Test("An acknowledgement of what was never sent ends the stream")
    func wrongAcknowledgement() throws {
        let id = try outgoing()
        _ = try bench.messages(id)
        bench.tell(id, .acknowledge(Position(7)))
        #expect(try bench.words(id) == [.refuse("acknowledges #7, which was never sent")])
    }

    @Test("After a restart the stream goes on behind what was acknowledged")
    func resumes() throws {
        let id = try outgoing()
        let client = bench.client()
        for value in 1...3 {
            bench.ask(client, "set k 0 0 1\r\n\(value)\r\n")
            bench.answer("cache1", "STORED\r\n")
        }
        bench.tell(id, .acknowledge(Position(2)))
        bench.advance(milliseconds: 500)
        let again = Bench(Self.plan, after: bench)
        again.advance(milliseconds: 100)
        guard let dialled = again.dialled({ if case .peer(Bench.identityOfS1, _, _) = $0 { true } else { false } }) else {
            Issue.record("the south was not called")
            return
        }
        again.step(.connected(dialled))
        again.settle()
        guard case .hello(let hello) = try again.messages(dialled).first else {
            Issue.record("no greeting")
            return
        }
        #expect(hello.resume == Position(3))
        again.tell(dialled, .hello(again.hello(.stream, from: Bench.s1)))
        again.bringUp("cache1")
        again.advance(milliseconds: 500)
        guard case .record(let record) = try again.words(dialled).first else {
            Issue.record("the third record was not sent from the log")
            return
        }
        #expect(record.position == Position(3))
        #expect(record.value == Array("3".utf8))
    }

    @Test("Keys that stay at home are logged as such and not sent; keys that are invalidated cross as tombstones")
    func crossing() throws {
        var plan = Self.plan
        plan.crossing = [
            .init(prefix: "", suffix: ".lock", policy: .none), .init(prefix: "page.", suffix: "", policy: .invalidate),
        ]
        let bench = Bench.serving(plan)
        let client = bench.client()
        bench.ask(client, "set a.lock 0 0 1\r\nx\r\nset page.1 0 0 1\r\nx\r\n")
        bench.answer("cache1", "STORED\r\nSTORED\r\n")
        let intents = bench.logged.filter { $0.kind == .intent }
        #expect(intents.map(\.flags) == [.local, .invalidate])
        #expect(bench.logged.filter { $0.kind == .commit }.map(\.position) == [.zero, Position(1)])
        #expect(bench.node.tail[Position(1)]?.record.content == .tombstone)
    }

    @Test("Acknowledgements become durable on a disk that syncs more slowly than they come")
    func slowSyncs() throws {
        let id = try outgoing()
        let client = bench.client()
        bench.syncHangs = true
        var underWay: (since: Int, offset: LogOffset)?
        for tick in 1...30 {
            bench.ask(client, "set k 0 0 1\r\nx\r\n")
            bench.answer("cache1", "STORED\r\n")
            bench.tell(id, .acknowledge(Position(UInt64(tick))))
            bench.advance(milliseconds: 100)
            if let sync = underWay, tick - sync.since >= 2 {
                underWay = nil
                bench.step(.synced(sync.offset))
                bench.settle()
            }
            if bench.node.syncUnderWay && underWay == nil { underWay = (tick, bench.node.log.tail) }
        }
        #expect(bench.node.senders[SiteID(2)]?.durable ?? .zero > Position(10))
    }

    @Test("A record that no server took, acknowledged and remembered as missed, is not lost with the process")
    func missedAcrossCrash() throws {
        bench.advance(milliseconds: 300)
        let away = Bench(Self.plan, after: bench)  // memcached never answers in this life
        away.advance(milliseconds: 300)
        let id = try away.openStream()
        away.tell(id, .record(Bench.record("k", "x", position: 1, seconds: 1)))
        #expect(try away.words(id) == [.acknowledge(Position(1))])
        away.advance(milliseconds: 300)
        let back = Bench(Self.plan, after: away)
        back.bringUp("cache1")
        back.advance(milliseconds: 300)
        let commands = back.commands("cache1")
        #expect(commands.contains("ms k 1\r\nx\r\n") || commands.contains("flush_all"))
    }
}
