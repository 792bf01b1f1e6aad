// Committed records on their way to one other site (`federation.md` section 6).
//
//     acknowledged ──┬── under way (window) ──┬── shippable ──┬── committed
//        (Match)     │        sent            next            │  not yet mirrored to every live sibling
//
// Recent records come from memory, older ones from the log. Nothing here ever waits for the other site on behalf of a client.

import Configuration
import DequeModule
import Kernel
import Replication
import WriteLog

/// The lane's newest committed records, kept in memory for the streams.
struct StreamTail {
    private var records: Deque<(record: ReplicatedRecord, committedAt: UInt64)> = []
    private var bytes = 0
    private let bytesMax: Int

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    mutating func append(_ record: ReplicatedRecord, committedAt: UInt64) {
        records.append((record, committedAt))
        bytes += record.windowBytes
        while bytes > bytesMax { dropFirst() }
    }

    private mutating func dropFirst() {
        if let first = records.popFirst() { bytes -= first.record.windowBytes }
    }

    /// Every site has these.
    mutating func release(upTo position: Position) {
        while let first = records.first, first.record.position <= position { dropFirst() }
    }

    subscript(position: Position) -> (record: ReplicatedRecord, committedAt: UInt64)? {
        guard let first = records.first, position >= first.record.position else { return nil }
        let place = Int(position.raw - first.record.position.raw)
        return place < records.count ? records[place] : nil
    }
}

/// Where the lane stood at a moment.
struct LagSample {
    var position: Position
    /// Nothing at or below this stamp was committed behind `position`.
    var floor: UInt64
    /// Bytes committed until then.
    var bytes: UInt64
    /// Monotonic microseconds.
    var at: UInt64
}

final class StreamSender {
    let site: FederationSite
    var link: PeerLink?
    /// Everything up to here is applied or superseded there.
    var acknowledged: Position
    /// The same, as far as this lane's own disk knows it.
    var durable: Position
    /// Highest acknowledged position in the log, and where.
    var logged: Position
    var loggedAt = LogOffset.zero
    /// The next position to send. Invariant: above `acknowledged`.
    var next: Position
    /// Sent and not acknowledged.
    var underWay: Deque<(position: Position, bytes: Int)> = []
    var underWayBytes = 0
    var needsPump = false
    /// Reads what memory no longer has.
    var cursor: LogCursor?
    var cursorIntents: [LogOffset: LogRecord] = [:]
    var reading = false
    var attempts = 0
    var retryAt: UInt64 = 0
    /// Which of the site's proxies is tried.
    var choice: Int
    var heardAt: UInt64?
    var message = "not yet connected"
    var refused = false
    var lastPromise: UInt64 = 0
    /// Acknowledged records at the last tick, and the smoothed rate.
    var rateFrom: Position
    var rate = 0.0

    init(site: FederationSite, acknowledged: Position) {
        self.site = site
        self.acknowledged = acknowledged
        durable = acknowledged
        logged = acknowledged
        next = acknowledged.next
        rateFrom = acknowledged
        choice = -1
    }

    var resumePosition: Position { acknowledged.next }
    var isStreaming: Bool { link?.isOpen ?? false }
    var hasRoom: Bool { underWayBytes < Limits.windowBytesMax && underWay.count < Limits.windowRecordsMax }
}

extension LaneNode {
    func senderOf(_ link: PeerLink) -> StreamSender? {
        for site in siteOrder { if let sender = senders[site], sender.link === link { return sender } }
        return nil
    }

    // MARK: Connecting

    func dial(_ sender: StreamSender) {
        if sender.choice < 0 {
            sender.choice = (configuration.here.proxies.firstIndex { $0.id == laneID.proxy } ?? 0) % sender.site.proxies.count
        }
        let proxy = sender.site.proxies[sender.choice]
        let identity = PeerIdentity(federation: configuration.federation.name, site: sender.site.name, proxy: proxy.name)
        let id = connections.open()
        let link = PeerLink(connection: id, identity: identity, dialled: true, at: monotonic)
        link.purpose = .stream
        links[id] = link
        sender.link = link
        effects.actions.append(.connect(id, .peer(identity: identity, address: proxy.replication, lane: laneID.lane)))
    }

    /// The other site has greeted back: go on behind what it has acknowledged.
    func startSending(_ sender: StreamSender) {
        sender.next = sender.acknowledged.next
        if isPlanted(.resumeSkipsOne), sender.acknowledged > .zero { sender.next = sender.next.next }
        sender.underWay.removeAll()
        sender.underWayBytes = 0
        sender.cursor = nil
        sender.cursorIntents.removeAll()
        sender.attempts = 0
        sender.message = ""
        sender.refused = false
        sender.heardAt = monotonic
        sender.needsPump = true
        say(.notice, "stream open site=\(sender.site.name) from=\(sender.next)")
    }

    func senderBroke(_ sender: StreamSender, _ reason: String) {
        if sender.message.isEmpty || sender.attempts == 0 {
            say(.warning, "stream lost site=\(sender.site.name) reason=\(reason)")
        }
        sender.refused = sender.link?.cause == .refused
        sender.link = nil
        sender.message = reason
        sender.attempts += 1
        sender.choice = (sender.choice + 1) % sender.site.proxies.count
        sender.retryAt = monotonic + backOff(sender.attempts)
    }

    // MARK: Sending

    /// Sends what may be sent, as far as the window and the connection have room.
    func pumpSender(_ sender: StreamSender) {
        sender.needsPump = false
        guard let link = sender.link, link.isOpen else { return }
        let outgoing = connections.outgoing(link.connection)
        while sender.next <= shippable, sender.hasRoom, outgoing.count < Limits.streamOutgoingBytesMax {
            guard let recent = tail[sender.next] else { return catchUp(sender) }
            sender.cursor = nil
            ship(recent.record, sender, link)
        }
        if sender.next > committed {
            sender.cursor = nil
            sender.cursorIntents.removeAll()
        }
    }

    private func ship(_ record: ReplicatedRecord, _ sender: StreamSender, _ link: PeerLink) {
        precondition(record.position == sender.next, "ships \(record.position), next is \(sender.next)")
        send(.record(withYoungestExpiry(record)), on: link)
        sender.underWay.append((record.position, record.windowBytes))
        sender.underWayBytes += record.windowBytes
        sender.next = sender.next.next
    }

    /// A value goes out with the expiry that a younger touch has given it meanwhile: it might arrive after its own has passed,
    /// and the touch would find nothing.
    private func withYoungestExpiry(_ record: ReplicatedRecord) -> ReplicatedRecord {
        guard record.content == .value, let entry = index[record.key], entry.touch > record.version else { return record }
        var record = record
        record.expiry = entry.touchExpiry
        return record
    }

    func takeAcknowledgement(_ position: Position, _ sender: StreamSender, _ link: PeerLink) {
        sender.heardAt = monotonic
        guard position < sender.next else { return refuse(link, "acknowledges \(position), which was never sent") }
        guard position > sender.acknowledged else { return }
        sender.acknowledged = position
        observe(.acknowledged(site: SiteID(sender.site.id), position: position))
        while let first = sender.underWay.first, first.position <= position {
            sender.underWay.removeFirst()
            sender.underWayBytes -= first.bytes
        }
        if let least = siteOrder.compactMap({ senders[$0]?.acknowledged }).min() { tail.release(upTo: least) }
        sender.needsPump = true
    }

    /// Nothing at or below this stamp will be sent to the site (again): what every later commit exceeds, as of a moment whose
    /// commits have all been acknowledged for good.
    func promise(to sender: StreamSender) -> UInt64 {
        var low = 0
        var high = samples.count
        while low < high {
            let middle = (low + high) / 2
            if samples[middle].position <= sender.durable { low = middle + 1 } else { high = middle }
        }
        if low > 0 { sender.lastPromise = max(sender.lastPromise, samples[low - 1].floor) }
        return sender.lastPromise
    }

    // MARK: Catching up from the log

    private func catchUp(_ sender: StreamSender) {
        guard !sender.reading else { return }
        if sender.cursor == nil {
            guard let start = segmentStarts.last(where: { $0.firstPosition <= sender.next }) ?? segmentStarts.first else {
                return
            }
            sender.cursorIntents.removeAll()
            sender.cursor = LogCursor(from: start.readFrom, to: log.flushed, segmentBytes: log.segmentBytes)
        }
        sender.cursor?.extend(to: log.flushed)
        do {
            while sender.hasRoom, sender.next <= shippable, tail[sender.next] == nil {
                guard let (offset, record) = try sender.cursor?.next() else { break }
                takeLogged(record, at: offset, sender)
            }
        } catch {
            say(.error, "log cannot be read for site=\(sender.site.name): \(error)")
            return sender.link.map { hangUp($0, "\(error)") } ?? ()
        }
        if tail[sender.next] != nil { sender.needsPump = true }
        guard sender.hasRoom, sender.next <= shippable, tail[sender.next] == nil else { return }
        guard let wanted = sender.cursor?.wanted else {
            // What is committed may not be written out yet: it will be before the next step.
            sender.needsPump = true
            return
        }
        sender.reading = true
        let asked = logReads[wanted.offset] != nil
        logReads[wanted.offset, default: []].append(.catchUp(SiteID(sender.site.id)))
        if !asked { effects.actions.append(.readLog(wanted.offset, count: wanted.count)) }
    }

    func caughtUp(_ site: SiteID, _ offset: LogOffset, _ bytes: [UInt8]) {
        guard let sender = senders[site] else { return }
        sender.reading = false
        // The connection may have broken meanwhile, and the cursor have started anew elsewhere.
        if let wanted = sender.cursor?.wanted, wanted.offset == offset {
            do { try sender.cursor?.feed(offset, bytes) } catch {
                say(.error, "log cannot be read for site=\(sender.site.name): \(error)")
            }
        }
        sender.needsPump = true
    }

    private func takeLogged(_ record: LogRecord, at offset: LogOffset, _ sender: StreamSender) {
        switch record.kind {
        case .intent: sender.cursorIntents[offset] = record
        case .abort: sender.cursorIntents[LogOffset(record.reference)] = nil
        case .commit:
            guard let intent = sender.cursorIntents.removeValue(forKey: LogOffset(record.reference)) else { return }
            shipLogged(intent, at: record.position, sender)
        case .commitValue:
            sender.cursorIntents[LogOffset(record.reference)] = nil
            shipLogged(record, at: record.position, sender)
        default: break
        }
    }

    private func shipLogged(_ record: LogRecord, at position: Position, _ sender: StreamSender) {
        guard position == sender.next, let link = sender.link else { return }
        let invalidates = record.flags.contains(.invalidate) && record.content != .touch
        ship(
            ReplicatedRecord(
                content: invalidates ? .tombstone : record.content, version: record.version, position: position,
                clientFlags: record.clientFlags, expiry: record.expiryMicroseconds, key: record.key,
                value: invalidates || record.content != .value ? [] : record.payload), sender, link)
    }
}
