// One record's bytes, encode beside decode (`Docs/log-format.md` section 2).
//
//     | head: 64 bytes, eight words | key | payload | zeros to a multiple of 8 |

import Kernel

/// A record's head, decoded and checked against the bytes that it stands in.
struct RecordHead {
    var length: Int
    var kind: RecordKind
    var content: Content
    var flags: RecordFlags
    var keyBytes: Int
    var clientFlags: UInt32
    var position: Position
    var version: Version
    var expiryMicroseconds: UInt64
    var reference: UInt64
    var synced: LogOffset

    var payloadBytes: Int { length - LogFormat.headBytes - keyBytes }
    var paddedBytes: Int { RecordCoding.padded(length) }
}

/// What stands at an address.
enum RecordFinding {
    /// A length of zero, or too little left for a head and all of it zero.
    case nothing
    /// A valid record.
    case record(RecordHead)
    /// Neither.
    case fault(RecordFault)
}

enum RecordCoding {
    static func padded(_ bytes: Int) -> Int { (bytes + LogFormat.alignmentBytes - 1) & ~(LogFormat.alignmentBytes - 1) }

    /// Appends a record's bytes, checksummed, to a queue. Lengths were checked by the caller.
    static func encode(
        _ head: RecordHead, at address: LogOffset, key: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer,
        into queue: ByteQueue
    ) {
        let place = queue.reserve(head.paddedBytes)
        precondition(place.count >= head.paddedBytes && head.length == LogFormat.headBytes + key.count + payload.count)
        // Everything below stays within `paddedBytes`, which the line above has seen to. One reservation for the whole record
        // instead of a queue call for each field: this is the log's hot path.
        let room = UnsafeMutableRawBufferPointer(rebasing: place[..<head.paddedBytes])
        let payloadStart = storeFields(head, at: address, key: key, room)
        UnsafeMutableRawBufferPointer(rebasing: room[payloadStart..<head.length]).copyMemory(from: payload)
        for padding in head.length..<head.paddedBytes { room[padding] = 0 }
        let checksum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: room[8..<head.length]))
        store(UInt64(head.length) | UInt64(checksum) << 32, room, 0)
        queue.commit(head.paddedBytes)
    }

    /// The same for a payload that is not copied: the first bytes of a block.
    static func encode(
        _ head: RecordHead, at address: LogOffset, key: UnsafeRawBufferPointer, payload block: ByteBlock, into queue: ByteQueue
    ) {
        let payload = UnsafeRawBufferPointer(rebasing: block.bytes[..<head.payloadBytes])
        encodeFront(head, at: address, key: key, into: queue) { CRC32C.checksum(payload, seed: $0) }
        queue.append(block, count: payload.count)
        queue.append(zeros: head.paddedBytes - head.length)
    }

    /// The same for a payload of zeros.
    static func encodeZeros(_ head: RecordHead, at address: LogOffset, into queue: ByteQueue) {
        encodeFront(head, at: address, key: UnsafeRawBufferPointer(start: nil, count: 0), into: queue) {
            CRC32C.checksum(zeros: head.payloadBytes, seed: $0)
        }
        queue.append(sharedZeros: head.payloadBytes)
        queue.append(zeros: head.paddedBytes - head.length)
    }

    /// Appends what stands before a payload; `continued` goes on with the checksum of it over the payload.
    private static func encodeFront(
        _ head: RecordHead, at address: LogOffset, key: UnsafeRawBufferPointer, into queue: ByteQueue,
        continued: (UInt32) -> UInt32
    ) {
        let bytes = LogFormat.headBytes + key.count
        let room = UnsafeMutableRawBufferPointer(rebasing: queue.reserve(bytes)[..<bytes])
        _ = storeFields(head, at: address, key: key, room)
        let checksum = continued(CRC32C.checksum(UnsafeRawBufferPointer(rebasing: room[8...])))
        store(UInt64(head.length) | UInt64(checksum) << 32, room, 0)
        queue.commit(bytes)
    }

    /// Everything up to the payload but length and checksum; returns where the payload begins.
    @inline(__always)
    private static func storeFields(
        _ head: RecordHead, at address: LogOffset, key: UnsafeRawBufferPointer, _ room: UnsafeMutableRawBufferPointer
    ) -> Int {
        store(
            UInt64(head.kind.rawValue) | UInt64(head.content.rawValue) << 8 | UInt64(head.keyBytes) << 16
                | UInt64(head.clientFlags) << 32, room, 8)
        store(head.position.raw, room, 16)
        store(head.version.stamp, room, 24)
        store(
            UInt64(head.version.origin.raw) | UInt64(head.flags.rawValue) << 32 | UInt64(address.place) << 40, room, 32)
        store(head.expiryMicroseconds, room, 40)
        store(head.reference, room, 48)
        store(head.synced.raw, room, 56)
        let payloadStart = LogFormat.headBytes + key.count
        UnsafeMutableRawBufferPointer(rebasing: room[LogFormat.headBytes..<payloadStart]).copyMemory(from: key)
        return payloadStart
    }

    private static func store(_ word: UInt64, _ room: UnsafeMutableRawBufferPointer, _ offset: Int) {
        room.storeBytes(of: word.littleEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// What stands at `offset` of `bytes`. With its address given, a record must belong there.
    static func examine(_ bytes: UnsafeRawBufferPointer, at offset: Int, address: LogOffset?) -> RecordFinding {
        let rest = bytes.count - offset
        guard rest >= LogFormat.headBytes else {
            return lastNonzero(bytes, from: offset) == nil ? .nothing : .fault(.strayBytes)
        }
        let length = UInt32(word(bytes, offset) & 0xffff_ffff)
        guard length != 0 else { return .nothing }
        guard length >= LogFormat.headBytes else { return .fault(.length(length)) }
        let named = word(bytes, offset + 32)
        if let address, UInt32(named >> 40) != address.place { return .fault(.place) }
        guard padded(Int(length)) <= rest else { return .fault(.cut) }
        switch head(bytes, at: offset, length: Int(length)) {
        case .failure(let fault): return .fault(fault)
        case .success(let head):
            let covered = UnsafeRawBufferPointer(rebasing: bytes[(offset + 8)..<(offset + head.length)])
            guard CRC32C.checksum(covered) == UInt32(word(bytes, offset) >> 32) else { return .fault(.checksum) }
            guard bytes[(offset + head.length)..<(offset + head.paddedBytes)].allSatisfy({ $0 == 0 }) else {
                return .fault(.padding)
            }
            return .record(head)
        }
    }

    /// The record that belongs to a head that `examine` found.
    static func record(_ head: RecordHead, _ bytes: UnsafeRawBufferPointer, at offset: Int) -> LogRecord {
        let key = offset + LogFormat.headBytes
        let payload = key + head.keyBytes
        return LogRecord(
            kind: head.kind, content: head.content, flags: head.flags, position: head.position, version: head.version,
            clientFlags: head.clientFlags, expiryMicroseconds: head.expiryMicroseconds, reference: head.reference,
            key: [UInt8](bytes[key..<payload]), payload: [UInt8](bytes[payload..<(offset + head.length)]))
    }

    /// The last byte from `offset` on that is not zero.
    static func lastNonzero(_ bytes: UnsafeRawBufferPointer, from offset: Int) -> Int? {
        var end = bytes.count
        while end - offset >= 8, word(bytes, end - 8) == 0 { end -= 8 }
        while end > offset {
            end -= 1
            if bytes[end] != 0 { return end }
        }
        return nil
    }

    /// The fields of a head whose length is plausible.
    private static func head(_ bytes: UnsafeRawBufferPointer, at offset: Int, length: Int) -> Result<RecordHead, RecordFault> {
        let shape = word(bytes, offset + 8)
        guard let kind = RecordKind(rawValue: UInt8(truncatingIfNeeded: shape)) else {
            return .failure(.kind(UInt8(truncatingIfNeeded: shape)))
        }
        guard let content = Content(rawValue: UInt8(truncatingIfNeeded: shape >> 8)) else {
            return .failure(.content(UInt8(truncatingIfNeeded: shape >> 8)))
        }
        let keyBytes = Int(shape >> 16 & 0xffff)
        guard keyBytes <= LogFormat.keyBytesMax else { return .failure(.keyLength(keyBytes)) }
        guard length >= LogFormat.headBytes + keyBytes else { return .failure(.length(UInt32(length))) }
        let origin = word(bytes, offset + 32)
        let flags = RecordFlags(rawValue: UInt8(truncatingIfNeeded: origin >> 32))
        guard RecordFlags.known.isSuperset(of: flags) else { return .failure(.flags(flags.rawValue)) }
        let head = RecordHead(
            length: length, kind: kind, content: content, flags: flags, keyBytes: keyBytes,
            clientFlags: UInt32(truncatingIfNeeded: shape >> 32), position: Position(word(bytes, offset + 16)),
            version: Version(stamp: word(bytes, offset + 24), origin: LaneID(raw: UInt32(truncatingIfNeeded: origin))),
            expiryMicroseconds: word(bytes, offset + 40), reference: word(bytes, offset + 48),
            synced: LogOffset(word(bytes, offset + 56)))
        guard head.payloadBytes <= LogFormat.payloadBytesMax || kind == .pad else {
            return .failure(.payloadLength(head.payloadBytes))
        }
        return .success(head)
    }

    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset + 8 <= bytes.count, "log word at \(offset) of \(bytes.count)")
        return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
