import Kernel
import Replication
import Testing

@testable import Proxy

/// A lane runs for years: what it is done with must not stay, and nothing in it may keep the lane itself.
@Suite struct OwnershipTests {
    private struct Watched {
        let name: String
        weak var object: AnyObject?
    }

    private func left(_ watched: [Watched]) -> String { watched.filter { $0.object != nil }.map(\.name).joined(separator: ", ") }

    @Test("A lane goes with the bench that holds it, and everything in it, in the middle of its work")
    func aLaneGoes() {
        func work() -> [Watched] {
            var plan = BenchPlan()
            plan.proxies = ["n1", "n2"]
            plan.elsewhere = ["south"]
            plan.refillKeysPerSecond = 1_000
            let bench = Bench.serving(plan)
            let client = bench.client()
            bench.ask(client, "set a 0 0 1\r\nx\r\nadd b 0 0 1\r\nx\r\nget a b c\r\nincr d 1\r\nstats\r\n")
            bench.advance(milliseconds: 200)
            let node = bench.node
            var watched = [Watched(name: "the bench", object: bench), Watched(name: "the lane", object: node)]
            watched += node.servers.map { Watched(name: $0.title, object: $0) }
            watched += node.sessions.map { Watched(name: "a session", object: $0) }
            watched += node.links.map { Watched(name: "a link to \($0.identity.proxy)", object: $0) }
            watched += node.operations.all.map { Watched(name: "a write of \($0.key)", object: $0) }
            watched += node.siblings.values.map { Watched(name: "sibling \($0.id)", object: $0) }
            watched += node.senders.values.map { Watched(name: "the sender to \($0.site.name)", object: $0) }
            return watched
        }
        let watched = work()
        #expect(watched.count > 6)
        #expect(left(watched).isEmpty)
    }

    @Test("A client's session goes when its connection is closed, and a write when it is done, whatever came in between")
    func whatIsDoneGoes() {
        let bench = Bench.serving()
        func work() -> [Watched] {
            let client = bench.client()
            bench.ask(client, "set a 0 0 1\r\nx\r\nadd b 0 0 1\r\nx\r\nget a b c\r\nincr d 1\r\n")
            let session = Watched(name: "the session", object: bench.node.sessions.first { _ in true })
            let writes = bench.node.operations.all.map { Watched(name: "the write of \($0.key)", object: $0) }
            #expect(session.object != nil && writes.count == 3)
            bench.lose(client)
            return [session] + writes
        }
        let watched = work()
        bench.lose(bench.backend("cache1"))
        bench.lose(bench.backend("backup1"))
        bench.advance(milliseconds: 1_000)
        #expect(left(watched.filter { $0.name == "the session" }).isEmpty)
        for name in ["cache1", "backup1"] { bench.bringUp(name) }
        for _ in 0..<20 {
            bench.advance(milliseconds: 100)
            for name in ["cache1", "backup1"] {
                for line in bench.commands(name).split(separator: "\r\n") {
                    if line.hasPrefix("m") { bench.answer(name, "EN\r\n") }
                    if line.hasPrefix("set") { bench.answer(name, "STORED\r\n") }
                }
            }
        }
        #expect(left(watched).isEmpty)
    }
}
