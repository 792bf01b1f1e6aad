import Kernel
import Proxy
import Testing
import WriteLog

@testable import Simulator

// Each checker is shown what it exists to see, and what it must let pass.

@Suite struct CheckerTests {
    private let north = LaneID(site: SiteID(1), proxy: 1, lane: 0)
    private let sibling = LaneID(site: SiteID(1), proxy: 2, lane: 0)

    private func version(_ stamp: UInt64, _ lane: LaneID? = nil) -> Version { Version(stamp: stamp, origin: lane ?? north) }

    private func record(_ stamp: UInt64, at position: UInt64, key: Int = 0) -> CommittedRecord {
        CommittedRecord(
            key: key, version: version(stamp), content: .value, value: Array("w1.".utf8), flags: 0, expiry: 0, lane: north,
            position: Position(position), site: 0, at: 0)
    }

    private func history() -> History {
        var history = History(sites: 2)
        history.prepare(keys: 2)
        return history
    }

    @Test func aVersionIsGivenOnce() {
        var history = history()
        let found1 = history.commit(record(5, at: 1))
        #expect(found1 == nil)
        let found2 = history.commit(record(5, at: 2))
        #expect(found2 != nil)
    }

    @Test func positionsHaveNoGaps() {
        var history = history()
        let found3 = history.commit(record(5, at: 1))
        #expect(found3 == nil)
        let found4 = history.commit(record(6, at: 3))
        #expect(found4 != nil)
    }

    @Test func nothingIsAcknowledgedBeforeItHasArrived() {
        var history = history()
        _ = history.commit(record(5, at: 1))
        _ = history.commit(record(6, at: 2))
        let found5 = history.arrive(version(6), at: 1)
        #expect(found5)
        let found6 = history.missing(of: north, upTo: Position(2), at: 1)
        #expect(found6 != nil, "the first has not arrived")
        let found7 = history.arrive(version(5), at: 1)
        #expect(found7)
        let found8 = history.missing(of: north, upTo: Position(2), at: 1)
        #expect(found8 == nil)
        let found9 = history.missing(of: north, upTo: Position(3), at: 1)
        #expect(found9 != nil, "nobody committed a third")
        let found10 = history.arrive(version(7), at: 1)
        #expect(!found10, "what was never committed cannot arrive")
    }

    @Test func nothingIsForgottenWhileSomethingOlderIsOnItsWay() {
        var history = history()
        _ = history.commit(record(5, at: 1))
        let found11 = history.forget(0, version(9, sibling), at: 1)
        #expect(found11 != nil)
        _ = history.arrive(version(5), at: 1)
        let found12 = history.forget(0, version(9, sibling), at: 1)
        #expect(found12 == nil)
        let found13 = history.commit(record(7, at: 2))
        #expect(found13 != nil, "below what a site has forgotten")
    }

    @Test func theTopIsTheHighestValueAndTheTouchAboveIt() {
        var history = history()
        _ = history.commit(record(5, at: 1))
        var touch = record(7, at: 2)
        touch = CommittedRecord(
            key: 0, version: touch.version, content: .touch, value: [], flags: 0, expiry: 99, lane: north, position: Position(2),
            site: 0,
            at: 0)
        _ = history.commit(touch)
        #expect(history.top(of: 0).value?.version == version(5))
        #expect(history.top(of: 0).touch?.expiry == 99)
        _ = history.commit(record(8, at: 3))
        #expect(history.top(of: 0).touch == nil, "a value above the touch has an expiry of its own")
    }

    private func landing(_ stamp: UInt64, _ lane: LaneID, isCalm: Bool) -> LandingChecker.Landing {
        LandingChecker.Landing(
            key: 0, version: version(stamp, lane), isTouch: false, server: 0, lane: lane, life: 1, isCalm: isCalm)
    }

    @Test func oneLanesLandingsRise() {
        var checker = LandingChecker()
        let found14 = checker.land(landing(5, north, isCalm: false), isCommitted: true)
        #expect(found14 == nil)
        let found15 = checker.land(landing(5, north, isCalm: false), isCommitted: true)
        #expect(found15 == nil, "a re-assertion")
        let found16 = checker.land(landing(4, north, isCalm: false), isCommitted: true)
        #expect(found16 != nil)
    }

    @Test func twoLanesMayOverlapOnlyAfterAFault() {
        var checker = LandingChecker()
        _ = checker.land(landing(5, north, isCalm: true), isCommitted: true)
        let found17 = checker.land(landing(4, sibling, isCalm: false), isCommitted: true)
        #expect(found17 == nil, "to be repaired by an assertion")
        let found18 = checker.land(landing(3, sibling, isCalm: true), isCommitted: true)
        #expect(found18 != nil)
    }

    @Test func aRefusedWriteLandsNothing() {
        var checker = LandingChecker()
        _ = checker.land(landing(9, north, isCalm: true), isCommitted: false)
        let found19 = checker.land(landing(5, north, isCalm: true), isCommitted: true)
        #expect(found19 == nil)
        let found20 = checker.commit(version(9))
        #expect(found20 == nil, "it landed first, whenever it was decided")
    }

    @Test func aKeyOfOneClientKnowsWhatItMayHold() {
        var key = OwnKey()
        #expect(key.mayHold(nil))
        key.attempts = [
            .init(write: 1, state: .acknowledged, mayDelete: false), .init(write: 2, state: .unknown, mayDelete: true),
            .init(write: 3, state: .acknowledged, mayDelete: false),
        ]
        #expect(!key.mayHold(1), "its client was told of a later write")
        #expect(key.mayHold(2), "nobody knows when that happened")
        #expect(key.mayHold(3))
        #expect(key.mayHold(nil), "the unknown one may have been too large, and then deleted")
    }

    @Test func valuesNameTheirWrites() {
        #expect(World.pieces(of: Array("w12....w7.".utf8)) == [12, 7])
        #expect(World.pieces(of: Array("17".utf8)) == nil)
        #expect(World.pieces(of: []) == [])
    }
}
