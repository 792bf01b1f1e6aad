import Kernel
import Memcache

/// Packets of the binary protocol, as a client writes them.
package enum BinaryPackets {
    /// A request; the lengths in its header are right unless given.
    package static func request(
        _ opcode: UInt8, key: String = "", extras: [UInt8] = [], value: String = "", opaque: UInt32 = 0x0102_0304,
        cas: UInt64 = 0,
        keyBytes: Int? = nil, extrasBytes: Int? = nil, bodyBytes: Int? = nil
    ) -> [UInt8] {
        let body = extras + Array(key.utf8) + Array(value.utf8)
        return [0x80, opcode] + bytes(UInt16(keyBytes ?? key.utf8.count)) + [UInt8(extrasBytes ?? extras.count), 0, 0, 0]
            + bytes(UInt32(bodyBytes ?? body.count)) + bytes(opaque) + bytes(cas) + body
    }

    /// A reply, as memcached writes it.
    package static func reply(
        _ opcode: UInt8, _ status: UInt16 = 0, key: String = "", extras: [UInt8] = [], value: [UInt8] = [],
        opaque: UInt32 = 0x0102_0304, cas: UInt64 = 0
    ) -> [UInt8] {
        let body = extras + Array(key.utf8) + value
        return [0x81, opcode] + bytes(UInt16(key.utf8.count)) + [UInt8(extras.count), 0] + bytes(status)
            + bytes(UInt32(body.count)) + bytes(opaque) + bytes(cas) + body
    }

    /// A number, most significant byte first.
    package static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    /// What is needed to answer a packet with this opcode.
    package static func exchange(opcode: UInt8) -> BinaryExchange {
        var translator = BinaryTranslator()
        _ = request(opcode, key: "k").withUnsafeBytes { translator.next(in: $0, text: ByteQueue()) }
        return translator.exchange
    }
}
