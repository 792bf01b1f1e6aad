// Every byte that is sent or expected is made before the clock starts. All keys have the same width, so everything about key
// number k stands at k times a fixed stride; and a value begins with its key's number, so that a reply with another key's
// value is noticed, while the rest of it is the same for all keys and kept once.
//
//     set bench:00000017 0 0 32\r\n00000017 | ………filler………\r\n          VALUE bench:00000017 0 32\r\n00000017 | ………filler………\r\n
//     └────── a head for each key ────────┘ └── one tail ───┘          └─────── a head for each key ────────┘ └── one tail ───┘

import Glibc
import Kernel

/// Requests and expected replies for a number of keys and one size of value.
struct Texts {
    /// Digits of a key's number, and so the shortest value.
    static let digits = 8
    /// Most keys.
    static let keysMax = 10_000_000
    /// What stands before a key's number in a `VALUE` line.
    private static let beforeNumber = Array("VALUE bench:".utf8)

    /// How many keys there are.
    let keys: Int
    /// Bytes of a `VALUE` block: line, data and line end.
    let blockBytes: Int

    private let gets: Strided
    private let spacedKeys: Strided
    private let setHeads: Strided
    private let replyHeads: Strided
    private let tail: [UInt8]

    /// Makes the texts for keys 0 ..< `keys`.
    init(keys: Int, valueBytes: Int) {
        precondition(keys > 0 && keys <= Self.keysMax, "\(keys) keys")
        precondition(valueBytes >= Self.digits, "a value of \(valueBytes) bytes has no room for a key's number")
        self.keys = keys
        gets = Strided(keys) { "get bench:\($0)\r\n" }
        spacedKeys = Strided(keys) { " bench:\($0)" }
        setHeads = Strided(keys) { "set bench:\($0) 0 0 \(valueBytes)\r\n\($0)" }
        replyHeads = Strided(keys) { "VALUE bench:\($0) 0 \(valueBytes)\r\n\($0)" }
        var random = SeededRandom(seed: 1)
        let filler = (0..<valueBytes - Self.digits).map { _ in UInt8(ascii: "a") + UInt8(random.next() % 26) }
        tail = filler + Array("\r\n".utf8)
        blockBytes = replyHeads.stride + tail.count
    }

    /// Appends a retrieval of `count` keys from `first` on, going on at key 0 behind the last.
    func appendGet(_ first: Int, _ count: Int, to queue: ByteQueue) {
        if count == 1 { return queue.append(gets[first]) }
        queue.append("get")
        for offset in 0..<count { queue.append(spacedKeys[(first + offset) % keys]) }
        queue.append("\r\n")
    }

    /// Appends a `set` of one key.
    func appendSet(_ key: Int, to queue: ByteQueue) {
        queue.append(setHeads[key])
        queue.append(tail)
    }

    /// Bytes of a `VALUE` line.
    var lineBytes: Int { replyHeads.stride - Self.digits }

    /// Which key's `VALUE` line the queue begins with; nil when it is not one that any key of ours could have.
    /// The queue holds `lineBytes` at least.
    func keyOfBlock(in queue: ByteQueue) -> Int? {
        var number = 0
        for place in 0..<Self.digits {
            let digit = Int(queue[Self.beforeNumber.count + place]) - 48
            guard digit >= 0, digit <= 9 else { return nil }
            number = number * 10 + digit
        }
        guard number < keys else { return nil }
        return matches(replyHeads[number].prefix(lineBytes), queue, at: 0) ? number : nil
    }

    /// Whether the `VALUE` block at the queue's front holds the value of its key, to the last byte.
    func valueIsRight(_ key: Int, in queue: ByteQueue) -> Bool {
        let head = replyHeads[key]
        return matches(head.suffix(Self.digits), queue, at: lineBytes)
            && matches(tail[...], queue, at: head.count)
    }
}

/// Whether the queue has these bytes at an offset. The pointers stay within this call, and both lengths are checked.
func matches(_ bytes: ArraySlice<UInt8>, _ queue: ByteQueue, at offset: Int) -> Bool {
    guard queue.count >= offset + bytes.count else { return false }
    return bytes.withUnsafeBytes { expected in
        guard let ours = expected.baseAddress, let theirs = queue.readable.baseAddress else { return expected.isEmpty }
        return memcmp(ours, theirs + offset, expected.count) == 0
    }
}

/// Texts of equal length, one for each key, in one array.
private struct Strided {
    private let bytes: [UInt8]
    /// Bytes of each text.
    let stride: Int

    /// Makes one text for each key from its number, written with all its digits.
    init(_ count: Int, _ text: (String) -> String) {
        var all: [UInt8] = []
        for key in 0..<count {
            let number = String(key)
            all += text(String(repeating: "0", count: Texts.digits - number.count) + number).utf8
        }
        bytes = all
        stride = all.count / count
    }

    subscript(_ key: Int) -> ArraySlice<UInt8> { bytes[key * stride..<(key + 1) * stride] }
}
