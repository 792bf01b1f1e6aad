// What clients and servers say most is understood by a shortcut. It must be taken for nothing that the general rules would understand
// otherwise: each line is held against one that says the same and takes the long way.

import Kernel
import Memcache
import Testing

@Suite("Shortcuts")
struct ShortcutTests {
    /// Bytes among which are all that matter to a line, and others.
    private func text(_ random: inout SeededRandom, bytes: Int) -> [UInt8] {
        let special: [UInt8] = [0, 9, 10, 13, 31, 32, 33, 127, 128, 160, 255]
        let isPlain = random.chance(0.5)
        return (0..<bytes).map { _ in
            if !isPlain, random.chance(0.1) { return special[random.below(special.count)] }
            return UInt8(33 + random.below(94))
        }
    }

    /// What a parser makes of one line: the key, whether there are more, and how long the line is; or how it refuses it.
    private func outcome(_ line: [UInt8], verbBytes: Int) -> String {
        line.withUnsafeBytes { bytes in
            var parser = RequestParser()
            switch parser.next(in: bytes) {
            case .incomplete: return "incomplete"
            case .request(let request):
                return "key at \(request.key.start - verbBytes) of \(request.key.count), \(request.keyCount) keys in "
                    + "\(request.arguments.count), \(request.bytes - verbBytes) bytes"
            case .refused(let reply, let consume, let swallow, let close):
                return "\(reply), \(consume - verbBytes), \(swallow), \(close)"
            default: return "something else"
            }
        }
    }

    @Test("A get of one key is what a gets of it is", arguments: 1...20)
    func plainGet(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<2_000 {
            let rest = text(&random, bytes: random.chance(0.2) ? 245 + random.below(10) : random.below(24))
            let end: [UInt8] = [[13, 10], [10], [32, 13, 10], [13, 13, 10]][random.below(4)]
            // What follows must not matter.
            let tail = text(&random, bytes: random.below(12))
            let short = outcome(Array("get ".utf8) + rest + end + tail, verbBytes: 4)
            let long = outcome(Array("gets ".utf8) + rest + end + tail, verbBytes: 5)
            #expect(short == long, "\(rest + end)")
        }
    }

    /// What the scanner makes of a value's reply.
    private func outcome(_ head: [UInt8], cas: String, _ behind: [UInt8]) -> String {
        (Array("VALUE ".utf8) + head + Array(cas.utf8) + [13, 10] + behind).withUnsafeBytes { bytes in
            switch ReplyScanner.scan(bytes, expecting: .retrieval) {
            case .incomplete(let wanted): return "incomplete, wants \(wanted - cas.utf8.count)"
            case .malformed: return "malformed"
            case .reply(let reply):
                return "\(reply.kind) key \(reply.key.start) \(reply.key.count), flags \(reply.flags), "
                    + "value \(reply.value.start - cas.utf8.count) \(reply.value.count), \(reply.bytes - cas.utf8.count) bytes"
            }
        }
    }

    @Test("A VALUE line is what the same line with a CAS value is", arguments: 1...20)
    func plainValue(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let numbers = ["0", "1", "5", "05", "768", "4294967295", "4294967296", "999999999", "1000000000", "1x", "", "-1", " 3"]
        for _ in 0..<2_000 {
            let key = text(&random, bytes: 1 + random.below(20)).filter { $0 != 10 && $0 != 13 }
            let flags = numbers[random.below(numbers.count)]
            let size = random.chance(0.6) ? "5" : numbers[random.below(numbers.count)]
            let head = key + Array(" \(flags) \(size)".utf8)
            // Of fewer or more words, the CAS value would be another one of them.
            guard head.split(separator: 32).count == 3 else { continue }
            let behind = [
                "hello\r\nEND\r\n", "hello\r\nENDS\r\n", "hello\r\nSERVER_ERROR x\r\n", "hello\r\nEND", "hello\r\n", "hell",
                "hellooEND\r\n", "hello\r\nEND\r\nVALUE",
            ][random.below(8)]
            #expect(
                outcome(head, cas: "", Array(behind.utf8)) == outcome(head, cas: " 77", Array(behind.utf8)),
                "\(String(decoding: head, as: UTF8.self)) \(behind)")
        }
    }
}
