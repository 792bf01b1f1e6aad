import Kernel
import Proxy
import WriteLog

// Invariant 1: the versions that land on a server for a key only rise, save by a re-assertion of the top.
//
// One lane's landings always rise: it knows what it has sent. Two lanes may both own a slot for a while after a fault;
// then a lower version may land after a higher one and must be repaired, which the comparison at rest sees. Without a
// fault in sight, a landing lower than another lane's is a breach as well. A conditional write that memcached refused
// lands nothing: a landing counts from its commit on.

/// Remembers the last landing per lane, and per server.
struct LandingChecker {
    /// One reply of a server to one lane's write.
    struct Landing {
        var key: Int
        var version: Version
        var isTouch: Bool
        /// Counts over all servers of all sites.
        var server: Int
        var lane: LaneID
        var life: UInt32
        /// No fault is in sight.
        var isCalm: Bool
        /// Its place in the order of all landings.
        var order = 0
    }

    private struct Place: Hashable {
        var server: Int
        var key: Int
        var isTouch: Bool
    }

    private struct LanePlace: Hashable {
        var lane: LaneID
        var life: UInt32
        var place: Place
    }

    private var ofLane: [LanePlace: (version: Version, order: Int)] = [:]
    private var ofSite: [Place: (version: Version, lane: LaneID, order: Int)] = [:]
    private var landings = 0
    /// Landed and not yet committed.
    private var undecided: [Version: [Landing]] = [:]

    /// Takes in a landing; what is wrong with it, if anything.
    mutating func land(_ landing: Landing, isCommitted: Bool) -> String? {
        landings += 1
        var landing = landing
        landing.order = landings
        guard isCommitted else {
            undecided[landing.version, default: []].append(landing)
            return nil
        }
        return count(landing)
    }

    /// A version is committed: what landed under it counts.
    mutating func commit(_ version: Version) -> String? {
        for landing in undecided.removeValue(forKey: version) ?? [] {
            if let what = count(landing) { return what }
        }
        return nil
    }

    private mutating func count(_ landing: Landing) -> String? {
        let version = landing.version
        let place = Place(server: landing.server, key: landing.key, isTouch: landing.isTouch)
        let own = LanePlace(lane: landing.lane, life: landing.life, place: place)
        // A landing that counts late may stand before what was counted already.
        if let last = ofLane[own], last.order < landing.order, version < last.version {
            return "\(landing.lane) lands \(version) after its own \(last.version)"
        }
        if version >= ofLane[own]?.version ?? .zero { ofLane[own] = (version, landing.order) }
        if let last = ofSite[place], last.order < landing.order, version < last.version, landing.isCalm, last.lane != landing.lane
        {
            return "\(landing.lane) lands \(version) after \(last.version) of \(last.lane), and no fault is in sight"
        }
        if version >= ofSite[place]?.version ?? .zero { ofSite[place] = (version, landing.lane, landing.order) }
        return nil
    }
}
