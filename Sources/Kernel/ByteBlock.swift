import CMachine

/// Bytes that no longer change, and are shared instead of copied: a large value on its way to several queues.
public final class ByteBlock: @unchecked Sendable {
    // Sendable: nobody writes to it from the moment when it is made.
    private let storage: UnsafeMutableRawPointer
    private let start: Int
    /// How many bytes there are.
    public let count: Int
    /// Memory that it takes, as long as anybody has it.
    let memoryBytes: Int

    /// Takes over so much memory of `HeapBytes`, of which the bytes are a part.
    init(adopting storage: UnsafeMutableRawPointer, of memoryBytes: Int, from start: Int, count: Int) {
        self.storage = storage
        self.memoryBytes = memoryBytes
        self.start = start
        self.count = count
    }

    /// A copy of bytes, with others behind them.
    public convenience init(copying bytes: UnsafeRawBufferPointer, and tail: StaticString = "") {
        let count = bytes.count + tail.utf8CodeUnitCount
        let storage = HeapBytes.allocate(count)
        if let base = bytes.baseAddress { storage.copyMemory(from: base, byteCount: bytes.count) }
        (storage + bytes.count).copyMemory(from: tail.utf8Start, byteCount: tail.utf8CodeUnitCount)
        self.init(adopting: storage, of: count, from: 0, count: count)
    }

    /// So many zero bytes.
    public convenience init(zeros count: Int) {
        self.init(adopting: HeapBytes.zeros(count), of: count, from: 0, count: count)
    }

    deinit { HeapBytes.free(storage) }

    /// The bytes. Valid as long as the block is held: never stored without it.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: storage + start, count: count) }
}

/// Memory that can grow in place, often without being copied.
enum HeapBytes {
    static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer { taken(meridian_memory(max(bytes, 1)), bytes) }

    static func zeros(_ bytes: Int) -> UnsafeMutableRawPointer { taken(meridian_memory_of_zeros(max(bytes, 1)), bytes) }

    static func resize(_ memory: UnsafeMutableRawPointer, to bytes: Int) -> UnsafeMutableRawPointer {
        taken(meridian_memory_resized(memory, max(bytes, 1)), bytes)
    }

    private static func taken(_ memory: UnsafeMutableRawPointer?, _ bytes: Int) -> UnsafeMutableRawPointer {
        guard let memory else { preconditionFailure("no memory for \(bytes) bytes") }
        return memory
    }

    static func free(_ memory: UnsafeMutableRawPointer) { meridian_memory_free(memory) }
}
