// A client's request on its way to a backend: its own tokens, without what would silence the reply, since the proxy
// needs every reply to keep its place. A plainly written line goes on as it is; any other is written anew from what was
// understood, so that a backend of another version cannot read it differently.

import Kernel

extension Request {
    /// Appends the request for a backend, without `noreply` or `q`. `source` must be what was parsed. A `cas` given here
    /// replaces the client's own CAS value.
    public func encode(from source: UnsafeRawBufferPointer, cas replacement: UInt64? = nil, into queue: ByteQueue) {
        if goesAsItIs(replacement) { return queue.append(UnsafeRawBufferPointer(rebasing: source[0..<bytes])) }
        encodeNewLine(from: source, replacement, into: queue)
        if hasValue {
            queue.append(value.of(source))
            queue.append("\r\n")
        }
    }

    /// Appends the request's line for a backend: without the data block, which is to follow with its CRLF.
    public func encodeLine(from source: UnsafeRawBufferPointer, cas replacement: UInt64? = nil, into queue: ByteQueue) {
        if goesAsItIs(replacement) { return queue.append(UnsafeRawBufferPointer(rebasing: source[0..<lineBytes])) }
        encodeNewLine(from: source, replacement, into: queue)
    }

    private func goesAsItIs(_ replacement: UInt64?) -> Bool { isPlain && !noreply && replacement == nil }

    private func encodeNewLine(from source: UnsafeRawBufferPointer, _ replacement: UInt64?, into queue: ByteQueue) {
        switch verb {
        case .get, .gets, .gat, .gats: encodeRetrieval(source, queue)
        case .set, .add, .replace, .append, .prepend, .cas: encodeStorage(source, replacement, queue)
        case .delete, .incr, .decr, .touch: encodeChange(source, queue)
        case .mg, .ms, .md, .ma, .me: encodeMeta(source, replacement, queue)
        case .mn, .version, .quit: queue.append(name)
        case .verbosity:
            queue.append("verbosity ")
            queue.append(decimal: delta)
        case .flushAll:
            queue.append("flush_all")
            if exptime != 0 {
                queue.append(32)
                queue.append(decimal: exptime)
            }
        case .stats:
            queue.append("stats")
            var words = KeyCursor(self, in: source)
            while let word = words.next() {
                queue.append(32)
                queue.append(word.of(source))
            }
        case .shutdown, .configGetCluster:
            preconditionFailure("\(verb) is answered by the proxy, never sent to a backend")
        }
        queue.append("\r\n")
    }

    /// The verb as it is written; `verbosity` and its like are written out above.
    private var name: StaticString {
        switch verb {
        case .get: "get"
        case .gets: "gets"
        case .gat: "gat"
        case .gats: "gats"
        case .set: "set"
        case .add: "add"
        case .replace: "replace"
        case .append: "append"
        case .prepend: "prepend"
        case .cas: "cas"
        case .delete: "delete"
        case .incr: "incr"
        case .decr: "decr"
        case .touch: "touch"
        case .mg: "mg"
        case .ms: "ms"
        case .md: "md"
        case .ma: "ma"
        case .mn: "mn"
        case .me: "me"
        case .version: "version"
        case .verbosity: "verbosity"
        case .quit: "quit"
        case .flushAll: "flush_all"
        case .stats: "stats"
        case .shutdown: "shutdown"
        case .configGetCluster: "config get cluster"
        }
    }

    private func encodeRetrieval(_ source: UnsafeRawBufferPointer, _ queue: ByteQueue) {
        queue.append(name)
        if verb == .gat || verb == .gats {
            queue.append(32)
            queue.append(decimal: exptime)
        }
        var keys = KeyCursor(self, in: source)
        while let key = keys.next() {
            queue.append(32)
            queue.append(key.of(source))
        }
    }

    private func encodeStorage(_ source: UnsafeRawBufferPointer, _ replacement: UInt64?, _ queue: ByteQueue) {
        queue.append(name)
        queue.append(32)
        queue.append(key.of(source))
        queue.append(32)
        queue.append(decimal: UInt64(flags))
        queue.append(32)
        queue.append(decimal: exptime)
        queue.append(32)
        queue.append(decimal: UInt64(value.count))
        if verb == .cas {
            queue.append(32)
            queue.append(decimal: replacement ?? cas)
        }
    }

    private func encodeChange(_ source: UnsafeRawBufferPointer, _ queue: ByteQueue) {
        queue.append(name)
        queue.append(32)
        queue.append(key.of(source))
        if verb == .delete { return }
        queue.append(32)
        if verb == .touch { queue.append(decimal: exptime) } else { queue.append(decimal: delta) }
    }

    private func encodeMeta(_ source: UnsafeRawBufferPointer, _ replacement: UInt64?, _ queue: ByteQueue) {
        queue.append(name)
        queue.append(32)
        queue.append(key.of(source))
        if verb == .me {
            if base64Key { queue.append(" b") }
            return
        }
        if verb == .ms {
            queue.append(32)
            queue.append(decimal: UInt64(value.count))
        }
        var flags = KeyCursor(in: source, from: meta.tokens.start, to: meta.tokens.end)
        while let token = flags.next() {
            let letter = source[token.start]
            if letter == UInt8(ascii: "q") { continue }
            queue.append(32)
            switch letter {
            case UInt8(ascii: "T"): number(letter, exptime, queue)
            case UInt8(ascii: "N"): number(letter, meta.vivifyExptime, queue)
            case UInt8(ascii: "R"): number(letter, meta.recacheExptime, queue)
            case UInt8(ascii: "F"): number(letter, UInt64(self.flags), queue)
            case UInt8(ascii: "C"): number(letter, replacement ?? cas, queue)
            case UInt8(ascii: "J"): number(letter, meta.initial, queue)
            case UInt8(ascii: "D"): number(letter, delta, queue)
            default: queue.append(token.of(source))
            }
        }
    }

    private func number(_ letter: UInt8, _ value: Int64, _ queue: ByteQueue) {
        queue.append(letter)
        queue.append(decimal: value)
    }

    private func number(_ letter: UInt8, _ value: UInt64, _ queue: ByteQueue) {
        queue.append(letter)
        queue.append(decimal: value)
    }

    /// Appends a meta reply that carries nothing but its status, as memcached words it: `EN`, `NF`, `HD` and the like, then
    /// the opaque token and the key where they were asked for, in the order of the request's flags.
    public func encodeMetaReply(_ status: StaticString, from source: UnsafeRawBufferPointer, into queue: ByteQueue) {
        queue.append(status)
        var flags = KeyCursor(in: source, from: meta.tokens.start, to: meta.tokens.end)
        // `EN` of a debugging request, and `MN`, carry nothing.
        while verb != .me, verb != .mn, let token = flags.next() {
            if source[token.start] == UInt8(ascii: "O") {
                queue.append(32)
                queue.append(token.of(source))
            } else if source[token.start] == UInt8(ascii: "k") {
                queue.append(" k")
                withKey(in: source) { key in
                    if base64Key { Base64.encode(key) { queue.append($0) } } else { queue.append(key) }
                }
                if base64Key { queue.append(" b") }
            }
        }
        queue.append("\r\n")
    }
}

extension Request {
    /// What memcached answers to `shutdown` unless it was started with `-A`.
    public static let shutdownReply: StaticString = "ERROR: shutdown not enabled\r\n"

    /// What the client does not want to hear, if it asked for silence.
    public var silence: Silence? { noreply ? Silence(verb: verb) : nil }

    /// The form that a backend's reply to this request has, once encoded for one key.
    public var replyShape: ReplyShape {
        switch verb {
        case .get, .gets, .gat, .gats: .retrieval
        case .mg, .ms, .md, .ma, .mn, .me: .meta
        case .stats: .stats
        default: .line
        }
    }
}
