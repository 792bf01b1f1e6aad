import Kernel
import Replication
import Ring
import Testing

@testable import Proxy

/// Who is talked to, and who is told why not (`Docs/stream-format.md`).
@Suite struct GreetingTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.elsewhere = ["south"]
        return plan
    }

    private let bench = Bench(Self.plan)

    /// A peer with this certificate greets with these words: why is it refused? nil if it is not.
    private func refusal(_ hello: Hello, as identity: PeerIdentity = Bench.identityOfS1) throws -> String? {
        let id = bench.accept(.peer(identity))
        bench.tell(id, .hello(hello))
        let said = try bench.messages(id)
        guard case .refuse(let reason) = said.first else { return nil }
        #expect(bench.closed.contains(id), "after the reason, the connection")
        #expect(said.count == 1)
        return reason
    }

    private var stream: Hello { bench.hello(.stream, from: Bench.s1, resume: 1) }

    @Test("A lane of another site is greeted back, and may stream")
    func welcome() throws {
        #expect(try refusal(stream) == nil)
        #expect(bench.node.receivers[Bench.s1]?.expected == Position(1))
    }

    @Test("Another protocol version")
    func version() throws {
        var hello = stream
        hello.version = 2
        #expect(try refusal(hello) == "protocol version 2 there, 1 here: run the same version of Meridian")
    }

    @Test("Another federation, in the words or in the certificate")
    func federation() throws {
        var hello = stream
        hello.federation = "other"
        #expect(try refusal(hello) == "federation other there, shop here")
        var identity = Bench.identityOfS1
        identity.federation = "other"
        #expect(try refusal(stream, as: identity)?.hasPrefix("federation") == true)
    }

    @Test("A lane that is in no file")
    func unknownLane() throws {
        for lane in [LaneID(site: SiteID(9), proxy: 1, lane: 0), LaneID(site: SiteID(2), proxy: 9, lane: 0)] {
            var hello = stream
            hello.lane = lane
            #expect(try refusal(hello)?.hasPrefix("lane \(lane) is not in this federation") == true)
        }
    }

    @Test("A certificate of somebody else")
    func identity() throws {
        #expect(
            try refusal(stream, as: Bench.identityOfN2) == "its certificate names north/n2, but it speaks for south/s1")
    }

    @Test("A ring that differs in one weight is refused by the server's name")
    func ring() throws {
        var hello = stream
        hello.ring =
            RingFingerprint(flavour: .ketama, servers: [RingServer(name: "cache1", weight: 2)], slotCount: 256).encode()
        #expect(try refusal(hello) == "the rings differ: server cache1: weight 1 here, 2 there")
        hello.ring = [1, 2, 3]
        #expect(try refusal(hello)?.hasPrefix("its ring makes no sense") == true)
    }

    @Test("Siblings with another number of loops, a stream within a site, a group link across sites, and oneself")
    func senseless() throws {
        var sibling = bench.hello(.group, from: Bench.n2)
        sibling.loops = 2
        #expect(try refusal(sibling, as: Bench.identityOfN2)?.hasPrefix("n2 runs 2 loops, this proxy 1") == true)
        var inside = stream
        inside.lane = Bench.n2
        #expect(try refusal(inside, as: Bench.identityOfN2) == "a stream to site north makes no sense")
        var across = stream
        across.purpose = .group
        #expect(try refusal(across) == "a group link to site south makes no sense")
        let own = PeerIdentity(federation: "shop", site: "north", proxy: "n1")
        #expect(
            try refusal(bench.hello(.group, from: Bench.n1), as: own)
                == "lane s1p1l0 greets itself: two proxies run under one name")
    }

    @Test("A stream that would resume before its beginning, a second greeting, words before the greeting")
    func order() throws {
        var hello = stream
        hello.resume = .zero
        #expect(try refusal(hello) == "it would resume at position 0")
        let id = bench.accept(.peer(Bench.identityOfS1))
        bench.tell(id, .promise(floor: 1, stamp: 1, wall: 1, committed: .zero))
        #expect(try bench.messages(id) == [.refuse("a message came before the greeting")])
        let twice = try bench.openStream()
        bench.tell(twice, .hello(stream))
        #expect(try bench.messages(twice) == [.refuse("greeted twice")])
    }

    @Test("Whoever never greets is not waited for")
    func silence() {
        let id = bench.accept(.peer(Bench.identityOfS1))
        bench.advance(milliseconds: 3_200)
        #expect(bench.closed.contains(id))
    }

    @Test("A poison frame closes its own connection and no other")
    func poison() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        let client = bench.client()
        let poisons: [[UInt8]] = [
            Array(repeating: 0xff, count: 64), Array("GET / HTTP/1.1\r\n\r\n".utf8), [1, 0, 0, 0, 0, 0, 0, 0, 9],
        ]
        for poison in poisons {
            let id = try bench.openStream()
            bench.receive(id, poison)
            guard case .refuse = try bench.messages(id).first else {
                Issue.record("the peer was not told")
                continue
            }
            #expect(bench.closed.contains(id))
        }
        #expect(!bench.closed.contains(link))
        #expect(!bench.closed.contains(client))
        #expect(bench.node.siblings[Bench.n2]?.isServing == true)
        #expect(bench.ask(client, "version\r\n").hasPrefix("VERSION"))
    }

    @Test("Half a frame is no poison: the rest may come")
    func half() throws {
        let id = try bench.openStream()
        bench.receive(id, [0x40, 0])
        #expect(!bench.closed.contains(id))
    }

    @Test("Messages that have no place on a connection end it")
    func misplaced() throws {
        let id = try bench.openStream()
        bench.tell(id, .heartbeat(stamp: 1, state: .serving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        #expect(try bench.messages(id) == [.refuse("a message has no place on a stream")])
    }
}
