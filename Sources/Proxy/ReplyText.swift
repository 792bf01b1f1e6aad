// A server's reply to a write outlives the moment in which it is read: the log comes first, and another server may have to answer.
// Nearly all of them say one of a few things, which need no copies.

import Memcache

enum ReplyText {
    private static let stored = Array("STORED\r\n".utf8)
    private static let deleted = Array("DELETED\r\n".utf8)
    private static let notFound = Array("NOT_FOUND\r\n".utf8)
    private static let done = Array("HD\r\n".utf8)

    /// A reply's bytes, to be kept.
    static func kept(_ bytes: UnsafeRawBufferPointer, _ kind: ReplyKind) -> [UInt8] {
        switch kind {
        case .stored: stored
        case .deleted: deleted
        case .notFound: notFound
        case .hd where bytes.count == done.count: done
        default: Array(bytes)
        }
    }
}
