import Foundation
import Kernel
import Testing

@testable import Proxy

/// What a client's busiest time took, and what is left of it when the client has been quiet for a while.
@Suite struct QuietClientsTests {
    private func room(_ bench: Bench, _ client: ConnectionID) -> (incoming: Int, outgoing: Int) {
        (bench.node.connections.incoming(client).reserve(0).count, bench.node.connections.outgoing(client).reserve(0).count)
    }

    /// So many gets at once, all of them answered.
    private func pipeline(_ bench: Bench, _ client: ConnectionID, gets: Int) {
        bench.type(client, String(repeating: "get k\r\n", count: gets))
        bench.settle()
        var answered = 0
        for _ in 0..<100 where answered < gets {
            let asked = bench.commands("cache1").components(separatedBy: "get k\r\n").count - 1
            answered += asked
            bench.answer("cache1", String(repeating: "END\r\n", count: asked))
            bench.step(.deadline)
            bench.settle()
        }
        #expect(answered == gets && bench.heard(client).utf8.count == gets * 5)
    }

    private func serving() -> Bench {
        var plan = BenchPlan()
        plan.hasBackup = false
        return Bench.serving(plan)
    }

    @Test("Who has been quiet for a while gives its buffers back, the shell is told once, and it is served as before")
    func quiet() {
        let bench = serving()
        let client = bench.client()
        pipeline(bench, client, gets: 2_100)
        #expect(room(bench, client).incoming > 4_096 && room(bench, client).outgoing > 1_024)
        bench.advance(milliseconds: 10_000)
        #expect(room(bench, client) == (0, 0))
        #expect(bench.quiet.filter { $0 == client }.count == 1)
        pipeline(bench, client, gets: 300)
        bench.advance(milliseconds: 10_000)
        #expect(room(bench, client) == (0, 0))
        #expect(bench.quiet.filter { $0 == client }.count == 2)
        #expect(bench.closed.isEmpty)
    }

    @Test("Who comes again and again keeps its buffers")
    func busy() {
        let bench = serving()
        let client = bench.client()
        for _ in 0..<20 {
            pipeline(bench, client, gets: 100)
            bench.advance(milliseconds: 900)
        }
        #expect(room(bench, client).incoming > 0 && room(bench, client).outgoing > 0)
        #expect(bench.quiet.isEmpty)
    }

    @Test("What is in a buffer stays: half a request, a reply that is not read")
    func inUse() {
        var plan = BenchPlan()
        plan.hasBackup = false
        plan.times.backendTimeoutMilliseconds = 60_000
        let bench = Bench.serving(plan)
        let half = bench.client()
        let reader = bench.client()
        let waiting = bench.client()
        bench.ask(half, "set k 0 0 4\r\nab")
        bench.ask(reader, "get k\r\n")
        bench.stall(reader)
        bench.answer("cache1", "VALUE k 0 4\r\nabcd\r\nEND\r\n")
        _ = bench.commands("cache1")
        bench.ask(waiting, "get k\r\n")
        bench.advance(milliseconds: 10_000)
        #expect(bench.ask(half, "cd\r\n") == "")
        #expect(bench.commands("cache1") == "get k\r\nset k 0 0 4\r\nabcd\r\n")
        bench.answer("cache1", "END\r\nSTORED\r\n")
        bench.drain(reader)
        #expect(bench.heard(half) == "STORED\r\n")
        #expect(bench.heard(reader) == "VALUE k 0 4\r\nabcd\r\nEND\r\n")
        #expect(bench.heard(waiting) == "END\r\n")
    }

    @Test("However many there are, each has its turn to be looked at, and few are looked at at a time")
    func many() {
        let bench = serving()
        let clients = (0..<(Limits.quietLooksMax * 2)).map { _ in bench.client() }
        for client in clients { bench.ask(client, "mn\r\n") }
        bench.advance(milliseconds: 2_500)
        #expect(bench.quiet.count <= Limits.quietLooksMax)
        bench.advance(milliseconds: 2_000)
        #expect(Set(bench.quiet) == Set(clients) && bench.quiet.count == clients.count)
    }
}
