// The answer to `lru_crawler metadump all`: a line for every item, in no order, then `END`.
//
//     key=user%3A7 exp=1795408772 la=1795408672 cas=3 fetch=no cls=1 size=68\n
//
// memcached escapes in keys what is not a letter, a digit or one of `-._~`.

import Kernel

/// One line of the list of a server's keys.
public enum KeyListing: Equatable {
    /// Longest line, in bytes: a key of 250 bytes, each as three, and the fields behind it.
    public static let lineBytesMax = 2_048

    /// More bytes are needed.
    case incomplete
    /// An item; the key as it was escaped.
    case key(Span, bytes: Int)
    /// That was all.
    case end(bytes: Int)
    /// The server does not list its keys, or not now; its words, for people.
    case refused(String, bytes: Int)

    /// The line at the beginning of `bytes`.
    public static func next(in bytes: UnsafeRawBufferPointer) -> KeyListing {
        let looked = UnsafeRawBufferPointer(rebasing: bytes.prefix(lineBytesMax))
        guard let end = looked.firstIndex(of: UInt8(ascii: "\n")) else {
            return looked.count < lineBytesMax
                ? .incomplete : .refused("a line of more than \(lineBytesMax) bytes", bytes: looked.count)
        }
        let line = UnsafeRawBufferPointer(rebasing: looked[..<end])
        if line.starts(with: "key=".utf8), let space = line.firstIndex(of: 32), space > 4 {
            return .key(Span(start: 4, count: space - 4), bytes: end + 1)
        }
        if line.elementsEqual("END\r".utf8) { return .end(bytes: end + 1) }
        let words = line.last == 13 ? line.dropLast() : line[...]
        return .refused(String(decoding: words, as: UTF8.self), bytes: end + 1)
    }

    /// Appends a key as it is to `queue`. False, and nothing is appended, if what was escaped is no key.
    public static func decode(_ escaped: UnsafeRawBufferPointer, into queue: ByteQueue) -> Bool {
        let before = queue.count
        var at = 0
        while at < escaped.count {
            if escaped[at] != UInt8(ascii: "%") {
                queue.append(escaped[at])
                at += 1
                continue
            }
            guard at + 2 < escaped.count, let high = hexDigit(escaped[at + 1]), let low = hexDigit(escaped[at + 2]) else { break }
            queue.append(high << 4 | low)
            at += 3
        }
        if at == escaped.count, 1...MemcacheLimits.keyBytesMax ~= queue.count - before { return true }
        queue.truncate(to: before)
        return false
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
