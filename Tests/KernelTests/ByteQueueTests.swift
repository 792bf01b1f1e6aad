import Kernel
import Testing

/// A queue of bytes against a plain array that does the same.
@Suite struct ByteQueueTests {
    @Test(
        "Whatever is appended, consumed, truncated and reserved in whatever order, the queue holds what an array would",
        arguments: 0..<40)
    func againstArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let queue = ByteQueue(capacity: random.below(100))
        var model: [UInt8] = []
        for _ in 0..<500 {
            let bytes = (0..<random.below(300)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            switch random.below(9) {
            case 0:
                queue.append(bytes)
                model += bytes
            case 1:
                queue.append(bytes[(bytes.count / 3)...])
                model += bytes[(bytes.count / 3)...]
            case 2:
                let count = random.below(model.count + 1)
                queue.consume(count)
                model.removeFirst(count)
            case 3:
                let count = random.below(model.count + 1)
                queue.truncate(to: count)
                model.removeLast(model.count - count)
            case 4:
                let room = queue.reserve(bytes.count)
                #expect(room.count >= bytes.count)
                room.copyBytes(from: bytes)
                let used = random.below(bytes.count + 1)
                queue.commit(used)
                model += bytes[..<used]
            case 5:
                let number = random.next() >> UInt64(random.below(64))
                queue.append(decimal: number)
                model += Array("\(number)".utf8)
            case 6:
                let number = UInt32(truncatingIfNeeded: random.next())
                queue.append(littleEndian: number)
                model += [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: number >> $0) }
            case 7:
                queue.append(zeros: bytes.count)
                model += [UInt8](repeating: 0, count: bytes.count)
            default:
                guard model.count >= 8 else { break }
                let at = random.below(model.count - 7)
                queue.overwrite(littleEndian: UInt64.max, at: at)
                model.replaceSubrange(at..<(at + 8), with: [UInt8](repeating: 0xff, count: 8))
            }
            #expect(queue.count == model.count)
            #expect(queue.isEmpty == model.isEmpty)
            #expect(Array(queue.readable) == model)
            if !model.isEmpty {
                let at = random.below(model.count)
                #expect(queue[at] == model[at])
            }
        }
    }

    @Test("Decimal digits at the edges")
    func decimals() {
        for number in [0, 1, 9, 10, 99, 100, 1_000_000, UInt64.max] {
            let queue = ByteQueue()
            queue.append(decimal: number)
            #expect(String(decoding: queue.readable, as: UTF8.self) == "\(number)")
        }
        for number in [0, -1, Int64.min, Int64.max] {
            let queue = ByteQueue()
            queue.append(decimal: number)
            #expect(String(decoding: queue.readable, as: UTF8.self) == "\(number)")
        }
    }

    @Test("Literals and strings are appended as UTF-8")
    func text() {
        let queue = ByteQueue()
        queue.append("STORED\r\n")
        queue.append(text: "Zürich")
        queue.append(UInt8(ascii: "!"))
        #expect(String(decoding: queue.readable, as: UTF8.self) == "STORED\r\nZürich!")
    }

    @Test("A queue that has run empty after a flood holds no more than a small buffer")
    func givesMemoryBack() {
        let queue = ByteQueue()
        queue.append(zeros: 10 << 20)
        #expect(queue.reserve(0).count + queue.count >= 10 << 20)
        queue.consume(10 << 20)
        #expect(queue.isEmpty)
        #expect(queue.reserve(0).count < ByteQueue.idleBytesMax)
    }

    @Test("An empty queue that will not be needed soon gives everything back, once; one with something in it keeps it")
    func givesEverythingBack() {
        let queue = ByteQueue()
        #expect(!queue.giveBack())
        queue.append(zeros: 5_000)
        queue.truncate(to: 2)
        #expect(!queue.giveBack())
        queue.consume(1)
        queue.truncate(to: 0)
        #expect(queue.giveBack())
        #expect(queue.reserve(0).isEmpty && !queue.giveBack())
        queue.append("as new")
        #expect(Array(queue.readable) == Array("as new".utf8))
    }

    @Test("Bytes that pass through a queue forever do not make it grow")
    func steadyFlow() {
        let queue = ByteQueue()
        queue.append(zeros: 100)
        for _ in 0..<100_000 {
            queue.append(zeros: 100)
            queue.consume(100)
        }
        #expect(queue.reserve(0).count + queue.count <= 1024)
    }

    @Test("Reading past the end stops the program instead of reading other memory")
    func readsPastEnd() async {
        await #expect(processExitsWith: .failure) {
            let queue = ByteQueue()
            queue.append(UInt8(1))
            _ = queue[1]
        }
        await #expect(processExitsWith: .failure) {
            let queue = ByteQueue()
            queue.append(UInt8(1))
            queue.consume(2)
        }
        await #expect(processExitsWith: .failure) {
            let queue = ByteQueue(capacity: 8)
            queue.commit(9)
        }
    }
}
