/// Reads a frame's fields in order; never past the end. A short or odd frame shows as nil, which the caller turns into
/// its own error.
public struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    /// Reads from the first byte; the buffer must outlive the reader.
    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Bytes not yet read.
    public var remaining: Int { bytes.count - offset }

    /// The next integer, least significant byte first.
    public mutating func integer<Number: FixedWidthInteger>(_: Number.Type = Number.self) -> Number? {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { return nil }
        defer { offset += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    /// The next `count` bytes, copied.
    public mutating func array(_ count: Int) -> [UInt8]? {
        guard count >= 0, remaining >= count else { return nil }
        defer { offset += count }
        return [UInt8](bytes[offset..<offset + count])
    }
}
