// The whole brain of one event loop: its clients, its connections to memcached, the lane that it owns, its siblings in
// the group and its streams to other sites. It is a value machine with one seam (`Seam.swift`): inputs in, effects out,
// time handed in. The daemon runs one per core, the simulator dozens in one thread.
//
//     Clients.swift        sessions: commands in order, replies in order
//     ClientUpkeep.swift   what clients may not do to each other: memory, slow requests, idling, turns
//     QuietClients.swift   what clients give back that have been quiet
//     Authentication.swift names and passwords, before a session
//     Reads.swift          reads straight to the primary, fallback to the backup
//     Spreading.swift      which of a key's two servers a read asks
//     HotKeys.swift        keys that are read most, by sampling
//     Routing.swift        who owns a slot; passing on writes, records, assertions; fetching values
//     Handover.swift       slots pass from one living lane to another
//     OwnerLane.swift      writes: stamp, log, send, answer, land
//     Outcomes.swift       … decide, commit or abort
//     Landings.swift       records of other sites and assertions: compare, apply
//     Repairs.swift        copies, and what a returned server missed
//     Refill.swift         a server that came back empty, filled up in the background
//     Clearing.swift       what lives elsewhere now, deleted in the background
//     KeyLists.swift       the lists of keys that both need
//     Stranding.swift      no server can be reached: the slots go to the siblings
//     Barriers.swift       flush_all of the whole federation
//     Doubts.swift         what nobody knows: outcomes of derived writes, values that are elsewhere
//     Pipelines.swift      the connections to memcached and their replies
//     Group.swift          links to the siblings, mirrors
//     Floors.swift         below which nothing more can come, and what may be forgotten
//     Ceiling.swift        above which no version is given
//     LogRoom.swift        who waits for room in the log, and for how long
//     StreamSender.swift   committed records on their way to other sites
//     StreamReceiver.swift records of other sites on their way to their owners
//     Upkeep.swift         the tick: time-outs, heartbeats, retention
//     Reconfiguration.swift what changes while the lane runs: listeners, limits, servers' addresses
//     RingChange.swift     other servers: the group agrees on them, and drains …
//     RingSwitch.swift     … and takes them

import Configuration
import DequeModule
import Kernel
import Memcache
import Replication
import Ring
import Status
import WriteLog

/// The brain of one lane.
public final class LaneNode {
    /// Its files are read anew now and then (`Reconfiguration.swift`, `RingChange.swift`); all else that is made of them here stays.
    var configuration: LaneConfiguration
    /// Where keys live.
    var rings: SiteRings
    /// The log says so.
    var ringsLogged = false
    /// Other rings, on their way.
    var ringChange = RingChange()
    /// It must not serve before it knows that its siblings have the same rings.
    var learnsRings = false
    /// All lanes of the group but this one.
    let siblingIDs: [LaneID]
    /// Reads may ask a key's backup although its primary is well.
    var spreadsReads: Bool

    /// All connections of the lane; the shell shares it.
    public let connections = ConnectionTable()
    /// The lane's log; the shell writes out what is pending.
    public internal(set) var log: LogWriter
    /// What happened, for checkers; nil means that nobody listens.
    public var observations: [Observation]?

    /// What the shell knows of the process.
    public var process = ProcessFacts()
    /// What the servers last said of themselves, for `stats`; the shell tells the other loops of the process.
    public internal(set) var statAnswers = StatAnswers()
    /// The counters when they were last reset, for `stats`.
    var statsBaseline: [String: UInt64] = [:]

    // The moment of the step under way.
    var now: Instant
    var effects = Effects()
    var random: SeededRandom
    var clock: HybridClock
    var state = LaneState.joining
    var startedAt: UInt64
    /// When it began to join, at its start or after a pause, in monotonic microseconds.
    var joiningSince: UInt64
    var leaveBy: UInt64?
    /// When it last reached a memcached server, in monotonic microseconds; it may give its slots away once after that.
    var reachedAt: UInt64
    var mayYield = false
    /// False once it was paused while it left: its index is out of date, and it has no time to join anew.
    var mayOwn = true
    /// When it began to leave, in monotonic microseconds.
    var leavingSince: UInt64 = 0
    var finished = false

    // Connections by what they are.
    var sessions = ConnectionMap<ClientSession>()
    /// The decoded key of the read under way.
    let keyScratch = ByteQueue()
    /// The write under way as it goes to a server.
    let commandScratch = ByteQueue()
    /// The reply to a retrieval of many keys, for the moment.
    let gatherScratch = ByteQueue()
    /// The first line of a reply with a large value, for the moment.
    let headScratch = ByteQueue()
    /// A reply with its CAS value tagged, for the moment.
    let tokenScratch = ByteQueue()
    /// A reply as a packet of the binary protocol, for the moment.
    let packetScratch = ByteQueue()
    var sessionsToPump: Deque<ClientSession> = []
    /// Those that had more commands than a turn takes.
    var sessionsNextTurn: [ClientSession] = []
    var clientMemory: ClientMemory
    var clientReport = ClientReport()
    /// Clients with half a request when they were last heard.
    var halfSent: [ConnectionID] = []
    /// Where reads are spread: the backup's turn was last.
    var wasBackupsTurn = false
    var hotKeys: HotKeys
    var serverOf = ConnectionMap<Int>()
    var links = ConnectionMap<PeerLink>()
    var servers: [BackendServer]
    /// Clients are served: every server has been tried, and the log.
    var clientsAdmitted = false
    /// Names and passwords by the number of the listener that asks for them.
    var credentials: [Int: Credentials] = [:]
    /// Where clients come in, by number.
    var listeners: [Int: ClientListener]
    var authenticationComplaints = Complaints()
    /// Records that a server would not take.
    var refusalComplaints = Complaints()

    // The owner's lane.
    var index = KeyIndex()
    var work = KeyMap<KeyWork>()
    /// Writes, records and assertions that are sent and not yet landed everywhere, by intent or identity; for floors.
    var operations = OperationList()
    var committed: Position
    var committedBytes: UInt64 = 0
    /// Padded bytes of outcomes that writes under way may still append.
    var owedBytes = 0
    var copiesUnderWay = 0
    /// Keys that were read from a backup lately, and whose owner was asked to copy them: once is enough for a while, since reads that
    /// want a CAS value go on asking the backup.
    var refillsAsked: Set<[UInt8]> = []
    /// When those are forgotten, in monotonic microseconds.
    var refillsForgottenAt: UInt64 = 0
    /// The refill that this lane does, and when those may be tried again that could not be done, in monotonic microseconds.
    var refill: Refill?
    var refillsRetriedAt: [RefillPair: UInt64] = [:]
    /// The clearing that this lane does, and when one may be tried again, in monotonic microseconds.
    var clearing: Clearing?
    var clearingRetriedAt: UInt64 = 0
    /// When the rings that are in effect were taken, in monotonic microseconds; nil for those that it started with.
    var ringsTakenAt: UInt64?
    /// Writes that wait for an owner to be known.
    var parked: Deque<(write: Write, completion: Completion, hops: UInt8, until: UInt64)> = []
    /// Replies held until the log is on the disk (durability `disk`).
    var heldReplies: Deque<(offset: LogOffset, completion: Completion, kind: ReplyKind, bytes: [UInt8])> = []
    var syncUnderWay = false
    var lastSyncAt: UInt64 = 0

    // Mirrors.
    var mirrorSequence: UInt64 = 0
    /// Committed positions in order, each with the landing that must be mirrored before it is shipped (nil: not yet landed), and
    /// the end of the log at that time.
    var shipGate: Deque<(position: Position, sequence: UInt64?, logged: LogOffset)> = []
    var shippable: Position
    /// Requesters who wait until a landing has been mirrored to every live sibling, each with the end of the log at that time.
    var mirrorWaiters: Deque<(sequence: UInt64, requester: Requester, logged: LogOffset)> = []

    /// Siblings whose landings were taken in during this step.
    var mirrorsToAcknowledge: [LaneID] = []
    /// The floors as they were last computed.
    var lastFloor: UInt64 = 0
    /// Floors that may be told once the log is on the disk up to the offset.
    var floorsToTell: Deque<(offset: LogOffset, floor: UInt64)> = []
    var lastGroupFloor: UInt64 = 0

    // The group.
    var siblings: [LaneID: Sibling] = [:]
    var owners: [LaneID?]
    /// Who owned each slot before this lane did, and has not handed it over; and whose word is waited for.
    var formerOwners: [LaneID?]
    var awaitedHandovers: [LaneID: AwaitedHandover] = [:]
    /// Keys of which this lane and a sibling tell otherwise, neither having seen what it tells of; and until when a third one that is away is
    /// waited for, in monotonic microseconds.
    var disputed: [[UInt8]: UInt64] = [:]
    /// Deletes and the like that servers were asked for and that belong to nothing that is under way.
    var tidiesUnderWay = 0
    /// Lanes that wait for this one's word.
    var handovers: [Handover] = []
    var nextRequest: UInt64 = 1
    var forwards: [UInt64: Forward] = [:]
    var assertions: [UInt64: Assertion] = [:]
    var assertionOf = KeyMap<UInt64>()
    var fetches: [UInt64: Fetch] = [:]
    /// Derived writes of this lane whose outcome is unknown, by key: the one with the highest version.
    var doubts = KeyMap<DoubtedWrite>()
    /// Keys that were written after a barrier which has just emptied the servers: to be written again.
    var wiped = KeyQueue()
    /// When a barrier last emptied the servers, in monotonic microseconds.
    var barrierAt: UInt64 = 0
    /// When barriers fall due that clients asked for in advance, in monotonic microseconds.
    var barriersDue: [UInt64] = []
    /// Tops whose values are waited for.
    var awaitedTops: [AwaitedTop] = []
    var logReads: [LogOffset: [LogReadPurpose]] = [:]
    /// Per lane of other sites: nothing at or below this stamp will reach this site any more.
    var remoteFloors: [LaneID: UInt64] = [:]
    /// Lanes per proxy of each other site, once known.
    var remoteLoops: [SiteID: UInt8] = [:]
    /// Nothing at or below this stamp concerns the index any more.
    var stableFloor: UInt64
    /// The stable floor that the log says, and the stamp that it must reach: that of the newest write in the log.
    var stableLogged: UInt64
    var stableWanted: UInt64
    var stableWantedAt = LogOffset.zero
    var forgottenUpTo: UInt64 = 0

    // Streams.
    let siteOrder: [SiteID]
    var senders: [SiteID: StreamSender] = [:]
    var receivers: [LaneID: StreamReceiver] = [:]
    var receiversDue: [StreamReceiver] = []
    /// Streams whose waiting messages can be taken now.
    var linksToRead: Deque<PeerLink> = []
    var tail: StreamTail
    /// Position, floor and bytes at moments of the past: what promises and lag are read from.
    var samples: Deque<LagSample> = []
    /// First position committed in each kept segment, and where a reader must start to find its intents.
    var segmentStarts: Deque<SegmentStart>
    var straddling: StraddlingCommits
    var firstSegment: UInt64
    /// The segment into which what older ones say was last carried, by this life of the lane, and where that ends.
    var carriedSegment: UInt64?
    var carriedAt = LogOffset.zero
    /// Segments below this one can go once the log is on the disk up to there.
    var retiring: (below: UInt64, at: LogOffset)?
    /// No stamp above this is given before a higher ceiling is in the log.
    var ceiling: UInt64
    /// The ceiling that is on the disk, and where the newest one is in the log.
    var durableCeiling: UInt64 = 0
    /// When the index was last gone through, something that could have been forgotten was pinned.
    var pinnedWereLeft = false
    /// Writes wait for the ceiling to be raised on the disk; how many syncs have not brought a high enough one.
    var waitsForCeiling = false
    var ceilingsTooLow = 0
    /// Ceilings in the log, each with the end of its record, that are not yet on the disk.
    var ceilingsToSync: Deque<(offset: LogOffset, ceiling: UInt64)> = []
    /// Where the newest record of a write is in the log.
    var lastWriteAt = LogOffset.zero
    var landedFloorTold = LogOffset.zero
    /// The log says of everything that has landed that it has.
    var landedIsTold = false
    var logFailure = ""
    /// When the log last got a segment, in monotonic microseconds.
    var segmentCameAt: UInt64 = 0
    /// What waits for room in the log, and whether it is to be tried again.
    var awaitingRoom = RoomQueue()
    var roomMayHaveCome = false
    var segmentRetryAt: UInt64 = 0

    // Upkeep.
    var nextTick: UInt64
    var counters = LaneCounters()
    /// Keys to repair once the lane is up to date: its own records that may not have landed.
    var unresolved: [(key: [UInt8], cause: AssertionCause)]
    /// Stores and deletes that the log holds without an outcome: committed as soon as there is room.
    var openIntents: [OpenIntent]
    let crossing: CrossingTable

    /// A lane as recovery left it. `tail` is where the log goes on, `firstSegment` the oldest segment on the disk, `seed`
    /// the source of its jitter.
    public init(
        _ configuration: LaneConfiguration, recovery: LaneRecovery, tail: LogOffset, firstSegment: UInt64, seed: UInt64,
        at now: Instant
    ) {
        self.configuration = configuration
        self.tail = StreamTail(bytesMax: configuration.tailBytesMax)
        self.now = now
        let federation = configuration.federation
        let site = configuration.site
        clientMemory = ClientMemory(bytesMax: site.clients.memoryBytesMax / site.loops)
        listeners = configuration.numberedListeners
        spreadsReads = site.reads != .primary && !site.backups.isEmpty
        hotKeys = HotKeys(seed: seed, at: now.monotonicMicroseconds)
        rings = SiteRings(federation, site)
        siteOrder = configuration.elsewhere.map { SiteID($0.id) }
        crossing = CrossingTable(federation.crossing)
        siblingIDs = configuration.group.filter { $0 != configuration.laneID }
        log = LogWriter(tail: tail, segmentBytes: site.segmentBytes, lane: configuration.laneID, federation: federation.name)
        random = SeededRandom(seed: seed)
        // A late answer to an earlier life of this lane must not be taken for one to this.
        nextRequest = (random.next() >> 16) << 8
        clock = HybridClock(floor: recovery.clockFloor)
        startedAt = now.monotonicMicroseconds
        joiningSince = startedAt
        reachedAt = startedAt
        servers = (site.primaries + site.backups).enumerated().map { place, backend in
            BackendServer(index: place, isBackup: place >= site.primaries.count, definition: backend)
        }
        index = recovery.index
        committed = recovery.committed
        shippable = .zero
        owners = Array(repeating: nil, count: federation.slotCount)
        formerOwners = owners
        stableFloor = recovery.stableFloor
        stableLogged = recovery.stableFloor
        stableWanted = recovery.clockFloor
        // The first segment of a new log has nothing to carry, but a start as well.
        segmentStarts =
            tail == .zero
            ? [SegmentStart(segment: 0, firstPosition: recovery.committed.next, readFrom: .zero)] : recovery.segmentStarts
        straddling = recovery.straddling
        self.firstSegment = firstSegment
        // An earlier life may have ended at the very beginning of the segment, before it had carried anything.
        carriedSegment = tail == .zero ? 0 : nil
        ceiling = recovery.clockFloor
        nextTick = now.monotonicMicroseconds
        unresolved = recovery.unresolved
        for (key, record) in recovery.doubts { doubts[key] = Self.recovered(record, at: now) }
        for server in servers {
            guard let known = recovery.servers[server.definition.name] else { continue }
            server.incarnation = known.incarnation.isEmpty ? nil : known.incarnation  // it may never have been met
            server.recoveringFrom = known.recovering ? Set(Self.others(than: server, site)) : []
            server.lacking = known.recovering ? 1 : 0  // whenever that was; siblings may know, and whether it was made good
            (server.movedAt, server.clearedTo) = (known.movedAt, known.clearedTo)
            server.missedTooMany = known.cutOff  // what it missed was only in memory
        }
        for id in siblingIDs { siblings[id] = Sibling(id: id) }
        for elsewhere in configuration.elsewhere {
            let id = SiteID(elsewhere.id)
            senders[id] = StreamSender(site: elsewhere, acknowledged: recovery.acknowledged[id] ?? .zero)
        }
        openIntents = recovery.openIntents
        shipGate.append((committed, 0, .zero))
        if let before = recovery.rings, !before.places(as: rings) { noteRestart(from: before) }
    }

    /// The wall clock and monotonic time at which the lane wants to be called again, in monotonic microseconds.
    public var nextDeadline: UInt64? {
        if finished { return nil }
        // Just after this turn's moment: a shell must not ask for it in the turn under way.
        return sessionsNextTurn.isEmpty ? nextTick : min(nextTick, monotonic + 1)
    }

    /// The first step: asks for what the lane needs to begin.
    public func start(at now: Instant, into effects: inout Effects) {
        perform(at: now, into: &effects) { self.tick() }
    }

    /// Takes in one input; what the shell is to do about it is appended to `effects`.
    public func step(_ input: Input, at now: Instant, into effects: inout Effects) {
        perform(at: now, into: &effects) { self.handle(input) }
    }

    private func perform(at now: Instant, into effects: inout Effects, _ body: () -> Void) {
        let before = self.now
        self.now = now
        swap(&self.effects, &effects)
        rejoinAfterPause(since: before)
        body()
        finishStep()
        swap(&self.effects, &effects)
    }

    private func handle(_ input: Input) {
        switch input {
        case .accepted(let id, .client(let address, let local, let listener)):
            sessions[id] = ClientSession(
                connection: id, address: address, local: local, listener: listener,
                itemBytesMax: configuration.federation.itemBytesMax, sharedBytesMin: configuration.sharedBytesMin,
                admission: asksWho(listener) ? Admission(listener: listener) : nil, at: monotonic)
            counters.connectionsAccepted += 1
        case .accepted(let id, .peer(let identity)): acceptPeer(id, identity)
        case .connected(let id): connected(id)
        case .received(let id): received(id)
        case .halfReceived(let id, let isHalf): sessions[id].map { halfReceived($0, isHalf) }
        case .drained(let id): drained(id)
        case .ended(let id): sessions[id].map { clientEnded($0) }
        case .stalled(let id): stalled(id)
        case .closed(let id, let reason, let cause): closed(id, reason, cause)
        case .moved(let id): serverOf[id].map { nameMoved(servers[$0]) }
        case .synced(let offset): synced(offset)
        case .segmentReady(let segment): segmentReady(segment)
        case .segmentFailed(let segment, let reason): segmentFailed(segment, reason)
        case .logRead(let offset, let bytes): logRead(offset, bytes)
        case .deadline:
            pumpNextTurn()
            if now.monotonicMicroseconds >= nextTick { tick() }
        case .credentials(let credentials): self.credentials = credentials
        case .reconfigured(let federation, let site, let listeners): reconfigure(federation, site, listeners)
        case .resetStats: resetStats()
        case .leave: leave()
        }
    }

    private func connected(_ id: ConnectionID) {
        if let server = serverOf[id] {
            greet(servers[server])
        } else if let link = links[id] {
            openLink(link)
        } else if let list = keyList(on: id) {
            ask(list)
        }
    }

    private func received(_ id: ConnectionID) {
        if let session = sessions[id] {
            pump(session)
        } else if let server = serverOf[id] {
            takeReplies(servers[server])
        } else if let link = links[id] {
            takeMessages(link)
        } else if let refill, refill.list.connection == id {
            takeListing(refill)
        } else if let clearing, clearing.list.connection == id {
            takeListing(clearing)
        }
    }

    private func stalled(_ id: ConnectionID) {
        guard let session = sessions[id] else { return }
        session.care.isStalled = true
        account(session)
    }

    private func drained(_ id: ConnectionID) {
        if let session = sessions[id] {
            session.care.isStalled = false
            pump(session)
        } else if let link = links[id], link.purpose == .stream, let sender = senderOf(link) {
            pumpSender(sender)
        }
    }

    private func closed(_ id: ConnectionID, _ reason: String, _ cause: CloseCause) {
        if let session = sessions[id] {
            if cause == .stalled { counters.clientsClosedStalled += 1 }
            return forget(session)
        }
        if let server = serverOf.removeValue(forKey: id) { serverBroke(servers[server], reason) }
        if let link = links.removeValue(forKey: id) {
            link.cause = cause
            linkBroke(link, reason)
        }
        guard let list = keyList(on: id) else { return }
        list.noteClosed()
        if let refill, refill.list === list { abandon(refill, reason) }
        if let clearing, clearing.list === list { abandon(clearing, reason) }
    }

    private func keyList(on id: ConnectionID) -> KeyList? {
        [refill?.list, clearing?.list].compactMap(\.self).first { $0.connection == id }
    }

    /// What several events of a step have in common is done once, at its end.
    private func finishStep() {
        admitClients()
        if learnsRings { goOnLearningRings() }
        if ringChange.phase != .none { goOnChangingRings() }
        pumpDueSessions()
        carryIntoNewSegment()
        releaseMirrored()
        if roomMayHaveCome { giveRoom() }
        while let link = linksToRead.popFirst() { if links[link.connection] === link { takeMessages(link) } }
        acknowledgeMirrors()
        if !handovers.isEmpty { goOnHandingOver() }
        releaseMirrored()
        if clientMemory.mustLook { closeGreediest(ofAll: false) }
        pumpDueSessions()
        for site in siteOrder { senders[site].map { if $0.needsPump { pumpSender($0) } } }
        for receiver in receiversDue { acknowledge(receiver) }
        receiversDue.removeAll(keepingCapacity: true)
        askForSegments()
        askForSync()
    }

    var backupIndices: Range<Int> { configuration.site.primaries.count..<servers.count }

    /// The backups for a primary, the primaries for a backup.
    func others(than server: BackendServer) -> Range<Int> { Self.others(than: server, configuration.site) }

    private static func others(than server: BackendServer, _ site: Site) -> Range<Int> {
        server.isBackup ? 0..<site.primaries.count : site.primaries.count..<site.primaries.count + site.backups.count
    }

    func observe(_ observation: @autoclosure () -> Observation) {
        if observations != nil { observations?.append(observation()) }
    }

    func isPlanted(_ bug: PlantedBugs) -> Bool { configuration.planted.contains(bug) }

    func say(_ level: LogLevel, _ line: String) { effects.actions.append(.log(level, line)) }

    func markDirty(_ id: ConnectionID) { if connections.noteDirty(id) { effects.dirty.append(id) } }

    /// As `markDirty`, for a client that more replies are on their way to.
    func markPatient(_ id: ConnectionID) { if connections.notePatient(id) { effects.patient.append(id) } }

    var laneID: LaneID { configuration.laneID }
    var monotonic: UInt64 { now.monotonicMicroseconds }
    var isLeaving: Bool { state == .leaving }
}
