// How requests are found in what a client sent: whole, in pieces, broken. What each command's errors are is compared with
// memcached itself in `MemcachedDifferentialTests`, which drive the same parser.

import Foundation
import Fuzzing
import Kernel
import Memcache
import Testing

/// Parses text as a client's whole stream.
func understood(_ text: String, itemBytesMax: Int = 10_000) -> [TextOutcome] {
    Array(text.utf8).withUnsafeBytes {
        TextOutcome.all(in: $0, arriving: [$0.count], itemBytesMax: itemBytesMax)
    }
}

/// Hands the first request in a text to `body`, with its bytes.
func withRequest<Result>(_ text: String, _ body: (Request, UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    try Array(text.utf8).withUnsafeBytes { bytes in
        var parser = RequestParser()
        guard case .request(let request) = parser.next(in: bytes) else {
            Issue.record("no request in \(text)")
            throw NoRequest()
        }
        return try body(request, bytes)
    }
}

struct NoRequest: Error {}

@Suite("Requests")
struct RequestParserTests {
    @Test("a store is found with everything it says")
    func store() throws {
        try withRequest("set greeting 768 15 5 noreply\r\nhello\r\nget greeting\r\n") { request, bytes in
            #expect(request.verb == .set)
            #expect([UInt8](request.key.of(bytes)) == Array("greeting".utf8))
            #expect([UInt8](request.value.of(bytes)) == Array("hello".utf8))
            #expect(request.flags == 768 && request.exptime == 15 && request.noreply)
            #expect(request.lineBytes == 31 && request.bytes == 38)
        }
    }

    @Test("a meta command is found with its flags")
    func meta() throws {
        try withRequest("ms Zm9v 2 b F7 T60 MA C99 I q k O123\r\nhi\r\n") { request, bytes in
            #expect(request.verb == .ms && request.base64Key && request.noreply)
            #expect(request.withKey(in: bytes) { [UInt8]($0) } == Array("foo".utf8))
            #expect(request.flags == 7 && request.exptime == 60 && request.cas == 99)
            #expect(request.meta.mode == UInt8(ascii: "A") && request.meta.invalidates && request.meta.comparesCAS)
            #expect(request.meta.setsExptime && request.meta.returnsKey && !request.meta.returnsValue && !request.meta.vivifies)
            #expect([UInt8](request.meta.opaque.of(bytes)) == Array("O123".utf8))
        }
        try withRequest("ma n D5 J7 N30 MD\r\n") { request, _ in
            #expect(request.delta == 5 && request.meta.initial == 7 && request.meta.vivifyExptime == 30)
        }
        try withRequest("ma n\r\n") { request, _ in #expect(request.delta == 1) }
    }

    @Test("a retrieval's keys come one after the other, however many")
    func keys() throws {
        let names = (1...100).map { "key\($0)" }
        try withRequest("gats 60 \(names.joined(separator: "  "))\r\n") { request, bytes in
            #expect(request.verb == .gats && request.exptime == 60 && request.keyCount == 100)
            var cursor = KeyCursor(request, in: bytes)
            for name in names {
                let key = cursor.next().map { [UInt8]($0.of(bytes)) }
                #expect(key == Array(name.utf8))
            }
            #expect(cursor.next() == nil)
        }
    }

    @Test("a block that is still arriving is waited for, and the parser says how much it wants")
    func incomplete() {
        let bytes = Array("set k 0 0 10\r\n0123456789\r\n".utf8)
        bytes.withUnsafeBytes { bytes in
            var parser = RequestParser()
            for count in 1..<bytes.count {
                guard case .incomplete = parser.next(in: UnsafeRawBufferPointer(rebasing: bytes[0..<count])) else {
                    Issue.record("understood after \(count) bytes")
                    return
                }
                #expect(parser.bytesWanted == (count < 14 ? count + 1 : bytes.count))
            }
            guard case .request(let request) = parser.next(in: bytes) else {
                Issue.record("not understood")
                return
            }
            #expect(request.bytes == bytes.count)
        }
    }

    @Test("a store beyond the item limit is swallowed, and says whether the old item goes")
    func tooLarge() {
        let reply = "SERVER_ERROR object too large for cache\r\n"
        let key = Array("k".utf8)
        #expect(
            understood("set k 0 0 20000\r\n") == [.refusedStore(key: key, reply: reply, swallow: 20_002)],
            "a classic set removes what was there")
        #expect(
            understood("set k 0 0 20000 noreply\r\n") == [.refusedStore(key: key, reply: "", swallow: 20_002)],
            "in silence too")
        for verb in ["add", "replace", "append", "prepend"] {
            #expect(understood("\(verb) k 0 0 20000\r\n") == [.refused(reply: reply, swallow: 20_002)], "\(verb) does not")
        }
        #expect(understood("cas k 0 0 20000 1\r\n") == [.refused(reply: reply, swallow: 20_002)])
        #expect(
            understood("ms aw== 20000 b ME q\r\n") == [.refusedStore(key: key, reply: reply, swallow: 20_002)],
            "ms does in every mode, and answers though it is quiet")
        #expect(understood("set k 0 0 9938\r\n").isEmpty, "10,000 bytes with the key and the header: it fits")
        #expect(understood("set k 0 0 9941\r\n").count == 1)
    }

    @Test("a block whose key was refused is swallowed, unless memcached's own way is wanted")
    func refusedKey() {
        let key = String(repeating: "k", count: 251)
        let reply = "CLIENT_ERROR bad command line format\r\n"
        #expect(understood("set \(key) 0 0 4\r\nquit\r\n") == [.refused(reply: reply, swallow: 6)])
        #expect(understood("ms \(key) 4\r\nquit\r\n") == [.refused(reply: reply, swallow: 6)])
        Array("set \(key) 0 0 4\r\nquit\r\n".utf8).withUnsafeBytes { bytes in
            var parser = RequestParser(refusedBlock: .parsed)
            guard case .refused(_, _, let swallow, _) = parser.next(in: bytes) else {
                Issue.record("a key of 251 bytes passed")
                return
            }
            #expect(swallow == 0)
        }
    }

    @Test("a line that never ends closes the connection; a retrieval may be longer, but not endless")
    func longLines() {
        let closed = [TextOutcome.closed(reply: "CLIENT_ERROR line too long\r\n")]
        #expect(understood(String(repeating: "x", count: 2_048)).isEmpty)
        #expect(understood(String(repeating: "x", count: 2_049)) == closed)
        #expect(understood("get " + String(repeating: "x ", count: 32_700)).isEmpty)
        #expect(understood("get " + String(repeating: "x ", count: 32_800)) == closed)
        #expect(understood(String(repeating: " ", count: 101) + "get " + String(repeating: "x ", count: 2_000)) == closed)
        #expect(understood("get " + String(repeating: "x ", count: 2_000) + "\r\n").count == 1)
        #expect(understood("set " + String(repeating: "x ", count: 2_000) + "\r\n") == closed)
    }

    @Test("a lost browser is hung up on in silence")
    func http() {
        #expect(understood("GET / HTTP/1.1\r\nHost: x\r\n") == [.closed(reply: "")])
    }

    @Test("discovery and shutdown are left to the proxy")
    func others() {
        let all = understood("config get cluster\r\nshutdown\r\nconfig get other\r\n")
        #expect(all.count == 3)
        guard case .request(.configGetCluster, _, _, _, _) = all[0], case .request(.shutdown, _, _, _, _) = all[1] else {
            Issue.record("not understood: \(all)")
            return
        }
        #expect(all[2] == .refused(reply: "ERROR\r\n", swallow: 0))
    }

    /// A conversation with something of everything, right and wrong.
    static let conversation =
        "get a\r\nset k 1 2 3\r\nabc\r\nset k 1 2 3\r\nabcd\r\nmg k v q O1\r\nms k 5 T60\r\nhello\r\nget a b c\n  gets  x \r\n"
        + "set big 0 0 9990\r\n" + String(repeating: "b", count: 9_990) + "\r\ndelete k 5\r\nincr n 5 noreply\r\n\r\n"
        + "set \(String(repeating: "k", count: 251)) 0 0 4\r\nquit\r\nbogus\r\nmn\r\nma n D99\r\ncas k 0 0 2 77\r\nhi\r\nquit\r\n"

    @Test("where the packets are cut makes no difference")
    func everySplit() {
        Array(Self.conversation.utf8).withUnsafeBytes { bytes in
            let whole = TextOutcome.all(in: bytes, arriving: [bytes.count])
            #expect(whole.count == 18)
            for cut in 0...bytes.count where cut < 400 || cut % 97 == 0 || cut > bytes.count - 400 {
                let halves = TextOutcome.all(in: bytes, arriving: [cut, bytes.count])
                #expect(halves == whole, "cut at \(cut)")
            }
            #expect(TextOutcome.all(in: bytes, arriving: Array(1...bytes.count)) == whole, "byte by byte")
        }
    }

    /// How many seeds; `MERIDIAN_FUZZ_SEEDS` asks for more.
    static let fuzzSeeds = ProcessInfo.processInfo.environment["MERIDIAN_FUZZ_SEEDS"].flatMap { UInt64($0) } ?? 200

    @Test("random bytes, and damaged conversations, never trap and never depend on their packets")
    func randomBytes() {
        let words = [
            "get ", "set ", "ms ", "mg ", "ma ", "md ", "gat ", "cas ", " 0", " 5", " k", "\r\n", "\n", "\u{0}", " b", " T5",
            " noreply",
            " q", "Zm9v", "=", "-1", "99999999999999999999", "END\r\n", "VALUE k 0 3\r\n", "abc\r\n", "VA 3", "HD",
            "STAT a b\r\n",
            "ERROR\r\n", "flush_all", "verbosity", " O123", String(repeating: "k", count: 250),
        ].map { Array($0.utf8) }
        for seed in 1...Self.fuzzSeeds {
            var random = SeededRandom(seed: seed)
            let round = Int(seed % 3)
            var bytes: [UInt8] = []
            if round == 0 {
                for _ in 0..<random.below(200) { bytes.append(UInt8(truncatingIfNeeded: random.next())) }
            } else if round == 1 {
                for _ in 0..<random.below(40) { bytes += words[random.below(words.count)] }
            } else {
                bytes = Array(Self.conversation.utf8.prefix(200))
                for _ in 0..<random.below(6) { bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
            }
            bytes.withUnsafeBytes {
                Promise.textRequests.check($0)
                Promise.textReplies.check($0)
            }
        }
    }
}
