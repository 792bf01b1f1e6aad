// The site's rings change while its proxies run. All lanes of the group must place keys alike at every moment, or one would read where
// another has not written. So they agree first, and nobody goes back once somebody may have gone forward.
//
//     offered ──all others have the same offer──▶ agreed ──all others have agreed──▶ draining ──nothing is under way──▶ drained ──all others
//        ▲                                           │                                  │           clients wait          │      are──▶ opening ──▶ none
//        └──────────── another has not any more ─────┴──────────────────────────────────┴─────────────────────────────────┘
//
// All others: those that run, whether they can be heard or not; one that was not heard for a minute is believed not to. From `draining` on
// nothing new is begun under the old rings: clients wait, and what comes from siblings and other sites waits with its key. So from then
// on a sibling that is lost is given up sooner. If it runs nevertheless, it has gone on by the old rings: it is late, and when it takes the
// new ones it flushes the servers that have gained keys, since it alone knew of what it wrote.

import Configuration
import Kernel
import Replication

/// A change of the rings on its way.
struct RingChange {
    enum Phase {
        case none, offered, agreed, draining, drained, opening
    }

    /// What the site's files say of its servers.
    struct Target {
        let federation: Federation
        let primaries: [Backend]
        let backups: [Backend]
        let rings: SiteRings
    }

    var phase = Phase.none
    /// What is to be in effect; nil in `none` and in `opening`.
    var target: Target?
    /// When it was offered, and when clients began to wait, in monotonic microseconds.
    var offeredAt: UInt64 = 0
    var drainingSince: UInt64 = 0
    /// The siblings have been told of it.
    var isTold = false
    /// When it was last said what it waits for.
    var complainedAt: UInt64 = 0
    /// A reading of the files that came while nobody could turn back, or of which this change is the first half.
    var readNext: (federation: Federation, site: Site, listeners: [Int: ClientListener])?

    /// Having drained, it has gone on by the old rings after all.
    var hasGoneBack = false
    /// Siblings have taken the new rings while it went on by the old ones.
    var isLate = false

    /// Nothing new may be begun.
    var isHolding: Bool {
        switch phase {
        case .none, .offered, .agreed: false
        case .draining, .drained, .opening: true
        }
    }

    /// What siblings are told.
    var progress: RingProgress {
        switch phase {
        case .none, .offered, .opening: .offered
        case .agreed, .draining: .agreed
        case .drained: .drained
        }
    }
}

extension LaneNode {
    /// Nothing new may be begun: a write, a record, a copy, a client's command.
    var isHolding: Bool { learnsRings || ringChange.isHolding }

    // MARK: Offers

    /// The files say which servers there are: the same as before, others, or, after all, the same again. Where both pools are to change,
    /// the primaries come first, and the backups once the primaries have what they gained: a key must not leave both its servers at once.
    func offerRings(_ federation: Federation, _ read: Site, _ listeners: [Int: ClientListener]) {
        var site = read
        let isBoth = !SiteRings(federation, read).sharesPool(with: rings)
        if isBoth { site.backups = configuration.site.backups }
        let target = RingChange.Target(
            federation: federation, primaries: site.primaries, backups: site.backups, rings: SiteRings(federation, site))
        guard target.rings.digest != rings.digest else {
            if ringChange.phase != .none { say(.notice, "ring change dropped: the files say what is in effect") }
            return endRingChange()
        }
        let isNew = ringChange.target?.rings.digest != target.rings.digest
        if isNew {
            ringChange = RingChange(phase: .offered, offeredAt: monotonic, complainedAt: monotonic)
            say(.notice, "ring change offered: it begins when every proxy of the site has read the same files")
        }
        ringChange.target = target
        ringChange.readNext = isBoth ? (federation, read, listeners) : nil
        if isNew { tellRings() }
    }

    /// Of a change of both pools, siblings that came to know of it in two steps may have begun with the backups: then this lane does, too.
    private func follows(_ inEffect: UInt64) -> Bool {
        guard !ringChange.isHolding, let next = ringChange.readNext else { return false }
        var first = next.site
        first.primaries = configuration.site.primaries
        let theirs = SiteRings(configuration.federation, first)
        guard theirs.digest == inEffect else { return false }
        ringChange = RingChange(phase: .offered, offeredAt: monotonic, complainedAt: monotonic, readNext: next)
        ringChange.target = RingChange.Target(
            federation: configuration.federation, primaries: first.primaries, backups: first.backups, rings: theirs)
        tellRings()
        return true
    }

    private func endRingChange() {
        guard ringChange.phase != .none else { return }
        ringChange = RingChange()
        tellRings()
    }

    /// Tells the siblings how far this lane is.
    private func tellRings() { for id in siblingIDs { siblings[id].map { tellRings($0) } } }

    func tellRings(_ sibling: Sibling) {
        let next = isReadyForRings ? ringChange.target?.rings.digest ?? 0 : 0
        if next != 0 { ringChange.isTold = true }
        sibling.link.map { send(.ring(inEffect: rings.digest, next: next, progress: ringChange.progress), on: $0) }
    }

    /// What a server is just being given back by the other pool must not be lost by changing that; unless the siblings have gone ahead.
    private var isReadyForRings: Bool {
        guard ringChange.phase == .offered, !ringChange.isTold, !learnsRings, let target = ringChange.target,
            configuration.site.refillKeysPerSecond > 0
        else { return true }
        let isBackups = target.rings.fingerprint == rings.fingerprint
        return !servers.contains { server in
            server.isBackup != isBackups && (server.lacksItems || server.missedTooMany)
                && (server.acceptsWrites || server.attempts == 0)
        }
    }

    // MARK: Siblings

    /// A sibling says how far it is.
    func siblingSays(_ sibling: Sibling, rings inEffect: UInt64, next: UInt64, _ progress: RingProgress, _ link: PeerLink) {
        let before = sibling.rings
        sibling.rings = inEffect
        sibling.nextRings = next
        sibling.ringProgress = progress
        let isOnItsWay = next == rings.digest || inEffect == ringChange.target?.rings.digest
        guard inEffect == rings.digest || isOnItsWay || follows(inEffect) else {
            hasOtherRings(sibling)
            return refuse(link, "its servers or backups are others than this proxy's: give both the same files")
        }
        // What it said of servers meanwhile went by other numbers, and so did what it was told.
        if before != nil, before != inEffect, inEffect == rings.digest { tellServers(sibling) }
    }

    /// The sibling counts servers as this lane does.
    func countsAlike(_ sibling: Sibling) -> Bool { sibling.rings == nil || sibling.rings == rings.digest }

    /// Has not been heard for so long, and not for want of listening.
    private func isSilent(_ sibling: Sibling, microseconds: UInt64) -> Bool {
        !sibling.isAlive && monotonic - min(max(sibling.heardAt ?? 0, joiningSince), monotonic) > microseconds
    }

    /// Its process does not run.
    private func isAbsent(_ sibling: Sibling) -> Bool { !sibling.isAlive && sibling.isAbsent && sibling.pending == nil }

    /// It has taken the rings already, or has started with them.
    private func isAhead(_ sibling: Sibling, _ target: RingChange.Target) -> Bool {
        if sibling.isAlive { return sibling.rings == target.rings.digest }
        guard differsNow(sibling) else { return false }
        return sibling.rings == target.rings.digest || sibling.otherRing == target.rings.fingerprint
    }

    /// It has been heard of lately, and placed keys by other rings than this lane.
    private func differsNow(_ sibling: Sibling) -> Bool {
        sibling.differedAt.map { monotonic - $0 <= siblingPatienceMicroseconds } ?? false
    }

    /// It is as far as that with the same offer, has taken the rings already, or is gone. One that is silent may be cut off, and serve: that
    /// it is dead is believed after a long time only, unless clients wait for that, or somebody has gone ahead without it.
    private func isAsFar(_ sibling: Sibling, as progress: RingProgress, _ target: RingChange.Target) -> Bool {
        if isAhead(sibling, target) { return true }
        if sibling.isAlive { return sibling.nextRings == target.rings.digest && sibling.ringProgress >= progress }
        let isUrgent = ringChange.isHolding || isOvertaken(target, byOneThatServes: true)
        let patience = isUrgent ? siblingTimeoutMicroseconds : Limits.ringPatienceMicroseconds
        return isAbsent(sibling) || (!differsNow(sibling) && isSilent(sibling, microseconds: patience))
    }

    /// Somebody has gone ahead, or has started with the new files; the latter does not serve yet.
    private func isOvertaken(_ target: RingChange.Target, byOneThatServes: Bool = false) -> Bool {
        siblingIDs.compactMap { siblings[$0] }.contains { sibling in
            isAhead(sibling, target) && (!byOneThatServes || (sibling.isAlive ? sibling.isServing : !sibling.wasAbsent))
        }
    }

    private var siblingTimeoutMicroseconds: UInt64 { UInt64(configuration.site.times.siblingTimeoutMilliseconds) * 1_000 }

    // MARK: At the start

    /// A sibling places keys by other rings. A lane that has just started, with new files perhaps, waits for those that serve to take
    /// them, too; one that serves goes on.
    func hasOtherRings(_ sibling: Sibling) {
        sibling.differedAt = monotonic
        guard state == .joining, !learnsRings else { return }
        learnsRings = true
        say(.warning, "lane waits: \(sibling.id) places keys by other servers. Have its proxy read the same files (SIGHUP)")
    }

    /// Serves as soon as a sibling serves by the same rings, or nobody is there who could serve by others: of two lanes that have just
    /// started neither knows more than the other.
    func goOnLearningRings() {
        let others = siblingIDs.compactMap { siblings[$0] }
        let hasExample = others.contains { $0.isServing && $0.rings == rings.digest }
        let nobodyDiffers = others.allSatisfy { sibling in
            if sibling.isAlive { return sibling.rings == rings.digest }
            return !differsNow(sibling) && (isAbsent(sibling) || isSilent(sibling, microseconds: siblingTimeoutMicroseconds))
        }
        guard hasExample || nobodyDiffers else { return }
        learnsRings = false
        useServers(hasExample: hasExample)
        membershipChanged()
        admitAgain()
    }

    // MARK: Going on

    /// Goes as far as it can; called at the end of every step while a change is on its way.
    func goOnChangingRings() {
        if ringChange.phase == .opening { return admitIfTried() }
        guard let target = ringChange.target, !finished else { return }
        if let dissenter = dissenter(target) {
            goBack(dissenter)
            // The files were read meanwhile, and may say something else.
            if let next = ringChange.readNext { return reconfigure(next.federation, next.site, next.listeners) }
        }
        if ringChange.phase == .offered {
            guard isReadyForRings else { return complain(target) }
            if !ringChange.isTold { tellRings() }
            guard awaited(target).isEmpty else { return complain(target) }
            ringChange.phase = .agreed
            tellRings()
        }
        if ringChange.phase == .agreed {
            guard awaited(target).isEmpty else { return complain(target) }
            ringChange.phase = .draining
            ringChange.drainingSince = monotonic
            if let refill { abandon(refill, "the ring changes") }
            if let clearing { abandon(clearing, "the ring changes") }
        }
        if ringChange.phase == .draining {
            guard isAtRest else { return complain(target) }
            ringChange.isLate = !learnsRings && isOvertaken(target, byOneThatServes: true)
            ringChange.phase = .drained
            tellRings()
        }
        guard awaited(target).isEmpty else { return complain(target) }
        if ringChange.hasGoneBack && isOvertaken(target) { ringChange.isLate = true }
        takeRings(target)
        tellRings()
        for id in siblingIDs { siblings[id].map { if isAhead($0, target) { tellServers($0) } } }
    }

    /// Whom it waits for before it may go on.
    private func awaited(_ target: RingChange.Target) -> [Sibling] {
        guard !isPlanted(.ringsAtOnce) else { return [] }
        let others = siblingIDs.compactMap { siblings[$0] }
        switch ringChange.phase {
        case .none, .draining, .opening: return []
        case .offered: return others.filter { !isAsFar($0, as: .offered, target) }
        case .agreed: return others.filter { !isAsFar($0, as: .agreed, target) }
        case .drained:
            // Nobody goes back to one that is by itself with what it wants.
            return others.filter { !isAsFar($0, as: .drained, target) && !(dissents($0, target) && isOvertaken(target)) }
        }
    }

    /// A sibling for whom this lane goes back: one that does not agree, or not any more, and so has not drained either. Nobody can have
    /// gone forward, unless it was without that one.
    private func dissenter(_ target: RingChange.Target) -> Sibling? {
        guard ringChange.phase != .offered, !isPlanted(.ringsAtOnce), !isOvertaken(target) else { return nil }
        let others = siblingIDs.compactMap { siblings[$0] }
        if ringChange.phase == .agreed { return others.first { !isAsFar($0, as: .offered, target) } }
        return others.first { dissents($0, target) || ($0.isAlive && $0.rings != nil && !isAsFar($0, as: .agreed, target)) }
    }

    /// It can be heard, and is to take something else, or nothing.
    private func dissents(_ sibling: Sibling, _ target: RingChange.Target) -> Bool {
        sibling.isAlive && sibling.rings != nil && !isAhead(sibling, target) && sibling.nextRings != target.rings.digest
    }

    /// Nothing was sent to a memcached that a client, a write or a copy still waits for.
    private var isAtRest: Bool {
        operations.isEmpty && servers.allSatisfy { $0.expected.allSatisfy(\.purpose.outlastsRings) }
    }

    private func goBack(_ dissenter: Sibling) {
        if ringChange.isHolding {
            say(.warning, "ring change put off: \(name(of: dissenter)) does not agree, or not any more")
            ringChange.hasGoneBack = ringChange.hasGoneBack || ringChange.phase == .drained
        }
        ringChange.phase = .offered
        tellRings()
        admitAgain()
    }

    /// The new servers have been tried: whoever waited goes on.
    private func admitIfTried() {
        guard serversTried else { return }
        let milliseconds = (monotonic - ringChange.drainingSince) / 1_000
        let next = ringChange.readNext
        ringChange = RingChange()
        say(
            .notice,
            "ring changed servers=\(servers.map(\.definition.name).joined(separator: ",")) clients_waited_ms=\(milliseconds)")
        admitAgain()
        if let next { reconfigure(next.federation, next.site, next.listeners) }
    }

    private func admitAgain() {
        drainAll()
        admitWaiting()
    }

    private func complain(_ target: RingChange.Target) {
        guard monotonic - ringChange.complainedAt >= Limits.ringComplaintMicroseconds else { return }
        ringChange.complainedAt = monotonic
        say(
            .warning,
            "ring change waits seconds=\((monotonic - ringChange.offeredAt) / 1_000_000) for=\(whatIsAwaited(target))")
    }

    private func whatIsAwaited(_ target: RingChange.Target) -> String {
        if !isReadyForRings { return "a server that is being refilled" }
        let late = awaited(target)
        guard !late.isEmpty else { return "what is under way here" }
        return late.map { name(of: $0) }.joined(separator: ",")
            + (ringChange.phase == .offered ? ", which have not read the same files (SIGHUP)" : "")
    }

    private func name(of sibling: Sibling) -> String {
        let proxy = configuration.here.proxies.first { $0.id == sibling.id.proxy }?.name ?? ""
        return "\(proxy)/\(sibling.id.lane)"
    }

    /// What a change waits for, for operators; nil while there is none.
    var ringChangeText: String? {
        if learnsRings { return "waits for its siblings to take the same files" }
        guard ringChange.phase != .none else { return nil }
        guard let target = ringChange.target else { return "new servers are being connected" }
        return "waits for " + whatIsAwaited(target)
    }
}
