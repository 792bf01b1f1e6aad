import Kernel
import Testing

/// Queues that share blocks, against plain arrays.
@Suite struct ByteBlockTests {
    @Test("Own bytes and blocks in whatever order, consumed in whatever steps, come out as an array's would", arguments: 0..<40)
    func againstArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let queue = ByteQueue()
        var model: [UInt8] = []
        for _ in 0..<400 {
            let bytes = (0..<random.below(200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            switch random.below(6) {
            case 0:
                queue.append(bytes)
                model += bytes
                #expect(Array(queue.last(bytes.count)) == bytes)
            case 1:
                let block = bytes.withUnsafeBytes { ByteBlock(copying: $0, and: "\r\n") }
                #expect(Array(block.bytes) == bytes + [13, 10])
                let count = random.below(block.count + 1)
                queue.append(block, count: count)
                model += block.bytes[..<count]
            case 2:
                queue.append(sharedZeros: bytes.count)
                model += [UInt8](repeating: 0, count: bytes.count)
            case 3:
                let count = random.below(model.count + 1)
                queue.consume(count)
                model.removeFirst(count)
            case 4:
                // As a socket that takes part of a piece.
                let count = random.below(queue.readable.count + 1)
                #expect(Array(queue.readable[..<count]) == Array(model[..<count]))
                queue.consume(count)
                model.removeFirst(count)
            default:
                let at = random.below(model.count + 1)
                let count = random.below(model.count - at + 1)
                #expect(queue.bytes(at: at, count: count) == Array(model[at..<at + count]))
            }
            #expect(queue.count == model.count)
            #expect(queue.isEmpty == model.isEmpty)
            #expect(model.starts(with: queue.readable))
            #expect(model.isEmpty || !queue.readable.isEmpty)
            #expect(queue.heldBytes >= model.count)
        }
        var rest: [UInt8] = []
        while !queue.isEmpty {
            let piece = Array(queue.readable)
            rest += piece
            queue.consume(piece.count)
        }
        #expect(rest == model)
        #expect(queue.heldBytes == 0)
    }

    @Test("What is lifted off is what was there, whatever stands before and behind it; the queue goes on", arguments: 0..<60)
    func lifted(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let queue = ByteQueue()
        var model: [UInt8] = []
        var blocks: [(ByteBlock, [UInt8])] = []
        for _ in 0..<60 {
            let bytes = (0..<random.below(random.chance(0.1) ? 300_000 : 300)).map { _ in UInt8(truncatingIfNeeded: random.next())
            }
            queue.append(bytes)
            model += bytes
            if random.chance(0.5) {
                let count = random.below(model.count + 1)
                queue.consume(count)
                model.removeFirst(count)
            } else {
                let count = random.below(model.count + 1)
                let head = random.below(count + 1)
                let isClosed = random.chance(0.5)
                let block = queue.lift(count, behind: head, and: isClosed ? "\r\n" : "")
                blocks.append((block, Array(model[head..<count]) + (isClosed ? [13, 10] : [])))
                model.removeFirst(count)
            }
            #expect(Array(queue.readable) == model)
        }
        for (block, bytes) in blocks { #expect(Array(block.bytes) == bytes) }
    }

    @Test("A large value is lifted with its memory, and not kept by what little stands around it")
    func liftedInPlace() {
        let queue = ByteQueue()
        queue.append([UInt8](repeating: 1, count: 1_000_000))
        queue.append("next" as StaticString)
        let before = queue.readable.baseAddress
        let large = queue.lift(1_000_000, behind: 10)
        #expect(large.bytes.baseAddress == before.map { $0 + 10 })
        #expect(Array(queue.readable) == Array("next".utf8))
        #expect(queue.heldBytes == 4)

        queue.append([UInt8](repeating: 2, count: 1_000_000))
        let all = queue.readable.baseAddress
        // Not for four bytes of a million.
        #expect(queue.lift(4, behind: 0).bytes.baseAddress != all)
        #expect(queue.count == 1_000_000)
    }

    @Test("A block lives as long as somebody has it, and what a queue has not yet read of it counts as held")
    func lives() {
        let queue = ByteQueue()
        weak var seen: ByteBlock?
        do {
            let block = ByteBlock(zeros: 500_000)
            seen = block
            queue.append("line" as StaticString)
            queue.append(block)
        }
        queue.consume(100_004)
        #expect(seen != nil)
        #expect(queue.heldBytes == 500_000, "all of it, since all of it is there")
        queue.consume(400_000)
        #expect(seen == nil)
        #expect(queue.heldBytes == 0)
    }
}
