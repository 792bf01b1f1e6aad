// A server's list of its keys, over a connection of its own.
//
// The list is read as fast as it comes, for memcached's crawler thread waits for its reader: what is kept of it is bounded, and if
// that is not enough, it is taken several times, a part of the keys each time.

import Kernel
import Memcache

/// One server's list, taken once or in parts.
final class KeyList {
    let server: Int
    let connection: ConnectionID
    private(set) var isClosed = false
    private(set) var hasAsked = false
    /// The list is under way; when it was last heard, in monotonic microseconds.
    private(set) var isListing = false
    private(set) var heardAt: UInt64
    /// Of so many parts of the keys this one is taken. More keys than can be kept were in it.
    private(set) var part: UInt64 = 0
    private(set) var parts: UInt64 = 1
    var overflowed = false

    init(of server: Int, connection: ConnectionID, at now: UInt64) {
        self.server = server
        self.connection = connection
        heardAt = now
    }

    /// True for keys of the part that is taken.
    func takes(_ key: UnsafeRawBufferPointer) -> Bool { UInt64(CRC32C.checksum(key)) % parts == part }

    /// The next part is to be listed, or all of them in smaller ones; false when there is none.
    func beginNextPart() -> Bool {
        if overflowed {
            (overflowed, parts, part) = (false, parts * 2, 0)
            return true
        }
        part += 1
        return part < parts
    }

    /// All parts are to be listed once more.
    func beginAnew() { part = 0 }

    func noteClosed() { isClosed = true }

    fileprivate func noteAsked(at now: UInt64) {
        (hasAsked, isListing, heardAt) = (true, true, now)
    }

    fileprivate func noteHeard(at now: UInt64) { heardAt = now }

    fileprivate func noteEnd() { isListing = false }
}

/// Why a list came to nothing.
struct KeyListFailure {
    let reason: String
    /// Trying again soon may help.
    var isPassing = true
}

extension LaneNode {
    /// Opens a connection for a server's list.
    func openKeyList(of server: BackendServer) -> KeyList {
        let list = KeyList(of: server.index, connection: connections.open(), at: monotonic)
        effects.actions.append(.connect(list.connection, .listing(server.definition.address)))
        return list
    }

    func close(_ list: KeyList) {
        if !list.isClosed { effects.actions.append(.close(list.connection, flush: false)) }
    }

    /// Asks for the list, or for its next part.
    func ask(_ list: KeyList) {
        list.noteAsked(at: monotonic)
        Command.listKeys(into: connections.outgoing(list.connection))
        markDirty(list.connection)
    }

    /// Takes what has come of it, a key at a time, for as long as it is wanted; nil as long as nothing is wrong with it.
    func read(_ list: KeyList, while isWanted: () -> Bool, _ take: (UnsafeRawBufferPointer) -> Void) -> KeyListFailure? {
        let incoming = connections.incoming(list.connection)
        list.noteHeard(at: monotonic)
        while isWanted(), !incoming.isEmpty {
            guard list.isListing else { return KeyListFailure(reason: "the server spoke unasked") }
            let bytes = incoming.readable
            switch KeyListing.next(in: bytes) {
            case .incomplete: return nil
            case .key(let escaped, let count):
                keyScratch.removeAll()
                if KeyListing.decode(escaped.of(bytes), into: keyScratch), list.takes(keyScratch.readable) {
                    take(keyScratch.readable)
                }
                incoming.consume(count)
            case .end(let count):
                incoming.consume(count)
                list.noteEnd()
            case .refused(let words, _):
                // BUSY: somebody else lists, or memcached itself looks for what has expired.
                return KeyListFailure(reason: "asked for its keys it said: \(words)", isPassing: words.hasPrefix("BUSY"))
            }
        }
        return nil
    }

    /// It does not come.
    func isOverdue(_ list: KeyList) -> Bool {
        let patience = UInt64(configuration.site.times.backendTimeoutMilliseconds) * 1_000
        return (list.isListing || !list.hasAsked) && monotonic - list.heardAt > patience
    }
}
