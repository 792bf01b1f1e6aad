// Finds one request after the other in what a client sent, exactly as memcached 1.6.18 would, and in place.
//
//     bytes ─▶ newline? ─▶ tokens ─▶ verb ─▶ its rules ─▶ data block there? ─▶ request
//               │ no                          │ broken     │ no
//               ▼                             ▼            ▼
//           incomplete                     refused     incomplete (the parsed line is kept)
//
// The parser keeps offsets, never bytes, so nothing is scanned twice however the bytes arrive.

/// What the parser made of the bytes.
public enum ParseOutcome: Sendable {
    /// More bytes are needed: at least `bytesWanted` in all. Those that are there must stay.
    case incomplete
    /// A request; the caller consumes `request.bytes` when it is done with them.
    case request(Request)
    /// Answer `reply` (memcached's bytes; empty where it is silent), drop `consume` bytes now, then `swallow` more as they
    /// arrive, then close if `close`.
    case refused(reply: StaticString, consume: Int, swallow: Int, close: Bool)
    /// As `refused`, and memcached removed the item of this key: the owner has to delete it, and then to answer. (Indirect, so
    /// that this rare case does not make every outcome larger than what a few registers move.)
    indirect case refusedStore(Request, reply: StaticString, consume: Int, swallow: Int)
    /// The client says who it is (binary, and only where it is asked to): drop `consume` bytes, then `swallow` more as they arrive.
    indirect case authentication(BinaryAuthentication, consume: Int, swallow: Int)
}

/// What becomes of a data block whose command line was refused because of its key.
public enum RefusedBlock: Sendable {
    /// It is swallowed, so that the connection stays in step.
    case swallowed
    /// It is taken for command lines, as memcached 1.6.18 does.
    case parsed
}

/// Parses the requests of one client connection.
public struct RequestParser: Sendable {
    let itemBytesMax: Int
    let refusedBlock: RefusedBlock
    /// Bytes known to hold no newline.
    private var scanned = 0
    /// A request whose line is understood and whose data block is still arriving; meaningful while `waitingBytes` is not 0.
    private var waiting = Request(verb: .quit, lineBytes: 0)
    /// The whole length of that request.
    private var waitingBytes = 0

    /// A parser at the start of a connection. `itemBytesMax` is memcached's item limit, `-I`.
    public init(itemBytesMax: Int = MemcacheLimits.itemBytesDefault, refusedBlock: RefusedBlock = .swallowed) {
        self.itemBytesMax = itemBytesMax
        self.refusedBlock = refusedBlock
    }

    /// After `incomplete`: how many bytes must be there in all before another call can make progress.
    public var bytesWanted: Int { waitingBytes > 0 ? waitingBytes : scanned + 1 }

    /// Looks at what can be read. After `incomplete` the same bytes must be given again, with more behind them.
    public mutating func next(in bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if waitingBytes > 0 {
            if bytes.count < waitingBytes { return .incomplete }
            waitingBytes = 0
            return Self.withBlock(waiting, bytes)
        }
        let limit = min(bytes.count, MemcacheLimits.retrievalLineBytesMax)
        guard let newline = LineSearch.newline(in: bytes, from: min(scanned, limit), limit: limit) else {
            return withoutNewline(bytes)
        }
        scanned = 0
        if let request = plainGet(bytes, newline: newline) { return .request(request) }
        if newline >= MemcacheLimits.lineBytesMax, !Self.isRetrieval(bytes) { return Self.lineTooLong(bytes) }
        let line = CommandLine(bytes, newline: newline)
        switch understand(line, bytes) {
        case .request(let request):
            if request.bytes == request.lineBytes { return .request(request) }
            if bytes.count >= request.bytes { return Self.withBlock(request, bytes) }
            waiting = request
            waitingBytes = request.bytes
            return .incomplete
        case let other:
            return other
        }
    }

    /// What a whole line asks for, wherever its data block is; nil for a line that no client may send. Nothing but the line's bytes is
    /// there where the request says that its value is.
    public static func line(in bytes: UnsafeRawBufferPointer) -> Request? {
        guard let newline = LineSearch.newline(in: bytes, from: 0, limit: bytes.count),
            case .request(let request) = RequestParser(itemBytesMax: .max).understand(CommandLine(bytes, newline: newline), bytes)
        else { return nil }
        return request
    }

    /// `get` of one key, as plainly as can be: what clients send most, found without taking the line apart. Nil for any other line,
    /// of which the rules must say what it is.
    @inline(__always)
    private func plainGet(_ bytes: UnsafeRawBufferPointer, newline: Int) -> Request? {
        let keyBytes = newline - 5
        guard keyBytes > 0, keyBytes <= MemcacheLimits.keyBytesMax, bytes[newline - 1] == 13,
            Word.prefix(4, of: bytes) == Word.getStart, LineSearch.isOneToken(bytes, from: 4, to: newline - 1)
        else { return nil }
        var request = Request(verb: .get, lineBytes: newline + 1)
        request.isPlain = true
        request.key = Span(start: 4, count: keyBytes)
        request.arguments = request.key
        request.keysNamed = 1
        return request
    }

    /// The line is not complete: wait for more, unless no command may be so long.
    private mutating func withoutNewline(_ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if bytes.count >= MemcacheLimits.lineBytesMax {
            if bytes.count >= MemcacheLimits.retrievalLineBytesMax || !Self.isRetrieval(bytes) {
                scanned = 0
                return Self.lineTooLong(bytes)
            }
        }
        scanned = bytes.count
        return .incomplete
    }

    private static func lineTooLong(_ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        .refused(reply: "CLIENT_ERROR line too long\r\n", consume: bytes.count, swallow: 0, close: true)
    }

    /// True when the bytes begin with a retrieval, which may have any number of keys.
    private static func isRetrieval(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var at = 0
        while at < bytes.count, at <= MemcacheLimits.leadingSpacesMax, bytes[at] == 32 { at += 1 }
        if at > MemcacheLimits.leadingSpacesMax || bytes.count - at < 5 { return false }
        let start = UnsafeRawBufferPointer(rebasing: bytes[at..<at + 5])
        let four = Word.prefix(4, of: start)
        let five = Word.prefix(5, of: start)
        return four == Word.getStart || four == Word.gatStart || five == Word.getsStart || five == Word.gatsStart
    }

    /// The data block is there: is it closed as it must be?
    private static func withBlock(_ request: Request, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if bytes[request.bytes - 2] == 13, bytes[request.bytes - 1] == 10 { return .request(request) }
        // A meta command is told of it even when it is quiet.
        let silent = request.noreply && !request.isMeta
        return .refused(
            reply: silent ? "" : "CLIENT_ERROR bad data chunk\r\n", consume: request.bytes, swallow: 0, close: false)
    }

    /// The verb, and on to its rules. Names are told apart as memcached does: exactly, and in small letters.
    private func understand(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count == 0 || line[0].count < 2 { return Self.error(line) }
        switch Word.of(line[0], in: bytes) {
        case Word.get: return retrieval(.get, line, bytes)
        case Word.mg: return metaGet(line, bytes)
        case Word.set: return storage(.set, line, bytes)
        case Word.gets: return retrieval(.gets, line, bytes)
        case Word.ms: return metaSet(line, bytes)
        case Word.md: return metaChange(.md, line, bytes)
        case Word.ma: return metaChange(.ma, line, bytes)
        case Word.mn: return .request(Request(verb: .mn, lineBytes: line.bytes))
        case Word.me: return metaDebug(line, bytes)
        case Word.gat: return retrieval(.gat, line, bytes)
        case Word.gats: return retrieval(.gats, line, bytes)
        case Word.add: return storage(.add, line, bytes)
        case Word.cas: return storage(.cas, line, bytes)
        case Word.append: return storage(.append, line, bytes)
        case Word.prepend: return storage(.prepend, line, bytes)
        case Word.replace: return storage(.replace, line, bytes)
        case Word.incr: return arithmetic(.incr, line, bytes)
        case Word.decr: return arithmetic(.decr, line, bytes)
        case Word.delete: return delete(line, bytes)
        case Word.touch: return touch(line, bytes)
        case Word.version: return .request(Request(verb: .version, lineBytes: line.bytes))
        case Word.quit: return .request(Request(verb: .quit, lineBytes: line.bytes))
        case Word.stats: return stats(line)
        case Word.shutdown: return .request(Request(verb: .shutdown, lineBytes: line.bytes))
        case Word.bget: return retrieval(.get, line, bytes)
        case Word.config: return config(line, bytes)
        default: return longName(line[0].of(bytes), line, bytes)
        }
    }

    private func longName(_ name: UnsafeRawBufferPointer, _ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if Word.isEqual(name, "flush_all") { return flushAll(line, bytes) }
        if Word.isEqual(name, "verbosity") { return verbosity(line, bytes) }
        // A lost web browser: memcached closes without a word. It looks no further than the first letter when that is
        // the first letter of a command.
        let last = line[line.count - 1].of(bytes)
        let first = name[0]
        let isMetaName = first == UInt8(ascii: "m") && name.count == 2
        let isKnownLetter: Bool
        switch first {
        case UInt8(ascii: "g"), UInt8(ascii: "s"), UInt8(ascii: "a"), UInt8(ascii: "c"), UInt8(ascii: "i"), UInt8(ascii: "d"),
            UInt8(ascii: "t"):
            isKnownLetter = true
        default: isKnownLetter = isMetaName
        }
        if !isKnownLetter, Word.prefix(5, of: last) == Word.httpStart {
            return .refused(reply: "", consume: line.bytes, swallow: 0, close: true)
        }
        return Self.error(line)
    }

    /// `ERROR`: memcached does not know the command, or its number of tokens is wrong. `noreply` does not silence it.
    static func error(_ line: CommandLine) -> ParseOutcome { refuse("ERROR\r\n", line) }

    /// A refusal that ends with the line.
    static func refuse(_ reply: StaticString, _ line: CommandLine, swallow: Int = 0) -> ParseOutcome {
        .refused(reply: reply, consume: line.bytes, swallow: swallow, close: false)
    }
}
