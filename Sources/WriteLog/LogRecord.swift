import Kernel

/// One record of a lane's log, decoded and owning its bytes. Which fields mean what depends on the kind
/// (`Docs/log-format.md` section 3).
public struct LogRecord: Sendable, Equatable {
    /// What the record says.
    public var kind: RecordKind
    /// What the write made of the item.
    public var content: Content
    /// How the record is to be treated.
    public var flags: RecordFlags
    /// Its place among the lane's committed records; zero when it has none.
    public var position: Position
    /// The version of the write.
    public var version: Version
    /// The item's flags, as clients gave them.
    public var clientFlags: UInt32
    /// When the item expires, absolute, in microseconds since 1970; 0 never.
    public var expiryMicroseconds: UInt64
    /// An address or a position, by kind.
    public var reference: UInt64
    /// The item's key, at most `LogFormat.keyBytesMax` bytes.
    public var key: [UInt8]
    /// The item's value.
    public var payload: [UInt8]

    /// Makes a record; what a kind does not use is left out.
    public init(
        kind: RecordKind, content: Content = .none, flags: RecordFlags = [], position: Position = .zero,
        version: Version = .zero, clientFlags: UInt32 = 0, expiryMicroseconds: UInt64 = 0, reference: UInt64 = 0,
        key: [UInt8] = [], payload: [UInt8] = []
    ) {
        self.kind = kind
        self.content = content
        self.flags = flags
        self.position = position
        self.version = version
        self.clientFlags = clientFlags
        self.expiryMicroseconds = expiryMicroseconds
        self.reference = reference
        self.key = key
        self.payload = payload
    }

    /// Bytes that a record takes in the log, with head and padding.
    public static func encodedBytes(keyBytes: Int, payloadBytes: Int) -> Int {
        RecordCoding.padded(LogFormat.headBytes + keyBytes + payloadBytes)
    }

    /// Decodes the record at `offset` of `bytes`, and says how many bytes it takes there; nil where nothing was written.
    ///
    /// For bytes cut out of a segment, such as the answer to a read: a record must be there whole. With its `address`
    /// given, a record that belongs to another address is damage too.
    public static func decode(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, address: LogOffset? = nil
    ) throws(LogDamage) -> (record: LogRecord, bytes: Int)? {
        precondition(offset >= 0 && offset <= bytes.count, "log record at \(offset) of \(bytes.count)")
        switch RecordCoding.examine(bytes, at: offset, address: address) {
        case .nothing: return nil
        case .fault(let fault):
            throw LogDamage(segment: nil, offset: address ?? LogOffset(UInt64(offset)), what: fault.what)
        case .record(let head): return (RecordCoding.record(head, bytes, at: offset), head.paddedBytes)
        }
    }
}
