// The model of memcached against the real one: what it says must be what memcached 1.6.18 says. Everything else that
// trusts the model (the simulator's checkers) or its parser (the proxy) leans on this.

import Kernel
import Simulator
import Testing

@Suite(.enabled(if: MemcachedProcess.isInstalled, "memcached is not installed: apt-get install memcached"), .serialized)
struct MemcachedDifferentialTests {
    static let longKey = String(repeating: "k", count: 251)
    static let longestKey = String(repeating: "k", count: 250)

    /// Each line is said on its own; `|` stands for a line end.
    static let scripts: [(String, [String])] = [
        (
            "classic stores and their conditions",
            [
                "get a|", "set a 5 0 3|abc|", "get a|", "gets a|", "add a 0 0 1|x|", "replace a 1 0 2|xy|", "gets a b a|",
                "append a 9 0 1|!|", "prepend a 9 0 1|?|", "gets a|", "cas a 0 0 1 1|z|", "cas a 0 0 1 5|z|", "gets a|",
                "cas nope 0 0 1 5|z|", "append nope 0 0 1|z|", "prepend nope 0 0 1|z|", "replace nope 0 0 1|z|", "delete a|",
                "delete a|", "get a|", "set a 0 0 0||", "get a|", "set a 4294967295 0 1|x|", "get a|",
            ]
        ),
        (
            "noreply silences everything but a wrong number of tokens",
            [
                "set a 0 0 1 noreply|x|get a|", "set a b 0 1 noreply|get a|", "set a 0 0 3 noreply|x|y|zz|mn|",
                "set \(longKey) 0 0 1 noreply|mn|mn|", "add a 0 0 1 noreply|y|mn|", "incr a 1 noreply|mn|",
                "incr a x noreply|mn|",
                "incr a noreply|mn|", "touch a noreply|mn|", "touch a 0 noreply|mn|", "delete a noreply|mn|",
                "delete a noreply|mn|",
                "delete a 5 noreply|mn|", "delete a 0 noreply|mn|", "delete a noreply noreply|mn|", "set a 0 0 noreply|mn|",
                "set a noreply|", "cas a 0 0 1 noreply|mn|x|", "cas a 0 0 1 7 noreply|x|mn|", "flush_all noreply|mn|",
                "flush_all 0 noreply|mn|", "flush_all noreply noreply|mn|", "verbosity 0 noreply|mn|", "verbosity noreply|mn|",
                "incr a 1 2 noreply|",
            ]
        ),
        (
            "tokens too few, too many, or odd",
            [
                "|", " |", "x|", "xx|", "get|", "gets|", "gat|", "gat 0|", "gat x a|", "gat -1|", "set|", "set a|", "set a 0 0|",
                "set a 0 0 1 2 3|", "set a 0 0 1 maybe|x|", "incr a|", "incr a 1 2 3|", "incr a 1 maybe|", "delete|",
                "delete a 0|",
                "delete a 1|", "delete a 0 1|", "delete a noreply 0|", "delete a b c d|", "touch a|", "touch a x|",
                "touch a 1 2|",
                "touch a 1 2 3|", "flush_all x|", "flush_all 0 x|", "flush_all 0 1 2|", "verbosity|", "verbosity x|",
                "verbosity 0 0|", "verbosity 0 0 0|", "version x y|", "mn x|", "m|", "mx|", "mgg a|", "GET a|", "Set a 0 0 1|",
                "bget a|", "stat|", "statss|", "config get cluster|", "shutdown|", "me|", "me a|", "  get   a  |", "get a \t|",
                "get a\tb|", "touchx|", "appendix|", "g|", "gg a|",
            ]
        ),
        (
            "numbers are read as C reads them, and cut",
            [
                "set a +5 0 1|x|", "set a -1 0 1|x|", "set a 4294967296 0 1|x|get a|", "set a 18446744073709551615 0 1|x|get a|",
                "set a 18446744073709551616 0 1|x|", "set a -18446744073709551615 0 1|x|get a|", "set a \t7 0 1|x|get a|",
                "set a 7\t 0 1|x|get a|", "set a 7\tx 0 1|x|get a|", "set a 7x 0 1|", "set a 0x7 0 1|", "set a  0 1|",
                "set a 0 0 +1|x|", "set a 0 0 -1|", "set a 0 0 4294967297|x|get a|", "set a 0 0 2147483647|",
                "set a 0 0 2147483648|",
                "set a 0 0 99999999999999999999|", "set a 0 9223372036854775807 1|x|", "set a 0 9223372036854775808 1|",
                "set a 0 -9223372036854775808 1|x|", "set a 0 -9223372036854775809 1|", "set a 0 0 1|5|", "incr a +1|",
                "incr a -1|",
                "incr a -18446744073709551615|", "incr a 18446744073709551615|", "incr a 18446744073709551616|", "incr a 1.5|",
                "incr a \t1|", "decr a 0x1|", "incr a |", "cas a 0 0 1 -1|", "cas a 0 0 1 x|", "cas a 0 0 1 +3|x|",
            ]
        ),
        (
            "line ends, NULs and spaces",
            [
                "get a\n", "set a 0 0 1\nx\r\n", "get a\r\r\n", "set a 0 0 1|x|", "get a\u{0}b c|", "\u{0}|", "get\u{0} a|",
                "get a\u{0}|", "set b 0 0 1\u{0} 9 9|x|", "get b|", "mg a\u{0} v|", "ge\u{0}t a|", "get \u{1}\u{2}\u{7f}|",
                "set \u{1}\u{2}é 0 0 1|x|", "get \u{1}\u{2}é|", "mg \u{1}\u{2}é v k|", "\r\n", "\n", "\r\r\n", "mn\n", "mn\r\r\n",
            ]
        ),
        (
            "data blocks that are too long or too short",
            [
                "set a 0 0 1|old|", "set a 0 0 1|ab|", "get a|", "set a 0 0 3|a|b|", "get a|", "set a 0 0 3|a|", "|", "get a|",
                "ms a 1|abc|", "mn|", "ms a 1 q|abc|", "mn|", "ms a 0 q k|xy", "mn|", "set a 0 0 1|x\r\r\n", "mn|",
                "set a 0 0 1\nx\n\n",
                "mn|",
            ]
        ),
        (
            "keys that are too long",
            [
                "set \(longestKey) 0 0 1|x|", "get \(longestKey)|", "get \(longKey)|", "get a \(longKey) b|",
                "gets \(longKey) a|",
                "gat 0 a \(longKey)|", "set \(longKey) 0 0 2|mn|", "delete \(longKey)|", "delete \(longKey) 0|",
                "incr \(longKey) 1|",
                "touch \(longKey) 1|", "mg \(longKey) v|", "ms \(longKey) 2|mn|", "ms \(longKey)|", "md \(longKey)|",
                "ma \(longKey)|",
                "me \(longKey)|", "mg \(longKey) q|", "ms \(longKey) 2 q|mn|",
            ]
        ),
        (
            "more keys than a token array holds",
            [
                "set k5 0 0 1|a|", "set k30 0 0 1|b|", "set k23 0 0 1|c|", "set k22 0 0 1|d|", "set k50 0 0 1|e|",
                "get " + (1...60).map { "k\($0)" }.joined(separator: " ") + "|",
                "gets " + (1...22).map { "k\($0)" }.joined(separator: " ") + "|",
                "get " + (1...22).map { "k\($0)" }.joined(separator: " ") + " |",
                "get " + (1...22).map { "k\($0)" }.joined(separator: " ") + "   |",
                "get " + (1...23).map { "k\($0)" }.joined(separator: "  ") + "  |",
                "gat 0 " + (1...60).map { "k\($0)" }.joined(separator: " ") + "|",
                "get " + (1...30).map { "k\($0)" }.joined(separator: " ") + " \(longKey)|",
                "get " + (1...30).map { "k\($0)" }.joined(separator: " ") + "\u{0} \(longKey)|",
                "mg a " + (1...17).map { "O\($0)" }.joined(separator: " ") + "|",
                "mg a " + (1...18).map { "O\($0)" }.joined(separator: " ") + "|",
                "ms a 1 " + (1...17).map { "O\($0)" }.joined(separator: " ") + "|mn|", "ms a 2 O1 O2|mn|",
                "md a " + (1...18).map { "O\($0)" }.joined(separator: " ") + "|",
                "set " + (1...40).map { "O\($0)" }.joined(separator: " ") + "|",
                "version " + String(repeating: "x ", count: 90) + "|",
            ]
        ),
        (
            "incr and decr change in place and wrap",
            [
                "set n 3 0 2|10|", "decr n 1|", "gets n|", "incr n 1|", "gets n|", "incr n 990|", "gets n|", "decr n 5000|",
                "gets n|",
                "set n 0 0 20|18446744073709551615|", "incr n 1|", "gets n|", "set n 0 0 1|x|", "incr n 1|", "set n 0 0 3| 12|",
                "incr n 1|", "gets n|", "set n 0 0 4|12ab|", "incr n 1|", "set n 0 0 4|12 a|", "incr n 1|", "gets n|",
                "set n 0 0 0||", "incr n 1|", "set n 0 0 2|-1|", "incr n 1|", "set n 0 0 2|-0|", "incr n 1|", "gets n|",
                "incr nope 1|",
                "set n 0 0 3|5\u{0}x|", "incr n 1|", "set n 0 0 20|99999999999999999999|", "incr n 1|", "set n 0 0 2|+7|",
                "incr n 1|",
                "gets n|", "set n 0 0 21|184467440737095516155|", "decr n 1|",
            ]
        ),
        (
            "meta gets return what they are asked for, in order",
            [
                "mg a|", "mg a v|", "mg a q|mn|", "mg a q k O1|mn|", "mg a k O123|", "set a 7 5000 3|abc|", "mg a|", "mg a v|",
                "mg a q|",
                "mg a s v t f c k O9 h|", "mg a h|", "mg a t T9000 t|", "mg a T0 t|", "mg a T-1 t|", "mg a|", "set a 0 0 1|x|",
                "mg a T|", "mg a Tx|", "mg a vv|", "mg a v v|", "mg a !|", "mg a 5|", "mg a z|", "mg a C|", "mg a Cx|", "mg a M|",
                "mg a MXX|", "mg a F|", "mg a Fx Cx|", "mg a Cx Fx|", "mg a Jx|", "mg a Dx|", "mg a D5 J5 C5 F5 ME I P L|",
                "mg a O\(String(repeating: "o", count: 31))|", "mg a O\(String(repeating: "o", count: 32))|",
                "mg z O\(String(repeating: "o", count: 32)) q|", "mg a \u{7f}|", "mg a é|", "mg a u h|", "mg a h|", "mg a h|",
            ]
        ),
        (
            "meta sets, their modes and conditions",
            [
                "ms a|", "ms a x|mn|", "ms a -1|", "ms a 2147483646|", "ms a 3|abc|", "ms a 3 c k O5|abc|", "mg a v c|",
                "ms a 1 ME|x|",
                "ms a 1 MA|!|", "ms a 1 MP c|?|", "mg a v f t|", "ms a 1 MR F9 T5000|r|", "mg a v f t|", "ms b 1 MR|r|",
                "ms b 1 MA|r|",
                "ms b 1 MP c k|r|", "ms b 1 ME c|r|", "ms b 1 MS|s|", "ms b 1 MX|s|", "ms b 1 Mabc|s|", "ms b 1 M|s|",
                "ms b 1 C999|s|",
                "ms zz 1 C999|s|", "ms b 1 C0|s|", "ms b 1 ME C5 c|s|", "ms b 1 MA C5|s|", "ms b 1 q|s|mn|", "ms b 1 q ME|s|",
                "ms b 1 q k|s|mn|", "ms b 1 T|s|", "ms b 1 Fx|s|", "ms b 1 F4294967296|s|", "mg b f|", "ms b 1 Fx Tx|s|",
                "ms b 1 O\(String(repeating: "o", count: 32))|s|", "ms b 1 MX O\(String(repeating: "o", count: 32))|s|",
                "ms b 1 v v|s|", "ms b 1 T-1|s|", "mg b|", "ms b +1|s|", "ms b 1\t|s|", "ms b S1|s|", "ms b 1 S1|s|",
            ]
        ),
        (
            "meta deletes, marks and wins",
            [
                "md a|", "md a q|", "md a k O1|", "ms a 1 c|x|", "md a C99999|", "md a q C99999|", "md a q|mn|", "mg a v|",
                "ms a 1 c T5000|x|",
                "md a I T6000|", "mg a t c v|", "mg a t c v|", "ms a 1 I C1|y|", "ms a 1 I C1 c|y|", "mg a v c t|", "mg a v c t|",
                "md a I|", "mg a c|", "ms a 2 c|zz|", "mg a c|", "md a I q|mn|", "mg a k|", "md a x|", "md a k k|", "md a Tx|",
                "md a b|",
                "md a O\(String(repeating: "o", count: 32))|", "mg a N5000|", "mg new N5000 t v k|", "mg new N5000 t v k|",
                "mg new R6000 t|", "mg new R6000 t|", "ms new 1 T100|n|", "mg new R50|", "mg new R200|", "mg new R200|",
                "mg nn N0 k c|",
                "mg nn R100|", "mg nx N-1 t|", "mg nx v|", "mg ny N5000 q v|", "mg ny q|",
            ]
        ),
        (
            "meta arithmetic",
            [
                "ma n|", "ma n q|", "ma n k O1|", "ma n N0 J10 v c t|", "ma n v|", "ma n D5 v c t k O2|", "ma n MD D3 v|",
                "ma n M- v|",
                "ma n M+ v|", "ma n MI v|", "ma n MX|", "ma n Mdd|", "ma n Dx|", "ma n J-1|", "ma n MD D99999 v|", "gets n|",
                "ma n q|mn|",
                "ma n q v|mn|", "ma n C99999|", "ma n C99999 q|", "ma n T5000 t|", "mg n t|", "ma n D99999999 T7000 t v|",
                "mg n t v|",
                "ma m N5000 J7 q t|", "mg m v t|", "ma m N6000 T7000 t|", "set n 0 0 1|x|", "ma n|", "ma n q|", "set n 0 0 0||",
                "ma n|",
                "ma n b|", "ma o N0 J18446744073709551615 v|", "ma o v|", "ma o MD v|", "ma n M|", "ma", "|", "ma n z|",
            ]
        ),
        (
            "base64 keys",
            [
                "ms Zm9v 3 b|bar|", "mg foo v k|", "mg Zm9v v k b|", "get foo|", "me foo|", "me Zm9v b|", "me Zm9v k b|",
                "md Zm9v b k O1|",
                "md Zm9v b k O1|", "mg Zm9v b k O1|", "mg Zm9 b|", "mg ==== b|", "mg A=== b|", "mg AA== b k|", "ms AA== 1 b k|x|",
                "mg AA== b k v|", "ms IA== 1 b k c|x|", "mg IA== b k v|", "mg Z-m9v b k|", "mg Zm9vZg== k b|", "mg Zm9v=A== k b|",
                "ms Zm9v 1 ME b k|x|", "ms Zm9v 1 MA b k|y|", "mg Zm9v k b v|", "ma Zm9v b k N0 J1|", "set n 0 0 1|1|",
                "ma bg== b k v|",
                "mg n k|", "mg dml2 b N0 k|", "mg dml2 b k|", "mg \(String(repeating: "QUJD", count: 62)) b k|", "md ?? b|",
                "ma ?? b|",
                "ms ?? 1 b|x|", "me ?? b|", "mg ?? b|", "mg ?? b T|", "mg ?? T b|", "mg foo b b|", "mg =AAA b k|",
            ]
        ),
        (
            "expiry",
            [
                "set a 0 -1 1|x|", "get a|", "set a 0 2592000 1|x|", "mg a t|", "set a 0 2592001 1|x|", "get a|",
                "set a 0 2147483647 1|x|",
                "mg a v|", "set a 0 2147483648 1|x|", "get a|", "set a 0 4294967295 1|x|", "get a|", "set a 0 5000 1|x|",
                "touch a 0|",
                "mg a t|", "touch a 9000|", "mg a t|", "gat 7000 a b|", "gats 7100 a|", "mg a t|", "touch a -1|", "get a|",
                "touch a 1|",
                "set a 0 0 1|x|", "gat -1 a|", "get a|", "add a 0 -1 1|x|", "add a 0 0 1|y|", "get a|", "append a 0 5000 1|y|",
                "mg a t|",
            ]
        ),
        (
            "flush_all",
            [
                "set a 0 0 1|x|", "flush_all|", "get a|", "set a 0 0 1|x|", "gets a|", "flush_all 100|", "gets a|",
                "set b 0 0 1|x|", "gets b|",
                "flush_all 0|", "gets a b|", "flush_all -5|", "set a 0 0 1|x|", "gets a|", "flush_all 2592001|", "gets a|",
                "flush_all 5 6|", "set a 0 0 1|x|", "gets a|",
            ]
        ),
        ("a lost browser is hung up on", ["GET / HTTP/1.1|"]),
        ("another one", ["PUT /x HTTP/|"]),
        (
            "one with a known first letter is not",
            ["get / HTTP/1.1|", "delete / HTTP/1.1|", "gone / HTTP/1.1|", "mm / HTTP/1.1|"]
        ),
        ("quit", ["quit|"]),
        ("quit with words, and something behind it", ["quit now|get a|"]),
    ]

    @Test("a script is answered as memcached answers it", arguments: scripts.indices)
    func script(_ index: Int) throws {
        let twin = try MemcachedTwin()
        let (name, lines) = Self.scripts[index]
        for line in lines {
            try twin.synchronise()
            try #require(try twin.say(line.replacing("|", with: "\r\n")), "in: \(name)")
        }
        #expect(twin.isQuiet(), "\(name): memcached says more than its model")
    }
}
