// `stats` of a modelled memcached: the names that proxies, exporters and people look for, with the figures that the model
// has.

import Kernel
import Memcache

/// What a modelled server counts.
struct MemcachedCounters {
    var connections: UInt64 = 0
    var gets: UInt64 = 0
    var sets: UInt64 = 0
    var hits: UInt64 = 0
    var misses: UInt64 = 0
}

extension MemcachedModel {
    func stats(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        switch String(decoding: request.key.of(bytes), as: UTF8.self) {
        case "": general(outgoing)
        case "reset":
            counters = MemcachedCounters()
            return outgoing.append("RESET\r\n")
        case "settings": stat("item_size_max", UInt64(table.itemBytesMax), outgoing)
        case "items", "slabs", "sizes", "conns": break
        default: return outgoing.append("ERROR\r\n")
        }
        outgoing.append("END\r\n")
    }

    private func stat(_ name: StaticString, _ value: UInt64, _ outgoing: ByteQueue) {
        outgoing.append("STAT ")
        outgoing.append(name)
        outgoing.append(32)
        outgoing.append(decimal: value)
        outgoing.append("\r\n")
    }

    private func general(_ outgoing: ByteQueue) {
        let alive = table.items.filter { table.isAlive($0.value) }
        let bytes = alive.reduce(0) {
            $0 + KeyRules.itemBytes(keyBytes: $1.key.count, flags: $1.value.flags, valueBytes: $1.value.value.count)
        }
        stat("pid", UInt64(pid), outgoing)
        // memcached's clock runs two seconds ahead of its life.
        stat("uptime", UInt64(table.now) - ItemTable.firstSecond + 2, outgoing)
        stat("time", table.epochSeconds + UInt64(table.now), outgoing)
        outgoing.append("STAT version ")
        outgoing.append(text: Self.version)
        outgoing.append("\r\n")
        stat("pointer_size", 64, outgoing)
        stat("curr_connections", UInt64(openConnections), outgoing)
        stat("total_connections", counters.connections, outgoing)
        stat("cmd_get", counters.gets, outgoing)
        stat("cmd_set", counters.sets, outgoing)
        stat("get_hits", counters.hits, outgoing)
        stat("get_misses", counters.misses, outgoing)
        stat("bytes", UInt64(bytes), outgoing)
        stat("curr_items", UInt64(alive.count), outgoing)
        stat("total_items", table.itemsEver, outgoing)
        stat("evictions", 0, outgoing)
    }
}
