import Configuration
import Kernel
import Testing

@testable import Proxy

/// Retrievals of more keys than are asked for at a time.
@Suite struct RetrievalTests {
    /// A lane with one server, and a client.
    private func serving(_ change: (inout BenchPlan) -> Void = { _ in }) -> (bench: Bench, client: ConnectionID) {
        var plan = BenchPlan()
        plan.hasBackup = false
        change(&plan)
        let bench = Bench.serving(plan)
        return (bench, bench.client())
    }

    private func keys(of line: String) -> [Substring] { Array(line.split(whereSeparator: \.isWhitespace).dropFirst()) }

    /// What a memcached says that holds the keys for which there is a value.
    private func replies(to commands: String, _ value: (Substring) -> String?) -> String {
        commands.split(separator: "\r\n").filter { $0.hasPrefix("get ") || $0.hasPrefix("set ") }.map { command in
            if command.hasPrefix("set") { return "STORED\r\n" }
            return command.split(separator: " ").dropFirst().compactMap { key in
                value(key).map { "VALUE \(key) 0 \($0.utf8.count)\r\n\($0)\r\n" }
            }.joined() + "END\r\n"
        }.joined()
    }

    @Test("A long retrieval asks for its keys in parts, and says what memcached would have said")
    func parts() {
        let (bench, client) = serving()
        let names = (0..<1_000).map { "key\($0 % 700)" }
        let value = { (key: Substring) -> String? in key.last == "3" ? nil : "value of \(key)" }
        bench.receive(client, Array("get \(names.joined(separator: " "))\r\n".utf8))
        var heard = ""
        var sizes: [Int] = []
        while case let asked = bench.commands("cache1"), !asked.isEmpty {
            sizes.append(keys(of: asked).count)
            bench.answer("cache1", replies(to: asked, value))
            heard += bench.heard(client)
        }
        #expect(heard == replies(to: "get \(names.joined(separator: " "))\r\n", value))
        #expect(sizes.first == Limits.partKeysFirst && sizes.reduce(0, +) == 1_000)
        #expect(sizes.dropFirst().dropLast().allSatisfy { $0 == Limits.partKeysMax })
        #expect(bench.node.counters.getHits == 900 && bench.node.counters.getMisses == 100)
        #expect(bench.node.counters.bytesWritten == UInt64(heard.utf8.count))
        #expect(bench.ask(client, "mn\r\n") == "MN\r\n")
        #expect(bench.node.clientMemory.heldBytes == 0)
    }

    @Test("Large values are asked for few at a time, and the next not before the client reads")
    func largeValues() {
        let (bench, client) = serving { $0.memoryBytesMax = 64 << 20 }
        let value = String(repeating: "v", count: 300_000)
        bench.stall(client)
        bench.receive(client, Array("get\(String(repeating: " k", count: 20_000))\r\n".utf8))
        var asked = bench.commands("cache1")
        #expect(keys(of: asked).count == Limits.partKeysFirst)
        bench.answer("cache1", replies(to: asked) { _ in value })
        #expect(bench.commands("cache1").isEmpty, "the client does not read")
        bench.drain(client)
        for _ in 0..<10 {
            asked = bench.commands("cache1")
            #expect(keys(of: asked).count == Limits.partBytes / 300_017)
            bench.answer("cache1", replies(to: asked) { _ in value })
        }
        #expect(bench.node.clientMemory.heldBytes < 8 << 20)
        #expect(!bench.closed.contains(client))
    }

    @Test("Others are answered between the parts, and nothing more is asked for a client that has gone")
    func fairness() {
        let (bench, client) = serving()
        let other = bench.client()
        bench.receive(client, Array("get\(String(repeating: " k", count: 30_000))\r\n".utf8))
        bench.ask(other, "get a\r\n")
        let asked = bench.commands("cache1")
        #expect(asked.hasSuffix("\r\nget a\r\n") && asked.utf8.count < 32 * 2 + 20)
        bench.answer("cache1", replies(to: asked) { $0 == "a" ? "1" : "2" })
        #expect(bench.heard(other) == "VALUE a 0 1\r\n1\r\nEND\r\n")
        bench.lose(client)
        let last = bench.commands("cache1")
        #expect(keys(of: last).count == Limits.partKeysMax)
        bench.answer("cache1", replies(to: last) { _ in "2" })
        #expect(bench.commands("cache1").isEmpty)
        #expect(bench.node.clientMemory.heldBytes == 0)
    }

    @Test("Pipelined long retrievals are answered in order, each part after what stands before it; a write behind them waits")
    func pipelined() {
        let (bench, client) = serving()
        let line = { (name: String) in "get \((0..<200).map { "\(name)\($0)" }.joined(separator: " "))\r\n" }
        bench.receive(client, Array("\(line("a"))get b\r\n\(line("c"))set c1 0 0 1\r\nx\r\nget d\r\n".utf8))
        var heard = ""
        var commands: [String] = []
        while case let asked = bench.commands("cache1"), !asked.isEmpty {
            commands += asked.split(separator: "\r\n").map { String($0) }
            bench.answer("cache1", replies(to: asked) { "is \($0)" })
            heard += bench.heard(client)
        }
        let reads = "\(line("a"))get b\r\n\(line("c"))"
        #expect(heard == replies(to: "\(reads)set c1\r\nget d\r\n") { "is \($0)" })
        let written = commands.firstIndex { $0.hasPrefix("set c1") }
        let lastRead = commands.lastIndex { $0.contains("c199") }
        #expect(written != nil && lastRead != nil && lastRead! < written!)
    }

    @Test("An error in a later part ends the reply behind the values that were there before it", arguments: [false, true])
    func error(isLost: Bool) {
        let (bench, client) = serving { $0.unreachable = .error }
        bench.receive(client, Array("get \((0..<500).map { "k\($0)" }.joined(separator: " "))\r\n".utf8))
        let first = bench.commands("cache1")
        bench.answer("cache1", replies(to: first) { _ in "1" })
        #expect(bench.heard(client) == String(replies(to: first) { _ in "1" }.dropLast("END\r\n".count)))
        let second = keys(of: bench.commands("cache1"))
        if isLost {
            bench.answer("cache1", "VALUE \(second[0]) 0 1\r\n1\r\n")
            bench.lose(bench.backend("cache1"))
            #expect(bench.heard(client).hasPrefix("VALUE \(second[0]) 0 1\r\n1\r\nSERVER_ERROR server cache1"))
        } else {
            bench.answer("cache1", "SERVER_ERROR out of memory\r\n")
            #expect(bench.heard(client) == "SERVER_ERROR out of memory\r\n")
            #expect(bench.commands("cache1").isEmpty)
        }
        #expect(bench.node.counters.getHits + bench.node.counters.getMisses == 500)
        #expect(bench.ask(client, "mn\r\n") == "MN\r\n")
    }

    @Test("Where no server is there, all keys are missed at once")
    func nobody() {
        let (bench, client) = serving()
        bench.lose(bench.backend("cache1"))
        let line = "get\(String(repeating: " k", count: 30_000))\r\n"
        #expect(bench.ask(client, line) == "END\r\n")
        #expect(bench.node.counters.getMisses == 30_000)
    }

    @Test("What clients have under way is held by them, however small it is, and reads as well as writes")
    func underWay() {
        let (bench, client) = serving { $0.memoryBytesMax = 64 << 20 }
        let other = bench.client()
        let line = "get \(String(repeating: "x", count: 250)) \(String(repeating: "k ", count: 30_000))\r\n"
        // Its window is open.
        for _ in 0..<20 {
            bench.ask(other, "get a\r\n")
            bench.answer("cache1", "END\r\n")
        }
        _ = bench.commands("cache1")
        for _ in 0..<60 { bench.ask(client, line) }
        #expect(bench.node.clientMemory.heldBytes > 2 << 20)
        #expect(bench.paused.contains(client))
        #expect(bench.node.clientMemory.heldBytes < 10 << 20)
        bench.ask(other, String(repeating: "get \(String(repeating: "y", count: 250))\r\n", count: 200))
        #expect(bench.node.sessions[other]!.care.commandBytes > 10 * 250)
        bench.lose(client)
        bench.lose(other)
        #expect(bench.node.clientMemory.heldBytes == 0)
    }
}
