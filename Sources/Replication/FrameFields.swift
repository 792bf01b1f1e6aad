// The fields of each message in a frame, encode beside decode. Integers are little-endian; texts, keys and values are
// preceded by their length.

import Kernel
import WriteLog

extension FrameCodec {
    static func encodeFields(_ message: Message, into queue: ByteQueue) {
        switch message {
        case .hello(let hello):
            queue.append(FrameType.hello.rawValue)
            queue.append(littleEndian: hello.version)
            queue.append(hello.purpose.rawValue)
            queue.append(littleEndian: hello.lane.raw)
            queue.append(hello.loops)
            queue.append(littleEndian: hello.stamp)
            queue.append(littleEndian: hello.wall)
            queue.append(littleEndian: hello.resume.raw)
            append(bytes: Array(hello.federation.utf8), into: queue)
            append(bytes: hello.ring, into: queue)
        case .refuse(let reason):
            queue.append(FrameType.refuse.rawValue)
            append(bytes: Array(reason.utf8), into: queue)
        case .heartbeat(let stamp, let state, let floor, let groupFloor, let stable, let sentAt, let echo):
            queue.append(FrameType.heartbeat.rawValue)
            queue.append(littleEndian: stamp)
            queue.append(state.rawValue)
            queue.append(littleEndian: floor)
            queue.append(littleEndian: groupFloor)
            queue.append(littleEndian: stable)
            queue.append(littleEndian: sentAt)
            queue.append(littleEndian: echo)
        case .mirror(let sequence, let tops):
            queue.append(FrameType.mirror.rawValue)
            queue.append(littleEndian: sequence)
            append(tops, into: queue)
        case .dumped(let sequence):
            queue.append(FrameType.dumped.rawValue)
            queue.append(littleEndian: sequence)
        case .mirrored(let sequence):
            queue.append(FrameType.mirrored.rawValue)
            queue.append(littleEndian: sequence)
        case .remoteFloor(let lane, let loops, let floor):
            queue.append(FrameType.remoteFloor.rawValue)
            queue.append(littleEndian: lane.raw)
            queue.append(loops)
            queue.append(littleEndian: floor)
        case .forward(let request, let hops, let stamp, let write):
            queue.append(FrameType.forward.rawValue)
            queue.append(littleEndian: request)
            queue.append(hops)
            queue.append(littleEndian: stamp)
            append(write, into: queue)
        case .forwardReply(let request, let kind, let stamp, let reply):
            queue.append(FrameType.forwardReply.rawValue)
            queue.append(littleEndian: request)
            queue.append(kind)
            queue.append(littleEndian: stamp)
            append(bytes: reply, into: queue)
        case .apply(let request, let hops, let record):
            queue.append(FrameType.apply.rawValue)
            queue.append(littleEndian: request)
            queue.append(hops)
            append(record, into: queue)
        case .assert(let request, let hops, let cause, let doubted, let tops):
            queue.append(FrameType.assert.rawValue)
            queue.append(littleEndian: request)
            queue.append(hops)
            queue.append(cause.rawValue)
            append(doubted, into: queue)
            append(tops, into: queue)
        case .done(let request):
            queue.append(FrameType.done.rawValue)
            queue.append(littleEndian: request)
        case .fetch(let request, let key, let version):
            queue.append(FrameType.fetch.rawValue)
            queue.append(littleEndian: request)
            append(version, into: queue)
            append(key: key, into: queue)
        case .fetched(let request, let answer):
            queue.append(FrameType.fetched.rawValue)
            queue.append(littleEndian: request)
            switch answer {
            case .unknown: queue.append(0)
            case .found(let record):
                queue.append(1)
                append(record, into: queue)
            case .superseded: queue.append(2)
            }
        case .refill(let hops, let key):
            queue.append(FrameType.refill.rawValue)
            queue.append(hops)
            append(key: key, into: queue)
        case .backend(let server, let cutOff, let emptied, let lacking):
            queue.append(FrameType.backend.rawValue)
            queue.append(littleEndian: server)
            queue.append(cutOff ? 1 : 0)
            queue.append(littleEndian: emptied)
            queue.append(littleEndian: lacking)
        case .refilled(let server, let upTo, let incarnation):
            queue.append(FrameType.refilled.rawValue)
            queue.append(littleEndian: server)
            queue.append(littleEndian: upTo)
            append(bytes: incarnation, into: queue)
        case .ring(let inEffect, let next, let progress):
            queue.append(FrameType.ring.rawValue)
            queue.append(littleEndian: inEffect)
            queue.append(littleEndian: next)
            queue.append(progress.rawValue)
        case .moved(let server, let at, let clearedTo):
            queue.append(FrameType.moved.rawValue)
            queue.append(littleEndian: server)
            queue.append(littleEndian: at)
            queue.append(littleEndian: clearedTo)
        case .handOver(let request):
            queue.append(FrameType.handOver.rawValue)
            queue.append(littleEndian: request)
        case .handedOver(let request, let stamp):
            queue.append(FrameType.handedOver.rawValue)
            queue.append(littleEndian: request)
            queue.append(littleEndian: stamp)
        case .record(let record):
            queue.append(FrameType.record.rawValue)
            append(record, into: queue)
        case .promise(let floor, let stamp, let wall, let committed):
            queue.append(FrameType.promise.rawValue)
            queue.append(littleEndian: floor)
            queue.append(littleEndian: stamp)
            queue.append(littleEndian: wall)
            queue.append(littleEndian: committed.raw)
        case .acknowledge(let position):
            queue.append(FrameType.acknowledge.rawValue)
            queue.append(littleEndian: position.raw)
        }
    }

    static func decodeFields(_ type: UInt8, _ reader: inout ByteReader) -> Message? {
        switch FrameType(rawValue: type) {
        case .hello:
            guard let version: UInt16 = reader.integer(), let rawPurpose: UInt8 = reader.integer(),
                let purpose = LinkPurpose(rawValue: rawPurpose), let lane: UInt32 = reader.integer(),
                let loops: UInt8 = reader.integer(), let stamp: UInt64 = reader.integer(), let wall: UInt64 = reader.integer(),
                let resume: UInt64 = reader.integer(), let federation = text(&reader), let ring = bytes(&reader)
            else { return nil }
            return .hello(
                Hello(
                    purpose: purpose, lane: LaneID(raw: lane), loops: loops, stamp: stamp, wall: wall, resume: Position(resume),
                    federation: federation, ring: ring, version: version))
        case .refuse: return text(&reader).map { .refuse($0) }
        case .heartbeat:
            guard let stamp: UInt64 = reader.integer(), let rawState: UInt8 = reader.integer(),
                let state = LaneState(rawValue: rawState), let floor: UInt64 = reader.integer(),
                let groupFloor: UInt64 = reader.integer(), let stable: UInt64 = reader.integer(),
                let sentAt: UInt64 = reader.integer(),
                let echo: UInt64 = reader.integer()
            else { return nil }
            return .heartbeat(
                stamp: stamp, state: state, floor: floor, groupFloor: groupFloor, stable: stable, sentAt: sentAt, echo: echo)
        case .mirror:
            guard let sequence: UInt64 = reader.integer(), let tops = tops(&reader) else { return nil }
            return .mirror(sequence: sequence, tops: tops)
        case .dumped: return reader.integer().map { .dumped(sequence: $0) }
        case .mirrored: return reader.integer().map { .mirrored(sequence: $0) }
        case .remoteFloor:
            guard let lane: UInt32 = reader.integer(), let loops: UInt8 = reader.integer(), let floor: UInt64 = reader.integer()
            else { return nil }
            return .remoteFloor(lane: LaneID(raw: lane), loops: loops, floor: floor)
        case .forward:
            guard let request: UInt64 = reader.integer(), let hops: UInt8 = reader.integer(),
                let stamp: UInt64 = reader.integer(),
                let write = write(&reader)
            else { return nil }
            return .forward(request: request, hops: hops, stamp: stamp, write: write)
        case .forwardReply:
            guard let request: UInt64 = reader.integer(), let kind: UInt8 = reader.integer(),
                let stamp: UInt64 = reader.integer(),
                let reply = bytes(&reader)
            else { return nil }
            return .forwardReply(request: request, kind: kind, stamp: stamp, reply: reply)
        case .apply:
            guard let request: UInt64 = reader.integer(), let hops: UInt8 = reader.integer(), let record = record(&reader) else {
                return nil
            }
            return .apply(request: request, hops: hops, record: record)
        case .assert:
            guard let request: UInt64 = reader.integer(), let hops: UInt8 = reader.integer(),
                let cause = reader.integer().flatMap(AssertionCause.init(rawValue:)), let doubted = version(&reader),
                let tops = tops(&reader)
            else { return nil }
            return .assert(request: request, hops: hops, cause: cause, doubted: doubted, tops: tops)
        case .done: return reader.integer().map { .done(request: $0) }
        case .fetch:
            guard let request: UInt64 = reader.integer(), let version = version(&reader), let key = key(&reader) else {
                return nil
            }
            return .fetch(request: request, key: key, version: version)
        case .fetched:
            guard let request: UInt64 = reader.integer(), let kind: UInt8 = reader.integer() else { return nil }
            switch kind {
            case 0: return .fetched(request: request, answer: .unknown)
            case 1: return record(&reader).map { .fetched(request: request, answer: .found($0)) }
            case 2: return .fetched(request: request, answer: .superseded)
            default: return nil
            }
        case .refill:
            guard let hops: UInt8 = reader.integer(), let key = key(&reader) else { return nil }
            return .refill(hops: hops, key: key)
        case .backend:
            guard let server: UInt16 = reader.integer(), let cutOff = flag(&reader), let emptied: UInt64 = reader.integer(),
                let lacking: UInt64 = reader.integer()
            else { return nil }
            return .backend(server: server, cutOff: cutOff, emptied: emptied, lacking: lacking)
        case .refilled:
            guard let server: UInt16 = reader.integer(), let upTo: UInt64 = reader.integer(), let incarnation = bytes(&reader)
            else { return nil }
            return .refilled(server: server, upTo: upTo, incarnation: incarnation)
        case .ring:
            guard let inEffect: UInt64 = reader.integer(), let next: UInt64 = reader.integer(),
                let rawProgress: UInt8 = reader.integer(), let progress = RingProgress(rawValue: rawProgress)
            else { return nil }
            return .ring(inEffect: inEffect, next: next, progress: progress)
        case .moved:
            guard let server: UInt16 = reader.integer(), let at: UInt64 = reader.integer(),
                let clearedTo: UInt64 = reader.integer()
            else { return nil }
            return .moved(server: server, at: at, clearedTo: clearedTo)
        case .handOver: return reader.integer().map { .handOver(request: $0) }
        case .handedOver:
            guard let request: UInt64 = reader.integer(), let stamp: UInt64 = reader.integer() else { return nil }
            return .handedOver(request: request, stamp: stamp)
        case .record: return record(&reader).map { .record($0) }
        case .promise:
            guard let floor: UInt64 = reader.integer(), let stamp: UInt64 = reader.integer(), let wall: UInt64 = reader.integer(),
                let committed: UInt64 = reader.integer()
            else { return nil }
            return .promise(floor: floor, stamp: stamp, wall: wall, committed: Position(committed))
        case .acknowledge: return reader.integer().map { .acknowledge(Position($0)) }
        case nil: return nil
        }
    }
}

// The parts that several messages share.
extension FrameCodec {
    private static func append(bytes: [UInt8], into queue: ByteQueue) {
        queue.append(littleEndian: UInt32(bytes.count))
        queue.append(bytes)
    }

    private static func bytes(_ reader: inout ByteReader) -> [UInt8]? {
        reader.integer(UInt32.self).flatMap { reader.array(Int($0)) }
    }

    private static func text(_ reader: inout ByteReader) -> String? {
        bytes(&reader).flatMap { String(validating: $0, as: UTF8.self) }
    }

    private static func append(key: [UInt8], into queue: ByteQueue) {
        precondition(key.count <= keyBytesMax, "key of \(key.count) bytes in a frame")
        queue.append(UInt8(key.count))
        queue.append(key)
    }

    /// A key; that of every key, which is empty, only where all of them can be meant.
    private static func key(_ reader: inout ByteReader, orAll: Bool = false) -> [UInt8]? {
        guard let count: UInt8 = reader.integer(), count > 0 || orAll, count <= keyBytesMax else { return nil }
        return reader.array(Int(count))
    }

    private static func flag(_ reader: inout ByteReader) -> Bool? {
        guard let raw: UInt8 = reader.integer(), raw <= 1 else { return nil }
        return raw == 1
    }

    private static func append(_ version: Version, into queue: ByteQueue) {
        queue.append(littleEndian: version.stamp)
        queue.append(littleEndian: version.origin.raw)
    }

    private static func version(_ reader: inout ByteReader) -> Version? {
        guard let stamp: UInt64 = reader.integer(), let origin: UInt32 = reader.integer() else { return nil }
        guard stamp > 0 || origin == 0 else { return nil }
        return Version(stamp: stamp, origin: LaneID(raw: origin))
    }

    private static func content(_ reader: inout ByteReader) -> Content? {
        reader.integer(UInt8.self).flatMap { Content(rawValue: $0) }
    }

    private static func append(_ tops: KeyTops, into queue: ByteQueue) {
        append(tops.version, into: queue)
        queue.append(tops.content.rawValue)
        append(tops.touch, into: queue)
        queue.append(littleEndian: tops.touchExpiry)
        queue.append(littleEndian: tops.holder.raw)
        append(key: tops.key, into: queue)
    }

    private static func tops(_ reader: inout ByteReader) -> KeyTops? {
        guard let version = version(&reader), let content = content(&reader), let touch = Self.version(&reader),
            let touchExpiry: UInt64 = reader.integer(), let holder: UInt32 = reader.integer(),
            let key = key(&reader, orAll: content == .tombstone)
        else { return nil }
        return KeyTops(
            key: key, version: version, content: content, touch: touch, touchExpiry: touchExpiry, holder: LaneID(raw: holder))
    }

    private static func append(_ record: ReplicatedRecord, into queue: ByteQueue) {
        queue.append(record.content.rawValue)
        append(record.version, into: queue)
        queue.append(littleEndian: record.position.raw)
        queue.append(littleEndian: record.clientFlags)
        queue.append(littleEndian: record.expiry)
        append(key: record.key, into: queue)
        append(bytes: record.value, into: queue)
    }

    private static func record(_ reader: inout ByteReader) -> ReplicatedRecord? {
        guard let content = content(&reader), content != .none, let version = version(&reader), version > .zero,
            let position: UInt64 = reader.integer(), let clientFlags: UInt32 = reader.integer(),
            let expiry: UInt64 = reader.integer(), let key = key(&reader, orAll: content == .tombstone),
            let value = bytes(&reader)
        else { return nil }
        return ReplicatedRecord(
            content: content, version: version, position: Position(position), clientFlags: clientFlags, expiry: expiry, key: key,
            value: value)
    }

    private static func append(_ write: ForwardedWrite, into queue: ByteQueue) {
        queue.append(write.effect)
        queue.append(write.shape)
        queue.append(littleEndian: write.clientFlags)
        queue.append(littleEndian: write.exptime)
        queue.append(littleEndian: write.payloadStart)
        queue.append(littleEndian: write.payloadCount)
        append(key: write.key, into: queue)
        append(bytes: write.command, into: queue)
    }

    private static func write(_ reader: inout ByteReader) -> ForwardedWrite? {
        guard let effect: UInt8 = reader.integer(), let shape: UInt8 = reader.integer(),
            let clientFlags: UInt32 = reader.integer(),
            let exptime: Int64 = reader.integer(), let payloadStart: UInt32 = reader.integer(),
            let payloadCount: UInt32 = reader.integer(), let key = key(&reader, orAll: true), let command = bytes(&reader),
            Int(payloadStart) + Int(payloadCount) <= command.count
        else { return nil }
        return ForwardedWrite(
            effect: effect, shape: shape, clientFlags: clientFlags, exptime: exptime, key: key, command: command,
            payloadStart: payloadStart, payloadCount: payloadCount)
    }
}
