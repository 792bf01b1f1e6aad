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

    private static let zeros = ByteBlock(zeros: idleBytesMax)

    /// What is appended from now on stands behind the last block; so do these last bytes of it.
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
            if skip >= piece.count { return skip -= piece.count }
            let part = piece[skip...].prefix(count - found.count)
            found.append(contentsOf: part)
            skip = 0
        }
        return found
    }

    private func eachPiece(_ body: (UnsafeRawBufferPointer) -> Void) {
        var at = start
        for place in blocks[firstBlock...] {
            guard let block = place.block else { continue }
            body(UnsafeRawBufferPointer(start: storage + at, count: place.ownBytes))
            at += place.ownBytes
            body(UnsafeRawBufferPointer(rebasing: block.bytes[place.start..<place.end]))
        }
        body(UnsafeRawBufferPointer(start: storage + at, count: end - at))
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
                blocks[firstBlock].block = nil
                firstBlock += 1
            }
        }
        if blockBytes == 0 {
            blocks.removeAll()
            firstBlock = 0
        }
        start += left
        if start == end { runEmpty() }
    }

    /// Takes the first `bytes` off, and makes a block of those behind the first `head` of them, and of a `tail`: with the memory in which
    /// they are, unless most of that holds something else. What `readable` gave is not valid any more. Of a queue without blocks.
    public func lift(_ bytes: Int, behind head: Int, and tail: StaticString = "") -> ByteBlock {
        precondition(
            blockBytes == 0 && head >= 0 && head <= bytes && bytes <= count, "ByteQueue lift \(bytes) behind \(head) of \(count)")
        let rest = end - start - bytes
        guard start + head + rest <= bytes else {
            let block = ByteBlock(copying: UnsafeRawBufferPointer(start: storage + start + head, count: bytes - head), and: tail)
            consume(bytes)
            return block
        }
        let others = HeapBytes.allocate(rest)
        others.copyMemory(from: storage + start + bytes, byteCount: rest)
        let used = start + bytes + tail.utf8CodeUnitCount
        let fits = capacity >= used && capacity - used <= Self.idleBytesMax
        let memory = fits ? storage : HeapBytes.resize(storage, to: used)
        (memory + start + bytes).copyMemory(from: tail.utf8Start, byteCount: tail.utf8CodeUnitCount)
        let block = ByteBlock(adopting: memory, from: start + head, count: used - start - head)
        storage = others
        capacity = rest
        start = 0
        end = rest
        return block
    }
}
