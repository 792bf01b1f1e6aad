// The text protocol: what clients send, and what memcached servers answer.

import Kernel
import Memcache

/// The item limit that client streams are parsed with, small enough to run into.
private let itemBytesMax = 10_000

extension Promise {
    package static let textRequests = Promise(
        "text-requests", "a client's text: the same commands however it is cut; what goes to a server is one command, the same",
        bytesMax: 4_096,
        seeds: [
            "get k\r\nset k 0 0 5\r\nhello\r\ngets a b c\r\ndelete k\r\nincr n 5\r\ntouch k 100\r\n",
            "mg k v f c t s k O12 q\r\nms k 3 c F5 T60 MA Oabc\r\nabc\r\nmd a2V5 b I T30\r\nma n N60 J5 D3 MD v\r\nmn\r\nme k\r\n",
            "cas k 1 100 3 77 noreply\r\nabc\r\nappend k 0 0 1\r\nx\r\ngat 100 k\r\nflush_all 10\r\nstats settings\r\nversion\r\n",
            "set toolarge 0 0 20000\r\nxx\r\nverbosity 1\r\nconfig get cluster\r\nshutdown\r\nquit\r\n",
            "prepend k 0 -1 2 noreply\r\nhi\r\nset \u{0} 0 0 0\r\n\r\nGET / HTTP/1.1\r\n",
        ].map { Array($0.utf8) },
        words: [
            "get ", "gets ", "gat ", "set ", "add ", "cas ", "append ", "incr ", "decr ", "touch ", "delete ", "flush_all", "mg ",
            "ms ", "md ", "ma ", "mn", "me ", " noreply", "\r\n", " v", " q", " b", " O1", " T30", " F5", " MS", " I", " N60",
            " J1", " D2", " C7", " 4294967295", " 18446744073709551615", " -1", "a2V5",
        ]
    ) { bytes in
        for refusedBlock in [RefusedBlock.swallowed, .parsed] {
            let whole = TextOutcome.all(in: bytes, arriving: [bytes.count], itemBytesMax: itemBytesMax, refusedBlock)
            for way in Arrivals.ways(bytes) {
                let cut = TextOutcome.all(in: bytes, arriving: way, itemBytesMax: itemBytesMax, refusedBlock)
                precondition(cut == whole, "the outcome depends on how the bytes arrive")
            }
        }
    }

    package static let textReplies = Promise(
        "text-replies", "a memcached's answers, in every shape: never beyond the bytes, and never more wanted than there is",
        bytesMax: 4_096,
        seeds: [
            "STORED\r\nNOT_FOUND\r\n17\r\nVERSION 1.6.18\r\nOK\r\nERROR\r\nSERVER_ERROR out of memory storing object\r\n",
            "VALUE k 5 3 99\r\nabc\r\nEND\r\nEND\r\nVALUE k 0 0\r\n\r\nSERVER_ERROR out of memory\r\n",
            "VA 3 c9 f5 t-1 s3 kkey O12 W\r\nabc\r\nHD c1\r\nEN\r\nNS\r\nNF\r\nEX\r\nMN\r\nME k exp=-1 la=3\r\n",
            "STAT pid 7\r\nSTAT version 1.6.18\r\nSTAT empty \r\nEND\r\nRESET\r\n",
        ].map { Array($0.utf8) },
        words: [
            "VALUE ", "VA ", "HD", "EN\r\n", "NS", "NF", "EX", "MN\r\n", "ME ", "STAT ", "END\r\n", "\r\n", "STORED\r\n", "ERROR",
            "CLIENT_ERROR ", "SERVER_ERROR ", " c1", " f0", " t-1", " s3", " k", " O1", " W", " X", " Z", " b", "RESET\r\n",
        ]
    ) { bytes in
        for shape in [ReplyShape.line, .retrieval, .meta, .stats] { scanReplies(bytes, expecting: shape) }
    }

    /// Scans reply after reply.
    private static func scanReplies(_ bytes: UnsafeRawBufferPointer, expecting shape: ReplyShape) {
        var at = 0
        while at < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            guard case .reply(let reply) = ReplyScanner.scan(rest, expecting: shape, valueBytesMax: 1_000_000) else {
                checkBeginnings(of: rest, expecting: shape, reply: nil)
                return
            }
            precondition(reply.bytes > 0 && reply.bytes <= rest.count, "a reply of \(reply.bytes) in \(rest.count) bytes")
            for span in [reply.key, reply.value, reply.opaque, reply.casDigits] { precondition(span.end <= reply.bytes) }
            precondition(reply.headBytes <= reply.bytes)
            if shape == .stats { checkStats(reply, in: rest) }
            checkBeginnings(of: rest, expecting: shape, reply: reply)
            at += reply.bytes
        }
    }

    /// While a reply arrives: what is wanted is more than there is, and not more than the reply has, or it would be waited for in
    /// vain; and no beginning of a reply is malformed, nor another reply.
    private static func checkBeginnings(of bytes: UnsafeRawBufferPointer, expecting shape: ReplyShape, reply: Reply?) {
        let end = reply?.bytes ?? bytes.count
        for count in Arrivals.ways(UnsafeRawBufferPointer(rebasing: bytes[..<end])).map({ $0[0] }) {
            let beginning = UnsafeRawBufferPointer(rebasing: bytes[..<count])
            switch ReplyScanner.scan(beginning, expecting: shape, valueBytesMax: 1_000_000) {
            case .incomplete(let wanted):
                precondition(wanted > count, "more is wanted than nothing")
                precondition(reply == nil || wanted <= end, "\(wanted) bytes are wanted for a reply of \(end)")
            case .malformed: precondition(reply == nil, "the beginning of a reply is malformed")
            case .reply(let early): preconditionFailure("a reply of \(early.bytes) bytes in the \(count) of an unfinished one")
            }
        }
    }

    private static func checkStats(_ reply: Reply, in bytes: UnsafeRawBufferPointer) {
        var lines = StatCursor(reply, in: bytes)
        while let (name, value) = lines.next() {
            precondition(name.end <= value.start && value.end + 2 <= reply.bytes, "a statistic reaches out of its line")
        }
    }
}
