// What a client asked for, as offsets into the bytes that it sent. A request owns no storage: it is valid as long as
// those bytes stay where they are, and is handed around together with them.

/// What a request wants done.
public enum Verb: UInt8, Sendable, CaseIterable {
    /// Classic retrieval (`bget` is an old name of `get`).
    case get, gets
    /// Classic retrieval that also touches.
    case gat, gats
    /// Classic storage.
    case set, add, replace, append, prepend, cas
    /// Classic changes without a data block.
    case delete, incr, decr, touch
    /// Meta commands.
    case mg, ms, md, ma, mn, me
    /// Commands to the server.
    case version, verbosity, quit, flushAll, stats, shutdown
    /// Amazon's discovery, `config get cluster`; memcached itself answers `ERROR`.
    case configGetCluster
}

/// A slice of the parsed bytes: an offset from the first readable byte given to the parser, and a length. Kept in 32 bits
/// each, since no request or reply is larger, and requests are copied around.
public struct Span: Sendable, Hashable {
    @usableFromInline var first: UInt32
    @usableFromInline var length: UInt32

    /// A slice of `count` bytes from `start`.
    @inlinable
    public init(start: Int, count: Int) {
        first = UInt32(start)
        length = UInt32(count)
    }

    /// Bytes before the slice.
    @inlinable
    public var start: Int { Int(first) }
    /// Bytes in the slice.
    @inlinable
    public var count: Int { Int(length) }
    /// A slice of no bytes.
    @inlinable
    public static var none: Span { Span(start: 0, count: 0) }
    /// True when there is nothing in it.
    @inlinable
    public var isEmpty: Bool { length == 0 }
    /// The offset behind the last byte.
    @inlinable
    public var end: Int { Int(first) + Int(length) }

    /// The slice's bytes; `bytes` must be what the slice was cut from.
    @inlinable
    public func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }
}

/// What a meta command's flags say. Times and numbers that classic commands have as well are in the request itself.
public struct MetaFlags: Sendable {
    /// The flag tokens as sent, from the first one to the end of the line.
    public var tokens = Span.none
    /// `M`: the mode letter of `ms` or `ma`; 0 without one.
    public var mode: UInt8 = 0
    /// `O`: the opaque token, its `O` included.
    public var opaque = Span.none
    var vivifySeconds: Int32 = 0
    var recacheSeconds: Int32 = 0
    /// `J`: what `ma` starts with on an item that it makes.
    public var initial: UInt64 = 0
    /// One bit per flag letter that was sent: `@` would be bit 0, `A` is bit 1.
    var letters: UInt64 = 0

    /// `N`: the exptime of an item that is made because none was there.
    public var vivifyExptime: Int64 { Int64(vivifySeconds) }
    /// `R`: wins the right to refresh when less than this remains.
    public var recacheExptime: Int64 { Int64(recacheSeconds) }

    /// True when the flag was sent.
    @inline(__always)
    public func has(_ letter: Unicode.Scalar) -> Bool { letters >> (UInt64(letter.value) & 63) & 1 == 1 }

    /// `T`: the request's exptime is to be set.
    public var setsExptime: Bool { has("T") }
    /// `C`: the request's CAS value is a condition.
    public var comparesCAS: Bool { has("C") }
    /// `N`: a missing item is to be made.
    public var vivifies: Bool { has("N") }
    /// `I`: mark stale (`md`), or store as stale when the CAS value is older (`ms`).
    public var invalidates: Bool { has("I") }
    /// `q`: nominal replies are not wanted.
    public var isQuiet: Bool { has("q") }
    /// `v`: the value is wanted.
    public var returnsValue: Bool { has("v") }
    /// `k`: the key is wanted.
    public var returnsKey: Bool { has("k") }
    /// `O`: an opaque token is to be returned.
    public var hasOpaque: Bool { has("O") }
}

/// One request, understood.
public struct Request: Sendable {
    /// What is wanted.
    public var verb: Verb
    /// Classic `noreply`, or `q` of a meta command.
    public var noreply = false
    /// The key is sent in base64 (meta `b`).
    public var base64Key = false
    /// True when the line is written as plainly as this room would write it, so that it can be passed on as it is.
    var isPlain = false
    private var lineLength: UInt32
    /// Length of the whole request: the line, and the data block with its CRLF if there is one.
    public var bytes: Int
    /// The first, or only, key as sent: for meta commands with `b` still base64. For `stats` its first argument.
    public var key = Span.none
    /// The key tokens of a retrieval, from the first to the end of the line; the arguments of `stats`.
    public var arguments = Span.none
    /// The data block without its CRLF.
    public var value = Span.none
    var keysNamed: UInt32 = 0
    /// Client flags of a store.
    public var flags: UInt32 = 0
    var exptimeSeconds: Int32 = 0
    /// The CAS value to compare with.
    public var cas: UInt64 = 0
    /// How much to add or subtract; for `verbosity` the level.
    public var delta: UInt64 = 0
    /// What a meta command's flags say.
    public var meta = MetaFlags()

    /// Length of the command line, its newline included.
    public var lineBytes: Int { Int(lineLength) }
    /// How many keys a retrieval names; 1 for other commands with a key.
    public var keyCount: Int { Int(keysNamed) }
    /// Seconds as memcached takes them: 0 never, up to 30 days from now, above that since 1970, below 0 at once.
    /// For `flushAll` the delay.
    public var exptime: Int64 { Int64(exptimeSeconds) }

    init(verb: Verb, lineBytes: Int) {
        self.verb = verb
        lineLength = UInt32(truncatingIfNeeded: lineBytes)
        bytes = lineBytes
    }

    /// True for `mg`, `ms`, `md`, `ma`, `mn` and `me`.
    public var isMeta: Bool { verb.rawValue >= Verb.mg.rawValue && verb.rawValue <= Verb.me.rawValue }

    /// True for the commands that bring a data block.
    public var hasValue: Bool {
        switch verb {
        case .set, .add, .replace, .append, .prepend, .cas, .ms: true
        default: false
        }
    }

    /// True when memcached removes the item that was there if it cannot store this one (too large, out of memory): a
    /// classic `set`, and `ms` in every mode.
    public var unlinksWhenRefused: Bool { verb == .set || verb == .ms }
}
