// One memcached server, modelled: text protocol, classic and meta, as 1.6.18 behaves, byte for byte (its memory never
// runs out, and nothing is evicted unless the simulator says so). The requests are understood by the very parser that the
// proxy uses; `MemcachedDifferentialTests` compares the whole with the real program.
//
//     incoming ─▶ RequestParser ─▶ MemcachedClassic / MemcachedMeta ─▶ ItemTable
//                      │ refused             │
//                      ▼                     ▼
//                  outgoing              outgoing

import Kernel
import Memcache

/// An item as a checker sees it.
public struct MemcachedItem: Sendable, Hashable {
    /// The value.
    public var value: [UInt8]
    /// Client flags.
    public var flags: UInt32
    /// The second since 1970 at which it ends; 0 for never.
    public var endsAtSeconds: UInt64
    /// Its CAS value.
    public var cas: UInt64
    /// True when it is marked stale.
    public var isStale: Bool
}

/// A memcached server for the simulator. A restart is a new model, with another pid and start.
public final class MemcachedModel {
    /// What it calls itself in answer to `version`.
    public static let version = "1.6.18"

    private struct Connection {
        var parser: RequestParser
        var swallow = 0
        var closes = false
    }

    let pid: UInt32
    var table: ItemTable
    var counters = MemcachedCounters()
    private var connections: [Int: Connection] = [:]

    /// A server just started, with nothing in it. The wall clock should be past 1970-01-31, else an absolute exptime cannot
    /// be told from a relative one.
    public init(itemBytesMax: Int = MemcacheLimits.itemBytesDefault, pid: UInt32, startedAtWallSeconds: UInt64) {
        self.pid = pid
        table = ItemTable(itemBytesMax: itemBytesMax, startedAtWallSeconds: startedAtWallSeconds)
    }

    var openConnections: Int { connections.count }

    /// Executes what can be read and appends the replies. Connections are told apart by their number alone.
    ///
    /// - Returns: true while the connection stays open; false when the server closes it once the replies are sent.
    @discardableResult
    public func receive(
        _ incoming: ByteQueue, from connection: Int, into outgoing: ByteQueue, wallMicroseconds: UInt64
    ) -> Bool {
        table.advance(toWallMicroseconds: wallMicroseconds)
        if connections[connection] == nil { counters.connections += 1 }
        var state =
            connections[connection]
            ?? Connection(parser: RequestParser(itemBytesMax: table.itemBytesMax, refusedBlock: .parsed))
        while !incoming.isEmpty && !state.closes {
            if state.swallow > 0 {
                let bytes = min(state.swallow, incoming.count)
                incoming.consume(bytes)
                state.swallow -= bytes
                continue
            }
            let bytes = incoming.readable
            if bytes.starts(with: Self.listing.utf8) {
                incoming.consume(Self.listing.utf8.count)
                listKeys(outgoing)
                continue
            }
            switch state.parser.next(in: bytes) {
            case .incomplete:
                connections[connection] = state
                return true
            case .request(let request):
                if request.verb == .quit { state.closes = true } else { execute(request, bytes, outgoing) }
                incoming.consume(request.bytes)
            case .refused(let reply, let consume, let swallow, let close):
                outgoing.append(reply)
                incoming.consume(consume)
                state.swallow = swallow
                state.closes = close
            case .authentication: preconditionFailure("a text connection cannot speak SASL")
            case .refusedStore(let request, let reply, let consume, let swallow):
                table.items[Self.key(request, bytes)] = nil
                outgoing.append(reply)
                incoming.consume(consume)
                state.swallow = swallow
            }
        }
        connections[connection] = state.closes ? nil : state
        return !state.closes
    }

    private static let listing = "lru_crawler metadump all\r\n"

    /// One line for each item that is alive, as the crawler of a real one writes it.
    private func listKeys(_ outgoing: ByteQueue) {
        for (key, item) in table.items.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) where table.isAlive(item) {
            outgoing.append("key=")
            for byte in key { Self.appendEscaped(byte, outgoing) }
            outgoing.append(" exp=")
            outgoing.append(decimal: item.endsAt == 0 ? -1 : Int64(table.epochSeconds) + Int64(item.endsAt))
            outgoing.append(" la=")
            outgoing.append(decimal: table.epochSeconds + UInt64(item.usedAt))
            outgoing.append(" cas=")
            outgoing.append(decimal: item.cas)
            outgoing.append(item.wasFetched ? " fetch=yes cls=" : " fetch=no cls=")
            let bytes = KeyRules.itemBytes(keyBytes: key.count, flags: item.flags, valueBytes: item.value.count)
            outgoing.append(decimal: UInt64(SlabClasses.of(itemBytes: bytes)))
            outgoing.append(" size=")
            outgoing.append(decimal: UInt64(bytes))
            outgoing.append("\n")
        }
        outgoing.append("END\r\n")
    }

    private static func appendEscaped(_ byte: UInt8, _ outgoing: ByteQueue) {
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 95, 126: outgoing.append(byte)
        default: outgoing.append(text: "%" + [byte >> 4, byte & 15].map { String($0, radix: 16, uppercase: true) }.joined())
        }
    }

    /// The other end has gone: forgets what it had sent in part.
    public func disconnect(_ connection: Int) { connections[connection] = nil }

    /// Empties the server at once, as if everything had been evicted.
    public func flush() { table.items = [:] }

    /// Evicts one item; false if it was not there.
    @discardableResult
    public func evict(_ key: [UInt8]) -> Bool { table.items.removeValue(forKey: key) != nil }

    /// The keys that a read would find now, in order.
    public func keys(atWallMicroseconds wall: UInt64) -> [[UInt8]] {
        table.advance(toWallMicroseconds: wall)
        return table.items.filter { table.isAlive($0.value) }.keys.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// The item that a read would find now. Looking does not count as a use.
    public func item(_ key: [UInt8], atWallMicroseconds wall: UInt64) -> MemcachedItem? {
        table.advance(toWallMicroseconds: wall)
        guard let item = table.items[key], table.isAlive(item) else { return nil }
        return MemcachedItem(
            value: item.value, flags: item.flags, endsAtSeconds: item.endsAt == 0 ? 0 : table.epochSeconds + UInt64(item.endsAt),
            cas: item.cas, isStale: item.isStale)
    }

    static func key(_ request: Request, _ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        request.withKey(in: bytes) { [UInt8]($0) }
    }

    private func execute(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        switch request.verb {
        case .get, .gets, .gat, .gats: retrieve(request, bytes, outgoing)
        case .mg: metaGet(request, bytes, outgoing)
        case .ms: metaSet(request, bytes, outgoing)
        case .md: metaDelete(request, bytes, outgoing)
        case .ma: metaArithmetic(request, bytes, outgoing)
        case .me: metaDebug(request, bytes, outgoing)
        case .mn: outgoing.append("MN\r\n")
        case .version:
            outgoing.append("VERSION ")
            outgoing.append(text: Self.version)
            outgoing.append("\r\n")
        case .stats: stats(request, bytes, outgoing)
        case .shutdown: outgoing.append(Request.shutdownReply)
        case .configGetCluster: outgoing.append("ERROR\r\n")
        case .quit: break
        case .set, .add, .replace, .append, .prepend, .cas, .delete, .incr, .decr, .touch, .flushAll, .verbosity:
            let before = outgoing.count
            change(request, bytes, outgoing)
            if request.noreply { outgoing.truncate(to: before) }
        }
    }
}
