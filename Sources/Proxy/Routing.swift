// Who owns a slot, as this lane believes; and passing writes, records and assertions on to it (`federation.md` section 7).
// Beliefs may differ between lanes for a while; what is passed on too often is done where it is.

import Kernel
import Memcache
import Replication
import Ring

extension LaneNode {
    func slot(of key: UnsafeRawBufferPointer) -> Int { Slots.slot(of: key, count: owners.count) }

    func slot(of key: [UInt8]) -> Int { key.withUnsafeBytes { slot(of: $0) } }

    func owner(of key: [UInt8]) -> LaneID? { owners[slot(of: key)] }

    // MARK: Membership

    /// A sibling came, went, or changed its state: who owns what now?
    func membershipChanged() {
        if state == .joining { serveIfReady() }
        var live = siblingIDs.filter { siblings[$0]?.isServing ?? false }
        if state == .serving { live.append(laneID) }
        // The last one to leave serves to the end: its clients have nobody else.
        if live.isEmpty && state == .leaving && mayOwn { live.append(laneID) }
        assignSlots(among: live)
        settleDisputed()
        unpark()
        routeWaitingAssertions()
    }

    /// Takes its slots once its index is as good as its siblings', or nobody is there to ask.
    private func serveIfReady() {
        let patience = UInt64(configuration.site.times.siblingTimeoutMilliseconds) * 1_000
        let waited = monotonic - joiningSince >= patience
        let ready = siblingIDs.allSatisfy { id in
            guard let sibling = siblings[id] else { return true }
            return sibling.isAlive
                ? sibling.dumped && sibling.mirrored != nil : waited || (sibling.unreachable && sibling.pending == nil)
        }
        // While somebody else serves, there is time to reach a server first.
        let isNeeded = !siblingIDs.contains { siblings[$0]?.isServing ?? false }
        guard ready, !learnsRings, openIntents.isEmpty, (serversTried && reachesServer) || isNeeded else { return }
        state = .serving
        say(.notice, "lane serves siblings=\(siblingIDs.filter { siblings[$0]?.isAlive ?? false }.count)")
        for id in siblingIDs { siblings[id].map { beat($0) } }
        let open = unresolved
        unresolved.removeAll()
        for (key, cause) in open { requestAssertion(key, cause) }
    }

    // MARK: Writes

    /// Sends a write to the owner of its key.
    func submit(_ write: Write, _ completion: Completion, hops: UInt8 = 0, until: UInt64? = nil) {
        guard let owner = owner(of: write.key) else {
            let patience = UInt64(configuration.site.times.backendTimeoutMilliseconds) * 1_000
            parked.append((write, completion, hops, until ?? monotonic + patience))
            return
        }
        guard owner != laneID, hops < Limits.hopsMax, let link = siblings[owner]?.link else {
            admit(write, completion)
            return
        }
        counters.forwarded += 1
        let request = takeRequest()
        forwards[request] = Forward(write: write, completion: completion, hops: hops, target: owner)
        send(.forward(request: request, hops: hops + 1, stamp: clock.last, write: write.forwarded), on: link)
    }

    func takeRequest() -> UInt64 {
        defer { nextRequest += 1 }
        return nextRequest
    }

    func forwardAnswered(_ request: UInt64, _ kind: ReplyKind, _ reply: [UInt8]) {
        guard let forward = forwards.removeValue(forKey: request) else { return }
        deliver(forward.completion, kind, forward.write.replyInstead ?? reply)
    }

    /// Writes that waited for an owner.
    func unpark() {
        let waiting = parked
        parked.removeAll()
        for one in waiting {
            if one.until > monotonic {
                submit(one.write, one.completion, hops: one.hops, until: one.until)
            } else {
                deliver(
                    one.completion, .serverError, Array("SERVER_ERROR no proxy of this site is ready to take writes\r\n".utf8))
            }
        }
    }

    /// How long after it was last known to be heard by a sibling a lane does what that one passes on to it, in microseconds.
    var leaseMicroseconds: UInt64 {
        let times = configuration.site.times
        return UInt64(max(times.siblingTimeoutMilliseconds - 2 * times.heartbeatMilliseconds, 1)) * 1_000
    }

    /// A sibling's link broke, perhaps under writes that it has yet to read. Done late, they would override what the same clients
    /// wrote meanwhile through a successor. So they are asked of others once the sibling cannot do them any more: it does not
    /// run, it has opened another link, or its lease is over.
    func tendPassedOn(_ sibling: Sibling) {
        guard sibling.mayStillWrite else { return }
        let lease = UInt64(configuration.site.times.siblingTimeoutMilliseconds) * 1_000
        if monotonic - min(sibling.heardAt ?? 0, monotonic) >= lease { askOthers(sibling) }
    }

    /// Writes that a sibling passed on and that still wait for their version are not done any more: it asks another for them, or has
    /// told its clients that it does not know.
    func dropUnstamped(of lane: LaneID) {
        func isOf(_ completion: Completion) -> Bool { if case .forwarded(lane, _) = completion { true } else { false } }
        parked.removeAll { isOf($0.1) }
        forwards = forwards.filter { !isOf($0.value.completion) }
        for (key, keyWork) in work {
            keyWork.waiters.removeAll { if case .write(_, let completion) = $0 { isOf(completion) } else { false } }
            dropIfIdle(key, keyWork)
        }
    }

    /// Asks the successors for the certain writes that a sibling was asked for.
    func askOthers(_ sibling: Sibling) {
        sibling.mayStillWrite = false
        for (request, forward) in forwards.sorted(by: { $0.key < $1.key }) where forward.target == sibling.id && forward.isLost {
            forwards[request] = nil
            submit(forward.write, forward.completion, hops: 0)
        }
    }

    /// A lane is gone: what it was asked is asked of its successor, certain writes by and by. A derived write may have happened: it
    /// is never asked again.
    func redirect(from lane: LaneID) {
        for (request, forward) in forwards.sorted(by: { $0.key < $1.key }) where forward.target == lane {
            if forward.write.effect.isCertain {
                forwards[request]?.isLost = true
                siblings[lane]?.mayStillWrite = true
            } else if isPlanted(.derivedRetried) {
                forwards[request] = nil
                submit(forward.write, forward.completion, hops: 0)
            } else {
                forwards[request] = nil
                let text = "SERVER_ERROR the proxy that owns the key went away before it answered; the outcome is unknown\r\n"
                deliver(forward.completion, .serverError, Array(text.utf8))
            }
        }
        for (request, fetch) in fetches.sorted(by: { $0.key < $1.key }) where fetch.holder == lane {
            fetches[request] = nil
            awaitTop(fetch.key, fetch.version, fetch.requester)
        }
        for request in assertions.keys.sorted() where assertions[request]?.target == lane {
            assertions[request]?.target = nil
        }
        routeWaitingAssertions()
    }

    // MARK: Assertions and records

    /// Has the owner write a key's top again, or, in doubt, what the site holds.
    func requestAssertion(_ key: [UInt8], _ cause: AssertionCause, repairing server: Int? = nil) {
        let beneficiaries = server.map { [Assertion.Beneficiary.repair($0)] } ?? []
        if let request = assertionOf[key], var known = assertions[request] {
            known.again = true
            if case .top(let other) = known.task { known.task = .top(max(cause, other)) }
            known.beneficiaries += beneficiaries
            assertions[request] = known
            return
        }
        let request = takeRequest()
        assertionOf[key] = request
        assertions[request] = Assertion(
            key: key, task: .top(cause), hops: 0, beneficiaries: beneficiaries, floor: floorOf(index[key]),
            doubted: cause == .doubt ? doubts[key]?.version ?? .zero : .zero)
        routeAssertion(request)
    }

    private func floorOf(_ entry: KeyEntry?) -> UInt64 {
        guard let entry else { return .max }
        return [entry.version, entry.touch].filter { $0 > .zero }.map { $0.stamp - 1 }.min() ?? .max
    }

    /// A record of another site, or one that another lane passed on.
    func dispatchLanding(_ record: ReplicatedRecord, _ requester: Requester, hops: UInt8) {
        let request = takeRequest()
        assertions[request] = Assertion(
            key: record.key, task: .apply(record), hops: hops, beneficiaries: [.requester(requester)],
            floor: record.version.stamp - 1)
        routeAssertion(request)
    }

    /// Another lane's wish for an assertion.
    func dispatchAssertion(_ tops: KeyTops, _ cause: AssertionCause, doubted: Version, _ requester: Requester, hops: UInt8) {
        clock.observe(max(tops.version, tops.touch, doubted).stamp)
        if let tops = cause == .missed ? tops : unsettled(tops) {
            index.merge(tops, isHearsay: true)
        } else if cause < .missed && index[tops.key] == nil {
            return awaitMirror(requester)
        }
        let request = takeRequest()
        assertions[request] = Assertion(
            key: tops.key, task: .top(cause), hops: hops, beneficiaries: [.requester(requester)],
            floor: floorOf(index[tops.key]), doubted: doubted)
        routeAssertion(request)
    }

    private func routeAssertion(_ request: UInt64) {
        guard var assertion = assertions[request], assertion.target == nil, let owner = owner(of: assertion.key) else { return }
        guard owner != laneID, assertion.hops < Limits.hopsMax, let link = siblings[owner]?.link else {
            assertion.target = laneID
            assertions[request] = assertion
            return doHere(assertion, request)
        }
        assertion.target = owner
        assertions[request] = assertion
        switch assertion.task {
        case .apply(let record): send(.apply(request: request, hops: assertion.hops + 1, record: record), on: link)
        case .top(let cause):
            let empty = KeyTops(
                key: assertion.key, version: .zero, content: .none, touch: .zero, touchExpiry: 0, holder: laneID)
            var tops = index[assertion.key]?.tops(of: assertion.key) ?? empty
            if cause == .touched { (tops.version, tops.content) = (.zero, .none) }
            // That lane asks whom it reaches; what this one found does not matter any more.
            if cause == .doubt { doubts[assertion.key]?.isDeferred = false }
            send(
                .assert(request: request, hops: assertion.hops + 1, cause: cause, doubted: assertion.doubted, tops: tops),
                on: link)
        }
    }

    private func doHere(_ assertion: Assertion, _ request: UInt64) {
        switch assertion.task {
        case .apply(let record): admitLanding(record, assertion: false, .assertion(request))
        case .top(.doubt):
            let doubted = max(assertion.doubted, doubts[assertion.key]?.version ?? .zero)
            settleOutcome(assertion.key, doubted, .assertion(request))
        case .top(.touched): landTouch(assertion.key, .assertion(request))
        case .top: landTop(assertion.key, .assertion(request))
        }
    }

    func routeWaitingAssertions() {
        for request in assertions.keys.sorted() where assertions[request]?.target == nil { routeAssertion(request) }
    }

    /// It has landed, or is superseded, and is mirrored.
    func assertionDone(_ request: UInt64) {
        guard let assertion = assertions.removeValue(forKey: request) else { return }
        if assertionOf[assertion.key] == request { assertionOf[assertion.key] = nil }
        if assertion.doubted > .zero, let doubted = doubts[assertion.key], doubted.version == assertion.doubted,
            !doubted.isDeferred
        {
            doubts[assertion.key] = nil
        }
        if assertion.again, case .top(let cause) = assertion.task {
            requestAssertion(assertion.key, cause)
            if let renewed = assertionOf[assertion.key] { assertions[renewed]?.beneficiaries += assertion.beneficiaries }
            return
        }
        for beneficiary in assertion.beneficiaries {
            switch beneficiary {
            case .repair(let server): repaired(assertion.key, servers[server], by: assertion.target ?? laneID)
            case .requester(let requester):
                if case .receiver(let origin, let position) = requester, case .apply(let record) = assertion.task {
                    observe(.applied(key: record.key, version: record.version, origin: origin, position: position))
                }
                fulfil(requester)
            }
        }
    }

    // MARK: Values of other lanes

    func fetch(_ key: [UInt8], _ version: Version, from holder: LaneID, _ requester: Requester) {
        guard let link = siblings[holder]?.link else { return awaitTop(key, version, requester) }
        let request = takeRequest()
        fetches[request] = Fetch(key: key, version: version, holder: holder, requester: requester)
        send(.fetch(request: request, key: key, version: version), on: link)
    }

    func answerFetch(_ sibling: Sibling, _ request: UInt64, _ key: [UInt8], _ version: Version) {
        let entry = index[key] ?? KeyEntry()
        if entry.version == version, entry.holder == laneID, entry.recordBytes > 0, entry.content == .value {
            readRecord(entry.offset, bytes: Int(entry.recordBytes), for: .fetch(sibling.id, request, key, version))
        } else if let link = sibling.link {
            // What is being written here is mirrored when it has landed; what a third lane has landed, the asker may never hear of.
            if entry.version > version, entry.holder != laneID { send(.mirror(sequence: 0, tops: entry.tops(of: key)), on: link) }
            send(.fetched(request: request, answer: entry.version > version ? .superseded : .unknown), on: link)
        }
    }

    func fetched(_ request: UInt64, _ answer: FetchAnswer) {
        guard let fetch = fetches.removeValue(forKey: request) else { return }
        if case .found(let record) = answer, record.key == fetch.key, record.version == fetch.version {
            return topFound(fetch.key, record, fetch.requester)
        }
        if let entry = index[fetch.key], entry.version > fetch.version { return landTop(fetch.key, fetch.requester) }
        if answer == .superseded { return awaitTop(fetch.key, fetch.version, fetch.requester) }
        topFound(fetch.key, nil, fetch.requester)
    }

    /// A recovering primary lacks what its backup has: the owner copies it, if nothing speaks against it. False when it does not.
    @discardableResult
    func refill(_ key: [UInt8], hops: UInt8) -> Bool {
        guard let owner = owner(of: key) else { return false }
        if owner == laneID { return startCopy(key) }
        guard hops < Limits.hopsMax, let link = siblings[owner]?.link else { return false }
        send(.refill(hops: hops + 1, key: key), on: link)
        return true
    }
}
