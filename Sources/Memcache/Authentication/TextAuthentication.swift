// The first words of a text connection that must say who it is, exactly as memcached 1.6.18 takes them with `-Y`:
//
//     set <any key> <flags> <exptime> <bytes>\r\n
//     <name> <password>\r\n
//
//     line ─▶ "set" and a length? ─ no ─▶ CLIENT_ERROR unauthenticated ─▶ line
//               │ yes
//               ▼
//             block ─▶ name and password? ─▶ shown, for who knows them to judge ─▶ line
//
// Where memcached takes a length of any size, one that no pair can have is read past here, and nothing of it kept.

/// What a client has said before it was let in.
public struct TextAuthentication: Sendable {
    private enum State {
        case line
        /// A block of this length, its line's end included, is arriving.
        case block(Int)
        /// So many bytes of a block that is too long are still to come.
        case swallowing(Int)
    }

    /// What to do about it.
    public enum Outcome: Sendable, Equatable {
        /// More bytes are needed. Those that are there must stay.
        case incomplete
        /// Drop these bytes, and look again.
        case taken(consume: Int)
        /// Drop these bytes, and answer.
        case refused(StaticString, consume: Int)
        /// A name and a password were shown: judge, drop these bytes, and answer.
        case shown(name: [UInt8], password: [UInt8], consume: Int)
        /// Close without a word.
        case closed

        /// Replies are the same when their text is.
        public static func == (a: Outcome, b: Outcome) -> Bool {
            switch (a, b) {
            case (.incomplete, .incomplete), (.closed, .closed): true
            case (.taken(let a), .taken(let b)): a == b
            case (.refused(let a, let m), .refused(let b, let n)): m == n && "\(a)" == "\(b)"
            case (.shown(let a, let b, let m), .shown(let c, let d, let n)): a == c && b == d && m == n
            default: false
            }
        }
    }

    /// The pair was right.
    public static var admitted: StaticString { "STORED\r\n" }
    /// It was not.
    public static var failed: StaticString { "CLIENT_ERROR authentication failure\r\n" }

    private static var unauthenticated: StaticString { "CLIENT_ERROR unauthenticated\r\n" }
    private static var badEnd: StaticString { "CLIENT_ERROR bad command line termination\r\n" }
    private static var badFormat: StaticString { "CLIENT_ERROR bad authentication token format\r\n" }

    private var state = State.line

    /// The block of a line that was taken has not all arrived.
    public var isHalfway: Bool { if case .line = state { false } else { true } }

    /// At the start of a connection.
    public init() {}

    /// Looks at what can be read, and goes on from what it was told to drop.
    public mutating func next(in bytes: UnsafeRawBufferPointer) -> Outcome {
        switch state {
        case .line: return line(bytes)
        case .block(let count):
            guard bytes.count >= count else { return .incomplete }
            state = .line
            return Self.block(UnsafeRawBufferPointer(rebasing: bytes[0..<count]))
        case .swallowing(let left): return swallow(bytes, left)
        }
    }

    private mutating func line(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        // memcached looks at nothing shorter.
        guard bytes.count >= 2 else { return .incomplete }
        guard let newline = bytes.prefix(MemcacheLimits.authenticationLineBytesMax).firstIndex(of: 10) else {
            return bytes.count > MemcacheLimits.authenticationLineBytesMax ? .closed : .incomplete
        }
        let words = Self.words(bytes[0..<newline], most: 5)
        guard words.count == 5, words[0].elementsEqual("set".utf8), let length = Self.length(words[4]) else {
            return .refused(Self.unauthenticated, consume: newline + 1)
        }
        // memcached adds two in 32 bits and goes on with a sign: a length near the end of the numbers begins anew at nothing, and
        // one above the half reads where it must not.
        let count = Int(Int32(truncatingIfNeeded: length &+ 2))
        if count < 0 { return .closed }
        if count == 0 { return .refused(Self.badEnd, consume: newline + 1) }
        state = count <= MemcacheLimits.authenticationBlockBytesMax + 2 ? .block(count) : .swallowing(count)
        return .taken(consume: newline + 1)
    }

    private static func block(_ block: UnsafeRawBufferPointer) -> Outcome {
        guard block.suffix(2).elementsEqual([13, 10]) else { return .refused(badEnd, consume: block.count) }
        let words = words(block.dropLast(2), most: 2)
        guard words.count == 2 else { return .refused(badFormat, consume: block.count) }
        return .shown(name: Array(words[0]), password: Array(words[1]), consume: block.count)
    }

    private mutating func swallow(_ bytes: UnsafeRawBufferPointer, _ left: Int) -> Outcome {
        // The last two say whether the block ends as it must.
        if left > 2 {
            let dropped = min(bytes.count, left - 2)
            state = .swallowing(left - dropped)
            return dropped == 0 ? .incomplete : .taken(consume: dropped)
        }
        guard bytes.count >= 2 else { return .incomplete }
        state = .line
        return .refused(bytes[0] == 13 && bytes[1] == 10 ? Self.failed : Self.badEnd, consume: 2)
    }

    /// What stands between the spaces, up to a zero byte.
    private static func words(_ text: Slice<UnsafeRawBufferPointer>, most: Int) -> [Slice<UnsafeRawBufferPointer>] {
        let end = text.firstIndex(of: 0) ?? text.endIndex
        return Array(text[..<end].split(separator: 32, maxSplits: most, omittingEmptySubsequences: true).prefix(most))
    }

    /// A length as C's strtoul reads it into 32 bits: behind spaces of any kind, with a sign, up to the next of them.
    private static func length(_ word: Slice<UnsafeRawBufferPointer>) -> UInt32? {
        let isSpace = { (byte: UInt8) in byte == 32 || (9...13).contains(byte) }
        let start = word.drop(while: isSpace)
        let isNegative = start.first == UInt8(ascii: "-")
        let isSigned = isNegative || start.first == UInt8(ascii: "+")
        let digits = start.dropFirst(isSigned ? 1 : 0).prefix { (48...57).contains($0) }
        let behind = word[digits.endIndex...].first
        guard !digits.isEmpty, behind.map(isSpace) ?? true else { return nil }
        var number: UInt64 = 0
        for digit in digits {
            let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(UInt64(digit - 48))
            if overflow || carry { return nil }
            number = sum
        }
        if isNegative { number = 0 &- number }
        if number >> 63 == 1, word.contains(UInt8(ascii: "-")) { return nil }
        return UInt32(truncatingIfNeeded: number)
    }
}
