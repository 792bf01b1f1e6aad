// One lane by itself on a bench, driven by hand through the seam: the test is its clients, its memcached servers, its
// peers, its disk and its clocks. Nothing happens that a test did not ask for, save what a shell does without being told:
// it makes segments, syncs, reads the log, and writes the log before the sockets.
//
//     step(input) ─▶ node ─▶ effects ─ settle ─▶ disk, wire[connection]

import Configuration
import Kernel
import Replication
import Ring
import Testing
import WriteLog

@testable import Proxy

/// What a bench is to look like.
struct BenchPlan {
    /// The north's proxies, by name; the lane on the bench is the first one's.
    var proxies = ["n1"]
    /// Names of the other sites, each with one proxy: `south` has `s1`.
    var elsewhere: [String] = []
    var primaries = 1
    var hasBackup = true
    var durability = Site.Durability.memory
    var reads = Site.Reads.primary
    var unreachable = Site.UnreachableReads.miss
    var flush = Site.FlushPolicy.local
    var crossing: [CrossingRule] = []
    var itemBytesMax = 1 << 20
    var segmentBytes = 4 << 20
    var times = SiteTimes()
    var memoryBytesMax = ClientPolicy.memoryBytesByDefault
    /// Off unless it is what the test is about: its connection would be a second one to the same server.
    var refillKeysPerSecond = 0
    var listeners: [ClientListener] = [.tcp(HostPort(host: "0.0.0.0", port: 11_211))]

    var servers: [RingServer] { (1...primaries).map { RingServer(name: "cache\($0)", weight: 1) } }
    static let address = HostPort(host: "127.0.0.1", port: 1)
    /// Where the north's proxies reach each other.
    var replicationHost = Self.address.host

    var federation: Federation {
        let north = FederationSite(
            id: 1, name: "north",
            proxies: proxies.enumerated().map {
                FederationProxy(
                    id: UInt8($0.offset + 1), name: $0.element,
                    replication: HostPort(host: replicationHost, port: Self.address.port))
            })
        let others = elsewhere.enumerated().map { place, name in
            FederationSite(
                id: UInt8(place + 2), name: name,
                proxies: [FederationProxy(id: 1, name: "\(name.first!)1", replication: Self.address)])
        }
        return Federation(
            name: "shop", flavour: .ketama, servers: servers, slotCount: 256, itemBytesMax: itemBytesMax,
            sites: [north] + others, crossing: crossing)
    }

    /// Small, so that most stories are told with values that are shared.
    var sharedBytesMin = 1
    var tailBytesMax = 32 << 20

    var site: Site {
        var site = Site(
            name: "north",
            primaries: servers.map { Backend(name: $0.name, weight: 1, address: HostPort(host: $0.name, port: 11211)) },
            backups: hasBackup ? [Backend(name: "backup1", weight: 1, address: HostPort(host: "backup1", port: 11211))] : [],
            proxies: proxies.map {
                SiteProxy(
                    name: $0, clients: listeners, replication: Self.address,
                    admin: .unix(path: ""), folder: "", authorityPath: "",
                    certificatePath: "", keyPath: "", clientConnectionsMax: 100)
            }, loops: 1, durability: durability, unreachable: unreachable, flush: flush, times: times,
            segmentBytes: segmentBytes)
        site.reads = reads
        site.clients.memoryBytesMax = memoryBytesMax
        site.refillKeysPerSecond = refillKeysPerSecond
        return site
    }
}

/// A lane and everything around it.
final class Bench {
    let plan: BenchPlan
    let configuration: LaneConfiguration
    let node: LaneNode
    private(set) var now: Instant
    private var effects = Effects()
    private var reports: [Input] = []
    /// What has left through each connection and was not yet looked at.
    private var wire: [ConnectionID: [UInt8]] = [:]
    /// What the shell was asked to dial, the latest last.
    private(set) var dialled: [(id: ConnectionID, endpoint: Endpoint)] = []
    private(set) var closed: Set<ConnectionID> = []
    /// Connections that are not read from for now.
    private(set) var paused: Set<ConnectionID> = []
    /// Connections whose other end reads nothing, and those of them of which the lane has been told.
    private var stalled: [ConnectionID: Bool] = [:]
    private(set) var lines: [String] = []
    /// Those of them that say that something is not as it should be.
    private(set) var warnings: [String] = []
    /// Connections whose server's name was to be looked up again.
    private(set) var lookedUp: [ConnectionID] = []
    /// Clients that were found to be quiet, as often as they were.
    private(set) var quiet: [ConnectionID] = []
    private(set) var finished = false
    /// How often counting began anew.
    private(set) var resets = 0
    private(set) var deleted: [UInt64] = []
    /// The log as it reached the kernel.
    private(set) var disk: [UInt8]
    /// Segments take until `makeSegments`; those that wait.
    var segmentsWait = false
    private var waitingSegments: [UInt64] = []
    /// Segments cannot be made.
    var diskIsFull = false
    /// Servers that are left alone show that they live.
    var probesAreAnswered = true
    /// Syncs are asked for and never done.
    var syncHangs = false

    static let n1 = LaneID(site: SiteID(1), proxy: 1, lane: 0)
    static let n2 = LaneID(site: SiteID(1), proxy: 2, lane: 0)
    static let n3 = LaneID(site: SiteID(1), proxy: 3, lane: 0)
    static let s1 = LaneID(site: SiteID(2), proxy: 1, lane: 0)

    /// A lane that starts; with an `earlier` bench, from what that one's disk holds, or from the first `diskBytes` of it.
    init(
        _ plan: BenchPlan = BenchPlan(), after earlier: Bench? = nil, diskIsFull: Bool = false, syncHangs: Bool = false,
        segmentsWait: Bool = false, clockSetBackSeconds: UInt64 = 0, diskBytes: Int? = nil
    ) {
        self.plan = plan
        self.segmentsWait = segmentsWait
        self.diskIsFull = diskIsFull
        self.syncHangs = syncHangs
        configuration = LaneConfiguration(
            federation: plan.federation, site: plan.site, proxy: "n1", lane: 0, sharedBytesMin: plan.sharedBytesMin,
            tailBytesMax: plan.tailBytesMax)
        now = Instant(monotonicMicroseconds: 1_000_000_000, wallMicroseconds: 1_800_000_000_000_000)
        disk = earlier.map { Array($0.disk.prefix(diskBytes ?? $0.disk.count)) } ?? []
        if let earlier {
            now = earlier.now
            now.monotonicMicroseconds += 1_000_000
            now.wallMicroseconds += 1_000_000
            now.wallMicroseconds -= clockSetBackSeconds * 1_000_000
        }
        var recovery = LaneRecovery(configuration)
        for (record, offset) in Self.records(in: disk) { recovery.replay(record, at: offset) }
        node = LaneNode(
            configuration, recovery: recovery, tail: LogOffset(UInt64(disk.count)), firstSegment: 0, seed: 1, at: now)
        node.observations = []
        node.start(at: now, into: &effects)
        settle()
    }

    /// A lane whose memcached servers are connected and up, and that serves.
    static func serving(_ plan: BenchPlan = BenchPlan(), after earlier: Bench? = nil, clockSetBackSeconds: UInt64 = 0) -> Bench {
        let bench = Bench(plan, after: earlier, clockSetBackSeconds: clockSetBackSeconds)
        for server in plan.servers { bench.bringUp(server.name) }
        if plan.hasBackup { bench.bringUp("backup1") }
        return bench
    }

    // MARK: Steps

    /// One input, and nothing obeyed yet.
    func step(_ input: Input) {
        node.step(input, at: now, into: &effects)
        node.checkInvariants()
    }

    /// Obeys, writes the log, then the sockets; until all is quiet.
    func settle() {
        repeat {
            let actions = effects.actions
            effects.actions.removeAll()
            for action in actions { obey(action) }
            disk += node.log.pending.bytes(at: 0, count: node.log.pending.count)
            node.log.pending.removeAll()
            for id in effects.dirty + effects.patient where node.connections.isOpen(id) {
                guard let told = stalled[id] else {
                    if node.connections.outgoing(id).count >= Limits.countedReplyBytesMin { reports.append(.drained(id)) }
                    send(id)
                    continue
                }
                stalled[id] = true
                if !told { reports.append(.stalled(id)) }
            }
            effects.dirty.removeAll()
            effects.patient.removeAll()
            let inputs = reports
            reports.removeAll()
            for input in inputs { step(input) }
        } while !effects.actions.isEmpty || !effects.dirty.isEmpty || !effects.patient.isEmpty || !reports.isEmpty
            || !node.log.pending.isEmpty
    }

    private func send(_ id: ConnectionID) {
        let outgoing = node.connections.beginWriting(id)
        answerProbe(id, outgoing)
        wire[id, default: []] += outgoing.bytes(at: 0, count: outgoing.count)
        outgoing.removeAll()
    }

    /// An idle server answers the lane's probes, which no story is about.
    private func answerProbe(_ id: ConnectionID, _ outgoing: ByteQueue) {
        guard probesAreAnswered, let server = node.servers.first(where: { $0.connection == id }),
            case .probe? = server.expected.first?.purpose
        else { return }
        outgoing.consume("mn\r\n".utf8.count)
        node.connections.incoming(id).append("MN\r\n" as StaticString)
        reports.append(.received(id))
    }

    private func obey(_ action: Effect) {
        switch action {
        case .connect(let id, let endpoint): dialled.append((id, endpoint))
        case .close(let id, let flush):
            if flush { send(id) }
            closed.insert(id)
            paused.remove(id)
            node.connections.release(id)
        case .quiet(let id): quiet.append(id)
        case .lookUp(let id): lookedUp.append(id)
        case .prepareSegment(let segment) where segmentsWait: waitingSegments.append(segment)
        case .prepareSegment(let segment):
            reports.append(diskIsFull ? .segmentFailed(segment, reason: "No space left on device") : .segmentReady(segment))
        case .sync: if !syncHangs { reports.append(.synced(node.log.tail)) }
        case .readLog(let offset, let count):
            let from = Int(offset.raw)
            reports.append(.logRead(offset, Array(disk[from..<min(disk.count, from + count)])))
        case .log(let level, let line):
            lines.append(line)
            if level != .notice { warnings.append(line) }
        case .resetStats: resets += 1
        case .finished: finished = true
        case .deleteSegment(let segment): deleted.append(segment)
        case .pause(let id): paused.insert(id)
        case .resume(let id): paused.remove(id)
        }
    }

    /// The segments that were asked for are there; so are later ones at once, unless they keep waiting.
    func makeSegments(keepWaiting: Bool = false) {
        segmentsWait = keepWaiting
        let made = waitingSegments
        waitingSegments = []
        for segment in made { step(.segmentReady(segment)) }
        settle()
    }

    /// They cannot be made.
    func failSegments(_ reason: String) {
        for segment in waitingSegments { step(.segmentFailed(segment, reason: reason)) }
        waitingSegments = []
        settle()
    }

    /// A write of so many bytes would find no room in the log.
    func isLogFull(forBytes bytes: Int) -> Bool {
        !node.hasRoom(intentBytes: bytes, outcomeBytes: LogRecord.encodedBytes(keyBytes: 10, payloadBytes: 0))
    }

    /// Time passes, in ticks.
    func advance(milliseconds: Int) {
        var left = milliseconds
        while left > 0 {
            let slice = min(left, 50)
            left -= slice
            now.monotonicMicroseconds += UInt64(slice) * 1_000
            now.wallMicroseconds += UInt64(slice) * 1_000
            step(.deadline)
            settle()
        }
    }

    /// The process is stopped, and goes on.
    func pause(milliseconds: Int) {
        now.monotonicMicroseconds += UInt64(milliseconds) * 1_000
        now.wallMicroseconds += UInt64(milliseconds) * 1_000
    }

    /// Somebody sets the machine's clock ahead.
    func setClockAhead(seconds: UInt64) { now.wallMicroseconds += seconds * 1_000_000 }

    // MARK: Connections

    /// What the lane has sent through a connection since it was last asked.
    func sent(_ id: ConnectionID) -> [UInt8] { wire.removeValue(forKey: id) ?? [] }

    /// What was looked at is there to be looked at again.
    func putBack(_ id: ConnectionID, _ messages: [Message]) {
        let queue = ByteQueue()
        for message in messages { FrameCodec.encode(message, into: queue) }
        wire[id] = [UInt8](queue.readable) + (wire[id] ?? [])
    }

    /// Bytes arrive.
    func receive(_ id: ConnectionID, _ bytes: [UInt8]) {
        node.connections.incoming(id).append(bytes)
        step(.received(id))
        settle()
    }

    /// A client's bytes arrive, and part of a record of TLS behind them, or the rest of one.
    func receiveHalf(_ id: ConnectionID, _ text: String, isHalf: Bool) {
        if !text.isEmpty { node.connections.incoming(id).append(text: text) }
        step(.halfReceived(id, isHalf))
        settle()
    }

    /// The other end reads nothing from now on.
    func stall(_ id: ConnectionID) { stalled[id] = false }

    /// It reads again, all that waits for it.
    func drain(_ id: ConnectionID) {
        stalled[id] = nil
        send(id)
        step(.drained(id))
        settle()
    }

    /// The other end is gone.
    func lose(_ id: ConnectionID, _ reason: String = "connection reset", _ cause: CloseCause = .lost) {
        step(.closed(id, reason: reason, cause: cause))
        closed.insert(id)
        node.connections.release(id)
        settle()
    }

    /// Somebody has connected.
    func accept(_ who: Acceptance) -> ConnectionID {
        let id = node.connections.open()
        step(.accepted(id, who))
        settle()
        return id
    }

    /// The latest connection that was dialled to somewhere.
    func dialled(_ matches: (Endpoint) -> Bool) -> ConnectionID? {
        dialled.last { matches($0.endpoint) && node.connections.isOpen($0.id) }?.id
    }

    // MARK: Clients

    func client() -> ConnectionID { accept(.client(from: "client")) }

    /// A client's bytes, without anything obeyed yet.
    func type(_ id: ConnectionID, _ text: String) {
        node.connections.incoming(id).append(text: text)
        step(.received(id))
    }

    /// A client sends and reads what comes back at once.
    @discardableResult
    func ask(_ id: ConnectionID, _ text: String) -> String {
        receive(id, Array(text.utf8))
        return heard(id)
    }

    func heard(_ id: ConnectionID) -> String { String(decoding: sent(id), as: UTF8.self) }

    // MARK: memcached

    func backend(_ name: String) -> ConnectionID {
        let address = HostPort(host: name, port: 11211)
        guard let id = dialled({ $0 == .backend(address) || $0 == .listing(address) }) else {
            preconditionFailure("\(name) was never dialled")
        }
        return id
    }

    /// A server accepts the connection that was dialled, and says who it is.
    func bringUp(_ name: String, pid: Int = 1, startedAt: Int = 1_000) {
        step(.connected(backend(name)))
        settle()
        #expect(commands(name) == "stats\r\n")
        answer(name, "STAT pid \(pid)\r\nSTAT uptime 10\r\nSTAT time \(startedAt + 10)\r\nEND\r\n")
    }

    /// What a server has been sent since it was last asked.
    func commands(_ name: String) -> String { heard(backend(name)) }

    /// A server's CAS value as clients are shown it.
    func token(_ cas: UInt64, of name: String) -> UInt64 {
        guard let server = node.servers.first(where: { $0.definition.name == name }) else { fatalError("no server \(name)") }
        return Token.shown(cas, tag: server.tag)
    }

    /// A key that a primary holds.
    func key(at name: String, besides other: String? = nil) -> String {
        let ring = node.rings.primaries
        for key in (0...).lazy.map({ "key\($0)" }) where key != other && ring.servers[ring.server(for: key)].name == name {
            return key
        }
        fatalError("no server \(name)")
    }

    func answer(_ name: String, _ text: String) { receive(backend(name), Array(text.utf8)) }

    // MARK: The log

    /// The records that reached the kernel, without the lane's own bookkeeping.
    var logged: [LogRecord] {
        Self.records(in: disk).map(\.record).filter {
            switch $0.kind {
            case .intent, .derivedIntent, .commit, .commitValue, .abort, .applied: true
            default: false
            }
        }
    }

    /// Records that were appended in the turn under way and have not reached the kernel.
    var pendingRecords: [LogRecord] {
        var found: [LogRecord] = []
        var at = 0
        let pending = node.log.pending.bytes(at: 0, count: node.log.pending.count)
        while at < pending.count, let next = pending.withUnsafeBytes({ try? LogRecord.decode($0, at: at) }) {
            found.append(next.record)
            at += next.bytes
        }
        return found
    }

    static func records(in disk: [UInt8]) -> [(record: LogRecord, offset: LogOffset)] {
        disk.withUnsafeBytes { bytes in
            var found: [(LogRecord, LogOffset)] = []
            var at = 0
            while at < bytes.count,
                let next = try? LogRecord.decode(bytes, at: at, address: LogOffset(UInt64(at)))
            {
                found.append((next.record, LogOffset(UInt64(at))))
                at += next.bytes
            }
            return found
        }
    }
}
