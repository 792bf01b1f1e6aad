import Kernel
import Replication
import Testing

@testable import Proxy

/// A lane that reaches no memcached server, while its siblings do.
@Suite struct StrandingTests {
    private static var plan: BenchPlan {
        var plan = BenchPlan()
        plan.proxies = ["n1", "n2"]
        plan.elsewhere = ["south"]
        return plan
    }

    private let ours = Bench.key(ownedBy: Bench.n1)

    /// Time passes in which n2 is heard; what this lane says to it meanwhile.
    private func live(_ bench: Bench, _ link: ConnectionID, milliseconds: Int, as state: LaneState = .serving) throws -> [Message]
    {
        var said: [Message] = []
        for _ in 0..<milliseconds / 100 {
            bench.tell(
                link,
                .heartbeat(stamp: 1, state: state, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
            bench.advance(milliseconds: 100)
            said += try bench.messages(link)
        }
        return said
    }

    private func loseServers(_ bench: Bench) { for name in ["cache1", "backup1"] { bench.lose(bench.backend(name)) } }

    @Test("It gives its slots to them after their time-out, and passes its clients' writes on; with a server it serves again")
    func givesSlotsAway() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        #expect(bench.node.state == .serving)
        loseServers(bench)
        _ = try live(bench, link, milliseconds: 800)
        #expect(bench.node.state == .serving, "a server that is restarted is back by then")
        let said = try live(bench, link, milliseconds: 600)
        #expect(bench.node.state == .joining)
        #expect(said.contains { if case .heartbeat(_, .joining, _, _, _, _, _) = $0 { true } else { false } })
        #expect(bench.lines.contains("lane gives its slots to its siblings: it reaches no memcached server"))
        bench.ask(bench.client(), "set \(ours) 0 0 1\r\nx\r\n")
        guard case .forward(_, 1, _, let write) = try bench.words(link).first else {
            Issue.record("the write was not passed on")
            return
        }
        #expect(write.key == Array(ours.utf8))
        bench.bringUp("cache1")
        _ = try live(bench, link, milliseconds: 200)
        #expect(bench.node.state == .serving)
        #expect(bench.node.owner(of: Array(ours.utf8)) == Bench.n1)
    }

    @Test("It has them write again what it owes its servers, which they then trust again")
    func handsOver() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        let client = bench.client()
        bench.ask(client, "set \(ours) 0 0 1\r\nx\r\n")
        loseServers(bench)
        #expect(bench.heard(client).hasPrefix("SERVER_ERROR"))
        #expect(bench.node.servers.allSatisfy { $0.isBehind })
        var said = try live(bench, link, milliseconds: 1_400)
        // For one server, and then for the other: what is asked for anew meanwhile is done anew.
        for _ in 0..<2 {
            let asked = said.compactMap {
                if case .assert(let request, _, .missed, _, let tops) = $0 { (request: request, key: tops.key) } else { nil }
            }
            #expect(asked.map(\.key) == [Array(ours.utf8)])
            #expect(bench.node.servers.contains { $0.isBehind })
            for (request, _) in asked { bench.tell(link, .done(request: request)) }
            said = try bench.messages(link)
        }
        #expect(bench.node.servers.allSatisfy { !$0.isBehind })
        let told = said.compactMap { if case .backend(let server, false, _, _) = $0 { server } else { nil } }
        #expect(told == [0, 1])
        for name in ["cache1", "backup1"] {
            bench.bringUp(name)
            #expect(bench.commands(name) == "", "nothing is owed any more")
        }
        #expect(bench.node.servers.allSatisfy { $0.isUp })
    }

    @Test("A touch that it was given to write, for servers that it has lost too, goes on as what they missed (seed 351698)")
    func handsOverTouch() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        loseServers(bench)
        let touch = Version(stamp: HybridClock.stamp(atWall: bench.now.wallMicroseconds), origin: Bench.n2)
        let tops = KeyTops(
            key: Array(ours.utf8), version: .zero, content: .none, touch: touch,
            touchExpiry: bench.now.wallMicroseconds + 60_000_000,
            holder: Bench.n2)
        bench.tell(link, .assert(request: 7, hops: 1, cause: .missed, doubted: .zero, tops: tops))
        let asked = try live(bench, link, milliseconds: 1_400).compactMap {
            if case .assert(_, _, let cause, _, let tops) = $0 { (cause: cause, touch: tops.touch) } else { nil }
        }
        #expect(asked.map(\.cause) == [.missed], "only the touched one is let go of by an owner that does not know it any more")
        #expect(asked.first?.touch == touch)
    }

    @Test("What it owes is not lost when it must own the keys again before they were written")
    func ownsAgain() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        bench.ask(bench.client(), "set \(ours) 0 0 1\r\nx\r\n")
        loseServers(bench)
        _ = try live(bench, link, milliseconds: 1_400)
        #expect(bench.node.state == .joining)
        bench.lose(link)
        bench.advance(milliseconds: 1_500)
        #expect(bench.node.state == .serving, "nobody else is there")
        #expect(bench.node.servers.allSatisfy { $0.isBehind })
        bench.bringUp("cache1")
        bench.bringUp("backup1")
        bench.advance(milliseconds: 300)
        for name in ["cache1", "backup1"] { #expect(bench.commands(name).hasPrefix("ms \(ours) 1\r\nx\r\n")) }
    }

    @Test("Where nobody else serves it keeps them, and where nobody reaches a server they are not passed to and fro")
    func keepsThem() throws {
        let bench = Bench.serving(Self.plan)
        let link = try bench.linkSibling()
        loseServers(bench)
        _ = try live(bench, link, milliseconds: 2_000, as: .joining)
        #expect(bench.node.state == .serving)
        _ = try live(bench, link, milliseconds: 300)
        #expect(bench.node.state == .joining)
        _ = try live(bench, link, milliseconds: 300, as: .joining)
        #expect(bench.node.state == .serving, "the other one has lost its servers, too")
        _ = try live(bench, link, milliseconds: 3_000)
        #expect(bench.node.state == .serving)
    }
}
