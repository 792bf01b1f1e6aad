// The rules of the classic commands: how many tokens each takes, which may be wrong and what memcached 1.6.18 then says.
// The order of the checks is the order in which memcached makes them, since it decides which error is seen.

extension RequestParser {
    private static var badFormat: StaticString { "CLIENT_ERROR bad command line format\r\n" }

    /// True when the last token is `noreply`.
    private static func endsWithNoreply(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> Bool {
        Word.of(line[line.count - 1], in: bytes) == Word.noreply
    }

    /// A refusal that `noreply` silences.
    private static func refuse(_ reply: StaticString, _ line: CommandLine, noreply: Bool, swallow: Int = 0) -> ParseOutcome {
        refuse(noreply ? "" : reply, line, swallow: swallow)
    }

    /// `get k…`, `gets k…`, `gat exptime k…`, `gats exptime k…`
    func retrieval(_ verb: Verb, _ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count < 2 { return Self.error(line) }
        var request = Request(verb: verb, lineBytes: line.bytes)
        // `bget` is passed on as `get`: newer servers have dropped the name.
        request.isPlain = line.isPlain && !(verb == .get && line[0].count == 4)
        var first = 1
        if verb == .gat || verb == .gats {
            guard let exptime = Numbers.signed32(line[1].of(bytes), &request.isPlain) else {
                return Self.refuse("CLIENT_ERROR invalid exptime argument\r\n", line)
            }
            request.exptimeSeconds = exptime
            first = 2
            // Nothing to look up: memcached answers with the end of an empty list.
            if line.count == 2 { return Self.refuse("END\r\n", line) }
        }
        request.key = line[first].span
        request.arguments = line.tail(from: first)
        // One key that is too long refuses the whole line, whatever was found before it.
        for index in first..<line.count where line[index].count > MemcacheLimits.keyBytesMax {
            return Self.refuse(Self.badFormat, line)
        }
        request.keysNamed = UInt32(line.count - first)
        var beyond = KeyCursor(in: bytes, from: line.rest, to: line.end)
        while let key = beyond.next() {
            if key.count > MemcacheLimits.keyBytesMax { return Self.refuse(Self.badFormat, line) }
            request.keysNamed += 1
        }
        return .request(request)
    }

    /// `set k flags exptime bytes [noreply]` and its kin; `cas k flags exptime bytes cas [noreply]`
    func storage(_ verb: Verb, _ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        let needed = verb == .cas ? 6 : 5
        if line.count != needed && line.count != needed + 1 { return Self.error(line) }
        var request = Request(verb: verb, lineBytes: line.bytes)
        request.isPlain = line.isPlain
        request.noreply = Self.endsWithNoreply(line, bytes)
        // A last token that is not `noreply` is ignored by memcached, and is not passed on.
        if line.count > needed && !request.noreply { request.isPlain = false }
        let length = Numbers.signed32(line[4].of(bytes), &request.isPlain)
        if line[1].count > MemcacheLimits.keyBytesMax {
            let block = refusedBlock == .swallowed ? Self.blockBytes(length) : 0
            return Self.refuse(Self.badFormat, line, noreply: request.noreply, swallow: block)
        }
        guard let flags = Numbers.unsigned32(line[2].of(bytes), &request.isPlain),
            let exptime = Numbers.signed32(line[3].of(bytes), &request.isPlain), let length
        else { return Self.refuse(Self.badFormat, line, noreply: request.noreply) }
        if verb == .cas {
            guard let cas = Numbers.unsigned64(line[5].of(bytes), &request.isPlain) else {
                return Self.refuse(Self.badFormat, line, noreply: request.noreply)
            }
            request.cas = cas
        }
        let block = Self.blockBytes(length)
        if block == 0 { return Self.refuse(Self.badFormat, line, noreply: request.noreply) }
        request.key = line[1].span
        request.keysNamed = 1
        request.flags = flags
        request.exptimeSeconds = exptime
        if KeyRules.itemBytes(keyBytes: request.key.count, flags: flags, valueBytes: block - 2) > itemBytesMax {
            let reply: StaticString = request.noreply ? "" : "SERVER_ERROR object too large for cache\r\n"
            if verb != .set { return Self.refuse(reply, line, swallow: block) }
            return .refusedStore(request, reply: reply, consume: line.bytes, swallow: block)
        }
        request.value = Span(start: line.bytes, count: block - 2)
        request.bytes = line.bytes + block
        return .request(request)
    }

    /// The data block's length with its CRLF; 0 where memcached refuses the length.
    static func blockBytes(_ length: Int32?) -> Int {
        guard let length, length >= 0, length <= Int32.max - 2 else { return 0 }
        return Int(length) + 2
    }

    /// `incr k delta [noreply]`, `decr k delta [noreply]`
    func arithmetic(_ verb: Verb, _ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count != 3 && line.count != 4 { return Self.error(line) }
        var request = Request(verb: verb, lineBytes: line.bytes)
        request.isPlain = line.isPlain
        request.noreply = Self.endsWithNoreply(line, bytes)
        if line.count == 4 && !request.noreply { request.isPlain = false }
        if line[1].count > MemcacheLimits.keyBytesMax {
            return Self.refuse(Self.badFormat, line, noreply: request.noreply)
        }
        guard let delta = Numbers.unsigned64(line[2].of(bytes), &request.isPlain) else {
            return Self.refuse("CLIENT_ERROR invalid numeric delta argument\r\n", line, noreply: request.noreply)
        }
        request.key = line[1].span
        request.keysNamed = 1
        request.delta = delta
        return .request(request)
    }

    /// `touch k exptime [noreply]`
    func touch(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count != 3 && line.count != 4 { return Self.error(line) }
        var request = Request(verb: .touch, lineBytes: line.bytes)
        request.isPlain = line.isPlain
        request.noreply = Self.endsWithNoreply(line, bytes)
        if line.count == 4 && !request.noreply { request.isPlain = false }
        if line[1].count > MemcacheLimits.keyBytesMax {
            return Self.refuse(Self.badFormat, line, noreply: request.noreply)
        }
        guard let exptime = Numbers.signed32(line[2].of(bytes), &request.isPlain) else {
            return Self.refuse("CLIENT_ERROR invalid exptime argument\r\n", line, noreply: request.noreply)
        }
        request.key = line[1].span
        request.keysNamed = 1
        request.exptimeSeconds = exptime
        return .request(request)
    }

    /// `delete k [0] [noreply]`
    func delete(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count < 2 || line.count > 4 { return Self.error(line) }
        var request = Request(verb: .delete, lineBytes: line.bytes)
        request.isPlain = line.isPlain
        if line.count > 2 {
            let zero = Word.of(line[2], in: bytes) == Word.zero
            request.noreply = Self.endsWithNoreply(line, bytes)
            let valid = line.count == 3 ? zero || request.noreply : zero && request.noreply
            if !valid {
                return Self.refuse(
                    "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n", line, noreply: request.noreply)
            }
            if zero { request.isPlain = false }
        }
        if line[1].count > MemcacheLimits.keyBytesMax {
            return Self.refuse(Self.badFormat, line, noreply: request.noreply)
        }
        request.key = line[1].span
        request.keysNamed = 1
        return .request(request)
    }

    /// `flush_all [delay] [noreply]`
    func flushAll(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count > 3 { return Self.error(line) }
        var request = Request(verb: .flushAll, lineBytes: line.bytes)
        request.noreply = Self.endsWithNoreply(line, bytes)
        if line.count != (request.noreply ? 2 : 1) {
            guard let delay = Numbers.signed32(line[1].of(bytes), &request.isPlain) else {
                return Self.refuse("CLIENT_ERROR invalid exptime argument\r\n", line, noreply: request.noreply)
            }
            request.exptimeSeconds = delay
        }
        return .request(request)
    }

    /// `verbosity level [noreply]`
    func verbosity(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count != 2 && line.count != 3 { return Self.error(line) }
        var request = Request(verb: .verbosity, lineBytes: line.bytes)
        request.noreply = Self.endsWithNoreply(line, bytes)
        guard let level = Numbers.unsigned32(line[1].of(bytes), &request.isPlain) else {
            return Self.refuse(Self.badFormat, line, noreply: request.noreply)
        }
        request.delta = UInt64(level)
        return .request(request)
    }

    /// `stats [what…]`
    func stats(_ line: CommandLine) -> ParseOutcome {
        var request = Request(verb: .stats, lineBytes: line.bytes)
        request.arguments = line.tail(from: 1)
        if line.count > 1 { request.key = line[1].span }
        return .request(request)
    }

    /// `config get cluster`
    func config(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count == 3, Word.of(line[1], in: bytes) == Word.get, Word.of(line[2], in: bytes) == Word.cluster {
            return .request(Request(verb: .configGetCluster, lineBytes: line.bytes))
        }
        return Self.error(line)
    }
}
