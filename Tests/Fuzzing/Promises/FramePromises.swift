// What comes from peers: the preamble, the names in a certificate, frames, and the ring in a greeting.

import Daemon
import Kernel
import Replication
import Ring
import TLS
import WriteLog

/// The longest value of a frame, small enough to run into.
private let valueBytesMax = 64 * 1024

extension Promise {
    /// The first byte says whether the rest is a stream, or what stands in one frame: a checksum is not found by trying.
    package static let peerFrames = Promise(
        "peer-frames", "a peer's frames: the same messages however they are cut, and each message has the bytes it came from",
        bytesMax: 4_096, seeds: FrameSeeds.bodies + [FrameSeeds.stream]
    ) { bytes in
        guard let mode = bytes.first else { return }
        let rest = Array(bytes.dropFirst())
        takeFrames(mode & 1 == 0 ? sealed(rest) : rest)
    }

    /// A frame with any type and fields, its length and checksum in order.
    private static func sealed(_ body: [UInt8]) -> [UInt8] {
        let queue = ByteQueue()
        queue.append(littleEndian: UInt32(body.count))
        queue.append(littleEndian: body.withUnsafeBytes { CRC32C.checksum($0) })
        queue.append(body)
        return [UInt8](queue.readable)
    }

    /// What was read of a stream of frames.
    private struct Taken: Equatable {
        var messages: [Message] = []
        var error: FrameError?
        var unread = 0
    }

    private static func takeFrames(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { stream in
            let whole = taken(from: stream, arriving: [stream.count])
            for way in Arrivals.ways(stream) {
                precondition(taken(from: stream, arriving: way) == whole, "the messages depend on how the bytes arrive")
            }
        }
    }

    /// Decodes to the end or to the first error.
    private static func taken(from stream: UnsafeRawBufferPointer, arriving: [Int]) -> Taken {
        var taken = Taken()
        let queue = ByteQueue()
        var fed = 0
        for available in arriving {
            queue.append(UnsafeRawBufferPointer(rebasing: stream[fed..<available]))
            fed = available
            while taken.error == nil {
                let before = queue.count
                do throws(FrameError) {
                    guard let message = try FrameCodec.decode(from: queue, valueBytesMax: valueBytesMax) else { break }
                    let start = fed - before
                    let again = ByteQueue()
                    FrameCodec.encode(message, into: again)
                    let came = UnsafeRawBufferPointer(rebasing: stream[start..<start + before - queue.count])
                    precondition(came.elementsEqual(again.readable), "a message has other bytes than it came from")
                    taken.messages.append(message)
                } catch {
                    precondition(queue.count == before, "bytes of a refused frame were taken")
                    taken.error = error
                }
            }
        }
        taken.unread = taken.error == nil ? queue.count : 0
        return taken
    }

    static let ringFingerprint = Promise(
        "ring-fingerprint", "the ring in a greeting: what is read is written again, and two rings differ both ways or not at all",
        bytesMax: 1_024, seeds: FrameSeeds.rings
    ) { bytes in
        let read: RingFingerprint
        do { read = try RingFingerprint.decode(bytes) } catch { return }
        let again: RingFingerprint
        do { again = try RingFingerprint.decode(read.encode()) } catch {
            preconditionFailure("a ring that was read cannot be read again: \(error)")
        }
        precondition(again == read && again.difference(from: read) == nil, "a ring differs from itself")
        let ours = FrameSeeds.ring
        let differs = ours.difference(from: read) != nil
        precondition(differs == (read.difference(from: ours) != nil), "two rings differ in one direction only")
        precondition(differs == (ours != read), "a difference has no words, or equal rings have some")
    }

    static let preamble = Promise(
        "preamble", "the eight bytes before TLS: refused at the first wrong one, and what is read is written again",
        bytesMax: 64, seeds: [Preamble(lane: 3).encoded, Array("GET / HTTP".utf8), [0x16, 3, 1]]
    ) { bytes in
        var refused = false
        for count in 0...min(bytes.count, Preamble.bytes) {
            let beginning = Array(bytes[..<count])
            do throws(Preamble.Refusal) {
                let read = try Preamble(beginning)
                precondition(!refused, "what was refused is taken with more behind it")
                precondition((read != nil) == (count == Preamble.bytes), "a preamble of \(count) bytes")
                if let read { precondition(read.encoded == beginning, "a preamble is written otherwise than it was read") }
            } catch {
                refused = true
                let isPlain = error.reason.utf8.allSatisfy { $0 >= 32 && $0 < 127 }
                precondition(isPlain && error.reason.utf8.count < 200, "a refusal that would spoil the log")
            }
        }
    }

    static let certificateNames = Promise(
        "certificate-names", "a certificate's URI: what is read is written again, and no name could be a path or two lines",
        bytesMax: 256,
        seeds: ["meridian://shop/north/n1", "meridian://a/b", "https://shop/north/n1", "meridian://shop//n1"].map {
            Array($0.utf8)
        },
        words: ["meridian://", "/", "%2f", ".."]
    ) { bytes in
        let uri = String(decoding: bytes, as: UTF8.self)
        guard let names = CertificateNames(uri: uri) else { return }
        precondition(names.uri == uri, "\(uri) is read as \(names.uri)")
        for part in [names.federation, names.site, names.proxy] {
            precondition(!part.isEmpty && part.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "/") })
        }
    }
}

/// Frames and rings to begin with.
private enum FrameSeeds {
    static let version = Version(stamp: 0x0102_0304_0506_0708, origin: LaneID(raw: 0x0001_0203))
    static let ring = RingFingerprint(
        flavour: .ketama, servers: [RingServer(name: "cache1", weight: 1), RingServer(name: "cache2", weight: 2)],
        slotCount: 4_096)

    static let rings: [[UInt8]] = [
        ring.encode(), RingFingerprint(flavour: .magentModulo, servers: [], slotCount: 1).encode(),
        RingFingerprint(flavour: .magentKetama, servers: [RingServer(name: "é", weight: .max)], slotCount: 65_536).encode(),
    ]

    static let messages: [Message] = {
        let key = Array("k".utf8)
        let record = ReplicatedRecord(
            content: .value, version: version, position: Position(17), clientFlags: 0x300, expiry: 5, key: key,
            value: Array("hello".utf8))
        let tops = KeyTops(key: key, version: version, content: .value, touch: .zero, touchExpiry: 9, holder: version.origin)
        let write = ForwardedWrite(
            effect: 1, shape: 0, clientFlags: 5, exptime: 60, key: key, command: Array("set k 5 60 2\r\nhi\r\n".utf8),
            payloadStart: 14, payloadCount: 2)
        let hello = Hello(
            purpose: .stream, lane: version.origin, loops: 2, stamp: 1, wall: 2, resume: Position(18), federation: "shop",
            ring: ring.encode())
        return [
            .hello(hello), .refuse("the rings differ"),
            .heartbeat(stamp: 6, state: .serving, floor: 5, groupFloor: 4, stable: 1, sentAt: 3, echo: 2),
            .mirror(sequence: 9, tops: tops),
            .dumped(sequence: 9), .mirrored(sequence: 9), .remoteFloor(lane: version.origin, loops: 2, floor: 8),
            .forward(request: 77, hops: 1, stamp: 5, write: write),
            .forwardReply(request: 77, kind: 0, stamp: 6, reply: Array("STORED\r\n".utf8)),
            .apply(request: 78, hops: 1, record: record),
            .assert(request: 79, hops: 2, cause: .missed, doubted: .zero, tops: tops), .done(request: 79),
            .fetch(request: 80, key: key, version: version), .fetched(request: 80, answer: .found(record)),
            .fetched(request: 80, answer: .unknown), .refill(hops: 1, key: key),
            .refilled(server: 3, upTo: 7, incarnation: [49, 50]),
            .ring(inEffect: 11, next: 12, progress: .drained),
            .moved(server: 3, at: 8, clearedTo: 7),
            .handOver(request: 81), .handedOver(request: 81, stamp: 9),
            .backend(server: 3, cutOff: true, emptied: 7, lacking: 8), .record(record),
            .promise(floor: 4, stamp: 3, wall: 2, committed: Position(17)), .acknowledge(Position(17)),
        ]
    }()

    /// One frame's type and fields for each message, as the first kind of input.
    static let bodies: [[UInt8]] = messages.map { message in
        let queue = ByteQueue()
        FrameCodec.encode(message, into: queue)
        return [0] + Array(queue.readable.dropFirst(FrameCodec.headBytes))
    }

    /// Frames behind one another, as the second.
    static let stream: [UInt8] = {
        let queue = ByteQueue()
        for message in messages.suffix(4) { FrameCodec.encode(message, into: queue) }
        return [1] + Array(queue.readable)
    }()
}
