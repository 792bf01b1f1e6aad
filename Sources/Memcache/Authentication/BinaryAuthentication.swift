// How a binary connection says who it is: SASL with the mechanism PLAIN (RFC 4616), as memcached 1.6.18 takes it with `-S`.
//
//     0x20 list mechanisms       ─▶ "PLAIN"
//     0x21 auth, key "PLAIN"     ─▶ "Authenticated", or status 0x20; without a message status 0x21: say more
//     0x22 step                  ─▶ the same, behind an auth that was told to say more
//
// Until then every other packet but `version` is answered with status 0x20, and the connection closed.

import Kernel

/// What a packet of SASL asks for.
public enum BinaryAuthentication: Sendable, Equatable {
    /// Which mechanisms there are.
    case mechanisms
    /// To be let in.
    case start(mechanism: [UInt8], message: [UInt8])
    /// To be let in, having begun before.
    case step(message: [UInt8])
    /// A mechanism with a name that is too long.
    case mechanismTooLong
    /// More than any name and password can be.
    case messageTooLong

    /// What it is answered with.
    public enum Answer: Sendable {
        /// `PLAIN`
        case mechanisms
        /// The client is let in.
        case admitted
        /// It has yet to say its name and password.
        case goOn
        /// It is not let in.
        case refused
        /// The packet is wrong.
        case invalid
    }

    static let listOpcode: UInt8 = 0x20
    static let startOpcode: UInt8 = 0x21
    static let stepOpcode: UInt8 = 0x22
    private static let versionOpcode: UInt8 = 0x0b

    /// Opcodes of SASL.
    static func isKnown(_ opcode: UInt8) -> Bool { opcode >= listOpcode && opcode <= stepOpcode }

    /// Opcodes that a client may send before it is let in.
    static func isOpen(_ opcode: UInt8) -> Bool { isKnown(opcode) || opcode == versionOpcode }

    /// The name and the password of a message of PLAIN, `[authorization] NUL name NUL password`; nil when it is none, or asks to act
    /// for somebody else.
    public static func pair(in message: [UInt8]) -> (name: [UInt8], password: [UInt8])? {
        let parts = message.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty || parts[0].elementsEqual(parts[1]) else { return nil }
        return (Array(parts[1]), Array(parts[2]))
    }

    /// True for the one mechanism that is known.
    public static func isPlain(_ mechanism: [UInt8]) -> Bool {
        mechanism.count == 5 && zip(mechanism, "PLAIN".utf8).allSatisfy { $0 & ~0x20 == $1 }
    }
}

extension BinaryTranslator {
    /// Understands a well-shaped packet of SASL whose extras and key are there, `front` bytes; `behind` follow.
    func authentication(
        _ header: BinaryHeader, _ bytes: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer, front: Int, behind: Int
    ) -> ParseOutcome {
        if header.opcode == BinaryAuthentication.listOpcode { return .authentication(.mechanisms, consume: front, swallow: 0) }
        guard key.count <= MemcacheLimits.mechanismBytesMax else {
            return .authentication(.mechanismTooLong, consume: front, swallow: behind)
        }
        guard behind <= MemcacheLimits.authenticationBlockBytesMax else {
            return .authentication(.messageTooLong, consume: front, swallow: behind)
        }
        guard bytes.count >= front + behind else { return .incomplete }
        let message = Array(bytes[front..<front + behind])
        let isStart = header.opcode == BinaryAuthentication.startOpcode
        return .authentication(
            isStart ? .start(mechanism: Array(key), message: message) : .step(message: message), consume: front + behind,
            swallow: 0)
    }
}

extension BinaryReply {
    /// Appends the packet that answers a packet of SASL.
    public static func append(_ answer: BinaryAuthentication.Answer, for exchange: BinaryExchange, to queue: ByteQueue) {
        let (status, words): (BinaryStatus, StaticString) =
            switch answer {
            case .mechanisms: (.success, "PLAIN")
            case .admitted: (.success, "Authenticated")
            case .goOn: (.authenticationContinues, "")
            case .refused: (.authenticationFailed, BinaryStatus.authenticationFailed.text)
            case .invalid: (.invalid, BinaryStatus.invalid.text)
            }
        BinaryHeader.appendReply(
            opcode: exchange.opcode, status: status, bodyBytes: words.utf8CodeUnitCount, opaque: exchange.opaque, to: queue)
        queue.append(words)
    }
}
