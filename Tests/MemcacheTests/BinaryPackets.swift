import Kernel
import Memcache

/// Packets of the binary protocol, as a client writes them.
enum BinaryPackets {
    /// A request; the lengths in its header are right unless given.
    static func request(
        _ opcode: UInt8, key: String = "", extras: [UInt8] = [], value: String = "", opaque: UInt32 = 0x0102_0304,
        cas: UInt64 = 0,
        keyBytes: Int? = nil, extrasBytes: Int? = nil, bodyBytes: Int? = nil
    ) -> [UInt8] {
        let body = extras + Array(key.utf8) + Array(value.utf8)
        return [0x80, opcode] + bytes(UInt16(keyBytes ?? key.utf8.count)) + [UInt8(extrasBytes ?? extras.count), 0, 0, 0]
            + bytes(UInt32(bodyBytes ?? body.count)) + bytes(opaque) + bytes(cas) + body
    }

    /// A reply, as memcached writes it.
    static func reply(
        _ opcode: UInt8, _ status: UInt16 = 0, key: String = "", extras: [UInt8] = [], value: [UInt8] = [],
        opaque: UInt32 = 0x0102_0304, cas: UInt64 = 0
    ) -> [UInt8] {
        let body = extras + Array(key.utf8) + value
        return [0x81, opcode] + bytes(UInt16(key.utf8.count)) + [UInt8(extras.count), 0] + bytes(status)
            + bytes(UInt32(body.count)) + bytes(opaque) + bytes(cas) + body
    }

    /// A number, most significant byte first.
    static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    /// What is needed to answer a packet with this opcode.
    static func exchange(opcode: UInt8) -> BinaryExchange {
        var translator = BinaryTranslator()
        _ = request(opcode, key: "k").withUnsafeBytes { translator.next(in: $0, text: ByteQueue()) }
        return translator.exchange
    }
}

/// What a translator said, in a form that can be compared.
enum BinaryOutcome: Equatable {
    case text(String)
    case refused(reply: String, swallow: Int)
    case refusedStore(text: String, reply: String, swallow: Int)
    case closed(reply: String)

    /// Everything that is understood of a stream whose bytes arrive in steps.
    static func all(in stream: UnsafeRawBufferPointer, arriving: [Int], itemBytesMax: Int = 10_000) -> [BinaryOutcome] {
        var translator = BinaryTranslator(itemBytesMax: itemBytesMax)
        let text = ByteQueue()
        var outcomes: [BinaryOutcome] = []
        var at = 0
        var swallow = 0
        for available in arriving {
            while at < available {
                let swallowed = min(swallow, available - at)
                at += swallowed
                swallow -= swallowed
                if at == available { break }
                let bytes = UnsafeRawBufferPointer(rebasing: stream[at..<available])
                let outcome = translator.next(in: bytes, text: text)
                let consumed: Int
                let said = String(decoding: text.readable, as: UTF8.self)
                switch outcome {
                case .incomplete: consumed = 0
                case .request(let request):
                    precondition(request.bytes == text.count, "a packet became more than one command")
                    outcomes.append(.text(said))
                    consumed = translator.packetBytes
                case .refused(let reply, let consume, let more, let close):
                    if close { return outcomes + [.closed(reply: "\(reply)")] }
                    outcomes.append(.refused(reply: "\(reply)", swallow: more))
                    (consumed, swallow) = (consume, more)
                case .refusedStore(_, let reply, let consume, let more):
                    outcomes.append(.refusedStore(text: said, reply: "\(reply)", swallow: more))
                    (consumed, swallow) = (consume, more)
                }
                if consumed == 0 { break }
                precondition(consumed <= bytes.count, "consumes \(consumed) of \(bytes.count)")
                at += consumed
            }
        }
        return outcomes
    }
}
