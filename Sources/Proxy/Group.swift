// The group's links (`federation.md` section 7): each pair of lanes has one, dialled by the lower lane, or by one that has
// just started and must know at once who else is there. On a new link both
// ends tell all that their indexes hold; then each landing is mirrored, and each heartbeat carries the floors.

import Configuration
import Kernel
import Memcache
import Replication
import Ring
import WriteLog

extension LaneNode {
    // MARK: Connecting

    func dial(_ sibling: Sibling) {
        guard let proxy = configuration.here.proxies.first(where: { $0.id == sibling.id.proxy }) else { return }
        let identity = PeerIdentity(federation: configuration.federation.name, site: configuration.site.name, proxy: proxy.name)
        let id = connections.open()
        let link = PeerLink(connection: id, identity: identity, dialled: true, at: monotonic)
        link.purpose = .group
        link.lane = sibling.id
        links[id] = link
        sibling.pending = link
        effects.actions.append(.connect(id, .peer(identity: identity, address: proxy.replication, lane: sibling.id.lane)))
    }

    func acceptPeer(_ id: ConnectionID, _ identity: PeerIdentity) {
        links[id] = PeerLink(connection: id, identity: identity, dialled: false, at: monotonic)
    }

    /// A dialled connection stands: greet.
    func openLink(_ link: PeerLink) {
        link.heardAt = monotonic
        guard let purpose = link.purpose else { preconditionFailure("dialled link \(link.connection) without a purpose") }
        let resume = purpose == .stream ? senderOf(link)?.resumePosition ?? Position(1) : .zero
        send(.hello(hello(purpose, resume: resume)), on: link)
    }

    func ownHello(answering hello: Hello) -> Hello { self.hello(hello.purpose, resume: .zero) }

    private func hello(_ purpose: LinkPurpose, resume: Position) -> Hello {
        Hello(
            purpose: purpose, lane: laneID, loops: UInt8(configuration.site.loops), stamp: clock.last, wall: now.wallMicroseconds,
            resume: resume, federation: configuration.federation.name, ring: rings.fingerprint.encode())
    }

    // MARK: Talking

    func send(_ message: Message, on link: PeerLink) {
        guard !link.isHungUp else { return }
        FrameCodec.encode(message, into: connections.outgoing(link.connection))
        markDirty(link.connection)
    }

    func takeMessages(_ link: PeerLink) {
        let incoming = connections.incoming(link.connection)
        link.heardAt = monotonic
        while links[link.connection] === link {
            if link.purpose == .stream, let lane = link.lane, let receiver = receivers[lane], receiver.link === link,
                !receiver.hasRoom
            {
                receiver.isWaiting = true
                return
            }
            do {
                let limit = configuration.federation.itemBytesMax
                guard let message = try FrameCodec.decode(from: incoming, valueBytesMax: limit) else { return }
                take(message, link)
            } catch {
                return refuse(link, "\(error)")
            }
        }
    }

    /// Tells the other end why, and closes.
    func refuse(_ link: PeerLink, _ reason: String) {
        say(.warning, "peer refused peer=\(link.identity.site)/\(link.identity.proxy) reason=\(reason)")
        send(.refuse(reason), on: link)
        link.cause = .refused
        hangUp(link, "refused: \(reason)", flush: true)
    }

    func hangUp(_ link: PeerLink, _ reason: String, flush: Bool = false) {
        guard links.removeValue(forKey: link.connection) != nil else { return }
        link.isHungUp = true
        effects.actions.append(.close(link.connection, flush: flush))
        linkBroke(link, reason)
    }

    private func take(_ message: Message, _ link: PeerLink) {
        if case .hello(let hello) = message { return greeted(link, hello) }
        if case .refuse(let reason) = message {
            say(.warning, "peer refuses peer=\(link.identity.site)/\(link.identity.proxy) reason=\(reason)")
            link.cause = .refused
            return hangUp(link, "\(link.identity.site)/\(link.identity.proxy) refuses: \(reason)")
        }
        if stamp(of: message) > HybridClock.stamp(atWall: now.wallMicroseconds + Limits.clockRefusedMicroseconds) {
            return refuse(link, "its clock is more than a day ahead of this machine's: set both clocks right")
        }
        guard link.isOpen, let lane = link.lane else { return refuse(link, "a message came before the greeting") }
        if link.purpose == .stream { return takeStream(message, link, lane) }
        guard let sibling = siblings[lane] else { return refuse(link, "lane \(lane) is not in this group") }
        sibling.heardAt = monotonic
        takeGroup(message, sibling, link)
    }

    /// The highest clock reading in a message.
    private func stamp(of message: Message) -> UInt64 {
        switch message {
        case .heartbeat(let stamp, _, _, _, _, _, _), .promise(_, let stamp, _, _), .forward(_, _, let stamp, _),
            .forwardReply(_, _, let stamp, _), .handedOver(_, let stamp):
            stamp
        case .mirror(_, let tops): max(tops.version, tops.touch).stamp
        case .assert(_, _, _, let doubted, let tops): max(doubted, tops.version, tops.touch).stamp
        case .apply(_, _, let record), .record(let record): record.version.stamp
        case .fetched(_, .found(let record)): record.version.stamp
        case .moved(_, let at, let clearedTo): max(at, clearedTo)
        default: 0
        }
    }

    // MARK: Greeting

    private func greeted(_ link: PeerLink, _ hello: Hello) {
        if link.isOpen { return refuse(link, "greeted twice") }
        noteRings(of: hello, link)
        if let why = whyNot(link, hello) { return refuse(link, why) }
        clock.observe(hello.stamp)
        link.lane = hello.lane
        link.purpose = hello.purpose
        link.isOpen = true
        link.openedAt = monotonic
        if hello.purpose == .stream { return streamGreeted(link, hello) }
        guard let sibling = siblings[hello.lane] else { return refuse(link, "lane \(hello.lane) is not in this group") }
        if !link.dialled, sibling.pending != nil, laneID < sibling.id {
            // Both dialled: the lower lane's link stays.
            return hangUp(link, "the link dialled here takes precedence")
        }
        if let old = sibling.link {
            old.isReplaced = true
            hangUp(old, "a newer link took its place")
        }
        if !link.dialled { send(.hello(self.hello(.group, resume: .zero)), on: link) }
        open(sibling, link)
    }

    /// A sibling with another ring is told which one this is: it may have to wait.
    private func noteRings(of hello: Hello, _ link: PeerLink) {
        guard hello.purpose == .group, let sibling = siblings[hello.lane], let ring = try? RingFingerprint.decode(hello.ring),
            ring != rings.fingerprint
        else { return }
        sibling.otherRing = ring
        hasOtherRings(sibling)
        if !link.dialled { send(.hello(self.hello(.group, resume: .zero)), on: link) }
    }

    /// Why a peer cannot be talked to; nil when it can.
    private func whyNot(_ link: PeerLink, _ hello: Hello) -> String? {
        if hello.version != Hello.protocolVersion {
            return "protocol version \(hello.version) there, \(Hello.protocolVersion) here: run the same version of Meridian"
        }
        if hello.federation != configuration.federation.name || link.identity.federation != configuration.federation.name {
            return "federation \(hello.federation) there, \(configuration.federation.name) here"
        }
        guard let site = configuration.federation.sites.first(where: { $0.id == hello.lane.site.raw }),
            let proxy = site.proxies.first(where: { $0.id == hello.lane.proxy })
        else { return "lane \(hello.lane) is not in this federation: give every site the same federation file" }
        if site.name != link.identity.site || proxy.name != link.identity.proxy {
            return
                "its certificate names \(link.identity.site)/\(link.identity.proxy), but it speaks for \(site.name)/\(proxy.name)"
        }
        if let expected = link.purpose, expected != hello.purpose { return "greeted for another purpose than it was called for" }
        let same = hello.lane.site == laneID.site
        if (hello.purpose == .group) != same { return "a \(same ? "stream" : "group link") to site \(site.name) makes no sense" }
        if same && Int(hello.loops) != configuration.site.loops {
            return
                "\(proxy.name) runs \(hello.loops) loops, this proxy \(configuration.site.loops): set the same loops in the site file"
        }
        if hello.stamp > HybridClock.stamp(atWall: now.wallMicroseconds + Limits.clockRefusedMicroseconds) {
            return "its clock is more than a day ahead of this machine's: set both clocks right"
        }
        if hello.resume.raw > UInt64.max / 2 { return "it would resume at position \(hello.resume)" }
        if hello.lane == laneID { return "lane \(hello.lane) greets itself: two proxies run under one name" }
        do {
            if let difference = rings.fingerprint.difference(from: try RingFingerprint.decode(hello.ring)) {
                return "the rings differ: \(difference)"
            }
        } catch {
            return "its ring makes no sense: \(error)"
        }
        return nil
    }

    private func open(_ sibling: Sibling, _ link: PeerLink) {
        if let pending = sibling.pending, pending !== link { hangUp(pending, "another link took its place") }
        sibling.pending = nil
        sibling.link = link
        sibling.state = .joining
        sibling.mirrored = nil
        sibling.mirrorSeen = 0
        sibling.dumped = false
        sibling.toldStable = false
        sibling.attempts = 0
        sibling.unreachable = false
        (sibling.isAbsent, sibling.wasAbsent) = (false, false)
        sibling.differedAt = nil
        sibling.heardAt = monotonic
        sibling.clockHeard = 0
        (sibling.rings, sibling.nextRings, sibling.ringProgress) = (nil, 0, .offered)
        link.echoedAt = monotonic
        say(.notice, "sibling linked lane=\(sibling.id)")
        tellRings(sibling)
        // What is below the barrier is told with it.
        for (key, entry) in index.sorted where entry.version >= index.barrier || key == allKeys {
            send(.mirror(sequence: 0, tops: entry.tops(of: key)), on: link)
        }
        // The dump tells tops, not landings: what landed below a top and was lost with the last link is put right here.
        for (_, key) in sibling.untaken where index[key].map({ $0.holder != laneID }) ?? false {
            requestAssertion(key, .overtaken)
        }
        sibling.untaken.removeAll()
        sibling.dumpedAt = mirrorSequence
        send(.dumped(sequence: mirrorSequence), on: link)
        tellServers(sibling)
        for (lane, floor) in remoteFloors.sorted(by: { $0.key < $1.key }) {
            send(.remoteFloor(lane: lane, loops: remoteLoops[lane.site] ?? 0, floor: floor), on: link)
        }
        beat(sibling)
        membershipChanged()
    }

    // MARK: Breaking

    func linkBroke(_ link: PeerLink, _ reason: String) {
        if link.purpose == .stream { return streamBroke(link, reason) }
        guard let lane = link.lane, let sibling = siblings[lane] else { return }
        if sibling.pending === link {
            sibling.pending = nil
            sibling.unreachable = true
            sibling.isAbsent = link.cause == .absent
            sibling.wasAbsent = sibling.wasAbsent || sibling.isAbsent
            retryLater(sibling)
            if state == .joining { membershipChanged() }
            if link.cause == .absent { askOthers(sibling) }
        }
        guard sibling.link === link else { return }
        sibling.link = nil
        sibling.mirrored = nil
        sibling.dumped = false
        sibling.toldStable = false
        sibling.copiedUntold = sibling.copiedUntold || servers.contains(where: \.lacksItems)
        retryLater(sibling)
        say(isExpected(link, sibling) ? .notice : .warning, "sibling lost lane=\(lane) reason=\(reason)")
        distrustServers(cutOffAt: lane)
        membershipChanged()
        stopAwaiting(lane)
        dropUnstamped(of: lane)
        redirect(from: lane)
        if sibling.mayStillWrite {
            // Whether it runs at all is best learned at once.
            sibling.retryAt = monotonic
            nextTick = monotonic
        }
        releaseMirrored()
    }

    /// A link ends where everything is as it should be: somebody leaves; two that start have called each other; both ends are in this
    /// process, and what ends them ends it.
    private func isExpected(_ link: PeerLink, _ sibling: Sibling) -> Bool {
        if link.isReplaced || isLeaving || finished || sibling.state == .leaving { return true }
        // What this end gives up, being paused or because the other says nothing, is trouble wherever it is.
        if link.isHungUp { return false }
        let isYoung = monotonic - link.openedAt < Limits.youngLinkMicroseconds
        return sibling.id.proxy == laneID.proxy || (isYoung && (state == .joining || sibling.state == .joining))
    }

    private func retryLater(_ sibling: Sibling) {
        sibling.attempts += 1
        sibling.retryAt = monotonic + backOff(sibling.attempts)
    }

    /// A sibling whose writes a server lacks took with it the knowledge of which they are.
    private func distrustServers(cutOffAt lane: LaneID) {
        for server in servers where server.cutOffAt.remove(lane) != nil {
            server.missEverything()
            if server.acceptsWrites {
                drop(server, "sibling \(lane) died before it repaired what the server missed")
            } else {
                tellCutOff(server)
            }
        }
    }

    // MARK: Messages

    private func takeGroup(_ message: Message, _ sibling: Sibling, _ link: PeerLink) {
        switch message {
        case .heartbeat(let stamp, let state, let floor, let groupFloor, let stable, let sentAt, let echo):
            clock.observe(stamp)
            adoptStable(stable, from: sibling)
            sibling.clockHeard = sentAt
            link.echoedAt = max(link.echoedAt, min(echo, monotonic))
            sibling.floor = max(sibling.floor, floor)
            sibling.groupFloor = max(sibling.groupFloor, groupFloor)
            if sibling.state != state {
                sibling.state = state
                membershipChanged()
                // Who leaves waits to be heard.
                if state == .leaving { beat(sibling) }
            }
            // It has closed the old link, and whatever it had not read from it is gone.
            if sibling.mayStillWrite { askOthers(sibling) }
        case .mirror(let sequence, let tops):
            guard tops.key != allKeys || isBarrier(tops) else { return refuse(link, "a barrier makes no sense") }
            mirrored(tops, sequence, sibling)
        case .dumped(let sequence):
            sibling.dumped = true
            sibling.copiedUntold = false
            send(.mirrored(sequence: sequence), on: link)
            membershipChanged()
        case .mirrored(let sequence):
            // Until the dump is taken in, acknowledgements belong to nothing that was sent on this link.
            guard sequence >= sibling.dumpedAt else { return }
            sibling.mirrored = max(sibling.mirrored ?? 0, sequence)
            while let first = sibling.untaken.first, first.sequence <= sequence { sibling.untaken.removeFirst() }
        case .remoteFloor(let lane, let loops, let floor): noteRemoteFloor(lane, loops, floor, tell: false)
        case .forward(let request, let hops, let stamp, let forwarded):
            guard let write = Write.arrived(forwarded, sharedBytesMin: configuration.sharedBytesMin),
                isCarriable(write.key, .tombstone)
            else {
                return refuse(link, "a forwarded write makes no sense")
            }
            guard monotonic - link.echoedAt <= leaseMicroseconds else {
                return hangUp(link, "a write that it passed on is \((monotonic - link.echoedAt) / 1_000) ms old or less")
            }
            // A client may have written one key through another owner just before, and now flushes: that must come out younger.
            clock.observe(stamp)
            submit(write, .forwarded(sibling.id, request), hops: hops)
        case .forwardReply(let request, let kind, let stamp, let reply):
            clock.observe(stamp)
            guard let kind = ReplyKind(wireCode: kind) else { return refuse(link, "a forwarded reply makes no sense") }
            forwardAnswered(request, kind, reply)
        case .apply(let request, let hops, let record):
            guard isCarriable(record.key, record.content) else { return refuse(link, "a record's key cannot be carried") }
            dispatchLanding(record, .lane(sibling.id, request), hops: hops)
        case .assert(let request, let hops, let cause, let doubted, let tops):
            guard tops.key == allKeys ? isBarrier(tops) && cause == .overtaken : isCarriable(tops.key, tops.content) else {
                return refuse(link, "an assertion's key cannot be carried")
            }
            dispatchAssertion(tops, cause, doubted: doubted, .lane(sibling.id, request), hops: hops)
        case .done(let request): assertionDone(request)
        case .fetch(let request, let key, let version): answerFetch(sibling, request, key, version)
        case .fetched(let request, let answer): fetched(request, answer)
        case .refill(let hops, let key): refill(key, hops: hops)
        case .backend where !countsAlike(sibling), .refilled where !countsAlike(sibling), .moved where !countsAlike(sibling):
            break
        case .backend(let place, let cutOff, let emptied, let lacking):
            guard let server = server(Int(place), link) else { return }
            if cutOff {
                server.cutOffAt.insert(sibling.id)
            } else if server.cutOffAt.remove(sibling.id) != nil {
                // If it was flushed, that is done.
                server.emptyKnownAt = monotonic
            }
            siblingSays(server, emptied: emptied, lacking: lacking)
        case .refilled(let place, let upTo, let incarnation):
            server(Int(place), link).map { noteRefilled($0, upTo, incarnation) }
        case .moved(let place, let at, let clearedTo):
            server(Int(place), link).map { noteMoved($0, at: at, clearedTo: clearedTo) }
        case .ring(let inEffect, let next, let progress):
            siblingSays(sibling, rings: inEffect, next: next, progress, link)
        case .handOver(let request): noteHandover(to: sibling.id, request)
        case .handedOver(let request, let stamp):
            clock.observe(stamp)
            handedOver(by: sibling.id, request)
        case .hello, .refuse, .record, .promise, .acknowledge: refuse(link, "a message has no place on a group link")
        }
    }

    /// False for keys that no command can carry: bad frames must not reach the encoders.
    func isCarriable(_ key: [UInt8], _ content: Content) -> Bool {
        if key == allKeys { return content == .tombstone }
        return key.withUnsafeBytes { if case .none = KeyRules.carriage(of: $0) { false } else { true } }
    }

    /// The server that a sibling speaks of; one that is not at this site ends the link.
    private func server(_ place: Int, _ link: PeerLink) -> BackendServer? {
        if servers.indices.contains(place) { return servers[place] }
        refuse(link, "server \(place) is not at this site")
        return nil
    }

    /// Tells the siblings when a server lacks writes of this lane, or no longer does, and when it has lost what it held.
    func tellCutOff(_ server: BackendServer) {
        let known = (server.isBehind, server.emptied, server.lacking)
        guard known != (server.toldCutOff, server.toldEmptied, server.toldLacking) else { return }
        if server.toldCutOff && !server.isBehind { server.caughtUpAt = monotonic }
        server.toldCutOff = server.isBehind
        (server.toldEmptied, server.toldLacking) = (server.emptied, server.lacking)
        for id in siblingIDs {
            siblings[id]?.link.map { send(backend(server), on: $0) }
        }
    }

    // MARK: Mirrors

    func broadcastMirror(_ operation: Operation) {
        if siblingIDs.isEmpty { return }
        // What was written here is in this lane's log; only a copy is not.
        mirror(operation.tops(holder: operation.kind == .copy ? index[operation.key]?.holder ?? laneID : laneID))
    }

    /// Tells the siblings what has landed under the latest mirror sequence.
    func mirror(_ tops: KeyTops) {
        for id in siblingIDs {
            guard let sibling = siblings[id], let link = sibling.link else { continue }
            sibling.untaken.append((mirrorSequence, tops.key))
            send(.mirror(sequence: mirrorSequence, tops: tops), on: link)
        }
    }

    /// A sibling tells a landing, or what it knows of a key.
    private func mirrored(_ tops: KeyTops, _ sequence: UInt64, _ sibling: Sibling) {
        clock.observe(max(tops.version, tops.touch).stamp)
        sibling.mirrorSeen = max(sibling.mirrorSeen, sequence)
        if tops.key == allKeys { return barrierMirrored(tops, sequence, sibling) }
        for operation in work[tops.key]?.inFlight ?? [] where operation.isUndecided { operation.overlapped = true }
        // Even what is stable may have landed again, at a lane that was alone: compared with, but not taken in.
        let stands = index[tops.key].map { landingStands(tops, against: $0) } ?? true
        let isDump = sequence == 0
        let known = index[tops.key]?.version ?? .zero
        if let tops = unsettled(tops) { index.merge(tops, isHearsay: isDump) }
        let mayBeCopied = isDump && sibling.copiedUntold && tops.content == .tombstone
        if (!stands || mayBeCopied) && !isPlanted(.noAssertion) {
            let isHearsay = isDump && !mayBeCopied && index[tops.key]?.isHearsay ?? false
            if !(isHearsay && dispute(tops.key)) { requestAssertion(tops.key, .overtaken) }
        } else if isDump, known > .zero, tops.version > known, isAnyAway(besides: sibling) {
            // The other end may not live to settle it.
            _ = dispute(tops.key)
        }
        oweAcknowledgement(sequence, sibling)
    }

    /// All that siblings know is known here.
    private var hasHeardAll: Bool { siblingIDs.allSatisfy { siblings[$0].map { $0.isAlive && $0.dumped } ?? true } }

    private func isAnyAway(besides sibling: Sibling) -> Bool {
        siblingIDs.contains { $0 != sibling.id && !(siblings[$0]?.isAlive ?? true) }
    }

    /// Puts off writing a key again, since not all is known here. False when it is, or when there are too many.
    private func dispute(_ key: [UInt8]) -> Bool {
        guard !hasHeardAll, index[key] != nil, disputed[key] != nil || disputed.count < Limits.disputedKeysMax else {
            return false
        }
        disputed[key] = disputed[key] ?? monotonic + Limits.holderPatienceMicroseconds
        return true
    }

    /// Indexes that tell of former lives may differ, and the one who knows what was written since may be away: it is waited for, as long
    /// as for one that holds a value. Then the highest top of all is written again.
    func settleDisputed(all: Bool = false) {
        guard !disputed.isEmpty else { return }
        let isDue = all || hasHeardAll
        let due = disputed.filter { isDue || $0.value <= monotonic }.keys.sorted { $0.lexicographicallyPrecedes($1) }
        for key in due {
            disputed[key] = nil
            if index[key] != nil { requestAssertion(key, .overtaken) }
        }
    }

    /// A landing, not a part of the dump, is acknowledged at the end of the step.
    func oweAcknowledgement(_ sequence: UInt64, _ sibling: Sibling) {
        guard sequence > 0, !mirrorsToAcknowledge.contains(sibling.id) else { return }
        mirrorsToAcknowledge.append(sibling.id)
    }

    /// What is stable already was let go by everybody: a lane that has just started may still tell of it, from its log, but
    /// whatever it was superseded by is no longer known, and it must not come back. Nil when nothing is left.
    func unsettled(_ tops: KeyTops) -> KeyTops? {
        var tops = tops
        if tops.version.stamp <= stableFloor {
            tops.version = .zero
            tops.content = .none
        }
        if tops.touch.stamp <= stableFloor { tops.touch = .zero }
        return tops.version == .zero && tops.touch == .zero ? nil : tops
    }

    /// One acknowledgement for all mirrors of a step.
    func acknowledgeMirrors() {
        for id in mirrorsToAcknowledge {
            guard let sibling = siblings[id], let link = sibling.link else { continue }
            send(.mirrored(sequence: sibling.mirrorSeen), on: link)
        }
        mirrorsToAcknowledge.removeAll(keepingCapacity: true)
    }

    /// The part of the log that other sites may learn of: what they have been told or have given must not be lost here, if
    /// durability is to mean the disk.
    var tellable: LogOffset { configuration.site.durability == .disk ? log.synced : log.tail }

    /// Ships and fulfils what every live sibling has taken in.
    func releaseMirrored() {
        guard state != .joining else { return }  // whoever lives has not been met yet
        var least = UInt64.max
        for id in siblingIDs {
            guard let sibling = siblings[id], sibling.isAlive else { continue }
            guard let mirrored = sibling.mirrored else { return }
            least = min(least, mirrored)
        }
        let tellable = tellable
        while let front = shipGate.first, let sequence = front.sequence, sequence <= least, front.logged <= tellable {
            shippable = front.position
            shipGate.removeFirst()
            for site in siteOrder { senders[site]?.needsPump = true }
        }
        while let front = mirrorWaiters.first, front.sequence <= least, front.logged <= tellable {
            mirrorWaiters.removeFirst()
            fulfil(front.requester)
        }
    }

    func fulfil(_ requester: Requester) {
        switch requester {
        case .receiver(let origin, let position): receivers[origin].map { recordDone($0, position) }
        case .lane(let lane, let request): siblings[lane]?.link.map { send(.done(request: request), on: $0) }
        case .assertion(let request): assertionDone(request)
        case .barrier(let completion): complete(completion, .ok, Array("OK\r\n".utf8))
        }
    }

    // MARK: Heartbeats

    /// One heartbeat to one sibling.
    func beat(_ sibling: Sibling) {
        guard let link = sibling.link else { return }
        send(
            .heartbeat(
                stamp: clock.last, state: state, floor: lastFloor, groupFloor: lastGroupFloor, stable: stableFloor,
                sentAt: monotonic,
                echo: sibling.clockHeard), on: link)
    }
}
