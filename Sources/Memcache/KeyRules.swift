// What a key may be, how it travels, and how large an item becomes with it.

import Kernel

/// How a key can be written into a command.
public enum KeyCarriage: Sendable {
    /// As it is.
    case text
    /// In base64, with the flag `b`.
    case base64
    /// Not at all: it is too long for the form that its bytes need, or empty.
    case none
}

/// The rules for keys.
public enum KeyRules {
    /// How the key travels in a text command. Text carries every byte but NUL, newline and space; base64 carries all,
    /// up to 186 of them.
    public static func carriage(of key: UnsafeRawBufferPointer) -> KeyCarriage {
        if key.isEmpty { return .none }
        for byte in key where byte <= 32 {
            // A carriage return is legal inside a key, yet one before a newline would be taken for the line's end.
            if byte == 0 || byte == 10 || byte == 32 || byte == 13 {
                return Base64.encodedCount(key.count) <= MemcacheLimits.keyBytesMax ? .base64 : byte == 13 ? text(key) : .none
            }
        }
        return text(key)
    }

    private static func text(_ key: UnsafeRawBufferPointer) -> KeyCarriage {
        key.count > MemcacheLimits.keyBytesMax || key.contains { $0 == 0 || $0 == 10 || $0 == 32 } ? .none : .text
    }

    /// The memory that memcached 1.6.18 needs for an item on a 64-bit machine: a header of 48 bytes, a CAS value, the key
    /// with a NUL, the flags unless they are 0, the value with its CRLF.
    public static func itemBytes(keyBytes: Int, flags: UInt32, valueBytes: Int) -> Int {
        48 + 8 + keyBytes + 1 + (flags == 0 ? 0 : 4) + valueBytes + 2
    }
}

extension Request {
    /// Hands out the key as memcached knows it, decoded if it was sent in base64. `bytes` must be what was parsed.
    @inlinable
    public func withKey<Result>(in bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows
        -> Result
    {
        let sent = key.of(bytes)
        if !base64Key { return try body(sent) }
        return try withUnsafeTemporaryAllocation(byteCount: max(sent.count, 1), alignment: 1) { room in
            // The parser let only keys through that can be decoded; `me` alone may still carry another.
            let count = Base64.decode(sent, into: room) ?? 0
            return try body(UnsafeRawBufferPointer(rebasing: room[0..<count]))
        }
    }
}

/// The keys of a retrieval, one after the other.
public struct KeyCursor {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    @usableFromInline var at: Int
    @usableFromInline let end: Int

    /// Starts before the first key; `bytes` must be what was parsed, and stay until the cursor is done.
    @inlinable
    public init(_ request: Request, in bytes: UnsafeRawBufferPointer) {
        self.init(in: bytes, from: request.arguments.start, to: request.arguments.end)
    }

    /// Starts before the first of the words in a span, such as a meta command's flags.
    @inlinable
    public init(_ span: Span, in bytes: UnsafeRawBufferPointer) {
        self.init(in: bytes, from: span.start, to: span.end)
    }

    @inlinable
    init(in bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) {
        self.bytes = bytes
        at = start
        self.end = end
    }

    /// Where the keys are that are still to come.
    @inlinable
    public var rest: Span { Span(start: at, count: end - at) }

    /// The next key, nil after the last.
    @inlinable
    public mutating func next() -> Span? {
        while at < end, bytes[at] == 32 { at += 1 }
        if at == end { return nil }
        let start = at
        while at < end, bytes[at] != 32 { at += 1 }
        return Span(start: start, count: at - start)
    }
}
