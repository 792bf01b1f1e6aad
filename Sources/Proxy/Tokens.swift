// CAS tokens. memcached numbers its items from 1, each server and each start for itself: a token from the primary may well be the
// number of another value on the backup, or on the same server after a restart. So the tokens that clients see carry a tag of the
// server and its incarnation, and a command takes off the tag of the server that it goes to. A token of any other server or
// incarnation then becomes a number that no item has, and memcached itself answers `EXISTS` or `NOT_FOUND`; unless the two tags
// happen to be equal, as one pair in 32,767 is.
//
//     client's token = memcached's CAS value XOR (tag << 48)
//
// A tag has 15 bits, so that a token is a positive number for clients that have nothing but signed ones. 0 stays 0: it means "none".

import Kernel
import Memcache

enum Token {
    /// Where the tag begins: memcached would have to store for years before its own numbers reach it.
    static let tagShift: UInt64 = 48

    /// The tag of a server and its incarnation, in its place: the same in every lane. Never 0.
    static func tag(server: String, incarnation: [UInt8]) -> UInt64 {
        let name = Array(server.utf8).withUnsafeBytes { CRC32C.checksum($0) }
        let hash = incarnation.withUnsafeBytes { CRC32C.checksum($0, seed: name) }
        return (UInt64(hash) % 0x7fff + 1) << tagShift
    }

    /// A server's CAS value as a client sees it.
    static func shown(_ cas: UInt64, tag: UInt64) -> UInt64 { cas == 0 ? 0 : cas ^ tag }

    /// A client's token as it goes to a server. What would become 0, which compares with nothing, becomes what matches nothing.
    static func sent(_ token: UInt64, tag: UInt64) -> UInt64 { token == 0 ? 0 : token == tag ? .max : token ^ tag }

    /// True for a command that compares a token.
    static func isCompared(by command: [UInt8]) -> Bool {
        command.withUnsafeBytes { RequestParser.line(in: $0)?.comparesCAS ?? false }
    }

    /// Appends a command that compares a token, as it goes to a server; with as much of its data block as follows its line.
    static func append(_ command: [UInt8], tag: UInt64, into queue: ByteQueue) {
        command.withUnsafeBytes { bytes in
            guard let request = RequestParser.line(in: bytes) else {
                preconditionFailure("a command of \(bytes.count) bytes was understood before and is not now")
            }
            request.encodeLine(from: bytes, cas: sent(request.cas, tag: tag), into: queue)
            queue.append(UnsafeRawBufferPointer(rebasing: bytes[request.lineBytes...]))
        }
    }
}

extension Request {
    /// True when it compares a CAS value.
    var comparesCAS: Bool { verb == .cas || meta.comparesCAS }
}

extension LaneNode {
    /// A server's reply as clients see it; valid until the next one.
    func shown(_ bytes: UnsafeRawBufferPointer, _ reply: Reply, from server: BackendServer) -> UnsafeRawBufferPointer {
        guard !reply.casDigits.isEmpty else { return bytes }
        tokenScratch.removeAll()
        tokenScratch.append(UnsafeRawBufferPointer(rebasing: bytes[..<reply.casDigits.start]))
        tokenScratch.append(decimal: Token.shown(reply.cas, tag: server.tag))
        tokenScratch.append(UnsafeRawBufferPointer(rebasing: bytes[reply.casDigits.end...]))
        return tokenScratch.readable
    }
}
