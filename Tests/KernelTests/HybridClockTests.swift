import Kernel
import Testing

/// Stamps rise, whatever the wall clock does (`federation.md` section 9).
@Suite struct HybridClockTests {
    private func at(_ wall: UInt64) -> Instant { Instant(monotonicMicroseconds: 0, wallMicroseconds: wall) }

    @Test("A stamp holds the wall clock's microseconds and a counter of zero")
    func followsTheWall() {
        var clock = HybridClock()
        #expect(clock.tick(at: at(1_000)) == 1_000 << 12)
        #expect(clock.tick(at: at(2_000)) == 2_000 << 12)
        #expect(HybridClock.wall(of: clock.last) == 2_000)
    }

    @Test("Within one microsecond the counter rises, and carries into the microseconds after 4,096 stamps")
    func carries() {
        var clock = HybridClock()
        let first = clock.tick(at: at(1_000))
        var last = first
        for _ in 0..<5_000 {
            let next = clock.tick(at: at(1_000))
            #expect(next == last + 1)
            last = next
        }
        #expect(HybridClock.wall(of: last) == 1_001)
        #expect(clock.tick(at: at(1_002)) == 1_002 << 12)
    }

    @Test("A wall clock set back, and a floor from before a restart, reissue nothing")
    func setBack() {
        var clock = HybridClock(floor: 5_000 << 12)
        #expect(clock.tick(at: at(1_000)) == 5_000 << 12 + 1)
        #expect(clock.tick(at: at(6_000)) == 6_000 << 12)
        #expect(clock.tick(at: at(10)) == 6_000 << 12 + 1)
    }

    @Test("Whatever is observed and whatever the wall clock says, every stamp exceeds all given and all seen", arguments: 0..<20)
    func rises(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var clock = HybridClock()
        var highest: UInt64 = 0
        for _ in 0..<1_000 {
            let now = at(UInt64(1_000_000 + random.below(2_000)))
            switch random.below(4) {
            case 0:
                let seen = HybridClock.stamp(atWall: UInt64(1_000_000 + random.below(3_000))) + UInt64(random.below(4_096))
                clock.observe(seen)
                highest = max(highest, seen)
            case 1:
                let floor = clock.floorForLaterTicks(at: now)
                #expect(floor >= highest)
                highest = floor
            default:
                let stamp = clock.tick(at: now)
                #expect(stamp > highest)
                #expect(stamp >= HybridClock.stamp(atWall: now.wallMicroseconds))
                highest = stamp
            }
        }
    }

    @Test("Versions are ordered by stamp, then by site, proxy and lane, and no two lanes' are equal")
    func versions() {
        let a = LaneID(site: SiteID(1), proxy: 2, lane: 3)
        let b = LaneID(site: SiteID(1), proxy: 3, lane: 0)
        let c = LaneID(site: SiteID(2), proxy: 1, lane: 0)
        #expect([c, b, a].sorted() == [a, b, c])
        let ordered = [
            Version.zero, Version(stamp: 7, origin: a), Version(stamp: 7, origin: b), Version(stamp: 7, origin: c),
            Version(stamp: 8, origin: a),
        ]
        #expect(ordered.reversed().sorted() == ordered)
        #expect(Version(stamp: 5 << 12 | 6, origin: a).description == "5.6/s1p2l3")
    }

    @Test("A lane's id packs and unpacks its parts")
    func laneIDs() {
        let lane = LaneID(site: SiteID(200), proxy: 100, lane: 50)
        #expect(lane.raw == 200 << 16 | 100 << 8 | 50)
        #expect(LaneID(raw: lane.raw) == lane)
        #expect((lane.site, lane.proxy, lane.lane) == (SiteID(200), 100, 50))
    }
}
