import Kernel
import Testing

@testable import Proxy

/// Writes that come faster than the log's segments are made.
@Suite struct LogRoomTests {
    /// A lane whose segments, of 256 KiB, are nearly full, and whose next one is not made yet.
    private func nearlyFull(_ change: (inout BenchPlan) -> Void = { _ in }) -> (Bench, client: [ConnectionID]) {
        var plan = BenchPlan()
        plan.segmentBytes = 1 << 18
        plan.itemBytesMax = 30_000
        plan.hasBackup = false
        change(&plan)
        let bench = Bench.serving(plan)
        bench.segmentsWait = true
        let clients = (0..<3).map { _ in bench.client() }
        // The spare segment is used up as well.
        for number in 0..<40 {
            bench.ask(clients[0], set("fill\(number)", bytes: 20_000))
            _ = bench.commands("cache1")
            bench.answer("cache1", "STORED\r\n")
            #expect(bench.heard(clients[0]) == "STORED\r\n")
            if bench.isLogFull(forBytes: 20_200) { break }
        }
        #expect(bench.isLogFull(forBytes: 20_200), "or this tests nothing")
        return (bench, clients)
    }

    private func set(_ key: String, bytes: Int) -> String {
        "set \(key) 0 0 \(bytes)\r\n\(String(repeating: "x", count: bytes))\r\n"
    }

    @Test("A write waits for the segment that is being made; it is not refused for having come early")
    func waits() {
        let (bench, clients) = nearlyFull()
        #expect(bench.ask(clients[0], set("a", bytes: 20_000)) == "")
        #expect(bench.commands("cache1") == "", "no server sees what the log does not hold")
        bench.advance(milliseconds: 200)
        #expect(bench.heard(clients[0]) == "")
        bench.makeSegments()
        #expect(bench.commands("cache1") == set("a", bytes: 20_000))
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(clients[0]) == "STORED\r\n")
    }

    @Test("Those who came first go first, and smaller writes that would find room do not overtake them")
    func inTurn() {
        let (bench, clients) = nearlyFull()
        bench.ask(clients[0], set("z", bytes: 20_000))
        bench.ask(clients[1], set("a", bytes: 20_000))
        bench.ask(clients[2], set("b", bytes: 1))
        #expect(bench.commands("cache1") == "")
        bench.makeSegments()
        #expect(bench.commands("cache1") == set("z", bytes: 20_000) + set("a", bytes: 20_000) + set("b", bytes: 1))
    }

    @Test("What a client sends behind a write that waits stays behind it, also on the same server")
    func order() {
        let (bench, clients) = nearlyFull()
        bench.ask(clients[0], set("a", bytes: 20_000) + "get b\r\n")
        #expect(bench.commands("cache1") == "", "the read would see what was there before the write")
        bench.makeSegments()
        #expect(bench.commands("cache1") == set("a", bytes: 20_000))
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.commands("cache1") == "get b\r\n")
    }

    @Test("A segment that does not come in a server's time has writes refused by name, and so are those that come then")
    func impatience() {
        let (bench, clients) = nearlyFull()
        let refusal = "SERVER_ERROR write log of lane s1p1l0 takes no more writes: its next segment is not ready yet\r\n"
        bench.ask(clients[0], set("a", bytes: 20_000))
        bench.advance(milliseconds: 900)
        #expect(bench.heard(clients[0]) == "")
        bench.advance(milliseconds: 300)
        #expect(bench.heard(clients[0]) == refusal)
        #expect(bench.ask(clients[1], set("b", bytes: 20_000)) == refusal, "it has waited long enough for all")
        bench.makeSegments()
        bench.ask(clients[2], set("c", bytes: 20_000))
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(clients[2]) == "STORED\r\n")
    }

    @Test("A segment that cannot be made has those refused that wait for it")
    func failure() {
        let (bench, clients) = nearlyFull()
        bench.ask(clients[0], set("a", bytes: 20_000))
        bench.failSegments("No space left on device")
        #expect(
            bench.heard(clients[0])
                == "SERVER_ERROR write log of lane s1p1l0 takes no more writes: No space left on device\r\n")
    }

    @Test("More derived writes at once than the log has room for their outcomes wait for those before them")
    func owedOutcomes() {
        var plan = BenchPlan()
        plan.segmentBytes = 4 << 20  // of which each outcome may take a quarter
        plan.hasBackup = false
        let bench = Bench.serving(plan)
        let clients = (0..<8).map { _ in bench.client() }
        for (number, client) in clients.enumerated() { bench.ask(client, "incr n\(number) 1\r\n") }
        var answered = 0
        for _ in 0..<20 where answered < clients.count {
            let sent = bench.commands("cache1").split(separator: "\r\n").count { $0.hasPrefix("incr") }
            #expect(sent > 0 && sent < clients.count, "some go at a time")
            for _ in 0..<sent { bench.answer("cache1", "5\r\nVA 1 s1 f0 t-1 c1\r\n5\r\n") }
            answered += sent
        }
        #expect(answered == clients.count)
        for client in clients { #expect(bench.heard(client) == "5\r\n") }
    }

    @Test("A client that leaves while its write waits takes nothing along: the write is done")
    func leaves() {
        let (bench, clients) = nearlyFull()
        bench.ask(clients[0], set("a", bytes: 20_000))
        bench.lose(clients[0])
        bench.makeSegments()
        #expect(bench.commands("cache1") == set("a", bytes: 20_000))
    }
}
