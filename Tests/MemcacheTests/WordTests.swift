import Testing

@testable import Memcache

@Suite("Words")
struct WordTests {
    @Test("each number is its word's")
    func numbers() {
        for (word, text) in [
            (Word.zero, "0"),
            (Word.deletedReply, "DELETED"),
            (Word.endReply, "END"),
            (Word.existsReply, "EXISTS"),
            (Word.okReply, "OK"),
            (Word.resetReply, "RESET"),
            (Word.storedReply, "STORED"),
            (Word.touchedReply, "TOUCHED"),
            (Word.add, "add"),
            (Word.append, "append"),
            (Word.b, "b"),
            (Word.bget, "bget"),
            (Word.cas, "cas"),
            (Word.cluster, "cluster"),
            (Word.config, "config"),
            (Word.decr, "decr"),
            (Word.delete, "delete"),
            (Word.gat, "gat"),
            (Word.gatStart, "gat "),
            (Word.gats, "gats"),
            (Word.gatsStart, "gats "),
            (Word.get, "get"),
            (Word.getStart, "get "),
            (Word.gets, "gets"),
            (Word.getsStart, "gets "),
            (Word.incr, "incr"),
            (Word.ma, "ma"),
            (Word.md, "md"),
            (Word.me, "me"),
            (Word.mg, "mg"),
            (Word.mn, "mn"),
            (Word.ms, "ms"),
            (Word.noreply, "noreply"),
            (Word.prepend, "prepend"),
            (Word.quit, "quit"),
            (Word.replace, "replace"),
            (Word.set, "set"),
            (Word.shutdown, "shutdown"),
            (Word.stats, "stats"),
            (Word.touch, "touch"),
            (Word.version, "version"),
            (Word.valueStart, "VALUE "),
            (Word.errorStart, "ERROR"),
            (Word.statStart, "STAT "),
            (Word.itemStart, "ITEM "),
            (Word.versionStart, "VERSION "),
            (Word.clientErrorStart, "CLIENT_E"),
            (Word.serverErrorStart, "SERVER_E"),
            (Word.httpStart, "HTTP/"),
        ] {
            // Once with bytes behind it, once at the end of what can be read.
            Array((text + "12345678").utf8).withUnsafeBytes { #expect(Word.prefix(text.utf8.count, of: $0) == word, "\(text)") }
            Array(text.utf8).withUnsafeBytes { #expect(Word.of($0) == word, "\(text)") }
        }
    }

    @Test("a longer word is none")
    func longer() {
        Array("verbosity".utf8).withUnsafeBytes {
            #expect(Word.of($0) == 0)
            #expect(Word.prefix(10, of: $0) == 0)
            #expect(Word.isEqual($0, "verbosity") && !Word.isEqual($0, "verbositz") && !Word.isEqual($0, "verb"))
        }
    }
}
