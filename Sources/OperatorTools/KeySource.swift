// The keys that two rings are asked for: made up, always the same ones, or a shop's own from a file.

import Kernel

/// Made-up keys of the kinds that shops have. The n-th is the same for everybody, always.
public struct SampledKeys: Sequence, IteratorProtocol {
    private var random = SeededRandom(seed: 1)
    private var left: Int
    private var number = 0

    /// Keys that are asked for unless the operator says otherwise.
    public static let countByDefault = 100_000
    /// Most keys.
    public static let countMax = 10_000_000

    /// So many keys.
    public init(count: Int) { left = count }

    /// The next key.
    public mutating func next() -> [UInt8]? {
        guard left > 0 else { return nil }
        left -= 1
        number += 1
        let noise = String(random.next(), radix: 36)
        switch number % 3 {
        case 0: return Array("memc.sess.key.\(noise)\(String(random.next(), radix: 36))".utf8)
        case 1: return Array("user:\(number)".utf8)
        default: return Array("product/\(noise)/price".utf8)
        }
    }
}

/// Keys from a file: one on each line, with any bytes that memcached allows in a key.
public struct KeyLines: Sequence, IteratorProtocol {
    private var bytes: ArraySlice<UInt8>
    private var line = 0
    /// The first line that is no key, and why; reading ends there.
    public private(set) var complaint: String?

    /// Longest file, in bytes.
    public static let fileBytesMax = 1 << 30
    /// memcached's longest key.
    public static let keyBytesMax = 250

    /// The keys of a file's bytes. Empty lines are passed over.
    public init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

    /// The next key.
    public mutating func next() -> [UInt8]? {
        while !bytes.isEmpty {
            let end = bytes.firstIndex(of: 10) ?? bytes.endIndex
            var key = bytes[bytes.startIndex..<end]
            bytes = bytes[Swift.min(end + 1, bytes.endIndex)...]
            line += 1
            if key.last == 13 { key = key.dropLast() }
            if key.isEmpty { continue }
            guard key.count <= Self.keyBytesMax, key.allSatisfy({ $0 > 32 && $0 != 127 }) else {
                complaint = "line \(line) is not a key: it has \(key.count) bytes, or spaces; put one key on each line"
                bytes = []
                return nil
            }
            return Array(key)
        }
        return nil
    }
}
