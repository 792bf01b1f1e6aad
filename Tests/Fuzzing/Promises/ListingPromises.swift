// The list of a memcached's keys.

import Kernel
import Memcache

extension Promise {
    package static let keyListings = Promise(
        "key-listings", "a memcached's list of its keys: never beyond the bytes, the same however it is cut; keys are keys",
        bytesMax: 8_192,
        seeds: [
            "key=user%3A7 exp=1795408772 la=1795408672 cas=3 fetch=no cls=1 size=68\nkey=k exp=-1 la=1 cas=2 fetch=yes cls=1 size=60\nEND\r\n",
            "BUSY currently processing crawler request\r\n",
            "CLIENT_ERROR lru crawler disabled\r\nkey= exp\nkey=%4 x\nkey=%zz x\n",
        ].map { Array($0.utf8) },
        words: ["key=", " exp=-1", "%", "%41", "%00", "END\r\n", "\n", "BUSY ", "ERROR\r\n"]
    ) { bytes in
        let queue = ByteQueue()
        var at = 0
        while at < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            let line = KeyListing.next(in: rest)
            checkBeginnings(of: rest, line)
            switch line {
            case .incomplete:
                precondition(rest.count < KeyListing.lineBytesMax, "a line without an end is waited for")
                return
            case .key(let escaped, let count):
                precondition(count > 0 && count <= rest.count && escaped.end < count, "a line beyond the bytes")
                queue.removeAll()
                if KeyListing.decode(escaped.of(rest), into: queue) {
                    precondition(1...MemcacheLimits.keyBytesMax ~= queue.count, "a key of \(queue.count) bytes")
                } else {
                    precondition(queue.isEmpty, "half a key was left")
                }
                at += count
            case .end(let count), .refused(_, let count):
                precondition(count > 0 && count <= rest.count)
                at += count
            }
        }
    }

    /// As long as a line has not arrived whole, more is waited for.
    private static func checkBeginnings(of bytes: UnsafeRawBufferPointer, _ line: KeyListing) {
        let whole: Int
        switch line {
        case .incomplete: whole = bytes.count + 1
        case .key(_, let count), .end(let count), .refused(_, let count): whole = count
        }
        for count in [1, whole / 2, whole - 1] where count > 0 && count < whole && count <= bytes.count {
            let beginning = UnsafeRawBufferPointer(rebasing: bytes[..<count])
            precondition(KeyListing.next(in: beginning) == .incomplete, "the beginning of a line is taken for one")
        }
    }
}
