// The reads of one client that have no reply yet, as far as a write behind them must know of them: it waits for earlier reads of its
// own key, and for no others.

/// A share of the keys, by hash: small enough to count what is under way for each.
struct KeyBucket {
    static let count = 256
    fileprivate let number: Int

    /// The bucket of a key in this slot.
    init(slot: Int) { number = slot & (Self.count - 1) }
}

/// Counts of reads under way.
struct OutstandingReads {
    private(set) var count = 0
    /// The server that all of them were asked, by this lane's one connection; -1: several, or by another path.
    private var path = -1
    /// How many of them are of a bucket's keys. Invariant: empty only while there is one of them at most, which is `only`.
    private var ofBuckets: [UInt16] = []
    private var only: KeyBucket?
    /// Those of many keys, or of none.
    private var ofAnyKey = 0

    /// True when a write on this path may go before they are answered. Nil stands for many keys.
    func letPass(writeOf bucket: KeyBucket?, on path: Int) -> Bool {
        if count == 0 || (self.path == path && path >= 0) { return true }
        guard let bucket, ofAnyKey == 0 else { return false }
        return ofBuckets.isEmpty ? only.map { $0.number != bucket.number } ?? true : ofBuckets[bucket.number] == 0
    }

    mutating func begin(_ bucket: KeyBucket?, on path: Int) {
        self.path = count == 0 || self.path == path ? path : -1
        if ofBuckets.isEmpty && count > 0 {
            ofBuckets = Array(repeating: 0, count: KeyBucket.count)
            if let only { ofBuckets[only.number] += 1 }
        }
        count += 1
        guard let bucket else { return ofAnyKey += 1 }
        if ofBuckets.isEmpty { only = bucket } else { ofBuckets[bucket.number] += 1 }
    }

    /// Gives the counts' room back while nothing is under way.
    mutating func giveBack() {
        guard count == 0 else { return }
        ofBuckets = []
        only = nil
    }

    mutating func end(_ bucket: KeyBucket?) {
        count -= 1
        guard let bucket else { return ofAnyKey -= 1 }
        if ofBuckets.isEmpty { only = nil } else { ofBuckets[bucket.number] -= 1 }
    }
}
