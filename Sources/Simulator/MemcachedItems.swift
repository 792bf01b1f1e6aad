// The memory of a modelled memcached: items, CAS values, expiry, flushes, as 1.6.18 keeps them (items.c, memcached.c).
//
// Time is memcached's own: whole seconds that start at 62 when the process starts, so that an exptime of 1 is always past.

import Kernel
import Memcache

/// One item.
struct StoredItem {
    var value: [UInt8]
    var flags: UInt32
    /// When it ends, on the process's clock; 0 for never.
    var endsAt: UInt32
    /// Changes with every store, 0 for an item not linked yet.
    var cas: UInt64 = 0
    /// When it was last stored or, roughly, used.
    var usedAt: UInt32 = 0
    /// The key was given in base64.
    var hasBinaryKey = false
    /// Read at least once, read at least twice.
    var wasFetched = false
    var isActive = false
    /// Marked stale; and one client has been told to refresh it.
    var isStale = false
    var isWinTaken = false
}

/// All items of one server.
struct ItemTable {
    let itemBytesMax: Int
    /// The wall clock's second at which the process's clock was 0.
    let epochSeconds: UInt64
    /// The process's clock; it never goes back.
    private(set) var now: UInt32
    private(set) var casCounter: UInt64 = 0
    private(set) var itemsEver: UInt64 = 0
    var items: [[UInt8]: StoredItem] = [:]
    private var oldestLive: UInt32 = 0
    private var oldestCAS: UInt64 = 0

    /// What the process's clock shows when the process starts.
    static let firstSecond: UInt64 = 62

    init(itemBytesMax: Int, startedAtWallSeconds: UInt64) {
        self.itemBytesMax = itemBytesMax
        epochSeconds = startedAtWallSeconds >= Self.firstSecond ? startedAtWallSeconds - Self.firstSecond : 0
        now = UInt32(Self.firstSecond)
    }

    mutating func advance(toWallMicroseconds wall: UInt64) {
        let seconds = wall / 1_000_000
        if seconds > epochSeconds { now = max(now, UInt32(truncatingIfNeeded: seconds - epochSeconds)) }
    }

    /// An exptime as sent, on the process's clock.
    func end(ofExptime exptime: Int64) -> UInt32 {
        if exptime == 0 { return 0 }
        if exptime < 0 { return 1 }
        if exptime <= Exptime.relativeSecondsMax { return now &+ UInt32(exptime) }
        return UInt64(exptime) <= epochSeconds ? 1 : UInt32(truncatingIfNeeded: UInt64(exptime) - epochSeconds)
    }

    mutating func nextCAS() -> UInt64 {
        casCounter += 1
        return casCounter
    }

    /// True when a read would find the item.
    func isAlive(_ item: StoredItem) -> Bool {
        if oldestLive != 0, oldestLive <= now, item.usedAt <= oldestLive || (oldestCAS != 0 && item.cas < oldestCAS) {
            return false
        }
        return item.endsAt == 0 || item.endsAt > now
    }

    /// The item of a key; one that is over is dropped on the way.
    mutating func find(_ key: [UInt8]) -> StoredItem? {
        guard let item = items[key] else { return nil }
        if isAlive(item) { return item }
        items[key] = nil
        return nil
    }

    /// Puts an item in, with a CAS value of its own.
    @discardableResult
    mutating func link(_ key: [UInt8], _ item: StoredItem) -> StoredItem {
        var item = item
        item.cas = nextCAS()
        item.usedAt = now
        items[key] = item
        itemsEver += 1
        return item
    }

    /// A read happened.
    func bump(_ item: inout StoredItem) {
        if item.isActive { return }
        if !item.wasFetched {
            item.wasFetched = true
        } else {
            item.isActive = true
            item.usedAt = now
        }
    }

    /// `flush_all`: everything stored before, now or once `delay` is over.
    mutating func flush(delay: Int64) {
        let from = delay > 0 ? end(ofExptime: delay) : now
        oldestLive = from &- 1
        if oldestLive <= now { oldestCAS = nextCAS() }
    }

    func fits(_ key: [UInt8], flags: UInt32, valueBytes: Int) -> Bool {
        KeyRules.itemBytes(keyBytes: key.count, flags: flags, valueBytes: valueBytes) <= itemBytesMax
    }
}

/// The ways to store.
enum StoreKind {
    case set, add, replace, append, prepend, cas
}

/// What came of a store.
enum StoreResult {
    case stored(cas: UInt64)
    case notStored, exists, notFound
}

extension ItemTable {
    /// Stores as `kind` says. `cas` is the value to compare with, 0 for none; `acceptsOlder` stores with an older one too,
    /// and leaves the item stale.
    mutating func store(_ key: [UInt8], _ item: StoredItem, _ kind: StoreKind, cas: UInt64, acceptsOlder: Bool = false)
        -> StoreResult
    {
        guard var old = find(key) else {
            switch kind {
            case .set, .add: return .stored(cas: link(key, item).cas)
            case .cas: return .notFound
            case .replace, .append, .prepend: return .notStored
            }
        }
        switch kind {
        case .set, .replace: return .stored(cas: link(key, item).cas)
        case .add:
            old.usedAt = now
            items[key] = old
            return .notStored
        case .append, .prepend:
            if cas != 0 && cas != old.cas { return .exists }
            let value = kind == .append ? old.value + item.value : item.value + old.value
            if !fits(key, flags: old.flags, valueBytes: value.count) { return .notStored }
            return .stored(cas: link(key, StoredItem(value: value, flags: old.flags, endsAt: old.endsAt)).cas)
        case .cas:
            if cas == old.cas { return .stored(cas: link(key, item).cas) }
            if !acceptsOlder || cas == 0 || cas > old.cas { return .exists }
            var stale = item
            stale.endsAt = old.endsAt
            stale.isStale = true
            stale.isWinTaken = old.isWinTaken
            return .stored(cas: link(key, stale).cas)
        }
    }

    /// What came of an addition.
    enum DeltaResult {
        /// The new number, and the item as the reply describes it; `isReplaced` when a longer one took its place.
        case done(digits: [UInt8], StoredItem, isReplaced: Bool)
        case notNumeric, notFound, exists
    }

    /// Adds or subtracts. A number that became shorter is filled up with spaces, as memcached changes it in place.
    mutating func add(_ key: [UInt8], _ delta: UInt64, increments: Bool, cas: UInt64 = 0) -> DeltaResult {
        guard var item = find(key) else { return .notFound }
        // Beyond half of a slab page an item lies in pieces, and memcached does not look for a number there.
        let bytes = KeyRules.itemBytes(keyBytes: key.count, flags: item.flags, valueBytes: item.value.count)
        if item.value.isEmpty || bytes > SlabClasses.chunkBytesMax { return .notNumeric }
        if cas != 0 && cas != item.cas { return .exists }
        var isPlain = true
        let text = item.value.prefix { $0 != 0 }
        guard let old = text.withUnsafeBytes({ Numbers.unsigned64($0, &isPlain) }) else { return .notNumeric }
        let new = increments ? old &+ delta : delta > old ? 0 : old - delta
        let digits = Array(String(new).utf8)
        if digits.count <= item.value.count {
            item.cas = nextCAS()
            item.value = digits + [UInt8](repeating: 32, count: item.value.count - digits.count)
            item.usedAt = now
            items[key] = item
            return .done(digits: digits, item, isReplaced: false)
        }
        item.cas = link(key, StoredItem(value: digits, flags: item.flags, endsAt: item.endsAt)).cas
        return .done(digits: digits, item, isReplaced: true)
    }
}

/// The slab classes of a memcached with default options; only `me` shows them.
enum SlabClasses {
    /// Largest chunk, in bytes: half of a page.
    static let chunkBytesMax = 524_288

    /// The class of an item of so many bytes.
    static func of(itemBytes: Int) -> Int {
        var size = 96.0
        var number = 1
        while Int(size) < Int(Double(chunkBytesMax) / 1.25) {
            let aligned = (Int(size) + 7) / 8 * 8
            if itemBytes <= aligned { return number }
            size = (Double(aligned) * 1.25).rounded(.down)
            number += 1
        }
        return number
    }
}
