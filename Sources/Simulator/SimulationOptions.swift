import Configuration
import Kernel
import Proxy

// What one run is like, drawn from its seed: the topology, the load and the faults. A tenth of the seeds run without
// any fault, many with one kind alone, so that a violation points at its cause; the rest mix.

/// The kinds of faults that a run may meet.
public struct FaultKinds: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt32
    /// Wraps the bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Connections are reset, with what was on its way lost.
    public static let resets = FaultKinds(rawValue: 1 << 0)
    /// Sites, or single proxies of different sites, cannot reach each other, one way or both.
    public static let sitePartitions = FaultKinds(rawValue: 1 << 1)
    /// Proxies of one site cannot reach each other, one way or both.
    public static let groupPartitions = FaultKinds(rawValue: 1 << 2)
    /// A memcached server is cut off from one proxy or from all.
    public static let cutOffs = FaultKinds(rawValue: 1 << 3)
    /// A proxy's process is killed, between turns or in the middle of one, and starts again.
    public static let crashes = FaultKinds(rawValue: 1 << 4)
    /// A proxy's machine loses power: unsynced sectors survive or not.
    public static let powerFailures = FaultKinds(rawValue: 1 << 5)
    /// A proxy's process is stopped for a while, and goes on (SIGSTOP, SIGCONT).
    public static let pauses = FaultKinds(rawValue: 1 << 6)
    /// Wall clocks are skewed by seconds and jump.
    public static let clocks = FaultKinds(rawValue: 1 << 7)
    /// A memcached server restarts empty.
    public static let backendRestarts = FaultKinds(rawValue: 1 << 8)
    /// A memcached server stops answering for a while.
    public static let backendStalls = FaultKinds(rawValue: 1 << 9)
    /// The disk is full or slow for a while, or fails (which ends the process).
    public static let disk = FaultKinds(rawValue: 1 << 10)
    /// A proxy leaves in an orderly way and returns.
    public static let leaves = FaultKinds(rawValue: 1 << 11)
    /// One site's memcached takes only small items.
    public static let itemLimits = FaultKinds(rawValue: 1 << 12)
    /// memcached evicts a key by itself.
    public static let evictions = FaultKinds(rawValue: 1 << 13)

    /// Each kind by name.
    public static let named: [(name: String, kind: FaultKinds)] = [
        ("resets", .resets), ("site-partitions", .sitePartitions), ("group-partitions", .groupPartitions), ("cut-offs", .cutOffs),
        ("crashes", .crashes), ("power-failures", .powerFailures), ("pauses", .pauses), ("clocks", .clocks),
        ("backend-restarts", .backendRestarts), ("backend-stalls", .backendStalls), ("disk", .disk), ("leaves", .leaves),
        ("item-limits", .itemLimits), ("evictions", .evictions),
    ]

    /// The names of what is in it, or `none`.
    public var description: String {
        let names = Self.named.filter { contains($0.kind) }.map(\.name)
        return names.isEmpty ? "none" : names.joined(separator: ",")
    }
}

/// One site of a run.
public struct SiteOptions: Sendable {
    /// Proxies, 1 to 3.
    public var proxies: Int
    /// Lanes of each proxy, 1 or 2.
    public var lanes: Int
    /// Backup servers, 0 to 2.
    public var backups: Int
    /// When writes are answered.
    public var durability: Site.Durability
    /// The memcached servers' item limit in bytes.
    public var itemBytesMax: Int
    /// Clients of the site.
    public var clients: Int
    /// Which of a key's servers a read asks.
    public var reads = Site.Reads.primary
}

/// Everything that a run is drawn from.
public struct SimulationOptions: Sendable {
    /// Virtual wall time at the beginning of every run, in microseconds since 1970.
    public static let wallMicroseconds: UInt64 = 1_732_272_000_000_000
    /// Longest value that clients may store, in bytes.
    public static let itemBytesMax = 6_000
    /// Item limit of a site with small items, in bytes.
    public static let smallItemBytesMax = 1_500
    /// Bytes of a log segment: small, so that runs cross segments.
    public static let segmentBytes = 32 * 1024

    /// The seed of everything else.
    public var seed: UInt64
    /// Virtual time of load and faults, in microseconds.
    public var loadMicroseconds: UInt64
    /// Longest virtual time to come to rest after that, in microseconds.
    public var restMicrosecondsMax: UInt64 = 180_000_000
    /// The sites, 2 or 3.
    public var sites: [SiteOptions]
    /// Primaries, 1 to 3: the ring is the same at every site.
    public var primaries: Int
    /// Kinds of faults.
    public var faults: FaultKinds
    /// Faults to come, over the whole load.
    public var faultCount: Int
    /// Keys that everybody writes.
    public var hotKeys: Int
    /// Bursts of commands over the whole load.
    public var bursts: Int
    /// Keys with crossing rules are written too.
    public var crossingRules: Bool
    /// Clients flush the whole federation now and then.
    public var flushes: Bool
    /// Servers come and go.
    public var ringChanges = false
    /// Largest skew of a wall clock, in microseconds either way.
    public var skewMicrosecondsMax: UInt64
    /// How much slower than usual the network to memcached is.
    public var backendSlowness: UInt64
    /// From how many bytes on proxies share values: with half of the seeds nearly all, with the others none.
    public var sharedBytesMin: Int { seed % 2 == 0 ? 12 : Self.itemBytesMax }
    /// What proxies keep in memory for their streams: with a quarter of the seeds so little that nearly all is read from the log.
    public var tailBytesMax: Int { seed % 4 == 1 ? 300 : 32 << 20 }
    /// Slots of the ring's key space.
    public var slotCount: Int
    /// Known bugs to exhibit.
    public var planted: PlantedBugs

    /// Names of the bugs that can be planted.
    public static let bugNames = PlantedBugs.named.map(\.name)

    /// The bug with this name; nothing for nil or an unknown name.
    static func bugs(named name: String?) -> PlantedBugs { PlantedBugs.named.first { $0.name == name }?.bug ?? [] }

    /// Draws a run from its seed: `minutes` of load and faults, and a known bug to exhibit, if one is named.
    public init(seed: UInt64, minutes: Double = 1, bug: String? = nil) {
        var random = SeededRandom(seed: seed &* 0x2545_f491_4f6c_dd1d &+ 1)
        self.seed = seed
        planted = Self.bugs(named: bug)
        loadMicroseconds = UInt64(minutes * 60_000_000)
        faults = Self.drawFaults(&random)
        let small = faults.contains(.itemLimits) ? random.below(2) : -1
        var sites: [SiteOptions] = []
        for index in 0..<(random.chance(0.3) ? 3 : 2) {
            sites.append(
                SiteOptions(
                    proxies: [1, 2, 2, 3][random.below(4)], lanes: random.chance(0.3) ? 2 : 1,
                    backups: [0, 1, 1, 2][random.below(4)],
                    durability: random.chance(0.3) || faults.contains(.powerFailures) ? .disk : .memory,
                    itemBytesMax: index == small ? Self.smallItemBytesMax : 1 << 20, clients: 2 + random.below(3)))
        }
        self.sites = sites
        primaries = 1 + random.below(3)
        faultCount = faults.isEmpty ? 0 : max(1, Int(minutes * Double(2 + random.below(12))))
        hotKeys = 1 + random.below(8)
        bursts = max(1, Int(minutes * Double(20 + random.below(40))))
        crossingRules = random.chance(0.3)
        skewMicrosecondsMax = faults.contains(.clocks) ? [50_000, 400_000, 5_000_000][random.below(3)] : 500
        backendSlowness = [1, 1, 1, 8, 30][random.below(5)]
        slotCount = [4, 16, 64][random.below(3)]
        flushes = random.chance(0.25)
        // Drawn last, so that what else a seed means stays what it was.
        for index in sites.indices where sites[index].backups > 0 && random.chance(0.3) {
            self.sites[index].reads = random.chance(0.5) ? .inTurn : .leastOutstanding
        }
        ringChanges = random.chance(0.25)
    }

    private static func drawFaults(_ random: inout SeededRandom) -> FaultKinds {
        let kinds = FaultKinds.named.map(\.kind)
        switch random.below(10) {
        case 0: return []
        case 1...4: return kinds[random.below(kinds.count)]
        case 5...7: return [kinds[random.below(kinds.count)], kinds[random.below(kinds.count)], kinds[random.below(kinds.count)]]
        default: return kinds.reduce(into: FaultKinds()) { $0.formUnion($1) }
        }
    }

    /// One line for people.
    public var description: String {
        let shape = sites.map { site in
            "\(site.proxies)x\(site.lanes) proxies, \(site.backups) backups, \(site.durability.rawValue)"
                + (site.reads == .primary ? "" : ", reads \(site.reads.rawValue)")
        }
        return
            "sites [\(shape.joined(separator: "; "))], \(primaries) primaries, faults \(faults.description), \(hotKeys) hot keys"
            + (flushes ? ", flushes" : "") + (ringChanges ? ", ring changes" : "")
    }
}
