import Kernel
import Proxy
import WriteLog

// Invariant 1: the versions that land on a server for a key only rise, save by a re-assertion of the top.
//
// One lane's landings always rise: it knows what it has sent. Two lanes may both own a slot for a while after a fault;
// then a lower version may land after a higher one and must be repaired, which the comparison at rest sees. Without a
// fault in sight, a landing lower than another lane's is a breach as well.

/// Remembers the last landing per lane, and per server.
struct LandingChecker {
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

    private var ofLane: [LanePlace: Version] = [:]
    private var ofSite: [Place: (version: Version, lane: LaneID)] = [:]

    /// Takes in a landing; what is wrong with it, if anything. `server` counts over all servers of all sites.
    mutating func land(
        key: Int, version: Version, isTouch: Bool, server: Int, lane: LaneID, life: UInt32, isCalm: Bool
    ) -> String? {
        let place = Place(server: server, key: key, isTouch: isTouch)
        let own = LanePlace(lane: lane, life: life, place: place)
        if let last = ofLane[own], version < last {
            return "\(lane) lands \(version) after its own \(last)"
        }
        ofLane[own] = version
        if let last = ofSite[place], version < last.version, isCalm, last.lane != lane {
            return "\(lane) lands \(version) after \(last.version) of \(last.lane), and no fault is in sight"
        }
        if version > ofSite[place]?.version ?? .zero { ofSite[place] = (version, lane) }
        return nil
    }
}
