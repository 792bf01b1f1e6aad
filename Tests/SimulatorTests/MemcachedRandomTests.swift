// Thousands of random commands, said to memcached and to its model; a failure names its seed and its command.

import Kernel
import Memcache
import Simulator
import Testing

/// Makes commands up: mostly sensible, often odd, on few keys so that they meet.
struct RandomCommands {
    var random: SeededRandom
    /// Commands whose outcome in 1.6.18 depends on whether an earlier reply has left yet are left out.
    var forPipelines = false

    private mutating func pick<Choice>(_ choices: [Choice]) -> Choice { choices[random.below(choices.count)] }

    private mutating func key() -> String {
        if !forPipelines && random.chance(0.01) { return String(repeating: "k", count: 249 + random.below(4)) }
        return pick(["a", "b", "c", "d", "n", "m", "e\u{1}", "long.key.with.dots:\(random.below(3))"])
    }

    private mutating func value() -> String {
        // Nothing but blanks is left out: looking for a number there, 1.6.18 reads on in memory that is not the item's.
        switch random.below(8) {
        case 0: ""
        case 1, 2, 3: String(random.below(1_000))
        case 4: pick(["18446744073709551615", "18446744073709551616", "-1", " 7", "7 ", "+7", "7x", "0007", "x\r\n", "END\r\n"])
        case 5: String(repeating: "v", count: random.below(300))
        default: "value\(random.below(10))"
        }
    }

    private mutating func number() -> String {
        pick([
            "0", "1", "7", "42", "4294967295", "4294967296", "-1", "+3", "x", "", "99999999999999999999", "18446744073709551615",
            "1\t",
        ])
    }

    private mutating func flags() -> String { random.chance(0.8) ? String(random.below(70_000)) : number() }

    private mutating func exptime() -> String {
        random.chance(0.1) ? number() : pick(["0", "0", "0", "5000", "6000", "7000", "-1", "2592001", "2147000000"])
    }

    private mutating func noreply() -> String { random.chance(0.1) ? " noreply" : random.chance(0.02) ? " x" : "" }

    private mutating func length(_ value: String) -> String {
        if random.chance(0.03) { return String(max(0, value.utf8.count + random.below(3) - 1)) }
        return random.chance(0.02) ? pick(["-1", "x", "+\(value.utf8.count)", "2147483647"]) : String(value.utf8.count)
    }

    private mutating func metaFlags(_ letters: [String]) -> String {
        var flags = ""
        for _ in 0..<random.below(6) {
            let letter = pick(letters)
            switch letter {
            case "T", "N", "R": flags += " \(letter)\(exptime())"
            case "F": flags += " F\(self.flags())"
            case "C": flags += " C\(random.below(40))"
            case "J", "D": flags += " \(letter)\(random.chance(0.9) ? String(random.below(100)) : number())"
            case "O": flags += " O\(random.below(1_000))"
            default: flags += " \(letter)"
            }
        }
        return flags
    }

    private static let anyFlags = ["b", "z", "v", "MX", "é", "S", "L", "P", "u", "I", "F", "R", "J", "D"]

    /// A key for a meta command, and its ` b` if it is in base64.
    private mutating func metaKey() -> (key: String, flag: String) {
        random.chance(0.2) ? (pick(["YQ==", "bg==", "AAEC", "IA==", "YQ=", "Zm9vYmFy"]), " b") : (key(), "")
    }

    private mutating func odd(_ letters: [String]) -> [String] { random.chance(0.1) ? letters + Self.anyFlags : letters }

    mutating func next() -> String {
        switch random.below(forPipelines ? 17 : 20) {
        case 0: return "\(pick(["get", "gets", "bget"])) \(key()) \(key()) \(key())\r\n"
        case 1: return "gets \(key())\r\n"
        case 2: return "\(pick(["gat", "gats"])) \(exptime()) \(pick(["a", "b", "n"])) \(pick(["a", "c", "m"]))\r\n"
        case 3, 4, 5:
            let value = value()
            let verb = pick(["set", "set", "set", "add", "replace", "append", "prepend"])
            return "\(verb) \(key()) \(flags()) \(exptime()) \(length(value))\(noreply())\r\n\(value)\r\n"
        case 6:
            let value = value()
            return "cas \(key()) \(flags()) \(exptime()) \(length(value)) \(random.below(60))\(noreply())\r\n\(value)\r\n"
        case 7: return "delete \(key())\(pick(["", "", " 0", " 5"]))\(noreply())\r\n"
        case 8: return "touch \(key()) \(exptime())\(noreply())\r\n"
        case 9, 10:
            let (key, flag) = metaKey()
            let letters = odd(["v", "t", "s", "c", "f", "k", "O", "q", "h", "T", "N", "R", "u", "k", "v"])
            return "mg \(key)\(flag)\(metaFlags(letters))\r\n"
        case 11, 12, 13:
            let value = value()
            let (key, flag) = metaKey()
            let letters = odd(["T", "F", "c", "k", "O", "q", "C", "I", "ME", "MA", "MP", "MR", "MS"])
            return "ms \(key) \(length(value))\(flag)\(metaFlags(letters))\r\n\(value)\r\n"
        case 14:
            let (key, flag) = metaKey()
            return "md \(key)\(flag)\(metaFlags(odd(["q", "k", "O", "C", "I", "T"])))\r\n"
        case 15:
            return pick(["mn\r\n", "version\r\n", "verbosity 0\r\n", "me zzz\r\n", "ERROR\r\n", "\r\n", "get\r\n", "set a\r\n"])
        case 16: return random.chance(0.1) ? "flush_all\(noreply())\r\n" : "mg \(key()) t c v\r\n"
        case 17: return "\(pick(["incr", "decr"])) \(pick(["n", "m", "a"])) \(number())\(noreply())\r\n"
        case 18:
            let (key, flag) = metaKey()
            let letters = odd(["q", "k", "O", "C", "N", "T", "J", "D", "MI", "MD", "M+", "M-", "v", "t", "c"])
            return "ma \(key)\(flag)\(metaFlags(letters))\r\n"
        default: return "\(pick(["incr", "decr"])) n \(random.below(2_000))\r\n"
        }
    }
}

@Suite(.enabled(if: MemcachedProcess.isInstalled, "memcached is not installed: apt-get install memcached"), .serialized)
struct MemcachedRandomTests {
    @Test("random commands are answered as memcached answers them", arguments: 1...8 as ClosedRange<UInt64>)
    func oneByOne(seed: UInt64) throws {
        let twin = try MemcachedTwin()
        var commands = RandomCommands(random: SeededRandom(seed: seed))
        for number in 0..<1_500 {
            if number % 50 == 0 { try twin.synchronise() }
            try #require(try twin.say(Array(commands.next().utf8)), "seed \(seed), command \(number)")
        }
        // A block that is still being swallowed ends here, on both sides.
        try twin.say([UInt8](repeating: 10, count: 400))
        #expect(twin.isQuiet(), "seed \(seed)")
    }

    @Test("pipelines in split packets are answered as memcached answers them", arguments: 101...104 as ClosedRange<UInt64>)
    func pipelined(seed: UInt64) throws {
        let twin = try MemcachedTwin()
        var random = SeededRandom(seed: seed)
        var commands = RandomCommands(random: SeededRandom(seed: seed &* 7), forPipelines: true)
        for number in 0..<60 {
            try twin.synchronise()
            var batch: [UInt8] = []
            for _ in 0...random.below(25) { batch += Array(commands.next().utf8) }
            let split = random.below(batch.count)
            try #require(try twin.say(batch, on: random.below(3), splitAt: split), "seed \(seed), batch \(number)")
        }
    }

    @Test("an item at the limit is stored, and one beyond it removes what was there exactly where memcached does")
    func itemLimit() throws {
        for limit in [1_048_576, 2_097_152] {
            let twin = try MemcachedTwin(itemBytesMax: limit)
            for (flags, overhead) in [("0", 0), ("7", 4)] {
                let largest = limit - 59 - 1 - overhead
                for (count, prefix) in [(largest, "stored"), (largest + 1, "refused"), (limit, "refused")] {
                    let block = [UInt8](repeating: 120, count: count) + [13, 10]
                    for (verb, tail) in [("set", ""), ("add", ""), ("append", ""), ("cas", " 1"), ("set", " noreply")] {
                        try twin.say("set k 0 0 3\r\nold\r\n")
                        let line = Array("\(verb) k \(flags) 0 \(count)\(tail)\r\n".utf8)
                        try #require(try twin.say(line + block), "\(prefix) \(verb) of \(count)")
                        try #require(try twin.say("mg k s f\r\n"))
                    }
                    for mode in ["S", "E", "A", "P", "R"] {
                        try twin.say("set k 0 0 3\r\nold\r\n")
                        let line = Array("ms k \(count) F\(flags) M\(mode) q\r\n".utf8)
                        try #require(try twin.say(line + block), "\(prefix) ms M\(mode) of \(count)")
                        try #require(try twin.say("mg k s f\r\n"))
                    }
                }
            }
            // A key in base64 counts decoded.
            let largest = limit - 59 - 6
            for count in [largest, largest + 1] {
                try #require(
                    try twin.say(Array("ms Zm9vYmFy \(count) b\r\n".utf8) + [UInt8](repeating: 120, count: count) + [13, 10]))
            }
            // Half a megabyte lies in pieces; no number is looked for there.
            for count in [524_000, 524_288 - 59 - 1, 524_288 - 59, 600_000] {
                let line = Array("set n 0 0 \(count)\r\n5".utf8)
                try twin.say(line + [UInt8](repeating: 32, count: count - 1) + [13, 10])
                try #require(try twin.say("incr n 1\r\n"), "incr of \(count) bytes")
            }
        }
    }

    @Test("items end, and a delayed flush comes, in the same second")
    func timePasses() async throws {
        let twin = try MemcachedTwin()
        try twin.say("set a 0 2 1\r\nx\r\n")
        try twin.say("set b 0 0 1\r\nx\r\n")
        try twin.say("mg n N2 v\r\n")
        try twin.say("flush_all 3\r\n")
        try twin.say("gets a b n\r\n")
        try await Task.sleep(for: .seconds(4.2))
        try twin.synchronise()
        try twin.say("gets a b n\r\n")
        try twin.say("set c 0 0 1\r\nx\r\n")
        try twin.say("gets a b c\r\n")
        #expect(twin.model.keys(atWallMicroseconds: twin.wallMicroseconds) == [Array("c".utf8)])
    }

    @Test("a line that never ends is refused, though a retrieval's may be long")
    func longLines() throws {
        let twin = try MemcachedTwin()
        let keys = (0..<3_000).map { "key\($0)" }.joined(separator: " ")
        try twin.say("set key2999 0 0 1\r\nx\r\n")
        try twin.say("get \(keys)\r\n")
        try twin.say("gets \(keys)\r\n")
        try twin.say("mn\r\n")
    }
}
