import Kernel
import Replication
import Testing

/// Frames that no Meridian sends. Each is an error that says what is wrong; none is a crash, and none is taken off the queue.
@Suite struct BadFrameTests {
    @Test("A length over the limit is refused before the frame is waited for")
    func oversized() {
        let limit = valueBytesMax + FrameCodec.overheadBytesMax
        let queue = ByteQueue()
        queue.append(littleEndian: UInt32(limit + 1))
        queue.append(littleEndian: UInt32(0))
        #expect(refusal([UInt8](queue.readable)) == .oversized(bytes: limit + 1, limit: limit))
        #expect(refusal(Array(repeating: 0xff, count: 8)) == .oversized(bytes: 0xffff_ffff, limit: limit))
        #expect(FrameError.oversized(bytes: 9, limit: 8).description == "frame of 9 bytes exceeds the limit of 8 bytes")
    }

    @Test("Any single bit that changed on the way is noticed", arguments: examples)
    func everyBit(message: Message) {
        let bytes = frame(message)
        for bit in 32..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(refusal(changed) == .checksum, "bit \(bit)")
        }
    }

    @Test("A frame without even a type is malformed")
    func empty() {
        #expect(refusal(sealed([])) == .malformed(type: 0))
    }

    @Test("A type that this version does not know is named", arguments: [UInt8](0...255).filter { $0 == 0 || $0 > 24 })
    func unknownType(type: UInt8) {
        #expect(refusal(sealed([type, 1, 2, 3])) == .unknownType(type))
    }

    @Test("Fields that end too early are malformed, wherever they end", arguments: examples)
    func truncated(message: Message) {
        let body = Array(frame(message).dropFirst(FrameCodec.headBytes))
        for count in 1..<body.count {
            #expect(refusal(sealed(Array(body.prefix(count)))) == .malformed(type: body[0]), "\(count) of \(body.count) bytes")
        }
    }

    @Test("Bytes behind the last field are malformed", arguments: examples)
    func trailing(message: Message) {
        let body = Array(frame(message).dropFirst(FrameCodec.headBytes))
        #expect(refusal(sealed(body + [0])) == .malformed(type: body[0]))
    }

    @Test("A length inside a frame never reaches beyond the frame", arguments: [5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
    func hostileLength(length: UInt32) {
        func lengthBytes() -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } }
        #expect(refusal(sealed([2] + lengthBytes() + [1, 2, 3, 4])) == .malformed(type: 2))
        var body = Array(frame(.record(record)).dropFirst(FrameCodec.headBytes))
        let at = body.count - 9
        body.replaceSubrange(at..<at + 4, with: lengthBytes())
        #expect((refusal(sealed(body)) == nil) == (length == 5), "5 is the value's true length")
    }

    @Test(
        "A payload that the command does not hold is malformed", arguments: [(18, 0), (0, 18), (13, 5), (.max, .max), (.max, 1)])
    func payloadOutside(start: UInt32, count: UInt32) {
        var outside = write
        outside.payloadStart = start
        outside.payloadCount = count
        #expect(refusal(frame(.forward(request: 1, hops: 0, stamp: 0, write: outside))) == .malformed(type: 8))
    }

    @Test("A key has 1 to 250 bytes")
    func keys() {
        #expect(refusal(sealed([15, 0, 0])) == .malformed(type: 15))
        #expect(refusal(sealed([15, 0, 251] + Array(repeating: 107, count: 251))) == .malformed(type: 15))
        #expect(refusal(sealed([15, 0, 250] + Array(repeating: 107, count: 250))) == nil)
    }

    @Test("The empty key stands for all of them, and only where all can be deleted")
    func everyKey() {
        var barrier = record
        barrier.key = []
        #expect(refusal(frame(.record(barrier))) == .malformed(type: 17))
        barrier.content = .tombstone
        #expect(refusal(frame(.record(barrier))) == nil)
        #expect(refusal(frame(.fetch(request: 1, key: [], version: record.version))) == .malformed(type: 13))
    }

    @Test("Numbers that stand for names must be ones of theirs")
    func enumerations() {
        func changed(_ message: Message, at place: Int, to byte: UInt8) -> FrameError? {
            var body = Array(frame(message).dropFirst(FrameCodec.headBytes))
            body[place] = byte
            return refusal(sealed(body))
        }
        for purpose in [0, 3, 255] as [UInt8] {
            #expect(changed(.hello(hello), at: 3, to: purpose) == .malformed(type: 1))
        }
        for state in [0, 4, 255] as [UInt8] { #expect(changed(examples[2], at: 9, to: state) == .malformed(type: 3)) }
        for content in [0, 4, 255] as [UInt8] {
            #expect(changed(.record(record), at: 1, to: content) == .malformed(type: 17), "a record is about something")
        }
        #expect(changed(.mirror(sequence: 1, tops: tops), at: 21, to: 4) == .malformed(type: 4))
        for cause in [4, 255] as [UInt8] { #expect(changed(examples[10], at: 10, to: cause) == .malformed(type: 11)) }
        for progress in [3, 255] as [UInt8] {
            #expect(changed(.ring(inEffect: 1, next: 2, progress: .agreed), at: 17, to: progress) == .malformed(type: 21))
        }
        for kind in [3, 255] as [UInt8] {
            #expect(changed(.fetched(request: 1, answer: .unknown), at: 9, to: kind) == .malformed(type: 14))
        }
        for flag in [2, 255] as [UInt8] {
            #expect(changed(examples[17], at: 3, to: flag) == .malformed(type: 16))
        }
    }

    @Test("Text is UTF-8")
    func text() {
        #expect(refusal(sealed([2, 2, 0, 0, 0, 0xc3, 0x28])) == .malformed(type: 2))
    }

    @Test("What was refused stays, so that nobody can take what follows for a frame")
    func nothingConsumed() {
        let queue = ByteQueue()
        queue.append(sealed([99]))
        queue.append(frame(.done(request: 1)))
        let before = queue.count
        #expect(throws: FrameError.unknownType(99)) { try FrameCodec.decode(from: queue, valueBytesMax: 0) }
        #expect(queue.count == before)
    }
}
