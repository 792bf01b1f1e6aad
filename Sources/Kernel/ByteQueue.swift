// One growing linear buffer per connection and direction. A shell reads a socket straight into it and writes a socket
// straight out of it; a parser finds its tokens in place.
//
//     storage  |  consumed  |  readable …  |  free …  |
//              0          start           end      capacity
//
// A queue on its way out may hold large values that it shares with others: blocks, which stand between its own bytes. Then it is read
// piece by piece (`ByteQueuePieces.swift`).
//
// Unsafe memory is confined to these files: every access is checked against `start`, `end` and `capacity`.

/// A first-in, first-out queue of bytes with one contiguous readable region, unless blocks were appended: then with several.
///
/// A reference type on purpose: the core and its shell share one queue per direction without copying. It belongs to one
/// loop and is never touched from another.
public final class ByteQueue {
    @usableFromInline var storage: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    @usableFromInline var start = 0
    @usableFromInline var end = 0
    /// Unread bytes of blocks.
    @usableFromInline var blockBytes = 0
    /// Memory of blocks that are not read to their end.
    var blockMemoryBytes = 0
    /// The blocks, of which those before `firstBlock` have been read.
    var blocks: [Block] = []
    var firstBlock = 0
    /// Own bytes in front of the last block.
    var ownBytesBeforeBlocks = 0

    /// Buffers that grew past this give their memory back when they run empty.
    public static let idleBytesMax = 64 * 1024

    /// An empty queue; it allocates at least `capacity` bytes at once.
    public init(capacity: Int = 0) {
        self.capacity = capacity
        storage = HeapBytes.allocate(capacity)
    }

    deinit { HeapBytes.free(storage) }

    /// Bytes that can be read.
    @inlinable
    public var count: Int { end - start + blockBytes }
    /// True when nothing can be read.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// Memory that it keeps from others: nothing while it is empty, and all that it allocated once that is much; what it shares, whole and until it
    /// has been read to its end.
    public var heldBytes: Int {
        isEmpty ? 0 : (capacity > Self.idleBytesMax ? capacity : end - start) + blockMemoryBytes
    }

    /// The readable bytes; where blocks were appended, the first piece of them. Valid until the next call that changes the queue:
    /// never stored, never escaped.
    @inlinable
    public var readable: UnsafeRawBufferPointer {
        blockBytes == 0 ? UnsafeRawBufferPointer(start: storage + start, count: end - start) : firstPiece
    }

    /// The readable byte at an offset from the first; of a queue without blocks.
    public subscript(offset: Int) -> UInt8 {
        precondition(blockBytes == 0 && offset >= 0 && offset < count, "ByteQueue offset \(offset) outside \(count)")
        return storage.load(fromByteOffset: start + offset, as: UInt8.self)
    }

    /// Drops bytes from the front.
    @inlinable
    public func consume(_ bytes: Int) {
        precondition(bytes >= 0 && bytes <= count, "ByteQueue consume \(bytes) of \(count)")
        if blockBytes > 0 { return consumePieces(bytes) }
        start += bytes
        if start == end { runEmpty() }
    }

    @inlinable
    func runEmpty() {
        start = 0
        end = 0
        if capacity > Self.idleBytesMax { shrink() }
    }

    @usableFromInline
    func shrink() { reallocate(Self.idleBytesMax / 16) }

    /// Drops everything.
    @inlinable
    public func removeAll() { consume(count) }

    /// Gives back what an empty queue has allocated, for one that will not be needed soon; true when that was anything.
    public func giveBack() -> Bool {
        guard isEmpty, capacity > 0 else { return false }
        HeapBytes.free(storage)
        storage = HeapBytes.allocate(0)
        capacity = 0
        start = 0
        end = 0
        return true
    }

    /// Drops bytes from the back: what was appended last and turned out not to be wanted. Of a queue without blocks.
    public func truncate(to bytes: Int) {
        precondition(blockBytes == 0 && bytes >= 0 && bytes <= count, "ByteQueue truncate to \(bytes) of \(count)")
        end = start + bytes
    }

    /// Free room of at least `bytes` behind the readable region, to be filled and then `commit`ted.
    public func reserve(_ bytes: Int) -> UnsafeMutableRawBufferPointer {
        if capacity - end < bytes { makeRoom(bytes) }
        return UnsafeMutableRawBufferPointer(start: storage + end, count: capacity - end)
    }

    /// Makes `bytes` of the reserved room readable.
    public func commit(_ bytes: Int) {
        precondition(bytes >= 0 && bytes <= capacity - end, "ByteQueue commit \(bytes) of \(capacity - end)")
        end += bytes
    }

    /// Appends raw bytes.
    @inlinable
    public func append(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0, let base = bytes.baseAddress else { return }
        if capacity - end < bytes.count { makeRoom(bytes.count) }
        (storage + end).copyMemory(from: base, byteCount: bytes.count)
        end += bytes.count
    }

    /// Appends an array's bytes.
    @inlinable
    public func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    /// Appends a slice's bytes.
    public func append(_ bytes: ArraySlice<UInt8>) { bytes.withUnsafeBytes { append($0) } }

    /// Appends a literal's bytes.
    @inlinable
    public func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends a string's UTF-8; for cold paths. (Its label keeps literals from being taken for strings.)
    public func append(text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends one byte.
    @inlinable
    public func append(_ byte: UInt8) {
        if end == capacity { makeRoom(1) }
        storage.storeBytes(of: byte, toByteOffset: end, as: UInt8.self)
        end += 1
    }

    /// Appends zero bytes.
    public func append(zeros bytes: Int) {
        precondition(bytes >= 0, "ByteQueue append of \(bytes) zeros")
        if capacity - end < bytes { makeRoom(bytes) }
        (storage + end).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        end += bytes
    }

    /// Appends a number in decimal digits.
    public func append(decimal number: UInt64) {
        if number < 10 { return append(UInt8(truncatingIfNeeded: number) + 48) }
        var digits = 1
        var rest = number
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        let room = reserve(digits)
        rest = number
        for place in stride(from: digits - 1, through: 0, by: -1) {
            room[place] = UInt8(truncatingIfNeeded: rest % 10) + 48
            rest /= 10
        }
        commit(digits)
    }

    /// Appends a signed number in decimal digits.
    public func append(decimal number: Int64) {
        if number < 0 { append(UInt8(ascii: "-")) }
        append(decimal: number.magnitude)
    }

    /// Appends an integer's bytes, least significant first.
    public func append<Number: FixedWidthInteger>(littleEndian number: Number) {
        let size = MemoryLayout<Number>.size
        if capacity - end < size { makeRoom(size) }
        storage.storeBytes(of: number.littleEndian, toByteOffset: end, as: Number.self)
        end += size
    }

    /// Appends an integer's bytes, most significant first.
    public func append<Number: FixedWidthInteger>(bigEndian number: Number) { append(littleEndian: number.byteSwapped) }

    /// Overwrites an integer that was appended earlier, `offset` bytes from the first readable one. Of a queue without blocks.
    public func overwrite<Number: FixedWidthInteger>(littleEndian number: Number, at offset: Int) {
        precondition(
            blockBytes == 0 && offset >= 0 && offset + MemoryLayout<Number>.size <= count,
            "ByteQueue overwrite at \(offset) of \(count)")
        storage.storeBytes(of: number.littleEndian, toByteOffset: start + offset, as: Number.self)
    }

    @usableFromInline
    func makeRoom(_ bytes: Int) {
        let used = end - start
        if capacity - used >= bytes && start >= used {
            storage.copyMemory(from: storage + start, byteCount: used)
            start = 0
            end = used
        } else {
            reallocate(max(used + bytes, capacity * 2, 256))
        }
    }

    private func reallocate(_ bytes: Int) {
        let used = end - start
        if start > 0 { storage.copyMemory(from: storage + start, byteCount: used) }
        storage = HeapBytes.resize(storage, to: bytes)
        capacity = bytes
        start = 0
        end = used
    }
}
