// The meta commands of a modelled memcached. The flags of a reply come in the order of the request's flags, and some
// flags act in that order too: `t` before `T` shows the old time.

import Kernel
import Memcache

extension MemcachedModel {
    /// Hands out the flag tokens, one after the other: the letter, and where the token stands.
    private func eachFlag(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ body: (UInt8, Span) -> Void) {
        var tokens = KeyCursor(request.meta.tokens, in: bytes)
        while let token = tokens.next() { body(bytes[token.start], token) }
    }

    private func append(key: [UInt8], isBinary: Bool, _ outgoing: ByteQueue) {
        outgoing.append(" k")
        if isBinary {
            key.withUnsafeBytes { Base64.encode($0) { outgoing.append($0) } }
            outgoing.append(" b")
        } else {
            outgoing.append(key)
        }
    }

    private func append(_ letter: StaticString, _ number: UInt64, _ outgoing: ByteQueue) {
        outgoing.append(letter)
        outgoing.append(decimal: number)
    }

    private func appendRemaining(_ item: StoredItem, _ outgoing: ByteQueue) {
        if item.endsAt == 0 { outgoing.append(" t-1") } else { append(" t", UInt64(item.endsAt &- table.now), outgoing) }
    }

    func metaGet(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let key = Self.key(request, bytes)
        counters.gets += 1
        var found = table.find(key)
        let isMade = found == nil && request.meta.vivifies
        if isMade { found = table.link(key, StoredItem(value: [], flags: 0, endsAt: 0)) }
        guard var item = found else {
            counters.misses += 1
            if !request.noreply { request.encodeMetaReply("EN", from: bytes, into: outgoing) }
            return
        }
        counters.hits += 1
        outgoing.append(request.meta.returnsValue ? "VA " : "HD")
        if request.meta.returnsValue { outgoing.append(decimal: UInt64(item.value.count)) }
        var wins = false
        eachFlag(request, bytes) { letter, token in
            switch letter {
            case UInt8(ascii: "T"): item.endsAt = table.end(ofExptime: request.exptime)
            case UInt8(ascii: "N"):
                if isMade {
                    item.endsAt = table.end(ofExptime: request.meta.vivifyExptime)
                    wins = true
                }
            case UInt8(ascii: "R"):
                if !item.isWinTaken, !isMade, item.endsAt != 0,
                    item.endsAt < table.end(ofExptime: request.meta.recacheExptime)
                {
                    wins = true
                }
            case UInt8(ascii: "s"): append(" s", UInt64(item.value.count), outgoing)
            case UInt8(ascii: "t"): appendRemaining(item, outgoing)
            case UInt8(ascii: "c"): append(" c", item.cas, outgoing)
            case UInt8(ascii: "f"): append(" f", UInt64(item.flags), outgoing)
            case UInt8(ascii: "l"): append(" l", UInt64(table.now &- item.usedAt), outgoing)
            case UInt8(ascii: "h"): append(" h", item.wasFetched ? 1 : 0, outgoing)
            case UInt8(ascii: "O"):
                outgoing.append(32)
                outgoing.append(token.of(bytes))
            case UInt8(ascii: "k"): append(key: key, isBinary: item.hasBinaryKey, outgoing)
            default: break
            }
        }
        if item.isWinTaken { outgoing.append(" Z") }
        if item.isStale {
            outgoing.append(" X")
            if !item.isWinTaken { wins = true }
        }
        if wins {
            outgoing.append(" W")
            item.isWinTaken = true
        }
        outgoing.append("\r\n")
        if request.meta.returnsValue {
            outgoing.append(item.value)
            outgoing.append("\r\n")
        }
        if !request.meta.has("u") { table.bump(&item) }
        table.items[key] = item
    }

    func metaSet(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let key = Self.key(request, bytes)
        counters.sets += 1
        var kind: StoreKind
        switch request.meta.mode {
        case UInt8(ascii: "E"): kind = .add
        case UInt8(ascii: "A"): kind = .append
        case UInt8(ascii: "P"): kind = .prepend
        case UInt8(ascii: "R"): kind = .replace
        default: kind = .set
        }
        if request.meta.comparesCAS && (kind == .set || kind == .replace) { kind = .cas }
        var item = StoredItem(
            value: [UInt8](request.value.of(bytes)), flags: request.flags, endsAt: table.end(ofExptime: request.exptime))
        item.hasBinaryKey = request.base64Key
        var cas: UInt64 = 0
        switch table.store(key, item, kind, cas: request.cas, acceptsOlder: request.meta.invalidates) {
        case .stored(let given):
            if request.noreply { return }
            cas = given
            outgoing.append("HD")
        case .notStored: outgoing.append("NS")
        case .exists: outgoing.append("EX")
        case .notFound: outgoing.append("NF")
        }
        eachFlag(request, bytes) { letter, token in
            switch letter {
            case UInt8(ascii: "O"):
                outgoing.append(32)
                outgoing.append(token.of(bytes))
            case UInt8(ascii: "k"): append(key: key, isBinary: request.base64Key, outgoing)
            case UInt8(ascii: "c"): append(" c", cas, outgoing)
            default: break
            }
        }
        outgoing.append("\r\n")
    }

    func metaDelete(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let key = Self.key(request, bytes)
        guard var item = table.find(key) else { return request.encodeMetaReply("NF", from: bytes, into: outgoing) }
        if request.meta.comparesCAS && item.cas != request.cas {
            return request.encodeMetaReply("EX", from: bytes, into: outgoing)
        }
        if request.meta.invalidates {
            if request.meta.setsExptime { item.endsAt = table.end(ofExptime: request.exptime) }
            item.isStale = true
            item.isWinTaken = false
            item.cas = table.nextCAS()
            table.items[key] = item
        } else {
            table.items[key] = nil
        }
        if !request.noreply { request.encodeMetaReply("HD", from: bytes, into: outgoing) }
    }

    func metaArithmetic(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let key = Self.key(request, bytes)
        let decrements = request.meta.mode == UInt8(ascii: "D") || request.meta.mode == UInt8(ascii: "-")
        switch table.add(key, request.delta, increments: !decrements, cas: request.cas) {
        case .notNumeric: outgoing.append("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n")
        case .exists: request.encodeMetaReply("EX", from: bytes, into: outgoing)
        case .notFound where request.meta.vivifies:
            let digits = Array(String(request.meta.initial).utf8)
            let item = table.link(key, StoredItem(value: digits, flags: 0, endsAt: 0))
            describeSum(request, bytes, key, digits, item, isMade: true, isKept: true, outgoing)
        case .notFound: request.encodeMetaReply("NF", from: bytes, into: outgoing)
        case .done(let digits, let item, let isReplaced):
            let before = outgoing.count
            describeSum(request, bytes, key, digits, item, isMade: false, isKept: !isReplaced, outgoing)
            if request.noreply { outgoing.truncate(to: before) }
        }
    }

    /// The reply to `ma`, and what its flags do to the item. When a longer number took the item's place (`isKept` is
    /// false), 1.6.18 sets the time on the item that is gone.
    private func describeSum(
        _ request: Request, _ bytes: UnsafeRawBufferPointer, _ key: [UInt8], _ digits: [UInt8], _ described: StoredItem,
        isMade: Bool, isKept: Bool, _ outgoing: ByteQueue
    ) {
        var item = described
        outgoing.append(request.meta.returnsValue ? "VA " : "HD")
        if request.meta.returnsValue { outgoing.append(decimal: UInt64(digits.count)) }
        eachFlag(request, bytes) { letter, token in
            switch letter {
            case UInt8(ascii: "c"): append(" c", item.cas, outgoing)
            case UInt8(ascii: "t"): appendRemaining(item, outgoing)
            case UInt8(ascii: "T"): item.endsAt = table.end(ofExptime: request.exptime)
            case UInt8(ascii: "N"): if isMade { item.endsAt = table.end(ofExptime: request.meta.vivifyExptime) }
            case UInt8(ascii: "O"):
                outgoing.append(32)
                outgoing.append(token.of(bytes))
            case UInt8(ascii: "k"): append(key: key, isBinary: request.base64Key, outgoing)
            default: break
            }
        }
        outgoing.append("\r\n")
        if request.meta.returnsValue {
            outgoing.append(digits)
            outgoing.append("\r\n")
        }
        if isKept { table.items[key] = item }
    }

    func metaDebug(_ request: Request, _ bytes: UnsafeRawBufferPointer, _ outgoing: ByteQueue) {
        let key = Self.key(request, bytes)
        guard let item = table.find(key) else { return outgoing.append("EN\r\n") }
        let size = KeyRules.itemBytes(keyBytes: key.count, flags: item.flags, valueBytes: item.value.count)
        outgoing.append("ME ")
        if item.hasBinaryKey { key.withUnsafeBytes { Base64.encode($0) { outgoing.append($0) } } } else { outgoing.append(key) }
        outgoing.append(" exp=")
        outgoing.append(decimal: item.endsAt == 0 ? -1 : Int64(table.now) - Int64(item.endsAt))
        append(" la=", UInt64(table.now &- item.usedAt), outgoing)
        append(" cas=", item.cas, outgoing)
        outgoing.append(item.wasFetched ? " fetch=yes" : " fetch=no")
        append(" cls=", UInt64(SlabClasses.of(itemBytes: size)), outgoing)
        append(" size=", UInt64(size), outgoing)
        outgoing.append("\r\n")
    }
}
