// The byte queue under every connection is no parser, yet all parsers read its memory.

import Kernel

extension Promise {
    static let byteQueue = Promise(
        "byte-queue", "a script of appends, reservations and consumptions: the queue holds what an array would", bytesMax: 512,
        seeds: [[0, 200, 1, 50, 2, 9, 0, 255, 1, 255, 3, 7, 4, 30, 5, 4], Array(repeating: 0, count: 80) + [1, 255, 1, 255]]
    ) { bytes in
        var script = bytes.makeIterator()
        let queue = ByteQueue(capacity: Int(script.next() ?? 0))
        var model: [UInt8] = []
        while let operation = script.next() {
            let amount = Int(script.next() ?? 0)
            apply(operation, amount, queue, &model)
            precondition(queue.count == model.count && queue.isEmpty == model.isEmpty)
        }
        precondition(queue.readable.elementsEqual(model), "the queue holds other bytes")
    }

    private static func apply(_ operation: UInt8, _ amount: Int, _ queue: ByteQueue, _ model: inout [UInt8]) {
        // Sometimes so many that the queue gives idle memory back.
        let large = amount > 250 ? 2 * ByteQueue.idleBytesMax : amount * 4
        switch operation % 8 {
        case 0:
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: model.count &+ amount), count: large)
            queue.append(piece)
            model += piece
        case 1:
            let taken = min(large, model.count)
            queue.consume(taken)
            model.removeFirst(taken)
        case 2:
            let room = queue.reserve(amount)
            precondition(room.count >= amount, "less room than reserved")
            for index in 0..<amount { room[index] = 7 }
            queue.commit(amount)
            model += [UInt8](repeating: 7, count: amount)
        case 3:
            let kept = model.count * amount / 255
            queue.truncate(to: kept)
            model.removeLast(model.count - kept)
        case 4:
            let number = UInt64(amount) &* 0x0101_0101_0101_0101 >> UInt64(amount % 64)
            queue.append(decimal: number)
            model += Array(String(number).utf8)
        case 5:
            queue.append(bigEndian: UInt32(amount) << 20)
            for shift in [4, -4, -12, -20] {
                model.append(UInt8(truncatingIfNeeded: shift < 0 ? amount << -shift : amount >> shift))
            }
        case 6:
            queue.append(zeros: amount)
            model += [UInt8](repeating: 0, count: amount)
        default: overwrite(amount, queue, &model)
        }
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
