// Messages for the tests: one plain example of each, and as many random ones as wanted.

import Kernel
import Replication
import WriteLog

/// Limits that the tests decode with, small enough to run into.
let valueBytesMax = 64 * 1024

/// A message's frame.
func frame(_ message: Message) -> [UInt8] {
    let queue = ByteQueue()
    FrameCodec.encode(message, into: queue)
    return [UInt8](queue.readable)
}

/// A frame of any type and fields, its length and checksum in order.
func sealed(_ body: [UInt8]) -> [UInt8] {
    let queue = ByteQueue()
    queue.append(littleEndian: UInt32(body.count))
    queue.append(littleEndian: body.withUnsafeBytes { CRC32C.checksum($0) })
    queue.append(body)
    return [UInt8](queue.readable)
}

/// Takes the first frame off some bytes; the rest comes back too.
func decoded(_ bytes: [UInt8]) throws(FrameError) -> (message: Message?, rest: Int) {
    let queue = ByteQueue()
    queue.append(bytes)
    let message = try FrameCodec.decode(from: queue, valueBytesMax: valueBytesMax)
    return (message, queue.count)
}

/// Why some bytes are no frame; nil if they are one, or the beginning of one.
func refusal(_ bytes: [UInt8]) -> FrameError? {
    do throws(FrameError) {
        _ = try decoded(bytes)
        return nil
    } catch {
        return error
    }
}

let version = Version(stamp: 0x0102_0304_0506_0708, origin: LaneID(raw: 0x0001_0203))

let record = ReplicatedRecord(
    content: .value, version: version, position: Position(17), clientFlags: 0x300, expiry: 0x0005_f5e1_0005_f5e1,
    key: Array("session".utf8), value: Array("hello".utf8))

let tops = KeyTops(
    key: Array("k".utf8), version: version, content: .value,
    touch: Version(stamp: 0x1112_1314_1516_1718, origin: LaneID(raw: 0x0002_0100)), touchExpiry: 0x2122_2324_2526_2728,
    holder: LaneID(raw: 0x0001_0203))

let write = ForwardedWrite(
    effect: 1, shape: 0, clientFlags: 5, exptime: 0x0005_f5e1_0005_f5e1, key: Array("k".utf8),
    command: Array("set k 5 0 2\r\nhi\r\n".utf8), payloadStart: 13, payloadCount: 2)

let hello = Hello(
    purpose: .stream, lane: LaneID(raw: 0x0001_0203), loops: 2, stamp: 0x0102_0304_0506_0708, wall: 0x1112_1314_1516_1718,
    resume: Position(18), federation: "shop", ring: [1, 0])

/// One of each, in the order of their types.
let examples: [Message] = [
    .hello(hello), .refuse("the rings differ"),
    .heartbeat(stamp: 0x0102_0304_0506_0708, state: .serving, floor: 5, groupFloor: 4, stable: 6, sentAt: 3, echo: 2),
    .mirror(sequence: 9, tops: tops),
    .dumped(sequence: 9), .mirrored(sequence: 9),
    .remoteFloor(lane: LaneID(raw: 0x0002_0100), loops: 2, floor: 0x0102_0304_0506_0708),
    .forward(request: 77, hops: 1, stamp: 5, write: write),
    .forwardReply(request: 77, kind: 0, stamp: 6, reply: Array("STORED\r\n".utf8)),
    .apply(request: 78, hops: 1, record: record), .assert(request: 79, hops: 2, cause: .missed, doubted: .zero, tops: tops),
    .done(request: 79),
    .fetch(request: 80, key: Array("k".utf8), version: version), .fetched(request: 80, answer: .found(record)),
    .fetched(request: 80, answer: .unknown), .fetched(request: 80, answer: .superseded), .refill(hops: 1, key: Array("k".utf8)),
    .backend(server: 3, cutOff: true, emptied: 7, lacking: 8), .record(record),
    .promise(floor: 0x0102_0304_0506_0708, stamp: 0x1112_1314_1516_1718, wall: 0x2122_2324_2526_2728, committed: Position(17)),
    .acknowledge(Position(17)),
    .refilled(server: 3, upTo: 7, incarnation: Array("12.34".utf8)),
    .ring(inEffect: 0x0102_0304_0506_0708, next: 9, progress: .drained),
    .moved(server: 3, at: 7, clearedTo: 6),
    .handOver(request: 81), .handedOver(request: 81, stamp: 0x0102_0304_0506_0708),
]

// Anything at all, from a seed.
extension SeededRandom {
    /// Random bytes, so many.
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    /// A number with any count of leading zero bits; the extremes come up often.
    mutating func number() -> UInt64 { [0, 1, .max, next(), next() >> UInt64(below(64))][below(5)] }

    mutating func small() -> UInt8 { UInt8(truncatingIfNeeded: next()) }

    mutating func key() -> [UInt8] { bytes([1, 250, 1 + below(250)][below(3)]) }

    mutating func lane() -> LaneID { LaneID(raw: UInt32(truncatingIfNeeded: next())) }

    mutating func version() -> Version { Version(stamp: 1 + next() >> UInt64(1 + below(60)), origin: lane()) }

    mutating func text() -> String { String(decoding: bytes(below(80)), as: UTF8.self) }

    mutating func tops() -> KeyTops {
        KeyTops(
            key: key(), version: chance(0.3) ? .zero : version(), content: Content.allCases[below(Content.allCases.count)],
            touch: chance(0.3) ? .zero : version(), touchExpiry: number(), holder: lane())
    }

    mutating func record() -> ReplicatedRecord {
        ReplicatedRecord(
            content: [.value, .tombstone, .touch][below(3)], version: version(), position: Position(number()),
            clientFlags: UInt32(truncatingIfNeeded: next()), expiry: number(), key: key(),
            value: bytes([0, below(100), below(4_000)][below(3)]))
    }

    mutating func write() -> ForwardedWrite {
        let command = bytes(below(3_000))
        let start = below(command.count + 1)
        return ForwardedWrite(
            effect: small(), shape: small(), clientFlags: UInt32(truncatingIfNeeded: next()),
            exptime: Int64(bitPattern: number()), key: key(),
            command: command, payloadStart: UInt32(start), payloadCount: UInt32(below(command.count - start + 1)))
    }

    /// A message of any type.
    mutating func message() -> Message {
        switch below(25) {
        case 0:
            .hello(
                Hello(
                    purpose: chance(0.5) ? .group : .stream, lane: lane(), loops: small(), stamp: number(), wall: number(),
                    resume: Position(number()), federation: text(), ring: bytes(below(500)),
                    version: UInt16(truncatingIfNeeded: next())))
        case 1: .refuse(text())
        case 2:
            .heartbeat(
                stamp: number(), state: [.joining, .serving, .leaving][below(3)], floor: number(), groupFloor: number(),
                stable: number(),
                sentAt: number(), echo: number())
        case 3: .mirror(sequence: number(), tops: tops())
        case 4: .dumped(sequence: number())
        case 5: .mirrored(sequence: number())
        case 6: .remoteFloor(lane: lane(), loops: small(), floor: number())
        case 7: .forward(request: number(), hops: small(), stamp: number(), write: write())
        case 8: .forwardReply(request: number(), kind: small(), stamp: number(), reply: bytes(below(2_000)))
        case 9: .apply(request: number(), hops: small(), record: record())
        case 10:
            .assert(
                request: number(), hops: small(), cause: [.touched, .overtaken, .missed, .doubt][below(4)], doubted: version(),
                tops: tops())
        case 11: .done(request: number())
        case 12: .fetch(request: number(), key: key(), version: version())
        case 13: .fetched(request: number(), answer: [.found(record()), .unknown, .superseded][below(3)])
        case 14: .refill(hops: small(), key: key())
        case 15: .backend(server: UInt16(truncatingIfNeeded: next()), cutOff: chance(0.5), emptied: number(), lacking: number())
        case 16, 17: .record(record())
        case 19: .refilled(server: UInt16(truncatingIfNeeded: next()), upTo: number(), incarnation: bytes(below(40)))
        case 20: .ring(inEffect: number(), next: number(), progress: RingProgress(rawValue: UInt8(below(3)))!)
        case 21: .moved(server: UInt16(truncatingIfNeeded: next()), at: number(), clearedTo: number())
        case 22: .handOver(request: number())
        case 23: .handedOver(request: number(), stamp: number())
        case 18: .promise(floor: number(), stamp: number(), wall: number(), committed: Position(number()))
        default: .acknowledge(Position(number()))
        }
    }
}
