import Configuration
import Kernel
import Proxy

// A whole federation in one thread: virtual time, sites, proxies, servers, clients, and the checkers that watch them.
// Everything random is drawn from the seed; nothing iterates over a hash table; so a seed is a history.
//
//     heap ─▶ next event ─▶ a pipe's item arrives ─▶ inbox of a lane, a server, a client
//                        ─▶ a lane's turn or timer
//                        ─▶ a fault begins or ends, a burst of commands
//     after each step: what the core observed ─▶ checkers ─▶ the first violation ends the run

/// What can happen.
enum Event {
    case arrival(Link, side: Int)
    case turn(LaneHost, life: UInt32)
    case timer(LaneHost, life: UInt32, at: UInt64)
    case flush(LaneHost, life: UInt32, ConnectionID)
    case perform((World) -> Void)
}

/// One site's configuration and state.
struct SimulatedSite {
    /// Its files, as a proxy would read them now.
    var files: SiteFilesOnDisk
    /// Indexes of its servers by name, those too that come and go.
    var servers: [String: Int] = [:]
    var proxies: [ProxyProcess] = []
    /// Until when ownership may overlap because of a fault, in virtual microseconds.
    var disturbedUntil: UInt64 = 0
}

/// One run.
public final class World {
    /// How long after a fault owners may still disagree, in microseconds.
    static let settleMicroseconds: UInt64 = 12_000_000
    /// How far ahead of the time versions may be where all wall clocks are right, in microseconds: two ceilings, and what slow disks add.
    static let clockLeadMicrosecondsMax: UInt64 = 6_000_000

    let options: SimulationOptions
    var random: SeededRandom
    var heap = EventHeap<Event>()
    var now: UInt64 = 0
    /// What happened, for people.
    public internal(set) var story: Story
    /// What happened, in numbers.
    public internal(set) var figures = Figures()
    /// The first breach of a rule.
    public internal(set) var violation: Violation?

    let federation: Federation
    var sites: [SimulatedSite]
    var proxies: [ProxyProcess] = []
    var servers: [ServerHost] = []
    var clients: [Client] = []
    let clientCount: Int
    /// Files to be put in place, and proxies to be told of them.
    var ringOrdersLeft = 0

    // Network.
    var links: [Link] = []
    var linkCount = 0
    var linksAfterSweep = 0
    var blocks: [UInt8] = []
    var machineCount = 0

    // Load.
    var keys: [SimulatedKey] = []
    var keyIndexes: [[UInt8]: Int] = [:]
    var sharedKeys = 0
    var writes: [IssuedWrite] = []

    // Checkers.
    var history: History
    var landings = LandingChecker()
    /// Writes that a client was told of.
    var acknowledgedWrites: Set<Int> = []
    /// Faults are over.
    var isHealed = false
    /// Largest distance of a wall clock from the truth so far, in microseconds.
    var clockSkewMax: UInt64
    /// True in runs whose faults can never make a client read something older than what it wrote itself.
    let readsAreExact: Bool
    /// True in runs where no server is lost, and no proxy goes before what it has under way is done.
    let deathsAreOrderly: Bool
    /// Clients write without a break when proxies come and leave, in runs that hold these to keeping everything.
    let rushes: Bool
    /// True where what was written may be gone: a server came back empty, evicted, or was flushed.
    let readsMayMiss: Bool

    /// A federation as drawn; nothing runs yet.
    public init(_ options: SimulationOptions, told: Bool = false, listener: (@Sendable (String) -> Void)? = nil) {
        self.options = options
        random = SeededRandom(seed: options.seed)
        story = Story(told: told, listener: listener)
        federation = Topology.federation(options)
        sites = options.sites.indices.map {
            SimulatedSite(files: SiteFilesOnDisk($0, options))
        }
        clockSkewMax = options.skewMicrosecondsMax
        // A slow server may not even be connected when its proxy already serves.
        readsAreExact = !options.faults.contains(.powerFailures) && options.backendSlowness == 1
        deathsAreOrderly = options.faults.isSubset(of: [.sitePartitions, .clocks, .itemLimits, .leaves])
        rushes = deathsAreOrderly && options.faults.contains(.leaves)
        readsMayMiss = options.flushes || options.ringChanges || !options.faults.isDisjoint(with: [.backendRestarts, .evictions])
        clientCount = options.sites.reduce(0) { $0 + $1.clients }
        history = History(sites: options.sites.count)
        makeMachines()
        makeKeys()
        history.prepare(keys: keys.count)
        makeClients()
    }

    private func makeMachines() {
        for (index, site) in options.sites.enumerated() {
            for number in 0..<site.proxies {
                let proxy = ProxyProcess(
                    name: Topology.proxyName(site: index, proxy: number), site: index, machine: proxies.count,
                    monotonicOffset: random.next() % 1_000_000_000_000)
                proxy.skew = drawSkew()
                proxy.lanes = (0..<site.lanes).map {
                    LaneHost(
                        proxy: proxy,
                        configuration: sites[index].files.configuration(of: proxy.name, lane: $0, planted: options.planted))
                }
                proxies.append(proxy)
                sites[index].proxies.append(proxy)
            }
        }
        for index in options.sites.indices {
            let all = Topology.site(
                index, options, sparePrimary: options.ringChanges,
                spareBackup: options.ringChanges && options.sites[index].backups > 0)
            for (number, backend) in (all.primaries + all.backups).enumerated() {
                sites[index].servers[backend.name] = servers.count
                servers.append(
                    ServerHost(
                        name: "\(all.name.prefix(1)).\(backend.name)", shortName: backend.name, site: index,
                        isBackup: number >= all.primaries.count,
                        address: backend.address, machine: proxies.count + servers.count,
                        itemBytesMax: options.sites[index].itemBytesMax))
            }
        }
        machineCount = proxies.count + servers.count + 1  // the last one is the clients'
        blocks = [UInt8](repeating: 0, count: machineCount * machineCount)
    }

    private func makeClients() {
        var number = 0
        for (index, site) in options.sites.enumerated() {
            for _ in 0..<site.clients {
                clients.append(Client(number: number, site: index, machine: machineCount - 1, seed: random.next()))
                number += 1
            }
        }
    }

    func drawSkew() -> Int64 {
        let most = Int(options.skewMicrosecondsMax)
        return Int64(random.below(2 * most + 1)) - Int64(most)
    }

    // MARK: Time

    /// Plans something for later.
    func perform(after delay: UInt64, _ action: @escaping (World) -> Void) {
        heap.insert(.perform(action), at: now + delay)
    }

    /// Lets the next event happen; false when there is none before `limit`, and then it is `limit` o'clock.
    func advance(upTo limit: UInt64) -> Bool {
        guard violation == nil, let next = heap.nextTime, next <= limit, let (time, event) = heap.popFirst() else {
            if violation == nil { now = max(now, limit) }
            return false
        }
        now = max(now, time)
        switch event {
        case .arrival(let link, let side): arrive(link, side: side)
        case .turn(let host, let life): if host.life == life { turn(host) }
        case .timer(let host, let life, let at): if host.life == life { timer(host, at: at) }
        case .flush(let host, let life, let id): if host.life == life { flushRest(host, id) }
        case .perform(let action): action(self)
        }
        return true
    }

    /// Lets virtual time pass.
    func run(for microseconds: UInt64) {
        let limit = now + microseconds
        while advance(upTo: limit) {}
        sweepLinks()
    }

    // MARK: Words

    func tell(_ who: @autoclosure () -> String, _ what: @autoclosure () -> String) {
        if story.told { story.say(now, who(), what()) }
    }

    /// A rule is broken: the run is over.
    func violate(_ invariant: Invariant, _ detail: String) {
        guard violation == nil else { return }
        violation = Violation(invariant: invariant, microseconds: now, detail: detail)
        if story.told { story.say(now, "CHECKER", "invariant \(invariant.rawValue): \(detail)") }
    }

    /// Owners of the site's slots may disagree for a while.
    func disturb(_ site: Int) { sites[site].disturbedUntil = now + Self.settleMicroseconds }
}
