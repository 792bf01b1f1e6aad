// What a backend answered, as offsets into the bytes that it sent; like a request, it owns no storage.

/// What a reply says.
public enum ReplyKind: Sendable, Hashable {
    /// Classic stores.
    case stored, notStored, exists
    /// Classic changes; `notFound` also of `cas`.
    case notFound, deleted, touched
    /// `flush_all`, `verbosity`.
    case ok
    /// `incr` and `decr`: the reply's value is the digits.
    case number
    /// A retrieval that found its key, the closing `END` included unless it is one of many.
    case value
    /// A retrieval that found nothing; `stats`, complete.
    case end
    /// Meta: done, miss, not stored, not found, CAS value differs, done with a value.
    case hd, en, ns, nf, ex, va
    /// Meta: no-op and debugging.
    case mn, me
    /// Errors, each with one line.
    case error, clientError, serverError
    /// `version`.
    case version
    /// `stats reset`.
    case reset

    /// True for the three errors.
    public var isError: Bool { self == .error || self == .clientError || self == .serverError }
}

/// The form that a reply has, which depends on the request.
public enum ReplyShape: Sendable, Hashable {
    /// One line of a classic command or a command to the server.
    case line
    /// `VALUE` with its block and `END`, or `END`: a classic retrieval of one key.
    case retrieval
    /// One part of the reply to a classic retrieval of many keys: `VALUE` with its block, or the `END` behind the last of them.
    case values
    /// One line of a meta command, behind `VA` with a block.
    case meta
    /// Lines of `STAT` and their like until `END`, `RESET` or `OK`.
    case stats
}

/// One reply, understood.
public struct Reply: Sendable {
    /// What it says.
    public var kind: ReplyKind
    /// Length of the whole reply, to consume and to relay.
    public var bytes: Int
    /// Length of the first line, its CRLF included.
    public var headBytes: Int
    /// The key, where the reply names it (base64 when `base64Key`).
    public var key = Span.none
    /// Client flags (`VALUE`, meta `f`).
    public var flags: UInt32 = 0
    /// The value without its CRLF; of `version` and of errors the text, of a number its digits.
    public var value = Span.none
    /// The CAS value (`gets`, meta `c`); 0 without one.
    public var cas: UInt64 = 0
    /// Where the CAS value's digits stand, to put others in their place.
    public var casDigits = Span.none
    /// Remaining seconds (meta `t`); -1 for never.
    public var ttl: Int64 = -1
    /// The value's size (meta `s`, or of the block).
    public var size = 0
    /// The meta opaque token, its `O` included.
    public var opaque = Span.none
    /// One bit per flag letter of a meta reply, as in `MetaFlags`.
    var letters: UInt64 = 0

    init(kind: ReplyKind, headBytes: Int) {
        self.kind = kind
        self.headBytes = headBytes
        bytes = headBytes
    }

    /// True when a meta reply carries the flag.
    public func has(_ letter: Unicode.Scalar) -> Bool { letters >> (UInt64(letter.value) & 63) & 1 == 1 }

    /// Meta `W`: this client is to refresh the item.
    public var isWin: Bool { has("W") }
    /// Meta `X`: the item is marked stale.
    public var isStale: Bool { has("X") }
    /// Meta `Z`: another client has been told to refresh it.
    public var isWinTaken: Bool { has("Z") }
    /// Meta `b`: the key is in base64.
    public var base64Key: Bool { has("b") }
    /// The part of a retrieval's reply before its `END`: what many replies are joined of.
    public var blockBytes: Int { kind == .value ? bytes - 5 : 0 }
}

/// What the scanner made of the bytes.
public enum ReplyScan: Sendable {
    /// More bytes are needed: at least so many in all before another call can make progress.
    case incomplete(bytesWanted: Int)
    /// No memcached says so: the connection is out of step and must be dropped.
    case malformed(reason: StaticString)
    /// A reply; the caller consumes `reply.bytes` when it is done with them.
    case reply(Reply)
}

/// The lines of an answer to `stats`, one after the other.
public struct StatCursor {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0
    private let end: Int

    /// Starts before the first line of a reply of the shape `.stats`.
    public init(_ reply: Reply, in bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        end = reply.bytes
    }

    /// The next `STAT` line's name and value, nil after the last.
    public mutating func next() -> (name: Span, value: Span)? {
        guard let newline = LineSearch.newline(in: bytes, from: at, limit: end) else { return nil }
        let start = at + 5
        let stop = newline - 1
        if stop < start || Word.prefix(5, of: UnsafeRawBufferPointer(rebasing: bytes[at..<stop])) != Word.statStart { return nil }
        at = newline + 1
        var space = start
        while space < stop, bytes[space] != 32 { space += 1 }
        let value = min(space + 1, stop)
        return (Span(start: start, count: space - start), Span(start: value, count: stop - value))
    }
}
