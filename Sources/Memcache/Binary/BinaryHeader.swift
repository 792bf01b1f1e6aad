// The 24 bytes that every packet begins with; all numbers are big-endian.
//
//     0       1        2-3         4         5          6-7              8-11         12-15    16-23
//     magic | opcode | key bytes | extras  | data type | vbucket/status | body bytes | opaque | CAS value

import Kernel

/// A packet's header.
struct BinaryHeader: Sendable {
    /// Its own length.
    static let bytes = 24
    /// The first byte of a request.
    static let requestMagic: UInt8 = 0x80
    /// The first byte of a reply.
    static let replyMagic: UInt8 = 0x81

    var opcode: UInt8
    var keyBytes: Int
    var extrasBytes: Int
    /// Extras, key and value.
    var bodyBytes: Int
    /// Means nothing to anybody but the client.
    var opaque: UInt32
    var cas: UInt64

    /// Reads a request's header, whose magic has been looked at; `bytes` holds at least so many.
    init(_ bytes: UnsafeRawBufferPointer) {
        opcode = bytes[1]
        keyBytes = Int(Self.number(bytes, 2, UInt16.self))
        extrasBytes = Int(bytes[4])
        bodyBytes = Int(Self.number(bytes, 8, UInt32.self))
        opaque = Self.number(bytes, 12, UInt32.self)
        cas = Self.number(bytes, 16, UInt64.self)
    }

    /// The number at an offset.
    static func number<Number: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _ at: Int, _: Number.Type) -> Number {
        Number(bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: Number.self))
    }

    /// Appends a reply's header.
    static func appendReply(
        opcode: UInt8, status: BinaryStatus, keyBytes: Int = 0, extrasBytes: Int = 0, bodyBytes: Int, opaque: UInt32,
        cas: UInt64 = 0, to queue: ByteQueue
    ) {
        queue.append(replyMagic)
        queue.append(opcode)
        queue.append(bigEndian: UInt16(keyBytes))
        queue.append(UInt8(extrasBytes))
        queue.append(0)
        queue.append(bigEndian: status.rawValue)
        queue.append(bigEndian: UInt32(bodyBytes))
        queue.append(bigEndian: opaque)
        queue.append(bigEndian: cas)
    }
}
