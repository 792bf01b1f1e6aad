import Kernel

/// An item's value on its way to the log and to servers: a small one is copied to each of them, a large one is shared.
enum ItemValue {
    case own([UInt8])
    /// With the CRLF that follows it in a command.
    case shared(ByteBlock)

    static let none = ItemValue.own([])

    /// Shared from so many bytes on.
    init(_ value: [UInt8], sharedBytesMin: Int) {
        self = value.count < sharedBytesMin ? .own(value) : .shared(value.withUnsafeBytes { ByteBlock(copying: $0, and: "\r\n") })
    }

    var count: Int {
        switch self {
        case .own(let value): value.count
        case .shared(let block): block.count - 2
        }
    }

    /// What a queue may share.
    var block: ByteBlock? { if case .shared(let block) = self { block } else { nil } }

    /// A copy, for whoever keeps it.
    var bytes: [UInt8] {
        switch self {
        case .own(let value): value
        case .shared(let block): Array(block.bytes[..<count])
        }
    }

    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        switch self {
        case .own(let value): value.withUnsafeBytes(body)
        case .shared(let block): body(UnsafeRawBufferPointer(rebasing: block.bytes[..<count]))
        }
    }
}

/// A large value that was read from a server, in the memory in which it arrived.
struct LargeValue {
    /// All of the reply behind its first line: the value, its CRLF, and what follows.
    let block: ByteBlock
    /// The value's bytes.
    let count: Int
    /// The item's flags, and its CAS value as clients see it, for those who speak binary.
    let flags: UInt32
    let token: UInt64
}
