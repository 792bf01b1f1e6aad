// The classic commands of a modelled memcached.

import Kernel
import Memcache

extension MemcachedModel {
    func retrieve(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let touches = request.verb == .gat || request.verb == .gats
        var keys = KeyCursor(request, in: bytes)
        while let span = keys.next() {
            let key = [UInt8](span.of(bytes))
            counters.gets += 1
            guard var item = table.find(key) else {
                counters.misses += 1
                continue
            }
            counters.hits += 1
            table.bump(&item)
            if touches { item.endsAt = table.end(ofExptime: request.exptime) }
            table.items[key] = item
            outgoing.append("VALUE ")
            outgoing.append(key)
            outgoing.append(32)
            outgoing.append(decimal: UInt64(item.flags))
            outgoing.append(32)
            outgoing.append(decimal: UInt64(item.value.count))
            if request.verb == .gets || request.verb == .gats {
                outgoing.append(32)
                outgoing.append(decimal: item.cas)
            }
            outgoing.append("\r\n")
            outgoing.append(item.value)
            outgoing.append("\r\n")
        }
        outgoing.append("END\r\n")
    }

    /// Everything that `noreply` silences.
    func change(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let key = Self.key(request, bytes)
        switch request.verb {
        case .set: store(request, bytes, key, .set, outgoing)
        case .add: store(request, bytes, key, .add, outgoing)
        case .replace: store(request, bytes, key, .replace, outgoing)
        case .append: store(request, bytes, key, .append, outgoing)
        case .prepend: store(request, bytes, key, .prepend, outgoing)
        case .cas: store(request, bytes, key, .cas, outgoing)
        case .incr, .decr:
            switch table.add(key, request.delta, increments: request.verb == .incr) {
            case .done(let digits, _, _):
                outgoing.append(digits)
                outgoing.append("\r\n")
            case .notNumeric: outgoing.append("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n")
            case .notFound, .exists: outgoing.append("NOT_FOUND\r\n")
            }
        case .delete:
            let found = table.find(key) != nil
            table.items[key] = nil
            outgoing.append(found ? "DELETED\r\n" : "NOT_FOUND\r\n")
        case .touch:
            guard var item = table.find(key) else { return outgoing.append("NOT_FOUND\r\n") }
            table.bump(&item)
            item.endsAt = table.end(ofExptime: request.exptime)
            table.items[key] = item
            outgoing.append("TOUCHED\r\n")
        case .flushAll:
            table.flush(delay: request.exptime)
            outgoing.append("OK\r\n")
        case .verbosity: outgoing.append("OK\r\n")
        default: preconditionFailure("\(request.verb) is no classic change")
        }
    }

    private func store(
        _ request: Request, _ bytes: UnsafeRawBufferPointer, _ key: [UInt8], _ kind: StoreKind, _ outgoing: ByteQueue
    ) {
        counters.sets += 1
        let item = StoredItem(
            value: [UInt8](request.value.of(bytes)), flags: request.flags, endsAt: table.end(ofExptime: request.exptime))
        switch table.store(key, item, kind, cas: request.cas) {
        case .stored: outgoing.append("STORED\r\n")
        case .notStored: outgoing.append("NOT_STORED\r\n")
        case .exists: outgoing.append("EXISTS\r\n")
        case .notFound: outgoing.append("NOT_FOUND\r\n")
        }
    }
}
