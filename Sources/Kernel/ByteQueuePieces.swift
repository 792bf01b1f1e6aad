// A queue that shares large values with others instead of copying them:
//
//     own bytes │ block │ own bytes │ block │ own bytes
//     └─ readable ─┘ then └ readable ┘ …       as long as there are blocks, then all that is left
//
// And the way in: what has arrived whole is lifted off a queue as a block, with the memory that it arrived in.

extension ByteQueue {
    /// The unread part of a block, and its own bytes that stand before it, behind the block before.
    struct Block {
        /// Nil once it has been read.
        var block: ByteBlock?
        var start: Int
        let end: Int
        var ownBytes: Int
    }

    /// Appends a block's first bytes, without copying them.
    public func append(_ block: ByteBlock, count: Int) {
        precondition(count >= 0 && count <= block.count, "ByteQueue append of \(count) bytes of a block of \(block.count)")
        guard count > 0 else { return }
        let ownBytes = end - start - ownBytesBeforeBlocks
        blocks.append(Block(block: block, start: 0, end: count, ownBytes: ownBytes))
        ownBytesBeforeBlocks += ownBytes
        blockBytes += count
        blockMemoryBytes += block.memoryBytes
    }

    /// Appends a block, without copying it.
    public func append(_ block: ByteBlock) { append(block, count: block.count) }

    /// Appends zero bytes that take no memory.
    public func append(sharedZeros bytes: Int) {
        var left = bytes
        while left > 0 {
            let count = min(left, Self.zeros.count)
            append(Self.zeros, count: count)
            left -= count
        }
    }

    private static let zeros = ByteBlock(zeros: 1 << 20)

    /// Blocks stand among the bytes.
    public var isInPieces: Bool { blockBytes > 0 }

    /// The first pieces, for one system call; at most so many. Valid until the next call that changes the queue.
    public func pieces(atMost count: Int) -> [UnsafeRawBufferPointer] {
        var found: [UnsafeRawBufferPointer] = []
        eachPiece { piece in
            if found.count == count { return false }
            if !piece.isEmpty { found.append(piece) }
            return true
        }
        return found
    }

    /// The bytes that were appended last, of which no block is one.
    public func last(_ bytes: Int) -> UnsafeRawBufferPointer {
        precondition(
            bytes >= 0 && bytes <= end - start - ownBytesBeforeBlocks, "ByteQueue last \(bytes) of \(end - start) and blocks")
        return UnsafeRawBufferPointer(start: storage + end - bytes, count: bytes)
    }

    /// A copy of `count` bytes from an offset, over all pieces.
    public func bytes(at offset: Int, count: Int) -> [UInt8] {
        precondition(offset >= 0 && count >= 0 && offset + count <= self.count, "ByteQueue bytes at \(offset) of \(self.count)")
        var found: [UInt8] = []
        found.reserveCapacity(count)
        var skip = offset
        eachPiece { piece in
            found.append(contentsOf: piece.dropFirst(skip).prefix(count - found.count))
            skip -= min(skip, piece.count)
            return found.count < count
        }
        return found
    }

    /// One piece after the other, until it is told to stop.
    private func eachPiece(_ body: (UnsafeRawBufferPointer) -> Bool) {
        var at = start
        for place in blocks[firstBlock...] {
            guard let block = place.block else { continue }
            guard body(UnsafeRawBufferPointer(start: storage + at, count: place.ownBytes)) else { return }
            at += place.ownBytes
            guard body(UnsafeRawBufferPointer(rebasing: block.bytes[place.start..<place.end])) else { return }
        }
        _ = body(UnsafeRawBufferPointer(start: storage + at, count: end - at))
    }

    @usableFromInline
    var firstPiece: UnsafeRawBufferPointer {
        let place = blocks[firstBlock]
        guard place.ownBytes == 0, let block = place.block else {
            return UnsafeRawBufferPointer(start: storage + start, count: place.ownBytes)
        }
        return UnsafeRawBufferPointer(rebasing: block.bytes[place.start..<place.end])
    }

    @usableFromInline
    func consumePieces(_ bytes: Int) {
        var left = bytes
        while left > 0, blockBytes > 0 {
            let own = min(left, blocks[firstBlock].ownBytes)
            blocks[firstBlock].ownBytes -= own
            ownBytesBeforeBlocks -= own
            start += own
            left -= own
            let shared = min(left, blocks[firstBlock].end - blocks[firstBlock].start)
            blocks[firstBlock].start += shared
            blockBytes -= shared
            left -= shared
            if blocks[firstBlock].start == blocks[firstBlock].end {
                blockMemoryBytes -= blocks[firstBlock].block?.memoryBytes ?? 0
                blocks[firstBlock].block = nil
                firstBlock += 1
            }
        }
        if firstBlock > blocks.count / 2 {
            blocks.removeFirst(firstBlock)
            firstBlock = 0
        }
        start += left
        if start == end { runEmpty() }
    }

    /// Takes the first `bytes` off, and makes a block of those behind the first `head` of them, and of a `tail`: with the memory in which
    /// they are, unless much of that holds something else. What `readable` gave is not valid any more. Of a queue without blocks.
    public func lift(_ bytes: Int, behind head: Int, and tail: StaticString = "") -> ByteBlock {
        precondition(
            blockBytes == 0 && head >= 0 && head <= bytes && bytes <= count, "ByteQueue lift \(bytes) behind \(head) of \(count)")
        let rest = end - start - bytes
        guard start + head + rest <= bytes / 4 else {
            let block = ByteBlock(copying: UnsafeRawBufferPointer(start: storage + start + head, count: bytes - head), and: tail)
            consume(bytes)
            return block
        }
        let others = HeapBytes.allocate(rest)
        others.copyMemory(from: storage + start + bytes, byteCount: rest)
        let used = start + bytes + tail.utf8CodeUnitCount
        let fits = capacity >= used && capacity - used <= used / 8
        let memory = fits ? storage : HeapBytes.resize(storage, to: used)
        (memory + start + bytes).copyMemory(from: tail.utf8Start, byteCount: tail.utf8CodeUnitCount)
        let block = ByteBlock(
            adopting: memory, of: fits ? capacity : used, from: start + head, count: used - start - head)
        storage = others
        capacity = rest
        start = 0
        end = rest
        return block
    }
}
