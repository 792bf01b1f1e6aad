import Kernel
import Replication
import Testing
import WriteLog

@testable import Proxy

private let here = LaneID(site: SiteID(1), proxy: 1, lane: 0)
private let there = LaneID(site: SiteID(1), proxy: 2, lane: 0)

private func at(_ stamp: UInt64, _ origin: LaneID = here) -> Version { Version(stamp: stamp, origin: origin) }

/// An index that can be changed inside an expectation.
private final class Shelf {
    private(set) var index = KeyIndex()

    subscript(key: [UInt8]) -> KeyEntry? { index[key] }
    var count: Int { index.count }
    var keys: [[UInt8]] { index.keys }

    @discardableResult
    func raise(
        _ key: [UInt8], version: Version, content: Content, holder: LaneID, offset: LogOffset, recordBytes: UInt32
    ) -> Bool {
        index.raise(key, version: version, content: content, holder: holder, offset: offset, recordBytes: recordBytes)
    }

    @discardableResult
    func raiseTouch(_ key: [UInt8], version: Version, expiry: UInt64) -> Bool {
        index.raiseTouch(key, version: version, expiry: expiry)
    }

    func merge(_ tops: KeyTops) { index.merge(tops, isHearsay: false) }
    func lowestOffset(of lane: LaneID) -> LogOffset? { index.lowestOffset(of: lane) }

    func dropSettled(upTo floor: UInt64) { index.dropSettled(upTo: floor) }

    @discardableResult
    func forget(upTo floor: UInt64, pinned: ([UInt8], KeyEntry) -> Bool, forgotten: ([UInt8], Version) -> Void) -> Bool {
        index.forget(upTo: floor, pinned: pinned, forgotten: forgotten)
    }
}

/// What a lane remembers of keys that are not yet stable.
@Suite struct KeyIndexTests {
    private let key = Array("k".utf8)

    private func raise(_ index: Shelf, _ version: Version, _ content: Content = .value, at offset: UInt64 = 0) -> Bool {
        index.raise(key, version: version, content: content, holder: here, offset: LogOffset(offset), recordBytes: 80)
    }

    @Test("A value's version only rises; an equal one may move to another place in the log")
    func raises() {
        let index = Shelf()
        #expect(raise(index, at(5), at: 8))
        #expect(!raise(index, at(4), .tombstone, at: 16))
        #expect(index[key]?.content == .value)
        #expect(index[key]?.offset == LogOffset(8))
        #expect(raise(index, at(5), at: 24), "the same version, written again")
        #expect(index[key]?.offset == LogOffset(24))
        #expect(raise(index, at(5, there), .tombstone), "the lane breaks the tie")
        #expect(index[key]?.content == .tombstone)
        #expect(index.count == 1)
    }

    @Test("A touch has a version of its own beside the value's")
    func touches() {
        let index = Shelf()
        #expect(raise(index, at(5)))
        #expect(index.raiseTouch(key, version: at(3), expiry: 30))
        #expect(index[key]?.touchDecides == false)
        #expect(index.raiseTouch(key, version: at(7), expiry: 70))
        #expect(!index.raiseTouch(key, version: at(6), expiry: 60))
        #expect(!index.raiseTouch(key, version: at(7), expiry: 60))
        #expect(index[key]?.version == at(5))
        #expect(index[key]?.touchExpiry == 70)
        #expect(index[key]?.top == at(7))
        #expect(index[key]?.touchDecides == true)
    }

    @Test("What another lane knows is merged part by part, and never lowers anything")
    func merges() {
        func tops(_ version: Version, _ touch: Version) -> KeyTops {
            KeyTops(key: key, version: version, content: .value, touch: touch, touchExpiry: touch.stamp, holder: there)
        }
        let index = Shelf()
        #expect(raise(index, at(5), at: 8))
        index.merge(tops(at(4), at(9)))
        #expect(index[key]?.holder == here)
        #expect(index[key]?.touch == at(9))
        index.merge(tops(at(5), .zero))
        #expect(index[key]?.offset == LogOffset(8), "an equal version does not lose the place of the value")
        index.merge(tops(at(6), at(8)))
        #expect(index[key]?.holder == there)
        #expect(index[key]?.recordBytes == 0)
        #expect(index[key]?.touch == at(9))
    }

    @Test("Keys leave when both of their tops are stable, in whatever order they were raised")
    func forgets() {
        let index = Shelf()
        let names = (0..<6).map { Array("k\($0)".utf8) }
        for (stamp, name) in names.enumerated() {
            index.raise(
                name, version: at(UInt64(10 + stamp)), content: .value, holder: here, offset: .zero, recordBytes: 0)
        }
        index.raiseTouch(names[0], version: at(20), expiry: 0)
        var gone: [Version] = []
        index.forget(upTo: 12, pinned: { _, _ in false }, forgotten: { gone.append($1) })
        #expect(gone == [at(11), at(12)])
        #expect(index[names[0]] != nil, "its touch is not stable")
        #expect(
            index.forget(upTo: 100, pinned: { key, _ in key == names[4] }, forgotten: { gone.append($1) }),
            "what is pinned must be looked at again, even if the floor stands still from then on")
        #expect(index.keys == [names[4]], "something is still to be done about it")
        #expect(!index.forget(upTo: 100, pinned: { _, _ in false }, forgotten: { gone.append($1) }))
        #expect(index.count == 0)
        #expect(Set(gone) == Set([at(11), at(12), at(13), at(20), at(15), at(14)]))
    }

    @Test("A key that was raised again is not forgotten by its older raise")
    func raisedAgain() {
        let index = Shelf()
        #expect(raise(index, at(5)))
        #expect(raise(index, at(50)))
        index.forget(upTo: 10, pinned: { _, _ in false }, forgotten: { _, _ in Issue.record("forgotten too early") })
        #expect(index[key]?.version == at(50))
        index.forget(upTo: 50, pinned: { _, _ in false }, forgotten: { _, _ in })
        #expect(index[key] == nil)
    }

    @Test("Below a barrier every key counts as deleted, known or not; above it nothing changes")
    func barrier() {
        let index = Shelf()
        #expect(raise(index, at(5)))
        #expect(index[Array("x".utf8)] == nil)
        index.raise(allKeys, version: at(10), content: .tombstone, holder: here, offset: .zero, recordBytes: 0)
        #expect(index[key]?.version == at(10) && index[key]?.content == .tombstone)
        #expect(index[Array("x".utf8)]?.content == .tombstone)
        index.raiseTouch(key, version: at(12), expiry: 7)
        #expect(index[key]?.touch == at(12) && index[key]?.version == at(10))
        #expect(raise(index, at(20)))
        #expect(index[key]?.content == .value)
    }

    @Test("A barrier is gone before what is younger is forgotten, in whatever order they were raised, and even if it is pinned")
    func barrierGoesFirst() {
        let index = Shelf()
        #expect(raise(index, at(20)))
        index.raise(Array("z".utf8), version: at(90), content: .value, holder: here, offset: .zero, recordBytes: 0)
        index.raise(allKeys, version: at(10), content: .tombstone, holder: here, offset: .zero, recordBytes: 0)
        index.forget(upTo: 50, pinned: { one, _ in one == allKeys }, forgotten: { _, _ in })
        #expect(index[key] == nil)
        #expect(index[allKeys]?.version == at(10))
    }

    @Test("What was settled takes the barriers below it along: a key that is let go of is not deleted by one (seed 3154)")
    func settledBarrier() {
        let index = Shelf()
        index.raise(allKeys, version: at(10), content: .tombstone, holder: here, offset: .zero, recordBytes: 0)
        #expect(raise(index, at(20)))
        index.dropSettled(upTo: 50)
        #expect(index[key] == nil)
    }

    @Test("A key that must be kept longer than the barrier above it stays deleted")
    func outlivesBarrier() {
        let index = Shelf()
        #expect(raise(index, at(5)))
        index.raise(allKeys, version: at(10), content: .tombstone, holder: here, offset: .zero, recordBytes: 0)
        let key = key
        index.forget(upTo: 10, pinned: { one, _ in one == key }, forgotten: { _, _ in })
        #expect(index[Array("x".utf8)] == nil)
        #expect(index[key]?.version == at(10) && index[key]?.content == .tombstone)
        index.forget(upTo: 10, pinned: { _, _ in false }, forgotten: { _, _ in })
        index.forget(upTo: 10, pinned: { _, _ in false }, forgotten: { _, _ in })
        #expect(index.count == 0)
    }

    @Test("The log must be kept from the lowest place that an entry of this lane points to")
    func lowestOffset() {
        let index = Shelf()
        #expect(index.lowestOffset(of: here) == nil)
        index.raise([1], version: at(1), content: .value, holder: here, offset: LogOffset(800), recordBytes: 80)
        index.raise([2], version: at(2), content: .value, holder: there, offset: .zero, recordBytes: 0)
        index.raise([3], version: at(3), content: .value, holder: here, offset: LogOffset(400), recordBytes: 80)
        #expect(index.lowestOffset(of: here) == LogOffset(400))
    }

    /// Situation: the tops that are known. Event: a landing. Does memcached then hold what belongs there?
    @Test(
        "A landing stands if what it left in memcached is what the tops say",
        arguments: [
            // value known, touch known, value landed, touch merged into it, stands
            (5, 0, 5, 0, true), (5, 0, 6, 0, true), (5, 0, 4, 0, false),
            (5, 7, 5, 7, true), (5, 7, 5, 8, true), (5, 7, 5, 0, false), (5, 7, 5, 6, false), (5, 7, 8, 0, true),
            (5, 7, 6, 0, false),
            (5, 3, 5, 0, true), (5, 3, 6, 0, true),
            // A touch alone.
            (5, 0, 0, 6, true), (5, 0, 0, 4, false), (5, 7, 0, 7, true), (5, 7, 0, 8, true), (5, 7, 0, 6, false),
            (0, 7, 0, 6, false),
            (0, 7, 0, 9, true),
            // Nothing known.
            (0, 0, 5, 0, true), (0, 0, 0, 5, true),
        ] as [(UInt64, UInt64, UInt64, UInt64, Bool)])
    func stands(value: UInt64, touch: UInt64, landed: UInt64, merged: UInt64, stands: Bool) {
        func version(_ stamp: UInt64) -> Version { stamp == 0 ? .zero : at(stamp) }
        let entry = KeyEntry(version: version(value), content: .value, touch: version(touch))
        let tops = KeyTops(
            key: key, version: version(landed), content: landed == 0 ? .none : .value, touch: version(merged), touchExpiry: 0,
            holder: here)
        #expect(landingStands(tops, against: entry) == stands)
    }

    @Test("A deletion stands whatever was touched: there is no expiry that a touch could have set")
    func tombstoneStands() {
        let entry = KeyEntry(version: at(5), content: .tombstone, touch: at(9))
        func tops(_ version: Version) -> KeyTops {
            KeyTops(key: key, version: version, content: .tombstone, touch: .zero, touchExpiry: 0, holder: here)
        }
        #expect(landingStands(tops(at(5)), against: entry))
        #expect(!landingStands(tops(at(4)), against: entry), "but not below a younger value or deletion")
    }
}
