// What a client's command counts as once it is answered: memcached's own distinctions, for `stats`.

import Memcache

/// What an answered command counts as.
enum Tally: UInt8, Sendable {
    case nothing, get, touch, store, compare, delete, increment, decrement

    /// By what was asked.
    init(_ request: Request) {
        switch request.verb {
        case .get, .gets: self = .get
        case .mg: self = request.meta.setsExptime ? .touch : .get
        case .gat, .gats, .touch: self = .touch
        case .set, .add, .replace, .append, .prepend: self = .store
        case .ms: self = request.meta.comparesCAS ? .compare : .store
        case .cas: self = .compare
        case .delete, .md: self = .delete
        case .incr: self = .increment
        case .decr: self = .decrement
        case .ma:
            self =
                request.meta.mode | 0x20 == UInt8(ascii: "d") || request.meta.mode == UInt8(ascii: "-") ? .decrement : .increment
        case .mn, .me, .version, .verbosity, .quit, .flushAll, .stats, .shutdown, .configGetCluster: self = .nothing
        }
    }
}

extension LaneCounters {
    /// A command has arrived.
    mutating func begin(_ request: Request, _ tally: Tally) {
        if request.isMeta { commandsMeta += 1 }
        let keys = UInt64(max(request.keyCount, 1))
        switch tally {
        case .get: commandsGet += keys
        case .touch:
            commandsTouch += keys
            if request.verb != .touch { commandsGet += keys }
        case .store, .compare: commandsSet += 1
        case .delete, .increment, .decrement: break
        case .nothing: if request.verb == .flushAll { commandsFlush += 1 } else { commandsOther += 1 }
        }
    }

    /// A command, or one key of it, is answered.
    mutating func end(_ tally: Tally, _ kind: ReplyKind) {
        switch (tally, kind) {
        case (.get, .value), (.get, .va), (.get, .hd): getHits += 1
        case (.get, .end), (.get, .en): getMisses += 1
        case (.touch, .touched), (.touch, .value), (.touch, .va), (.touch, .hd): touchHits += 1
        case (.touch, .notFound), (.touch, .end), (.touch, .en): touchMisses += 1
        case (.compare, .stored), (.compare, .hd): casHits += 1
        case (.compare, .exists), (.compare, .ex): casBadValues += 1
        case (.compare, .notFound), (.compare, .nf): casMisses += 1
        case (.delete, .deleted), (.delete, .hd): deleteHits += 1
        case (.delete, .notFound), (.delete, .nf): deleteMisses += 1
        case (.increment, .number), (.increment, .hd), (.increment, .va): incrementHits += 1
        case (.increment, .notFound), (.increment, .nf): incrementMisses += 1
        case (.decrement, .number), (.decrement, .hd), (.decrement, .va): decrementHits += 1
        case (.decrement, .notFound), (.decrement, .nf): decrementMisses += 1
        default: break
        }
    }
}
