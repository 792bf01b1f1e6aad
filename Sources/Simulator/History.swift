import Configuration
import Kernel
import Proxy
import WriteLog

// What has been committed, and where it has arrived: the ledger that invariants 2, 3 and 7 are read from, and that the
// sites are compared with at rest.
//
//     lane: 1 2 3 4 5 6 …    committed, in positions without gaps
//     site: x x x . x .      applied or superseded there; the frontier is 3: nothing above may be acknowledged

/// One committed record.
struct CommittedRecord {
    let key: Int
    let version: Version
    let content: Content
    let value: [UInt8]
    let flags: UInt32
    let expiry: UInt64
    let lane: LaneID
    let position: Position
    let site: Int
    let at: UInt64
    /// Sites, by bit, where it is applied or superseded.
    var arrived: UInt8 = 0
    /// Its log was lost in a power failure: it may be nowhere, or live on elsewhere.
    var lost = false
}

/// The ledger of a run.
struct History {
    /// One origin lane.
    struct Origin {
        /// Records by position, from 1; the index of each.
        var byPosition: [Int] = []
        /// Per site: every position up to this has arrived.
        var frontier: [UInt64]
        /// Positions were given twice, because the machine lost what it had logged.
        var wasTruncated = false
    }

    private(set) var records: [CommittedRecord] = []
    private(set) var byVersion: [Version: Int] = [:]
    private(set) var byKey: [[Int]] = []
    private var origins: [LaneID: Origin] = [:]
    /// Per lane: the highest stamp that it committed.
    private var highestStamps: [LaneID: UInt64] = [:]
    /// Per site and key: the highest version that has left an index.
    private var forgotten: [[Version]]
    /// Numbers of the writes that are in a committed value.
    private(set) var committedWrites: Set<Int> = []
    /// Per key and site: when a tombstone was last committed there.
    private(set) var tombstonesAt: [[UInt64?]] = []
    /// Per key: records lost with their log whose fate nobody can know.
    var doubtful: Set<Int> = []

    private struct LateTouch: Hashable {
        let version: Version
        let site: Int
    }

    private var lateTouches: Set<LateTouch> = []
    private let sites: Int

    init(sites: Int) {
        self.sites = sites
        forgotten = Array(repeating: [], count: sites)
    }

    mutating func prepare(keys: Int) {
        byKey = Array(repeating: [], count: keys)
        tombstonesAt = Array(repeating: Array(repeating: nil, count: sites), count: keys)
        forgotten = Array(repeating: Array(repeating: .zero, count: keys), count: sites)
    }

    /// Takes in a commit; what is wrong with it, if anything.
    mutating func commit(_ record: CommittedRecord) -> (Invariant, String)? {
        var number = records.count
        if let earlier = byVersion[record.version] {
            // The commit was lost with its sector, the intent before it was not: it is committed again.
            let known = records[earlier]
            guard known.lost, known.lane == record.lane, known.key == record.key else {
                return (.appliedIsCommitted, "version \(record.version) is given twice, first at position \(known.position)")
            }
            number = earlier
            records[number] = record
            records[number].arrived = known.arrived
        } else {
            byVersion[record.version] = number
            byKey[record.key].append(number)
            records.append(record)
        }
        if record.content == .tombstone { tombstonesAt[record.key][record.site] = record.at }
        if let pieces = World.pieces(of: record.value) { committedWrites.formUnion(pieces) }
        if record.position > .zero {
            var origin = origins[record.lane] ?? Origin(frontier: Array(repeating: 0, count: sites))
            guard record.position.raw == UInt64(origin.byPosition.count) + 1 else {
                return (
                    .appliedIsCommitted, "\(record.lane) commits position \(record.position) after #\(origin.byPosition.count)"
                )
            }
            origin.byPosition.append(number)
            origins[record.lane] = origin
        }
        highestStamps[record.lane] = max(highestStamps[record.lane] ?? 0, record.version.stamp)
        for site in 0..<sites where record.version < forgotten[site][record.key] && record.position > .zero {
            return (
                .forgottenIsStable,
                "version \(record.version) is committed after site \(site + 1) has forgotten \(forgotten[site][record.key])"
            )
        }
        return nil
    }

    /// A record has arrived at a site.
    mutating func arrive(_ version: Version, at site: Int) -> Bool {
        guard let number = byVersion[version] else { return false }
        records[number].arrived |= 1 << UInt8(site)
        return true
    }

    /// The record that a lane committed at a position.
    func record(of lane: LaneID, at position: Position) -> CommittedRecord? {
        guard let origin = origins[lane], position > .zero, position.raw <= origin.byPosition.count else { return nil }
        return records[origin.byPosition[Int(position.raw) - 1]]
    }

    /// True where a lane's positions were given twice.
    func wasTruncated(_ lane: LaneID) -> Bool { origins[lane]?.wasTruncated ?? false }

    /// The first record up to the position that has not arrived at the site, if any.
    mutating func missing(of lane: LaneID, upTo position: Position, at site: Int) -> String? {
        guard position > .zero else { return nil }
        guard var origin = origins[lane] else { return "nothing was ever committed by \(lane)" }
        defer { origins[lane] = origin }
        var frontier = origin.frontier[site]
        while frontier < position.raw {
            guard frontier < origin.byPosition.count else {
                return origin.wasTruncated ? nil : "\(lane) has committed only up to #\(origin.byPosition.count)"
            }
            let record = records[origin.byPosition[Int(frontier)]]
            guard record.arrived & 1 << UInt8(site) != 0 || record.lost else {
                return
                    "\(lane) \(record.position) (key \(record.key), version \(record.version)) is neither applied nor superseded"
            }
            frontier += 1
            origin.frontier[site] = frontier
        }
        return nil
    }

    /// A key has left an index of a site: no older record of another site may be on its way.
    mutating func forget(_ key: Int, _ version: Version, at site: Int) -> String? {
        forgotten[site][key] = max(forgotten[site][key], version)
        for number in byKey[key] {
            let record = records[number]
            guard record.site != site, record.position > .zero, !record.lost, record.version < version else { continue }
            if record.arrived & 1 << UInt8(site) == 0 {
                return "version \(record.version) of \(record.lane) \(record.position) has not arrived yet"
            }
        }
        return nil
    }

    /// A lane came back with its log ending at this position.
    mutating func recovered(_ lane: LaneID, at position: Position, lostPower: Bool) -> [CommittedRecord] {
        if lostPower {
            // What stays at home has no position that could tell whether its commit is still there.
            for number in records.indices where records[number].lane == lane && records[number].position == .zero {
                records[number].lost = true
            }
        }
        guard var origin = origins[lane], UInt64(origin.byPosition.count) > position.raw else { return [] }
        var lost: [CommittedRecord] = []
        while UInt64(origin.byPosition.count) > position.raw {
            let number = origin.byPosition.removeLast()
            records[number].lost = true
            doubtful.insert(records[number].key)
            lost.append(records[number])
        }
        origin.wasTruncated = true
        for site in 0..<sites { origin.frontier[site] = min(origin.frontier[site], position.raw) }
        origins[lane] = origin
        return lost
    }

    /// True where nobody can know what a key must hold: a power failure took a record of it, or of all keys.
    func isDoubtful(_ key: Int) -> Bool { doubtful.contains(key) || doubtful.contains(byKey.count - 1) }

    /// True when a record that was not lost holds a client's write.
    func holds(_ write: Int, in key: Int) -> Bool {
        byKey[key].contains { !records[$0].lost && World.pieces(of: records[$0].value)?.contains(write) ?? false }
    }

    /// A touch has arrived. Where the value's own life was over by then and the site had let go of the value, nothing was left
    /// that it could prolong.
    mutating func noteLateTouch(_ version: Version, at site: Int, wallSeconds: UInt64, toleranceSeconds: UInt64) {
        guard let number = byVersion[version], records[number].content == .touch else { return }
        let key = records[number].key
        guard let value = top(of: key, where: { $0.version < version }).value, value.content == .value, value.expiry != 0,
            value.version <= forgotten[site][key], value.expiry / 1_000_000 <= wallSeconds + toleranceSeconds
        else { return }
        lateTouches.insert(LateTouch(version: version, site: site))
    }

    /// A touch that came too late to a site.
    func wasLate(_ version: Version, at site: Int) -> Bool { lateTouches.contains(LateTouch(version: version, site: site)) }

    /// The highest stamp that a lane has committed.
    func highestStamp(of lane: LaneID) -> UInt64 { highestStamps[lane] ?? 0 }

    /// Positions committed by a lane.
    func committed(of lane: LaneID) -> UInt64 { UInt64(origins[lane]?.byPosition.count ?? 0) }

    /// What a key must hold at rest: its highest value or tombstone, or a barrier above them, and the touch on top of it, if any.
    func top(of key: Int, where counts: (CommittedRecord) -> Bool = { _ in true }) -> (
        value: CommittedRecord?, touch: CommittedRecord?
    ) {
        var value: CommittedRecord?
        var touch: CommittedRecord?
        for number in byKey[key] {
            let record = records[number]
            guard counts(record) else { continue }
            if record.content == .touch {
                if record.version > touch?.version ?? .zero { touch = record }
            } else if record.version > value?.version ?? .zero {
                value = record
            }
        }
        for number in byKey[byKey.count - 1] where records[number].version > value?.version ?? .zero { value = records[number] }
        if let found = touch, found.version < value?.version ?? .zero { touch = nil }
        return (value, touch)
    }
}
