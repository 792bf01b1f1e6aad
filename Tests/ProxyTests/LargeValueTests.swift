import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

/// Large values, which are shared by everybody to whom they go (`ItemValue.swift`): what goes where is the same as with small ones.
@Suite struct LargeValueTests {
    /// A value of several pieces' length, and no two parts of it alike.
    private static let value = (0..<40_000).map { "\($0) " }.joined()
    private var value: String { Self.value }

    private func serving(sharedBytesMin: Int = 64 * 1024, _ change: (inout BenchPlan) -> Void = { _ in }) -> Bench {
        var plan = BenchPlan()
        plan.sharedBytesMin = sharedBytesMin
        plan.segmentBytes = 8 << 20
        change(&plan)
        return Bench.serving(plan)
    }

    @Test(
        "However a store is worded, both servers and the log get the same as when it is copied",
        arguments: [
            "set k 5 100 #\r\n$\r\n", "set  k 5 100 # noreply\r\n$\r\n", "ms k # F5 T100\r\n$\r\n", "ms k # F5 T100 q\r\n$\r\n",
            "add k 5 0 #\r\n$\r\n", "replace k 5 0 # noreply\r\n$\r\n", "ms a2V5 # b ME\r\n$\r\n", "cas k 5 0 # 7\r\n$\r\n",
        ])
    func stores(_ command: String) {
        let text = command.replacing("#", with: "\(value.utf8.count)").replacing("$", with: value)
        var told: [[String]] = []
        var records: [[LogRecord]] = []
        for sharedBytesMin in [64 * 1024, .max] {
            let bench = serving(sharedBytesMin: sharedBytesMin)
            let client = bench.client()
            // In pieces, as a socket gives it, and with the next command behind.
            let bytes = Array((text + "get other\r\n").utf8)
            for start in stride(from: 0, to: bytes.count, by: 50_000) {
                bench.receive(client, Array(bytes[start..<min(start + 50_000, bytes.count)]))
            }
            var lines: [String] = [bench.commands("cache1")]
            bench.answer("cache1", (text.hasPrefix("ms") ? "HD\r\n" : "STORED\r\n"))
            lines.append(bench.commands("backup1"))
            bench.answer("backup1", text.hasPrefix("set") ? "STORED\r\n" : "HD\r\n")
            lines.append(bench.commands("cache1"))
            bench.answer("cache1", "END\r\n")
            lines.append(bench.heard(client))
            told.append(lines)
            records.append(bench.logged)
            #expect(bench.node.clientMemory.heldBytes == 0)
        }
        #expect(told[0] == told[1])
        #expect(told[0][0].contains(value) && told[0][1].contains(value))
        #expect(told[0][3].hasSuffix("END\r\n"))
        #expect(records[0] == records[1])
        #expect(records[0].contains { $0.payload.count == value.utf8.count })
    }

    @Test("A value is read as the server has it: alone, quietly, with its CAS value, of many keys, in turn and out of turn")
    func reads() {
        let block = "\(value.utf8.count)\r\n\(value)\r\n"
        for sharedBytesMin in [64 * 1024, .max] {
            let bench = serving(sharedBytesMin: sharedBytesMin) {
                $0.primaries = 2
                $0.hasBackup = false
            }
            let client = bench.client()
            let (one, two) = (bench.key(at: "cache1"), bench.key(at: "cache2"))
            bench.receive(client, Array("get \(one)\r\nmg \(two) v k q\r\nmg \(one) q v\r\nmn\r\n".utf8))
            // The second server is the quicker one.
            bench.answer("cache2", "VA \(value.utf8.count) k\(two)\r\n\(value)\r\n")
            #expect(bench.heard(client) == "")
            bench.answer("cache1", "VALUE \(one) 0 \(block)END\r\nEN\r\n")
            #expect(
                bench.heard(client)
                    == "VALUE \(one) 0 \(block)END\r\nVA \(value.utf8.count) k\(two)\r\n\(value)\r\nMN\r\n")
            bench.receive(client, Array("gets \(one)\r\nget \(two) \(one)\r\ngets \(two) \(one) \(two)\r\nmn\r\n".utf8))
            let ofOne = { (token: UInt64) in "VALUE \(one) 0 \(value.utf8.count) \(token)\r\n\(value)\r\n" }
            let ofTwo = { (token: UInt64) in "VALUE \(two) 1 \(value.utf8.count) \(token)\r\n\(value)\r\n" }
            let small = { (token: UInt64) in "VALUE \(two) 1 1 \(token)\r\nx\r\n" }
            bench.answer("cache2", ["VALUE \(two) 1 \(block)END\r\n", ofTwo(9), small(9), "END\r\n"].joined())
            bench.answer("cache1", [ofOne(7), "END\r\nVALUE \(one) 0 \(block)END\r\n", ofOne(7), "END\r\n"].joined())
            let (first, second) = (bench.token(7, of: "cache1"), bench.token(9, of: "cache2"))
            let expected = [
                ofOne(first), "END\r\n", "VALUE \(two) 1 \(block)", "VALUE \(one) 0 \(block)END\r\n",
                ofTwo(second), ofOne(first), small(second), "END\r\n", "MN\r\n",
            ]
            #expect(bench.heard(client) == expected.joined())
            #expect(bench.node.clientMemory.heldBytes == 0)
        }
    }

    @Test("What is large, and touched, comes whole, and with one END for all keys")
    func touched() {
        let bench = serving()
        let client = bench.client()
        bench.ask(client, "gat 100 k l\r\n")
        let block = "0 \(value.utf8.count)\r\n\(value)\r\n"
        bench.answer("cache1", "VALUE k \(block)END\r\nVALUE l \(block)END\r\n")
        bench.answer("backup1", "HD\r\nHD\r\n")
        #expect(bench.heard(client) == "VALUE k \(block)VALUE l \(block)END\r\n")
    }

    @Test("A client that reads slowly holds what it has not read, and gets it all")
    func slowReader() {
        let bench = serving { $0.memoryBytesMax = 64 << 20 }
        let client = bench.client()
        bench.stall(client)
        bench.ask(client, "get k\r\n")
        let reply = "VALUE k 0 \(value.utf8.count)\r\n\(value)\r\nEND\r\n"
        bench.answer("cache1", reply)
        #expect(bench.node.clientMemory.heldBytes >= value.utf8.count)
        bench.drain(client)
        #expect(bench.heard(client) == reply)
        #expect(bench.node.clientMemory.heldBytes == 0)
    }

    @Test("A large outcome of a derived write is read back once, logged, and brought to the other server")
    func derived() {
        let bench = serving()
        let client = bench.client()
        bench.ask(client, "append k 0 0 2\r\nxy\r\n")
        #expect(bench.commands("cache1") == "append k 0 0 2\r\nxy\r\nmg k u s v f t c\r\n")
        bench.answer("cache1", "STORED\r\nVA \(value.utf8.count) s\(value.utf8.count) f3 t-1 c8\r\n\(value)\r\n")
        #expect(bench.heard(client) == "STORED\r\n")
        #expect(bench.commands("backup1") == "ms k \(value.utf8.count) F3\r\n\(value)\r\n")
        #expect(bench.logged.last?.payload == Array(value.utf8))
    }

    @Test("A value that another lane passes on, and one of another site, reach both servers and the log")
    func fromElsewhere() throws {
        let bench = serving {
            $0.proxies = ["n1", "n2"]
            $0.elsewhere = ["south"]
        }
        let link = try bench.linkSibling()
        let ours = Bench.key(ownedBy: Bench.n1)
        let line = "set \(ours) 0 0 \(value.utf8.count)\r\n"
        bench.tell(
            link,
            .forward(
                request: 9, hops: 1, stamp: 1,
                write: ForwardedWrite(
                    effect: 1, shape: 0, clientFlags: 0, exptime: 0, key: Array(ours.utf8),
                    command: Array("\(line)\(value)\r\n".utf8), payloadStart: UInt32(line.utf8.count),
                    payloadCount: UInt32(value.utf8.count))))
        #expect(bench.commands("cache1").hasSuffix("\(line)\(value)\r\n"))
        #expect(bench.commands("backup1").hasSuffix("\(line)\(value)\r\n"))
        #expect(bench.logged.last?.payload == Array(value.utf8))
        bench.answer("cache1", "STORED\r\n")
        bench.answer("backup1", "STORED\r\n")

        let stream = try bench.openStream()
        bench.tell(stream, .record(Bench.record("l", value, position: 1, seconds: 3)))
        #expect(bench.commands("cache1").hasPrefix("ms l \(value.utf8.count)\r\n\(value)\r\n"))
        #expect(bench.commands("backup1").hasPrefix("ms l \(value.utf8.count)\r\n\(value)\r\n"))
        #expect(bench.logged.last { $0.kind == .applied }?.payload == Array(value.utf8))
    }

    @Test("A value that this lane passes on travels whole")
    func passedOn() throws {
        let bench = serving { $0.proxies = ["n1", "n2"] }
        let link = try bench.linkSibling()
        let client = bench.client()
        let theirs = Bench.key(ownedBy: Bench.n2)
        _ = try bench.words(link)
        bench.ask(client, "set \(theirs) 0 0 \(value.utf8.count) noreply\r\n\(value)\r\n")
        let write = try bench.words(link).compactMap { message -> ForwardedWrite? in
            if case .forward(_, _, _, let write) = message { write } else { nil }
        }.first
        #expect(write?.command == Array("set \(theirs) 0 0 \(value.utf8.count)\r\n\(value)\r\n".utf8))
        #expect(write.map { Int($0.payloadCount) } == value.utf8.count)
        #expect(write.map { Array($0.command[Int($0.payloadStart)...].dropLast(2)) } == Array(value.utf8))
    }
}
