// Frames: the bytes of messages, encode beside decode (`Docs/stream-format.md`).
//
//     | length u32 | crc32c u32 | type u8 | fields … |        length counts from the type on; the checksum covers the same

import Kernel
import WriteLog

/// Why a peer's bytes cannot be understood. The connection is closed; nothing else is disturbed.
public enum FrameError: Error, Equatable, CustomStringConvertible {
    /// The length field exceeds the limit.
    case oversized(bytes: Int, limit: Int)
    /// The checksum does not match the bytes.
    case checksum
    /// No message has this type.
    case unknownType(UInt8)
    /// The fields do not fill the frame, or do not fit it.
    case malformed(type: UInt8)

    /// For the log and the peer.
    public var description: String {
        switch self {
        case .oversized(let bytes, let limit): "frame of \(bytes) bytes exceeds the limit of \(limit) bytes"
        case .checksum: "frame's checksum does not match"
        case .unknownType(let type): "frame has the unknown type \(type)"
        case .malformed(let type): "frame of type \(type) is malformed"
        }
    }
}

/// Encodes and decodes frames.
public enum FrameCodec {
    /// Bytes before a frame's type.
    public static let headBytes = 8
    /// Longest key, in bytes.
    public static let keyBytesMax = 250
    /// What a frame may hold besides a value: head, fields, key, names.
    public static let overheadBytesMax = 128 * 1024

    /// Appends a message's frame.
    public static func encode(_ message: Message, into queue: ByteQueue) {
        let start = queue.count
        queue.append(littleEndian: UInt32(0))
        queue.append(littleEndian: UInt32(0))
        encodeFields(message, into: queue)
        let bytes = queue.count - start - headBytes
        let body = UnsafeRawBufferPointer(rebasing: queue.readable[(start + headBytes)...])
        let checksum = CRC32C.checksum(body)
        queue.overwrite(littleEndian: UInt32(bytes), at: start)
        queue.overwrite(littleEndian: checksum, at: start + 4)
    }

    /// Takes the first whole frame off the queue; nil when more bytes are needed.
    public static func decode(from queue: ByteQueue, valueBytesMax: Int) throws(FrameError) -> Message? {
        guard queue.count >= headBytes else { return nil }
        let readable = queue.readable
        let bytes = Int(UInt32(littleEndian: readable.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        let limit = valueBytesMax + overheadBytesMax
        guard bytes <= limit else { throw .oversized(bytes: bytes, limit: limit) }
        guard queue.count >= headBytes + bytes else { return nil }
        let body = UnsafeRawBufferPointer(rebasing: readable[headBytes..<headBytes + bytes])
        guard CRC32C.checksum(body) == UInt32(littleEndian: readable.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) else {
            throw .checksum
        }
        guard let type = body.first else { throw .malformed(type: 0) }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: body.dropFirst()))
        guard FrameType(rawValue: type) != nil else { throw .unknownType(type) }
        guard let message = decodeFields(type, &reader), reader.remaining == 0 else { throw .malformed(type: type) }
        queue.consume(headBytes + bytes)
        return message
    }
}

/// The type byte of each message.
enum FrameType: UInt8 {
    case hello = 1
    case refuse, heartbeat, mirror, dumped, mirrored, remoteFloor, forward, forwardReply, apply, assert, done, fetch, fetched,
        refill
    case backend, record, promise, acknowledge, refilled, ring, moved, handOver, handedOver
}
