import Kernel
import Status
import Testing

@testable import Proxy

/// What is read most, from samples.
@Suite struct HotKeysTests {
    private func read(_ hot: inout HotKeys, _ key: String, times: Int = 1) {
        for _ in 0..<times where hot.isNextSample() { Array(key.utf8).withUnsafeBytes { hot.take($0) } }
    }

    /// So many seconds of reads: every second `hotReads` of one key among `others` keys that are read once each.
    private func run(_ hot: inout HotKeys, seconds: Int, key: String, hotReads: Int, others: Int, from start: Int = 0) {
        var random = SeededRandom(seed: 7)
        for second in start..<start + seconds {
            for place in 0..<hotReads + others {
                read(&hot, random.below(hotReads + others) < hotReads ? key : "other\(second).\(place)")
            }
            hot.forget(at: UInt64(second + 1) * 1_000_000)
        }
    }

    private func names(_ hot: HotKeys, at seconds: Int) -> [String] {
        hot.hottest(at: UInt64(seconds) * 1_000_000, most: 10).map { String(decoding: $0.key, as: UTF8.self) }
    }

    @Test("A key with a tenth of the reads is found among thousands of others, with its rate and share")
    func found() throws {
        var hot = HotKeys(seed: 1, at: 0)
        run(&hot, seconds: 20, key: "popular", hotReads: 2_000, others: 18_000)
        #expect(names(hot, at: 20).first == "popular")
        let first = try #require(hot.hottest(at: 20_000_000, most: 1).first)
        #expect(abs(first.share - 0.1) < 0.03, "\(first.share)")
        #expect(abs(first.readsPerSecond - 2_000) < 600, "\(first.readsPerSecond)")
        #expect(abs(hot.readsPerSecond(at: 20_000_000) - 20_000) < 2_000)
        #expect(hot.inTurn == [Array("popular".utf8)])
    }

    @Test("Where every key is read alike, none stands out")
    func even() {
        var hot = HotKeys(seed: 2, at: 0)
        run(&hot, seconds: 20, key: "-", hotReads: 0, others: 20_000)
        #expect(names(hot, at: 20) == [])
        #expect(hot.inTurn.isEmpty)
    }

    @Test("What was hot gives way to what is hot now")
    func cools() {
        var hot = HotKeys(seed: 3, at: 0)
        run(&hot, seconds: 20, key: "old", hotReads: 4_000, others: 4_000)
        run(&hot, seconds: 20, key: "new", hotReads: 4_000, others: 4_000, from: 20)
        #expect(names(hot, at: 40).first == "new")
        run(&hot, seconds: 40, key: "new", hotReads: 4_000, others: 4_000, from: 40)
        #expect(names(hot, at: 80) == ["new"])
        hot.forget(at: 600_000_000)
        #expect(names(hot, at: 600) == [], "after a long silence nothing is hot")
    }

    @Test("A client that reads its keys round and round is sampled evenly: the distances are drawn")
    func roundAndRound() {
        var hot = HotKeys(seed: 4, at: 0)
        for place in 0..<64_000 { read(&hot, "k\(place % 32)") }
        hot.forget(at: 1_000_000)
        #expect(names(hot, at: 1).count == 10)
        #expect(hot.hottest(at: 1_000_000, most: 64).allSatisfy { $0.share < 0.08 })
    }

    @Test("The lane tells of them with their servers, in text that is safe to print")
    func status() throws {
        let bench = Bench.serving()
        let client = bench.client()
        for _ in 0..<2_000 {
            bench.ask(client, "get a\\b\u{7f}\r\n")
            bench.answer("cache1", "END\r\n")
        }
        let hot = try #require(bench.node.status(at: bench.now).hot)
        let key = try #require(hot.keys.first)
        #expect(key.key == #"a\\b\x7f"#)
        #expect(key.servers == ["cache1", "backup1"])
        #expect(key.readsPerSecond > 0 && key.readsPerSecond <= hot.readsPerSecond)
        #expect(KeyText.escaped([0, 0x20, 0x41, 0xff]) == #"\x00\x20A\xff"#)
    }
}
