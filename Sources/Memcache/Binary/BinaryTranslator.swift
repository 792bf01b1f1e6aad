// The binary protocol on its way in: every packet becomes the text command that means the same, so that one core serves both.
//
//     bytes ─▶ header, extras, key ─▶ does memcached take it? ─▶ value there? ─▶ text: mg ms md ma mn, flush_all, stats …
//                                         │ no                    │ no              │
//                                         ▼                       ▼                 ▼
//                                      refused                incomplete        request
//
// The reply comes back as text too; `BinaryReply` makes a packet of it, for which it needs the `BinaryExchange`.

import Kernel

/// What of a packet is needed to answer it.
public struct BinaryExchange: Sendable {
    /// As it was sent, and is echoed.
    let opcode: UInt8
    /// Nil for what memcached does not know, or cannot make out.
    var operation: BinaryOperation?
    let isQuiet: Bool
    let opaque: UInt32
    /// The key where it comes back with the reply, else empty.
    let key: [UInt8]
}

/// Translates the packets of one client connection.
public struct BinaryTranslator: Sendable {
    /// The first byte of a connection that speaks binary.
    public static let magic = BinaryHeader.requestMagic

    private let itemBytesMax: Int
    /// Clients are asked who they are.
    private let asksWho: Bool
    /// This one has not yet said so.
    public var isLocked: Bool
    private var parser: RequestParser
    /// How the packet that was looked at last is answered.
    public private(set) var exchange = BinaryExchange(opcode: 0, operation: nil, isQuiet: false, opaque: 0, key: [])
    /// The length of the packet that became the latest request.
    public private(set) var packetBytes = 0
    /// The latest request is a store whose value, the end of the packet, is not in the text.
    public private(set) var isValueApart = false
    /// From how many bytes on a value stays where it is.
    private let apartBytesMin: Int

    /// A translator at the start of a connection. `itemBytesMax` is memcached's item limit, `-I`.
    /// With `asksWho`, SASL is known, and nearly nothing else until `isLocked` is taken back. Values of `apartBytesMin` and more are
    /// not copied into the text.
    public init(itemBytesMax: Int = MemcacheLimits.itemBytesDefault, asksWho: Bool = false, apartBytesMin: Int = .max) {
        self.itemBytesMax = itemBytesMax
        self.apartBytesMin = apartBytesMin
        self.asksWho = asksWho
        isLocked = asksWho
        parser = RequestParser(itemBytesMax: .max)
    }

    /// Looks at what can be read. After a request, `text` holds the command that the request's spans point into. After
    /// `incomplete` the same bytes must be given again, with more behind them.
    public mutating func next(in bytes: UnsafeRawBufferPointer, text: ByteQueue) -> ParseOutcome {
        guard bytes.count >= BinaryHeader.bytes else { return .incomplete }
        // Out of step: nothing that follows can be understood.
        if bytes[0] != Self.magic { return .refused(reply: "", consume: bytes.count, swallow: 0, close: true) }
        let header = BinaryHeader(bytes)
        let front = BinaryHeader.bytes + header.extrasBytes + header.keyBytes
        if isLocked, let refusal = refusedUnread(header, bytes) { return refusal }
        guard bytes.count >= front else { return .incomplete }
        let opcode = BinaryOpcode(header.opcode)
        let key = UnsafeRawBufferPointer(rebasing: bytes[front - header.keyBytes..<front])
        exchange = BinaryExchange(
            opcode: header.opcode, operation: opcode?.operation, isQuiet: opcode?.isQuiet ?? false, opaque: header.opaque,
            key: opcode?.returnsKey ?? false ? Array(key) : [])
        let behind = BinaryHeader.bytes + header.bodyBytes - front
        if behind < 0 { return misshapen(bytes, Self.unknown) }
        if isLocked, !BinaryAuthentication.isOpen(header.opcode) { return misshapen(bytes, Self.unauthenticated) }
        guard key.count <= MemcacheLimits.keyBytesMax else { return misshapen(bytes) }
        guard let opcode else {
            if Self.isMisshapenSASL(header) { return misshapen(bytes) }
            if asksWho, BinaryAuthentication.isKnown(header.opcode) {
                return authentication(header, bytes, key, front: front, behind: behind)
            }
            return .refused(reply: Self.unknown, consume: front, swallow: behind, close: false)
        }
        guard Self.isWellShaped(opcode.operation, header, valueBytes: behind) else { return misshapen(bytes) }
        if header.keyBytes > 0, case .none = KeyRules.carriage(of: key) {
            return .refused(reply: Self.invalid, consume: front, swallow: behind, close: false)
        }
        let extras = UnsafeRawBufferPointer(rebasing: bytes[BinaryHeader.bytes..<BinaryHeader.bytes + header.extrasBytes])
        if opcode.operation.isStore, let refusal = refusal(opcode.operation, key, extras, behind, front, text) { return refusal }
        // Behind a touch or a stat memcached looks for the next packet, whatever the body's length says.
        packetBytes = opcode.operation.endsWithKey ? front : front + behind
        guard bytes.count >= packetBytes else { return .incomplete }
        let value = UnsafeRawBufferPointer(rebasing: bytes[front..<packetBytes])
        text.removeAll()
        isValueApart = opcode.operation.isStore && value.count >= apartBytesMin
        Self.encode(opcode.operation, header, extras: extras, key: key, value: value, isApart: isValueApart, into: text)
        return understood(text)
    }

    private static var unknown: StaticString { "ERROR\r\n" }
    private static var unauthenticated: StaticString { BinaryReply.unauthenticated }
    private static var invalid: StaticString { "CLIENT_ERROR bad command line format\r\n" }

    /// Lengths that make no sense: memcached says so, and closes.
    private mutating func misshapen(_ bytes: UnsafeRawBufferPointer, _ reply: StaticString = invalid) -> ParseOutcome {
        // Whatever it was meant to be.
        exchange.operation = nil
        return .refused(reply: reply, consume: bytes.count, swallow: 0, close: true)
    }

    /// A key too long for anything is not waited for while nobody knows whose it is; the answer is the one that it would get.
    private mutating func refusedUnread(_ header: BinaryHeader, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome? {
        guard header.keyBytes > MemcacheLimits.keyBytesMax else { return nil }
        exchange = BinaryExchange(opcode: header.opcode, operation: nil, isQuiet: false, opaque: header.opaque, key: [])
        if header.keyBytes + header.extrasBytes > header.bodyBytes { return misshapen(bytes, Self.unknown) }
        return misshapen(bytes, BinaryAuthentication.isOpen(header.opcode) ? Self.invalid : Self.unauthenticated)
    }

    /// Where nobody is asked who he is, authentication is not known; yet what is malformed closes the connection.
    private static func isMisshapenSASL(_ header: BinaryHeader) -> Bool {
        switch header.opcode {
        case 0x20: header.bodyBytes > 0
        case 0x21, 0x22: header.keyBytes == 0 || header.extrasBytes > 0
        default: false
        }
    }

    private static func isWellShaped(_ operation: BinaryOperation, _ header: BinaryHeader, valueBytes: Int) -> Bool {
        let hasKey = header.keyBytes > 0
        switch operation {
        case .get, .delete: return hasKey && header.extrasBytes == 0 && valueBytes == 0
        case .set, .add, .replace: return hasKey && header.extrasBytes == 8
        case .append, .prepend: return hasKey && header.extrasBytes == 0
        case .increment, .decrement: return hasKey && header.extrasBytes == 20 && valueBytes == 0
        case .touch, .getAndTouch: return hasKey && header.extrasBytes == 4
        case .flush: return !hasKey && valueBytes == 0 && (header.extrasBytes == 0 || header.extrasBytes == 4)
        case .noop, .version, .quit: return header.bodyBytes == 0
        case .stat: return header.extrasBytes == 0
        }
    }

    /// A value over the limit is refused before it is all there, and swallowed.
    private mutating func refusal(
        _ operation: BinaryOperation, _ key: UnsafeRawBufferPointer, _ extras: UnsafeRawBufferPointer, _ valueBytes: Int,
        _ front: Int, _ text: ByteQueue
    ) -> ParseOutcome? {
        let flags = extras.isEmpty ? 0 : BinaryHeader.number(extras, 0, UInt32.self)
        guard KeyRules.itemBytes(keyBytes: key.count, flags: flags, valueBytes: valueBytes) > itemBytesMax else { return nil }
        let tooLarge: StaticString = "SERVER_ERROR object too large for cache\r\n"
        guard operation == .set else { return .refused(reply: tooLarge, consume: front, swallow: valueBytes, close: false) }
        // memcached drops what a set was to replace.
        text.removeAll()
        Command.delete(key: key, into: text)
        guard case .request(let request) = parser.next(in: text.readable) else {
            preconditionFailure("a translated deletion was not understood")
        }
        return .refusedStore(request, reply: tooLarge, consume: front, swallow: valueBytes)
    }

    private mutating func understood(_ text: ByteQueue) -> ParseOutcome {
        if isValueApart, let request = RequestParser.line(in: text.readable) { return .request(request) }
        let outcome = parser.next(in: text.readable)
        guard case .request = outcome else { preconditionFailure("a translated packet was not understood: \(outcome)") }
        return outcome
    }
}
