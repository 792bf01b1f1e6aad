import Kernel
import Replication
import Testing

@testable import Proxy

/// Slots pass from one living lane to another, and nothing is begun in them before the old owner is done.
@Suite struct HandoverTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        return plan
    }

    private let mine = Bench.key(ownedBy: Bench.n1)
    private let theirs = Bench.key(ownedBy: Bench.n2)

    /// A lane that has just started beside n2, which serves and has not handed over; with the request that it was asked by.
    private func newOwner() throws -> (Bench, link: ConnectionID, request: UInt64) {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling(handsOver: false)
        let requests = try bench.words(link).compactMap { if case .handOver(let request) = $0 { request } else { nil } }
        #expect(bench.lines.contains { $0.hasPrefix("lane serves") })
        return (bench, link, try #require(requests.first))
    }

    /// n2 says in which state it is.
    private func say(_ state: LaneState, _ bench: Bench, _ link: ConnectionID) {
        bench.tell(link, .heartbeat(stamp: 1, state: state, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
    }

    /// This lane serves alone beside n2, which is joining.
    private func oldOwner() throws -> (Bench, link: ConnectionID) {
        let bench = Bench.serving(Self.plan)
        let link = try bench.dialledSibling()
        bench.step(.connected(link))
        bench.settle()
        bench.tell(link, .hello(bench.hello(.group, from: Bench.n2)), .dumped(sequence: 0))
        for case .dumped(let sequence) in try bench.messages(link) { bench.tell(link, .mirrored(sequence: sequence)) }
        say(.joining, bench, link)
        bench.advance(milliseconds: 100)
        _ = try bench.messages(link)
        return (bench, link)
    }

    private func handedOver(_ messages: [Message]) -> [Message] {
        messages.filter { if case .handedOver = $0 { true } else { false } }
    }

    @Test(
        "What comes for slots that a lane gains waits until their old owner has handed them over, and gets versions above its clock"
    )
    func waits() throws {
        let (bench, link, request) = try newOwner()
        let (client, other) = (bench.client(), bench.client())
        #expect(bench.ask(client, "incr \(mine) 1\r\n") == "")
        #expect(bench.ask(other, "set \(mine) 0 0 1\r\nx\r\n") == "")
        bench.advance(milliseconds: 100)
        #expect(bench.commands("cache1") == "")
        let ahead = HybridClock.stamp(atWall: bench.now.wallMicroseconds + 400_000)
        bench.tell(link, .handedOver(request: request, stamp: ahead))
        #expect(bench.commands("cache1") == "incr \(mine) 1\r\nmg \(mine) u s v f t c\r\nset \(mine) 0 0 1\r\nx\r\n")
        #expect(bench.logged.allSatisfy { $0.version.stamp > ahead } && bench.logged.count >= 2)
    }

    @Test("Reads do not wait, nor do writes of keys that the other lane owns")
    func othersGoOn() throws {
        let (bench, link, _) = try newOwner()
        let client = bench.client()
        bench.ask(client, "get \(mine)\r\n")
        #expect(bench.commands("cache1") == "get \(mine)\r\n")
        bench.ask(bench.client(), "set \(theirs) 0 0 1\r\nx\r\n")
        #expect(try bench.words(link).contains { if case .forward = $0 { true } else { false } })
    }

    @Test("A record, too, waits: it must not land between what the old owner does")
    func recordWaits() throws {
        let (bench, link, request) = try newOwner()
        bench.tell(link, .apply(request: 7, hops: 1, record: Bench.record(mine, "v", position: 1)))
        bench.advance(milliseconds: 100)
        #expect(bench.commands("cache1") == "")
        bench.tell(link, .handedOver(request: request, stamp: 0))
        #expect(bench.commands("cache1").hasPrefix("ms \(mine) 1"))
    }

    @Test("An answer to an earlier request is not enough: more slots were gained since")
    func laterRequest() throws {
        let (bench, link, request) = try newOwner()
        bench.tell(link, .handedOver(request: request &- 1, stamp: 0))
        bench.ask(bench.client(), "set \(mine) 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "")
    }

    @Test("An old owner that is gone is not waited for")
    func goneOwner() throws {
        let (bench, link, _) = try newOwner()
        bench.ask(bench.client(), "set \(mine) 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "")
        bench.lose(link)
        #expect(bench.commands("cache1") == "set \(mine) 0 0 1\r\nx\r\n")
    }

    @Test("An old owner that says nothing is waited for as long as a server, and it is said that its slots were taken")
    func silentOwner() throws {
        let (bench, link, _) = try newOwner()
        bench.ask(bench.client(), "set \(mine) 0 0 1\r\nx\r\n")
        let patience = bench.plan.times.backendTimeoutMilliseconds + 2 * bench.plan.times.heartbeatMilliseconds
        for _ in 0..<patience / 50 - 4 {
            bench.advance(milliseconds: 50)
            say(.serving, bench, link)
        }
        #expect(bench.commands("cache1") == "")
        for _ in 0..<8 {
            bench.advance(milliseconds: 50)
            say(.serving, bench, link)
        }
        #expect(bench.commands("cache1") == "set \(mine) 0 0 1\r\nx\r\n")
        #expect(bench.warnings.contains { $0.hasPrefix("slots taken before they were handed over lane=s1p2l0") })
    }

    @Test("The old owner hands over when what it had under way has landed and is mirrored, and tells its clock")
    func handsOver() throws {
        let (bench, link) = try oldOwner()
        let client = bench.client()
        bench.ask(client, "incr \(theirs) 1\r\n")
        #expect(bench.commands("cache1").hasPrefix("incr \(theirs) 1\r\n"))
        say(.serving, bench, link)
        bench.tell(link, .handOver(request: 9))
        #expect(handedOver(try bench.words(link)).isEmpty)
        bench.answer("cache1", "5\r\nVA 1 s1 f0 t-1 c3\r\n5\r\n")
        #expect(bench.heard(client) == "5\r\n")
        #expect(handedOver(try bench.words(link)).isEmpty, "the backup has yet to answer")
        bench.answer("backup1", "HD\r\n")
        let said = try bench.words(link)
        let version = try #require(bench.logged.last?.version)
        guard case .mirror(_, let tops)? = said.first, case .handedOver(9, let stamp)? = said.last else {
            Issue.record("said \(said)")
            return
        }
        #expect(tops.version == version && stamp >= version.stamp)
    }

    @Test("A delete that makes a refusal the same at both servers is under way as well")
    func handsOverTidied() throws {
        let (bench, link) = try oldOwner()
        bench.ask(bench.client(), "set \(theirs) 0 0 1\r\nx\r\n")
        say(.serving, bench, link)
        bench.tell(link, .handOver(request: 9))
        bench.answer("cache1", "STORED\r\n")
        bench.answer("backup1", "SERVER_ERROR out of memory storing object\r\n")
        #expect(bench.node.tidiesUnderWay == 1)
        #expect(handedOver(try bench.words(link)).isEmpty)
        bench.answer("backup1", "NF\r\n")
        #expect(handedOver(try bench.words(link)).count == 1)
    }

    @Test("What it has under way in its own slots does not keep it from handing others over")
    func ownGoOn() throws {
        let (bench, link) = try oldOwner()
        bench.ask(bench.client(), "incr \(mine) 1\r\n")
        say(.serving, bench, link)
        bench.tell(link, .handOver(request: 9))
        #expect(handedOver(try bench.words(link)).count == 1)
    }

    @Test("Slots that go back to the lane that has yet to hand them over are its own at once")
    func backAtOnce() throws {
        let (bench, link, _) = try newOwner()
        bench.step(.leave)
        bench.settle()
        bench.tell(link, .handOver(request: 4))
        #expect(handedOver(try bench.words(link)).count == 1)
    }

    @Test("Slots that a lane has gained and not yet got, it cannot hand over to a third")
    func chain() throws {
        var plan = Self.plan
        plan.proxies = ["n1", "n2", "n3"]
        let bench = Bench.serving(plan)
        let identityOfN3 = PeerIdentity(federation: "shop", site: "north", proxy: "n3")
        var links: [ConnectionID] = []
        for (lane, identity) in [(Bench.n2, Bench.identityOfN2), (Bench.n3, identityOfN3)] {
            let link = try #require(bench.dialled { if case .peer(identity, _, _) = $0 { true } else { false } })
            bench.step(.connected(link))
            bench.settle()
            bench.tell(link, .hello(bench.hello(.group, from: lane)), .dumped(sequence: 0))
            for case .dumped(let sequence) in try bench.messages(link) { bench.tell(link, .mirrored(sequence: sequence)) }
            links.append(link)
        }
        say(.joining, bench, links[0])
        say(.serving, bench, links[1])
        bench.advance(milliseconds: 100)
        try bench.handOver(links[1])
        say(.leaving, bench, links[1])
        let requests = try bench.words(links[1]).compactMap { if case .handOver(let request) = $0 { request } else { nil } }
        say(.serving, bench, links[0])
        _ = try bench.words(links[0])
        bench.tell(links[0], .handOver(request: 4))
        #expect(handedOver(try bench.words(links[0])).isEmpty)
        bench.tell(links[1], .handedOver(request: try #require(requests.last), stamp: 0))
        #expect(handedOver(try bench.words(links[0])).count == 1)
    }

    @Test("Who leaves waits until it has been heard: what was passed on before must find somebody")
    func leavesWhenHeard() throws {
        let (bench, link) = try oldOwner()
        bench.step(.leave)
        bench.settle()
        bench.advance(milliseconds: 200)
        #expect(!bench.finished)
        say(.serving, bench, link)
        bench.advance(milliseconds: 50)
        #expect(bench.finished)
    }

    @Test("A lane that starts beside one that leaves, and serves to the end, asks that one")
    func leavingOwner() throws {
        let bench = Bench(Self.plan)
        let link = try bench.dialledSibling()
        bench.step(.connected(link))
        bench.settle()
        bench.tell(link, .hello(bench.hello(.group, from: Bench.n2)), .dumped(sequence: 0))
        for case .dumped(let sequence) in try bench.messages(link) { bench.tell(link, .mirrored(sequence: sequence)) }
        say(.serving, bench, link)
        say(.leaving, bench, link)
        for server in ["cache1", "backup1"] { bench.bringUp(server) }
        bench.advance(milliseconds: 100)
        #expect(bench.lines.contains { $0.hasPrefix("lane serves") })
        bench.ask(bench.client(), "set \(mine) 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "")
        let requests = try bench.words(link).compactMap { if case .handOver(let request) = $0 { request } else { nil } }
        bench.tell(link, .handedOver(request: try #require(requests.last), stamp: 0))
        #expect(bench.commands("cache1") == "set \(mine) 0 0 1\r\nx\r\n")
    }

    @Test("Slots that go to another lane and come back at once: the two do not wait for each other")
    func toAndFro() throws {
        let (bench, link) = try oldOwner()
        let client = bench.client()
        bench.ask(client, "set \(theirs) 0 0 1\r\na\r\n")
        #expect(bench.commands("cache1") == "set \(theirs) 0 0 1\r\na\r\n")
        say(.serving, bench, link)
        bench.tell(link, .handOver(request: 9))
        say(.leaving, bench, link)
        let requests = try bench.words(link).compactMap { if case .handOver(let request) = $0 { request } else { nil } }
        #expect(requests.count == 1)
        bench.ask(bench.client(), "set \(theirs) 0 0 1\r\nb\r\n")
        bench.answer("cache1", "STORED\r\n")
        bench.answer("backup1", "STORED\r\n")
        #expect(handedOver(try bench.words(link)).count == 1, "what waits for n2 does not keep n2 waiting")
        #expect(bench.commands("cache1") == "")
        bench.tell(link, .handedOver(request: requests[0], stamp: 0))
        #expect(bench.commands("cache1") == "set \(theirs) 0 0 1\r\nb\r\n")
    }

    @Test("Who leaves does not end while another owes it its word, or it another")
    func leavesWhenHandedOver() throws {
        let (bench, link, request) = try newOwner()
        bench.step(.leave)
        bench.settle()
        say(.serving, bench, link)
        bench.advance(milliseconds: 100)
        #expect(!bench.finished)
        bench.tell(link, .handedOver(request: request, stamp: 0))
        bench.advance(milliseconds: 100)
        #expect(bench.finished)
    }

    // MARK: Indexes of former lives

    @Test("Where two logs differ and a third lane is away, its key is left alone until that one has told what it knows")
    func hearsay() throws {
        var plan = Self.plan
        plan.proxies = ["n1", "n2", "n3"]
        let earlier = Bench.serving(plan)
        earlier.advance(milliseconds: 5_000)
        let client = earlier.client()
        earlier.ask(client, "set k 0 0 1\r\nx\r\n")
        earlier.answer("cache1", "STORED\r\n")
        earlier.answer("backup1", "STORED\r\n")
        #expect(earlier.heard(client) == "STORED\r\n")
        earlier.advance(milliseconds: 500)
        let bench = Bench.serving(plan, after: earlier)
        let known = try #require(bench.node.index[Array("k".utf8)])
        let older = KeyTops(
            key: Array("k".utf8), version: Version(stamp: known.version.stamp - 9, origin: Bench.n2), content: .value,
            touch: .zero,
            touchExpiry: 0, holder: Bench.n2)
        func open(_ lane: LaneID, _ identity: PeerIdentity, _ tops: KeyTops?) throws -> ConnectionID {
            let link = try #require(bench.dialled { if case .peer(identity, _, _) = $0 { true } else { false } })
            bench.step(.connected(link))
            bench.settle()
            bench.tell(link, .hello(bench.hello(.group, from: lane)))
            if let tops { bench.tell(link, .mirror(sequence: 0, tops: tops)) }
            bench.tell(link, .dumped(sequence: 0))
            for case .dumped(let sequence) in try bench.messages(link) { bench.tell(link, .mirrored(sequence: sequence)) }
            return link
        }
        _ = try open(Bench.n2, Bench.identityOfN2, older)
        bench.advance(milliseconds: 100)
        #expect(!bench.commands("cache1").contains(" k "))
        #expect(Array(bench.node.disputed.keys) == [Array("k".utf8)])
        var younger = older
        younger.version = Version(stamp: known.version.stamp + 9, origin: Bench.n3)
        younger.content = .tombstone
        younger.holder = Bench.n3
        _ = try open(Bench.n3, PeerIdentity(federation: "shop", site: "north", proxy: "n3"), younger)
        bench.advance(milliseconds: 100)
        #expect(bench.node.disputed.isEmpty)
        #expect(bench.commands("cache1").contains("md k") || bench.commands("cache1").contains("delete k"))
    }
}
