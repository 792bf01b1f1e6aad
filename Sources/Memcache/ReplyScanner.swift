// Finds one reply after the other in what a backend sent. Strict, unlike the request parser: a backend that says what
// memcached never says is out of step, and every further reply would go to the wrong client.

/// Scans replies.
public enum ReplyScanner {
    /// Looks at the reply at the start of `bytes`. It scans no more than a line again when it is called before
    /// `bytesWanted` are there (`stats` excepted).
    public static func scan(
        _ bytes: UnsafeRawBufferPointer, expecting shape: ReplyShape, valueBytesMax: Int = MemcacheLimits.replyValueBytesMax
    ) -> ReplyScan {
        switch line(bytes, from: 0) {
        case .incomplete(let wanted): return .incomplete(bytesWanted: wanted)
        case .malformed(let reason): return .malformed(reason: reason)
        case .found(let end):
            let head = UnsafeRawBufferPointer(rebasing: bytes[0..<end - 2])
            if let error = error(head, headBytes: end) { return .reply(error) }
            switch shape {
            case .line: return single(head, headBytes: end)
            case .retrieval: return retrieval(bytes, head, headBytes: end, valueBytesMax)
            case .values: return value(bytes, head, headBytes: end, valueBytesMax, behind: 0)
            case .meta: return meta(bytes, head, headBytes: end, valueBytesMax)
            case .stats: return stats(bytes)
            }
        }
    }

    private enum LineEnd {
        case incomplete(bytesWanted: Int)
        case malformed(StaticString)
        /// The offset behind the line's CRLF.
        case found(Int)
    }

    @inline(__always)
    private static func line(_ bytes: UnsafeRawBufferPointer, from start: Int) -> LineEnd {
        let limit = min(bytes.count, start + MemcacheLimits.replyLineBytesMax)
        guard let newline = LineSearch.newline(in: bytes, from: start, limit: limit) else {
            if bytes.count - start >= MemcacheLimits.replyLineBytesMax { return .malformed("a reply line is too long") }
            return .incomplete(bytesWanted: bytes.count + 1)
        }
        if newline == start || bytes[newline - 1] != 13 { return .malformed("a reply line does not end with CRLF") }
        return .found(newline + 1)
    }

    @inline(__always)
    private static func starts(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        return bytes.count >= count && Word.isEqual(UnsafeRawBufferPointer(rebasing: bytes[0..<count]), text)
    }

    /// `ERROR`, `CLIENT_ERROR why` and `SERVER_ERROR why` may answer anything.
    @inline(__always)
    private static func error(_ head: UnsafeRawBufferPointer, headBytes: Int) -> Reply? {
        guard head.count >= 5 else { return nil }
        let first = head[0]
        if first != UInt8(ascii: "E") && first != UInt8(ascii: "C") && first != UInt8(ascii: "S") { return nil }
        let kind: ReplyKind
        if Word.prefix(5, of: head) == Word.errorStart {
            kind = .error
        } else if Word.prefix(8, of: head) == Word.clientErrorStart, starts(head, "CLIENT_ERROR") {
            kind = .clientError
        } else if Word.prefix(8, of: head) == Word.serverErrorStart, starts(head, "SERVER_ERROR") {
            kind = .serverError
        } else {
            return nil
        }
        var reply = Reply(kind: kind, headBytes: headBytes)
        reply.value = Span(start: 0, count: head.count)
        return reply
    }

    private static func single(_ head: UnsafeRawBufferPointer, headBytes: Int) -> ReplyScan {
        let kind: ReplyKind
        switch Word.of(head) {
        case Word.storedReply: kind = .stored
        case Word.existsReply: kind = .exists
        case Word.deletedReply: kind = .deleted
        case Word.touchedReply: kind = .touched
        case Word.okReply: kind = .ok
        case Word.resetReply: kind = .reset
        default:
            if Word.isEqual(head, "NOT_FOUND") {
                kind = .notFound
            } else if Word.isEqual(head, "NOT_STORED") {
                kind = .notStored
            } else if Word.prefix(8, of: head) == Word.versionStart {
                var reply = Reply(kind: .version, headBytes: headBytes)
                reply.value = Span(start: 8, count: head.count - 8)
                return .reply(reply)
            } else if Numbers.digits(head) != nil {
                var reply = Reply(kind: .number, headBytes: headBytes)
                reply.value = Span(start: 0, count: head.count)
                return .reply(reply)
            } else {
                return .malformed(reason: "an unknown reply line")
            }
        }
        return .reply(Reply(kind: kind, headBytes: headBytes))
    }

    private static func retrieval(
        _ bytes: UnsafeRawBufferPointer, _ head: UnsafeRawBufferPointer, headBytes: Int, _ valueBytesMax: Int
    ) -> ReplyScan {
        let first = value(bytes, head, headBytes: headBytes, valueBytesMax, behind: 5)
        guard case .reply(let reply) = first, reply.kind == .value else { return first }
        return closing(bytes, reply)
    }

    /// `VALUE` with its block, or `END`. `behind`: bytes that must follow the block.
    @inline(__always)
    private static func value(
        _ bytes: UnsafeRawBufferPointer, _ head: UnsafeRawBufferPointer, headBytes: Int, _ valueBytesMax: Int, behind: Int
    ) -> ReplyScan {
        if Word.of(head) == Word.endReply { return .reply(Reply(kind: .end, headBytes: headBytes)) }
        guard Word.prefix(6, of: head) == Word.valueStart else { return .malformed(reason: "neither VALUE nor END") }
        var reply = Reply(kind: .value, headBytes: headBytes)
        if let size = plain(head, &reply) {
            if let fault = block(bytes, &reply, size, valueBytesMax, behind: behind) { return fault }
            return .reply(reply)
        }
        var words = KeyCursor(in: head, from: 6, to: head.count)
        guard let key = words.next(), let flags = words.next(), let size = words.next() else {
            return .malformed(reason: "a VALUE line is too short")
        }
        guard let flags = Numbers.digits(flags.of(head)), flags >> 32 == 0, let size = Numbers.digits(size.of(head)) else {
            return .malformed(reason: "a VALUE line's numbers are wrong")
        }
        if let cas = words.next() {
            guard let number = Numbers.digits(cas.of(head)), words.next() == nil else {
                return .malformed(reason: "a VALUE line's numbers are wrong")
            }
            reply.cas = number
            reply.casDigits = cas
        }
        reply.key = key
        reply.flags = UInt32(truncatingIfNeeded: flags)
        if let fault = block(bytes, &reply, size, valueBytesMax, behind: behind) { return fault }
        return .reply(reply)
    }

    /// What nearly every `VALUE` line is: key, flags and size, one space between them. The size; nil for any other line.
    @inline(__always)
    private static func plain(_ head: UnsafeRawBufferPointer, _ reply: inout Reply) -> UInt64? {
        guard let space = LineSearch.byte(32, in: head, from: 6, limit: head.count), space > 6 else { return nil }
        var at = space + 1
        guard let flags = Numbers.shortDigits(head, &at), at < head.count, head[at] == 32 else { return nil }
        at += 1
        guard let size = Numbers.shortDigits(head, &at), at == head.count else { return nil }
        reply.key = Span(start: 6, count: space - 6)
        reply.flags = UInt32(truncatingIfNeeded: flags)
        return size
    }

    /// Behind the value stands `END`; or an error, which then is the reply.
    @inline(__always)
    private static func closing(_ bytes: UnsafeRawBufferPointer, _ value: Reply) -> ReplyScan {
        var reply = value
        let start = reply.bytes
        if Word.at(start, count: 5, in: bytes) == Word.endLine {
            reply.bytes = start + 5
            return .reply(reply)
        }
        return unusualClosing(bytes, reply)
    }

    private static func unusualClosing(_ bytes: UnsafeRawBufferPointer, _ value: Reply) -> ReplyScan {
        var reply = value
        let start = reply.bytes
        switch line(bytes, from: start) {
        case .incomplete(let wanted): return .incomplete(bytesWanted: wanted)
        case .malformed(let reason): return .malformed(reason: reason)
        case .found(let end):
            let tail = UnsafeRawBufferPointer(rebasing: bytes[start..<end - 2])
            if Word.of(tail) == Word.endReply {
                reply.bytes = end
                return .reply(reply)
            }
            guard var error = error(tail, headBytes: end) else { return .malformed(reason: "no END behind a value") }
            error.value = Span(start: start, count: error.value.count)
            return .reply(error)
        }
    }

    /// Takes the value of `size` bytes and its CRLF into the reply, with at least `behind` more to come; what to report if
    /// that fails.
    @inline(__always)
    private static func block(
        _ bytes: UnsafeRawBufferPointer, _ reply: inout Reply, _ size: UInt64, _ valueBytesMax: Int, behind: Int
    ) -> ReplyScan? {
        if size > UInt64(min(valueBytesMax, MemcacheLimits.replyValueBytesMax)) {
            return .malformed(reason: "a value is larger than any memcached holds")
        }
        reply.size = Int(size)
        reply.value = Span(start: reply.headBytes, count: reply.size)
        reply.bytes = reply.value.end + 2
        if bytes.count < reply.bytes + behind { return .incomplete(bytesWanted: reply.bytes + behind) }
        if bytes[reply.bytes - 2] != 13 || bytes[reply.bytes - 1] != 10 {
            return .malformed(reason: "a value does not end with CRLF")
        }
        return nil
    }

    private static func meta(
        _ bytes: UnsafeRawBufferPointer, _ head: UnsafeRawBufferPointer, headBytes: Int, _ valueBytesMax: Int
    ) -> ReplyScan {
        if head.count < 2 || (head.count > 2 && head[2] != 32) { return .malformed(reason: "an unknown meta reply") }
        let kind: ReplyKind
        switch UInt16(head[0]) << 8 | UInt16(head[1]) {
        case 0x4844: kind = .hd
        case 0x454e: kind = .en
        case 0x4e53: kind = .ns
        case 0x4e46: kind = .nf
        case 0x4558: kind = .ex
        case 0x5641: kind = .va
        case 0x4d4e: kind = .mn
        case 0x4d45: kind = .me
        default: return .malformed(reason: "an unknown meta reply")
        }
        var reply = Reply(kind: kind, headBytes: headBytes)
        if kind == .me { return .reply(reply) }
        var words = KeyCursor(in: head, from: 2, to: head.count)
        var size: UInt64 = 0
        if kind == .va {
            guard let word = words.next(), let number = Numbers.digits(word.of(head)) else {
                return .malformed(reason: "a VA line has no size")
            }
            size = number
        }
        while let word = words.next() {
            if !take(word, of: head, into: &reply) { return .malformed(reason: "a meta reply's flag is wrong") }
        }
        if kind == .va, let fault = block(bytes, &reply, size, valueBytesMax, behind: 0) { return fault }
        return .reply(reply)
    }

    /// One flag of a meta reply; false when its number is none.
    @inline(__always)
    private static func take(_ word: Span, of head: UnsafeRawBufferPointer, into reply: inout Reply) -> Bool {
        let letter = head[word.start]
        if letter < 64 || letter > 126 { return false }
        reply.letters |= 1 << (UInt64(letter) & 63)
        let argument = Span(start: word.start + 1, count: word.count - 1)
        switch letter {
        case UInt8(ascii: "k"): reply.key = argument
        case UInt8(ascii: "O"): reply.opaque = word
        case UInt8(ascii: "f"):
            guard let number = Numbers.digits(argument.of(head)), number >> 32 == 0 else { return false }
            reply.flags = UInt32(truncatingIfNeeded: number)
        case UInt8(ascii: "c"):
            guard let number = Numbers.digits(argument.of(head)) else { return false }
            reply.cas = number
            reply.casDigits = argument
        case UInt8(ascii: "s"):
            guard let number = Numbers.digits(argument.of(head)), number < 1 << 62 else { return false }
            reply.size = Int(number)
        case UInt8(ascii: "t"):
            if argument.count == 2, head[argument.start] == UInt8(ascii: "-"), head[argument.start + 1] == UInt8(ascii: "1") {
                return true
            }
            guard let number = Numbers.digits(argument.of(head)), number < 1 << 62 else { return false }
            reply.ttl = Int64(number)
        default: break
        }
        return true
    }

    private static func stats(_ bytes: UnsafeRawBufferPointer) -> ReplyScan {
        var start = 0
        while start < MemcacheLimits.statsBytesMax {
            switch line(bytes, from: start) {
            case .incomplete(let wanted): return .incomplete(bytesWanted: wanted)
            case .malformed(let reason): return .malformed(reason: reason)
            case .found(let end):
                let text = UnsafeRawBufferPointer(rebasing: bytes[start..<end - 2])
                let kind: ReplyKind?
                switch Word.of(text) {
                case Word.endReply: kind = .end
                case Word.resetReply: kind = .reset
                case Word.okReply: kind = .ok
                default: kind = nil
                }
                if let kind { return .reply(Reply(kind: kind, headBytes: end)) }
                if var error = error(text, headBytes: end) {
                    error.value = Span(start: start, count: error.value.count)
                    return .reply(error)
                }
                if Word.prefix(5, of: text) != Word.statStart && Word.prefix(5, of: text) != Word.itemStart
                    && !starts(text, "PREFIX ")
                {
                    return .malformed(reason: "neither STAT nor END")
                }
                start = end
            }
        }
        return .malformed(reason: "an answer to stats is too long")
    }
}
