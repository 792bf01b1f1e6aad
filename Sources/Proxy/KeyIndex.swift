// The index: for every key that was written lately, the highest version known, and where its value is. Only what is not
// yet stable is in it: as soon as nothing below a key's top can arrive any more, the key is forgotten.

import DequeModule
import Kernel
import Replication
import WriteLog

/// The key of a barrier, which stands for all of them; no item has it.
let allKeys: [UInt8] = []

/// What a lane knows of one key.
struct KeyEntry {
    /// Top of values and tombstones; zero when only a touch is known.
    var version = Version.zero
    /// What that top is.
    var content = Content.none
    /// That value's own absolute expiry, where it was written here; 0 never, or unknown.
    var expiry: UInt64 = 0
    /// Highest touch; zero when none is known.
    var touch = Version.zero
    /// The lane that landed it.
    var touchHolder = LaneID(raw: 0)
    /// Where that touch stands in this lane; zero if it was committed elsewhere.
    var touchPosition = Position.zero
    /// That touch's absolute expiry.
    var touchExpiry: UInt64 = 0
    /// The lane whose log holds the value.
    var holder = LaneID(raw: 0)
    /// Where in this lane's log, if it is the holder.
    var offset = LogOffset.zero
    /// Length of the record there.
    var recordBytes: UInt32 = 0
    /// That top is known from the log of an earlier life, or from a sibling's index, and not from its landing: a lane that is away may
    /// know of a younger one.
    var isHearsay = false

    /// The higher of both tops.
    var top: Version { max(version, touch) }
    /// True when the touch is the younger one: it decides the expiry.
    var touchDecides: Bool { touch > version }

    /// What is left of it without its value.
    var touchAlone: KeyEntry {
        var touched = KeyEntry()
        (touched.touch, touched.touchHolder, touched.touchPosition, touched.touchExpiry) =
            (touch, touchHolder, touchPosition, touchExpiry)
        return touched
    }

    /// Takes in a value or tombstone: nil if it is below the top, true if it is above it.
    mutating func take(
        _ version: Version, _ content: Content, expiry: UInt64, holder: LaneID, offset: LogOffset, recordBytes: UInt32,
        isHearsay: Bool
    ) -> Bool? {
        guard version >= self.version else { return nil }
        self.isHearsay = isHearsay && (version > self.version || self.isHearsay)
        defer { self.version = version }
        self.content = content
        self.expiry = expiry
        self.holder = holder
        self.offset = offset
        self.recordBytes = recordBytes
        return version > self.version
    }

    /// As it is told to another lane.
    func tops(of key: [UInt8]) -> KeyTops {
        KeyTops(key: key, version: version, content: content, touch: touch, touchExpiry: touchExpiry, holder: holder)
    }
}

struct KeyIndex {
    private var entries = KeyMap<KeyEntry>()
    /// Every raise in the order it happened; the front is looked at first when keys are forgotten.
    private var raises: Deque<(key: [UInt8], top: Version)> = []
    /// Raises that the floor has passed while their keys were pinned; some of them are looked at each time.
    private var held: Deque<(key: [UInt8], top: Version)> = []

    /// The youngest barrier: whatever is older is gone.
    private(set) var barrier = Version.zero

    var count: Int { entries.count }
    var keys: [[UInt8]] { Array(entries.keys) }

    /// What is known of a key: at least that it was deleted by the barrier.
    subscript(key: [UInt8]) -> KeyEntry? {
        let entry = entries[key]
        guard barrier > .zero, entry?.version ?? .zero < barrier else { return entry }
        var gone = entry.map { $0.touch > barrier ? $0.touchAlone : KeyEntry() } ?? KeyEntry()
        gone.version = barrier
        gone.content = .tombstone
        return gone
    }

    /// Keys that were written after a barrier, as far as is known.
    func writtenSince(_ barrier: Version) -> [(key: [UInt8], value: KeyEntry)] {
        sorted.filter { $0.value.version > barrier && $0.key != allKeys }
    }

    /// Every key with what is known of it, in the order of keys: the same on every run.
    var sorted: [(key: [UInt8], value: KeyEntry)] { entries.sorted { $0.key.lexicographicallyPrecedes($1.key) } }

    /// Lowest address in the own log that an entry points to.
    func lowestOffset(of lane: LaneID) -> LogOffset? {
        entries.values.lazy.filter { $0.holder == lane }.map(\.offset).min()
    }

    /// Takes in a value or tombstone. True when it is the top now.
    @discardableResult
    mutating func raise(
        _ key: [UInt8], version: Version, content: Content, expiry: UInt64 = 0, holder: LaneID, offset: LogOffset,
        recordBytes: UInt32, isHearsay: Bool = false
    ) -> Bool {
        let isTaken = entries[key, default: KeyEntry()].take(
            version, content, expiry: expiry, holder: holder, offset: offset, recordBytes: recordBytes, isHearsay: isHearsay)
        guard let isHigher = isTaken else { return false }
        if isHigher { raises.append((key, version)) }
        if key == allKeys { barrier = version }
        return true
    }

    /// Takes in a touch. True when it is the highest touch now.
    @discardableResult
    mutating func raiseTouch(
        _ key: [UInt8], version: Version, expiry: UInt64, position: Position = .zero, holder: LaneID = LaneID(raw: 0)
    ) -> Bool {
        var entry = entries[key] ?? KeyEntry()
        guard version > entry.touch else { return false }
        entry.touch = version
        entry.touchExpiry = expiry
        entry.touchPosition = position
        entry.touchHolder = holder
        entries[key] = entry
        raises.append((key, version))
        return true
    }

    /// Takes in what another lane knows, by hearsay if that is not of what it has just landed.
    mutating func merge(_ tops: KeyTops, isHearsay: Bool) {
        let known = self[tops.key]?.version ?? .zero
        if tops.version == known, !isHearsay {
            entries[tops.key]?.isHearsay = false
        } else if tops.version > known {
            raise(
                tops.key, version: tops.version, content: tops.content, holder: tops.holder, offset: .zero, recordBytes: 0,
                isHearsay: isHearsay)
        }
        if tops.touch > .zero { raiseTouch(tops.key, version: tops.touch, expiry: tops.touchExpiry) }
    }

    /// Lets go of what was stable already, wherever it stands in line, and of a value below a touch that was not: the touch is kept.
    /// For an index that comes from a log, which may hold a value long after another lane wrote the next one.
    mutating func dropSettled(upTo floor: UInt64, unless pinned: ([UInt8], KeyEntry) -> Bool = { _, _ in false }) {
        if barrier > .zero, barrier.stamp <= floor { lowerBarrier() }
        for (key, entry) in entries where entry.version.stamp <= floor && !pinned(key, entry) {
            entries[key] = entry.touch.stamp > floor ? entry.touchAlone : nil
        }
    }

    /// The barrier is stable; what is kept although it is older stays deleted.
    private mutating func lowerBarrier() {
        for (key, entry) in entries where entry.version < barrier {
            entries[key] = self[key]
            raises.append((key, self[key]?.top ?? barrier))
        }
        barrier = .zero
    }

    /// Forgets the keys whose tops have stamps at or below the floor, unless `pinned`; hands each to `forgotten`. True when one was
    /// pinned.
    @discardableResult
    mutating func forget(
        upTo floor: UInt64, pinned: ([UInt8], KeyEntry) -> Bool, forgotten: ([UInt8], Version) -> Void
    ) -> Bool {
        func letGo(_ raise: (key: [UInt8], top: Version), _ place: KeyMap<KeyEntry>.Place?) {
            // Raised again since: a later element speaks for it.
            guard let place, entries[place].top == raise.top else { return }
            if pinned(raise.key, entries[place]) {
                held.append(raise)
            } else {
                entries.remove(place)
                forgotten(raise.key, raise.top)
            }
        }
        // Before any younger key is forgotten, which it would cover; its own raise may stand behind one that is not stable yet.
        if barrier > .zero, barrier.stamp <= floor { lowerBarrier() }
        for _ in 0..<min(held.count, Limits.heldLooksMax) {
            let raise = held.removeFirst()
            letGo(raise, entries.find(raise.key))
        }
        while let first = raises.first {
            let place = entries.find(first.key)
            if first.top.stamp > floor, let place, entries[place].top == first.top { break }
            raises.removeFirst()
            letGo(first, place)
        }
        return !held.isEmpty
    }
}

/// True when a landing with these tops leaves in memcached what `entry` says belongs there.
func landingStands(_ landed: KeyTops, against entry: KeyEntry) -> Bool {
    guard landed.version > .zero else {
        // A touch alone: it stands unless it overwrote the expiry of something younger.
        return landed.touch >= entry.version && landed.touch >= entry.touch
    }
    guard landed.version >= entry.version else { return false }
    // What is deleted has no expiry that a touch could have set.
    if landed.content == .tombstone { return true }
    return entry.touch <= landed.version || landed.touch >= entry.touch
}
