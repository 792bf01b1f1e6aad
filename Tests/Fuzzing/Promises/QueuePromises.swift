// The byte queue under every connection is no parser, yet all parsers read its memory.

import Kernel

extension Promise {
    static let byteQueue = Promise(
        "byte-queue", "a script of appends, reservations, consumptions and shared blocks: the queue holds what an array would",
        bytesMax: 512,
        seeds: [[0, 200, 1, 50, 2, 9, 0, 255, 1, 255, 3, 7, 4, 30, 5, 4], Array(repeating: 0, count: 80) + [1, 255, 1, 255]]
    ) { bytes in
        var script = bytes.makeIterator()
        let queue = ByteQueue(capacity: Int(script.next() ?? 0))
        var model = QueueModel()
        while let operation = script.next() {
            let amount = Int(script.next() ?? 0)
            apply(operation, amount, queue, &model)
            precondition(queue.count == model.bytes.count && queue.isEmpty == model.bytes.isEmpty)
        }
        precondition(queue.bytes(at: 0, count: queue.count) == model.bytes, "the queue holds other bytes")
        while !queue.isEmpty {
            precondition(model.bytes.starts(with: queue.readable) && !queue.readable.isEmpty, "a piece is another")
            model.bytes.removeFirst(queue.readable.count)
            queue.consume(queue.readable.count)
        }
    }

    /// What a queue should hold.
    private struct QueueModel {
        var bytes: [UInt8] = []
        /// How many of them stand before the end of the last block; none where there is no block.
        var upToBlocks = 0

        mutating func removeFirst(_ count: Int) {
            bytes.removeFirst(count)
            upToBlocks = max(0, upToBlocks - count)
        }
    }

    private static func apply(_ operation: UInt8, _ amount: Int, _ queue: ByteQueue, _ model: inout QueueModel) {
        // Sometimes so many that the queue gives idle memory back.
        let large = amount > 250 ? 2 * ByteQueue.idleBytesMax : amount * 4
        switch operation % 10 {
        case 0:
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: model.bytes.count &+ amount), count: large)
            queue.append(piece)
            model.bytes += piece
        case 1:
            let taken = min(large, model.bytes.count)
            queue.consume(taken)
            model.removeFirst(taken)
        case 2:
            let room = queue.reserve(amount)
            precondition(room.count >= amount, "less room than reserved")
            for index in 0..<amount { room[index] = 7 }
            queue.commit(amount)
            model.bytes += [UInt8](repeating: 7, count: amount)
        case 3 where model.upToBlocks == 0:
            let kept = model.bytes.count * amount / 255
            queue.truncate(to: kept)
            model.bytes.removeLast(model.bytes.count - kept)
        case 4:
            let number = UInt64(amount) &* 0x0101_0101_0101_0101 >> UInt64(amount % 64)
            queue.append(decimal: number)
            model.bytes += Array(String(number).utf8)
        case 5:
            queue.append(bigEndian: UInt32(amount) << 20)
            for shift in [4, -4, -12, -20] {
                model.bytes.append(UInt8(truncatingIfNeeded: shift < 0 ? amount << -shift : amount >> shift))
            }
        case 6:
            queue.append(zeros: amount)
            model.bytes += [UInt8](repeating: 0, count: amount)
        case 7 where model.upToBlocks == 0: overwrite(amount, queue, &model.bytes)
        case 8 where model.upToBlocks == 0: lift(amount, queue, &model)
        default:
            let piece = [UInt8](repeating: UInt8(amount), count: large)
            queue.append(piece.withUnsafeBytes { ByteBlock(copying: $0, and: "\r\n") }, count: large)
            model.bytes += piece
            if large > 0 { model.upToBlocks = model.bytes.count }
        }
    }

    /// Takes a part off, checks it, and appends it again as what it has become.
    private static func lift(_ amount: Int, _ queue: ByteQueue, _ model: inout QueueModel) {
        let count = model.bytes.count * amount / 255
        let head = min(count, amount % 7)
        let block = queue.lift(count, behind: head, and: "!")
        let expected = Array(model.bytes[head..<count]) + [33]
        precondition(block.bytes.elementsEqual(expected), "what was lifted off is something else")
        model.removeFirst(count)
        queue.append(block)
        model.bytes += expected
        model.upToBlocks = model.bytes.count
    }

    private static func overwrite(_ amount: Int, _ queue: ByteQueue, _ model: inout [UInt8]) {
        guard model.count >= 4 else {
            queue.append(UInt8(amount))
            model.append(UInt8(amount))
            return
        }
        let at = (model.count - 4) * amount / 255
        queue.overwrite(littleEndian: UInt32(amount), at: at)
        model.replaceSubrange(at..<at + 4, with: [UInt8(amount), 0, 0, 0])
    }
}
