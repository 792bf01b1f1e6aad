import Kernel
import Replication
import Testing

/// Frames as they arrive: whole, in pieces, one behind the other.
@Suite struct FrameTests {
    @Test("Whatever a message holds comes back as it was", arguments: 0..<200)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<20 {
            let message = random.message()
            let found = try decoded(frame(message))
            #expect(found.message == message)
            #expect(found.rest == 0)
        }
    }

    @Test("A frame that has not arrived whole is waited for, wherever it was cut", arguments: examples)
    func everySplit(message: Message) throws {
        let bytes = frame(message)
        for cut in bytes.indices {
            let queue = ByteQueue()
            queue.append(bytes[..<cut])
            #expect(try FrameCodec.decode(from: queue, valueBytesMax: valueBytesMax) == nil)
            #expect(queue.count == cut, "what has arrived stays")
            queue.append(bytes[cut...])
            #expect(try FrameCodec.decode(from: queue, valueBytesMax: valueBytesMax) == message)
            #expect(queue.isEmpty)
        }
    }

    @Test("Frames behind one another come out in order, whatever pieces they arrive in", arguments: 0..<20)
    func manyInPieces(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let messages = (0..<60).map { _ in random.message() }
        var bytes = messages.flatMap { frame($0) }[...]
        let queue = ByteQueue()
        var found: [Message] = []
        while !bytes.isEmpty {
            let piece = bytes.prefix(1 + random.below(900))
            bytes = bytes.dropFirst(piece.count)
            queue.append(piece)
            while let message = try FrameCodec.decode(from: queue, valueBytesMax: valueBytesMax) { found.append(message) }
        }
        #expect(found == messages)
        #expect(queue.isEmpty)
    }

    @Test("A frame is appended behind what is queued already")
    func appends() throws {
        let queue = ByteQueue()
        FrameCodec.encode(.done(request: 1), into: queue)
        FrameCodec.encode(.acknowledge(Position(2)), into: queue)
        #expect(try FrameCodec.decode(from: queue, valueBytesMax: 0) == .done(request: 1))
        #expect(try FrameCodec.decode(from: queue, valueBytesMax: 0) == .acknowledge(Position(2)))
    }

    @Test("The largest value that clients may store fits a frame, with the longest key")
    func largestRecord() throws {
        var large = record
        large.key = Array(repeating: 107, count: 250)
        large.value = Array(repeating: 118, count: valueBytesMax)
        let found = try decoded(frame(.record(large)))
        #expect(found.message == .record(large))
        let forward = ForwardedWrite(
            effect: 1, shape: 0, clientFlags: 0, exptime: 0, key: large.key,
            command: Array(repeating: 99, count: 65_536) + large.value, payloadStart: 65_536, payloadCount: UInt32(valueBytesMax))
        #expect(try decoded(frame(.forward(request: 1, hops: 0, stamp: 0, write: forward))).message != nil)
    }
}
