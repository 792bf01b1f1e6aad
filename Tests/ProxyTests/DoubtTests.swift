import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// What nobody knows must not undo what clients were told: outcomes of derived writes, and values that are elsewhere.
@Suite struct DoubtTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.elsewhere = ["south"]
        plan.hasBackup = false
        return plan
    }

    private static var planForTwo: BenchPlan {
        var plan = Self.plan
        plan.proxies = ["n1", "n2"]
        return plan
    }

    private let ours = Bench.key(ownedBy: Bench.n1)

    private func isInDoubt(_ bench: Bench) -> Bool {
        bench.node.observations?.contains { if case .inDoubt = $0 { true } else { false } } ?? false
    }

    /// A lane that asked for an incr, and lost the connection before the answer.
    private func doubting() throws -> (bench: Bench, stream: ConnectionID, doubted: Version) {
        let bench = Bench.serving(Self.plan)
        let stream = try bench.openStream()
        bench.ask(bench.client(), "incr n 1\r\n")
        _ = bench.commands("cache1")
        bench.lose(bench.backend("cache1"))
        let doubted = try #require(bench.logged.first { $0.kind == .derivedIntent }).version
        return (bench, stream, doubted)
    }

    private func bringBack(_ bench: Bench) {
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 200)
    }

    // MARK: Derived writes

    @Test("What another site stored since a derived write was asked for outranks it, whatever became of it")
    func youngerOutranks() throws {
        let (bench, stream, _) = try doubting()
        bench.tell(stream, .record(Bench.record("n", "new", position: 1, seconds: 3)))
        bringBack(bench)
        #expect(bench.commands("cache1") == "ms n 3\r\nnew\r\n", "the south's client was told that it is stored")
        #expect(!isInDoubt(bench))
        bench.answer("cache1", "HD\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.node.doubts.isEmpty)
        #expect(bench.logged.allSatisfy { $0.kind != .intent && $0.kind != .commit })
    }

    @Test("A derived write is settled under the version that it was given, and holds the floors until then")
    func settledUnderItsVersion() throws {
        let (bench, _, doubted) = try doubting()
        bench.advance(milliseconds: 1_000)
        #expect(bench.node.originFloor() < doubted.stamp)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "mg n u s v f t c\r\n")
        bench.answer("cache1", "VA 1 s1 f0 t-1 c1\r\n8\r\n")
        #expect(bench.commands("cache1").hasPrefix("ms n 1"))
        #expect(bench.logged.last { $0.kind == .intent }?.version == doubted)
        bench.answer("cache1", "HD\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.node.originFloor() > doubted.stamp)
        #expect(bench.node.servers[0].missed.isEmpty)
    }

    @Test("A younger touch that the server missed decides how long the settled value lives")
    func youngerTouch() throws {
        let (bench, stream, doubted) = try doubting()
        var touch = Bench.record("n", "", position: 1, seconds: 3)
        touch.content = .touch
        touch.expiry = bench.now.wallMicroseconds + 100_000_000
        bench.tell(stream, .record(touch))
        bringBack(bench)
        bench.answer("cache1", "VA 1 s1 f0 t9 c1\r\n8\r\n")
        #expect(bench.commands("cache1").hasSuffix("ms n 1 T99\r\n8\r\n"))
        #expect(bench.logged.last { $0.kind == .intent }?.version == doubted)
    }

    @Test("After a restart too")
    func settledAfterARestart() throws {
        let bench = Bench.serving(Self.plan)
        bench.ask(bench.client(), "incr n 1\r\n")
        let doubted = try #require(bench.logged.first { $0.kind == .derivedIntent }).version
        let again = Bench.serving(Self.plan, after: bench)
        #expect(again.node.originFloor() < doubted.stamp)
        again.advance(milliseconds: 200)
        #expect(again.commands("cache1") == "mg n u s v f t c\r\n")
        again.answer("cache1", "VA 1 s1 f0 t-1 c1\r\n8\r\n")
        #expect(again.commands("cache1") == "ms n 1\r\n8\r\n")
        #expect(again.logged.last { $0.kind == .intent }?.version == doubted)
        // It dies again before the answer: settled is settled, and is only landed again.
        let third = Bench.serving(Self.plan, after: again)
        third.advance(milliseconds: 200)
        #expect(third.commands("cache1") == "ms n 1\r\n8\r\n")
        third.answer("cache1", "HD\r\n")
        third.advance(milliseconds: 200)
        #expect(third.node.doubts.isEmpty)
    }

    @Test("What memcached lost with its own memory is not deleted at other sites; a deletion that was doubted is")
    func nothingThere() throws {
        let (bench, _, _) = try doubting()
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        bench.advance(milliseconds: 200)
        bench.answer("cache1", "EN\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.logged.allSatisfy { $0.content != .tombstone })
        #expect(bench.node.doubts.isEmpty)
        let other = Bench.serving(Self.plan)
        other.ask(other.client(), "md n C5\r\n")
        let doubted = try #require(other.logged.first { $0.kind == .derivedIntent }).version
        other.lose(other.backend("cache1"))
        bringBack(other)
        other.answer("cache1", "EN\r\n")
        let tombstone = try #require(other.logged.last { $0.kind == .intent })
        #expect(tombstone.content == .tombstone && tombstone.version == doubted)
    }

    @Test("What is not in memcached but still known here is written again")
    func stillKnown() throws {
        let bench = Bench.serving(Self.plan)
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record("n", "7", position: 1, seconds: 0)))
        bench.answer("cache1", "HD\r\n")
        bench.ask(bench.client(), "incr n 1\r\n")
        _ = bench.commands("cache1")
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "mg n u s v f t c\r\n")
        bench.answer("cache1", "EN\r\n")
        #expect(bench.commands("cache1") == "ms n 1\r\n7\r\n")
    }

    @Test("A doubt does not keep every site from forgetting for ever: after a minute its version is given up")
    func givenUp() throws {
        let (bench, _, doubted) = try doubting()
        bench.advance(milliseconds: 59_000)
        #expect(bench.node.originFloor() < doubted.stamp)
        bench.advance(milliseconds: 2_000)
        #expect(bench.node.originFloor() > doubted.stamp)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 200)
        bench.answer("cache1", "VA 1 s1 f0 t-1 c1\r\n8\r\n")
        #expect(bench.logged.last { $0.kind == .intent }?.version ?? .zero > doubted)
    }

    @Test("A doubt that an earlier life of the lane may have given up is not held by the next")
    func ageOfARecovered() {
        let now = Instant(monotonicMicroseconds: 5_000_000, wallMicroseconds: 1_800_000_000_000_000)
        func until(secondsAgo: UInt64) -> UInt64 {
            let stamp = HybridClock.stamp(atWall: now.wallMicroseconds - secondsAgo * 1_000_000)
            let record = LogRecord(kind: .derivedIntent, content: .value, version: Version(stamp: stamp, origin: Bench.n1))
            return LaneNode.recovered(record, at: now).until
        }
        #expect(until(secondsAgo: 3_600) == now.monotonicMicroseconds)
        #expect(until(secondsAgo: 20) == now.monotonicMicroseconds + 40_000_000)
    }

    @Test("What the backup knows settles a doubt while the primary is away")
    func settledByTheBackup() throws {
        var plan = Self.plan
        plan.hasBackup = true
        let bench = Bench.serving(plan)
        bench.ask(bench.client(), "incr n 1\r\n")
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 200)
        #expect(bench.commands("backup1") == "mg n u s v f t c\r\n")
        bench.answer("backup1", "VA 1 s1 f0 t-1 c1\r\n7\r\n")
        #expect(bench.commands("backup1") == "ms n 1\r\n7\r\n")
        bench.answer("backup1", "HD\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.node.doubts.isEmpty)
    }

    @Test("A doubt outlives the flush of a server that missed too much")
    func flushed() throws {
        let (bench, _, doubted) = try doubting()
        bench.node.servers[0].missed.removeAll()
        bench.node.servers[0].missedTooMany = true
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        #expect(bench.commands("cache1") == "flush_all\r\n")
        bench.answer("cache1", "OK\r\n")
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "mg n u s v f t c\r\n")
        #expect(bench.node.doubts[Array("n".utf8)]?.version == doubted)
    }

    @Test("A doubt waits for room in the log, and is not forgotten")
    func waitsForRoom() throws {
        var plan = Self.plan
        plan.segmentBytes = 1 << 20
        plan.itemBytesMax = 500_000
        let first = Bench.serving(plan)
        first.ask(first.client(), "incr n 1\r\n")
        let doubted = try #require(first.logged.first { $0.kind == .derivedIntent }).version
        plan.itemBytesMax = 1_000_000
        let bench = Bench(plan, after: first, diskIsFull: true)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 500)
        #expect(bench.commands("cache1") == "")
        #expect(bench.node.doubts[Array("n".utf8)]?.version == doubted)
        bench.diskIsFull = false
        var asked = ""
        for _ in 0..<100 where asked.isEmpty {
            bench.advance(milliseconds: 100)
            asked = bench.commands("cache1")
        }
        #expect(asked == "mg n u s v f t c\r\n")
        bench.answer("cache1", "VA 1 s1 f0 t-1 c1\r\n8\r\n")
        #expect(bench.logged.last { $0.kind == .intent }?.version == doubted)
    }

    @Test("Writes behind a doubt do not wait for a server that stays away: they are refused by its name")
    func refusedBehind() throws {
        let (bench, _, _) = try doubting()
        bench.advance(milliseconds: 1_000)
        bench.bringUp("cache1")
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "mg n u s v f t c\r\n")
        let client = bench.client()
        #expect(bench.ask(client, "set n 0 0 1\r\nx\r\n") == "")
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 200)
        #expect(bench.heard(client) == "SERVER_ERROR server cache1 (cache1:11211) is unreachable: connection reset\r\n")
    }

    @Test("A doubt that waited for a server is over when the lane that owns the key by then has settled it (seed 200017)")
    func settledElsewhere() throws {
        var plan = Self.planForTwo
        plan.hasBackup = true
        let bench = Bench.serving(plan)
        bench.advance(milliseconds: 1_500)
        let theirs = Bench.key(ownedBy: Bench.n2)
        bench.ask(bench.client(), "add \(theirs) 0 0 1\r\n0\r\n")
        #expect(bench.commands("cache1").hasPrefix("add"), "n2 is not there yet")
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 200)
        #expect(bench.commands("backup1") == "mg \(theirs) u s v f t c\r\n")
        bench.answer("backup1", "EN\r\n")
        #expect(bench.node.doubts[Array(theirs.utf8)]?.isDeferred == true)
        let link = try bench.linkSibling()
        bench.bringUp("cache1")
        var asked = 0
        for _ in 0..<5 {
            bench.advance(milliseconds: 100)
            for case .assert(let request, _, .doubt, _, _) in try bench.messages(link) {
                asked += 1
                bench.tell(link, .done(request: request))
            }
        }
        #expect(asked > 0)
        #expect(bench.node.doubts.isEmpty, "it would be asked for without end")
        #expect(bench.node.servers[0].isUp)
    }

    @Test("Another lane's doubt yields to a younger top as well")
    func anothersDoubt() throws {
        let bench = Bench.serving(Self.planForTwo)
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record(ours, "new", position: 1, seconds: 3)))
        bench.answer("cache1", "HD\r\n")
        _ = bench.commands("cache1")
        let doubted = Version(stamp: HybridClock.stamp(atWall: 1_800_000_002_000_000), origin: Bench.n2)
        let empty = KeyTops(
            key: Array(ours.utf8), version: .zero, content: .none, touch: .zero, touchExpiry: 0, holder: Bench.n2)
        bench.tell(link, .assert(request: 4, hops: 1, cause: .doubt, doubted: doubted, tops: empty))
        #expect(bench.commands("cache1") == "ms \(ours) 3\r\nnew\r\n")
    }

    // MARK: Values that are elsewhere

    /// A lane whose own landing came below a top that n2 holds, which then died.
    private func orphaned() throws -> (bench: Bench, version: Version) {
        let bench = Bench.serving(Self.planForTwo)
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record(ours, "old", position: 1, seconds: 1)))
        _ = bench.commands("cache1")
        let version = Version(stamp: HybridClock.stamp(atWall: 1_800_000_002_000_000), origin: Bench.n2)
        let tops = KeyTops(
            key: Array(ours.utf8), version: version, content: .value, touch: .zero, touchExpiry: 0, holder: Bench.n2)
        bench.tell(link, .mirror(sequence: 1, tops: tops))
        bench.lose(link)
        bench.answer("cache1", "HD\r\n")
        bench.advance(milliseconds: 300)
        return (bench, version)
    }

    /// What n2 is asked for, once it is back.
    private func fetchRequest(_ bench: Bench, _ link: ConnectionID) throws -> UInt64 {
        bench.advance(milliseconds: 100)
        for case .fetch(let request, _, _) in try bench.words(link) { return request }
        throw BenchError.notDialled
    }

    @Test("The value of a lane that is away is waited for: what the site holds instead may be older than what others were told")
    func holderAway() throws {
        let (bench, version) = try orphaned()
        #expect(!bench.commands("cache1").contains("mg"))
        let link = try bench.linkSibling()
        let request = try fetchRequest(bench, link)
        var record = Bench.record(ours, "new", position: 0)
        record.version = version
        bench.tell(link, .fetched(request: request, answer: .found(record)))
        #expect(bench.commands("cache1") == "ms \(ours) 3\r\nnew\r\n")
        #expect(!isInDoubt(bench))
    }

    @Test("It is given up after a minute, or as soon as its lane says that it is lost")
    func holderNeverBack() throws {
        let (bench, _) = try orphaned()
        bench.advance(milliseconds: 60_000)
        #expect(bench.commands("cache1").contains("mg \(ours)"))
        let (other, _) = try orphaned()
        let link = try other.linkSibling()
        other.tell(link, .fetched(request: try fetchRequest(other, link), answer: .unknown))
        #expect(other.commands("cache1").contains("mg \(ours)"))
    }

    @Test("A lane that is about to replace the value says so; the asker waits for the mirror and writes nothing of its own")
    func superseded() throws {
        let (bench, version) = try orphaned()
        let link = try bench.linkSibling()
        bench.tell(link, .fetched(request: try fetchRequest(bench, link), answer: .superseded))
        #expect(bench.commands("cache1") == "")
        let younger = KeyTops(
            key: Array(ours.utf8), version: Version(stamp: version.stamp + 1, origin: Bench.n2), content: .tombstone,
            touch: .zero, touchExpiry: 0, holder: Bench.n2)
        bench.tell(link, .mirror(sequence: 2, tops: younger))
        bench.advance(milliseconds: 200)
        #expect(bench.commands("cache1") == "md \(ours)\r\n")
        #expect(!isInDoubt(bench))
    }

    @Test("Asked for a value below one that is being written, a lane answers that it is superseded")
    func answersSuperseded() throws {
        let bench = Bench.serving(Self.planForTwo)
        let link = try bench.linkSibling()
        let stream = try bench.openStream()
        let old = Bench.record(ours, "old", position: 1, seconds: 1)
        bench.tell(stream, .record(old))
        bench.answer("cache1", "HD\r\n")
        var tombstone = Bench.record(ours, "", position: 2, seconds: 2)
        tombstone.content = .tombstone
        bench.tell(stream, .record(tombstone))
        _ = try bench.words(link)
        bench.tell(link, .fetch(request: 3, key: Array(ours.utf8), version: old.version))
        #expect(try bench.words(link) == [.fetched(request: 3, answer: .superseded)])
        bench.tell(link, .fetch(request: 4, key: Array("unheard-of".utf8), version: old.version))
        #expect(try bench.words(link) == [.fetched(request: 4, answer: .unknown)])
    }
}
