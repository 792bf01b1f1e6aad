// A line, and the tokens in it, found in place.
//
//     set  key 0 0 5 \r\n            a NUL ends the line's text, though not the line;
//     ^    ^   ^ ^ ^  ^              only spaces separate; a tab belongs to its token
//     0    1   2 3 4  end

/// Where a token stands. 16 bits are enough: no line is longer than `retrievalLineBytesMax`.
struct Token {
    var first: UInt16 = 0
    var length: UInt16 = 0

    @inline(__always)
    var start: Int { Int(first) }
    @inline(__always)
    var count: Int { Int(length) }
    @inline(__always)
    var span: Span { Span(start: start, count: count) }

    @inline(__always)
    func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
    }
}

/// A command line's tokens, the first 23 of them.
struct CommandLine {
    private(set) var tokens = InlineArray<23, Token>(repeating: Token())
    private(set) var count = 0
    /// Where the line's text ends: before its CRLF, or at a NUL.
    private(set) var end: Int
    /// Where the text goes on behind the 23rd token; `end` if it does not.
    private(set) var rest: Int
    /// Length of the line with its newline.
    let bytes: Int
    /// No NUL, one space between tokens, none around them, and CRLF at the end.
    private(set) var isPlain: Bool

    /// Splits the line whose newline is at offset `newline`.
    @inline(__always)
    init(_ buffer: UnsafeRawBufferPointer, newline: Int) {
        bytes = newline + 1
        end = newline
        isPlain = false
        if newline > 1, buffer[newline - 1] == 13 {
            end -= 1
            isPlain = true
        }
        rest = end
        var at = 0
        var start = 0
        while at < end {
            let byte = buffer[at]
            if byte == 32 {
                if at > start {
                    append(start, at)
                    if count == MemcacheLimits.tokensMax {
                        start = at + 1
                        break
                    }
                } else {
                    isPlain = false
                }
                start = at + 1
            } else if byte == 0 {
                end = at
                isPlain = false
                break
            }
            at += 1
        }
        if count == MemcacheLimits.tokensMax {
            rest = start
            isPlain = false
            var at = start
            while at < end, buffer[at] != 0 { at += 1 }
            end = at
        } else {
            if end > start { append(start, end) } else { isPlain = false }
            rest = end
        }
    }

    @inline(__always)
    private mutating func append(_ start: Int, _ end: Int) {
        tokens[count] = Token(first: UInt16(start), length: UInt16(end - start))
        count += 1
    }

    /// The token at an index below `count`.
    @inline(__always)
    subscript(index: Int) -> Token { tokens[index] }

    /// From the first byte of a token to the end of the text; empty at `end` when there is no such token.
    @inline(__always)
    func tail(from index: Int) -> Span {
        index < count ? Span(start: tokens[index].start, count: end - tokens[index].start) : Span(start: end, count: 0)
    }
}

/// Finds bytes, eight at a time.
enum LineSearch {
    private static var lows: UInt64 { 0x0101_0101_0101_0101 }
    private static var highs: UInt64 { 0x8080_8080_8080_8080 }

    /// The high bit of the lowest byte that is zero, and perhaps of some above it; 0 when none is.
    @inline(__always)
    private static func zeros(_ word: UInt64) -> UInt64 { (word &- lows) & ~word & highs }

    @inline(__always)
    private static func word(at offset: Int, of bytes: UnsafeRawBufferPointer) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The offset of the first newline at or behind `from` and before `limit`; nil if there is none.
    @inline(__always)
    static func newline(in bytes: UnsafeRawBufferPointer, from: Int, limit: Int) -> Int? {
        byte(10, in: bytes, from: from, limit: limit)
    }

    /// The same for any byte.
    @inline(__always)
    static func byte(_ wanted: UInt8, in bytes: UnsafeRawBufferPointer, from: Int, limit: Int) -> Int? {
        var at = from
        while at + 8 <= limit {
            // A byte that is wanted becomes zero.
            let zeros = zeros(word(at: at, of: bytes) ^ (lows &* UInt64(wanted)))
            if zeros != 0 { return at + zeros.trailingZeroBitCount / 8 }
            at += 8
        }
        while at < limit {
            if bytes[at] == wanted { return at }
            at += 1
        }
        return nil
    }

    /// True when there is neither a space nor a NUL from `start` to `end`.
    @inline(__always)
    static func isOneToken(_ bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Bool {
        var at = start
        while at + 8 <= end {
            let word = word(at: at, of: bytes)
            if zeros(word) | zeros(word ^ (lows &* 32)) != 0 { return false }
            at += 8
        }
        while at < end {
            if bytes[at] == 32 || bytes[at] == 0 { return false }
            at += 1
        }
        return true
    }
}
