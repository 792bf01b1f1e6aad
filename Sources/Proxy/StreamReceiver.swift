// Records of one lane of another site on their way to their owners here. They may finish in any order; what is acknowledged
// is the position up to which all are applied or superseded, and mirrored to every live sibling.

import Kernel
import Replication

final class StreamReceiver {
    /// The lane whose records these are.
    let origin: LaneID
    var link: PeerLink?
    /// The position that must come next.
    var expected: Position
    /// Everything up to here is done. Invariant: below `expected`.
    var done: Position
    /// Done ahead of `done`.
    var doneAhead: Set<Position> = []
    var acknowledgementDue = false
    /// Taken off the stream and not yet done, with their sizes: what waits behind them stays in the connection.
    private(set) var underWay: [Position: Int] = [:]
    private(set) var underWayBytes = 0
    /// Messages wait in the connection for records under way.
    var isWaiting = false

    /// True while more may be taken off the stream: local clients share the same connections to memcached, and must not
    /// queue behind an hour of another site's writes.
    var hasRoom: Bool { underWay.count < Limits.applyRecordsMax && underWayBytes < Limits.applyBytesMax }

    func take(_ position: Position, bytes: Int) {
        underWay[position] = bytes
        underWayBytes += bytes
    }

    func finish(_ position: Position) {
        if let bytes = underWay.removeValue(forKey: position) { underWayBytes -= bytes }
    }

    /// Its clock against ours, in microseconds; positive when it is ahead.
    var clockOffset: Int64 = 0
    var heardAt: UInt64

    init(origin: LaneID, resume: Position, at now: UInt64) {
        self.origin = origin
        expected = resume
        done = Position(resume.raw - 1)
        heardAt = now
    }
}

extension LaneNode {
    // MARK: Connecting

    func streamGreeted(_ link: PeerLink, _ hello: Hello) {
        if link.dialled {
            guard let sender = senderOf(link) else { return refuse(link, "this stream is no longer wanted") }
            return startSending(sender)
        }
        guard hello.resume > .zero else { return refuse(link, "it would resume at position 0") }
        send(.hello(ownHello(answering: hello)), on: link)
        if let old = receivers[hello.lane]?.link { hangUp(old, "a newer stream took its place") }
        let receiver = StreamReceiver(origin: hello.lane, resume: hello.resume, at: monotonic)
        receiver.link = link
        receivers[hello.lane] = receiver
        noteRemoteFloor(hello.lane, hello.loops, 0, tell: false)
        noteClock(receiver, wall: hello.wall)
        say(.notice, "stream accepted origin=\(hello.lane) from=\(hello.resume)")
    }

    func streamBroke(_ link: PeerLink, _ reason: String) {
        if let sender = senderOf(link) { return senderBroke(sender, reason) }
        guard let lane = link.lane, let receiver = receivers[lane], receiver.link === link else { return }
        receiver.link = nil
        say(.warning, "stream from another site lost origin=\(lane) reason=\(reason)")
    }

    // MARK: Messages

    func takeStream(_ message: Message, _ link: PeerLink, _ lane: LaneID) {
        if let sender = senderOf(link) {
            guard case .acknowledge(let position) = message else {
                return refuse(link, "a message has no place on this end of a stream")
            }
            return takeAcknowledgement(position, sender, link)
        }
        guard let receiver = receivers[lane], receiver.link === link else { return }
        receiver.heardAt = monotonic
        switch message {
        case .record(let record): takeRecord(record, receiver, link)
        case .promise(let floor, let stamp, let wall, _):
            // Clocks move together, or one that once jumped ahead would keep its versions from ever becoming stable.
            clock.observe(stamp)
            noteClock(receiver, wall: wall)
            noteRemoteFloor(receiver.origin, remoteLoops[receiver.origin.site] ?? 0, floor, tell: true)
            receiver.acknowledgementDue = true
            receiversDue.append(receiver)
        default: refuse(link, "a message has no place on a stream")
        }
    }

    private func takeRecord(_ record: ReplicatedRecord, _ receiver: StreamReceiver, _ link: PeerLink) {
        guard record.position == receiver.expected else {
            return refuse(link, "position \(record.position) came where \(receiver.expected) was due")
        }
        guard record.version.origin == receiver.origin else {
            return refuse(
                link, "lane \(receiver.origin) sent a record of \(record.version.origin): only a record's origin sends it")
        }
        guard isCarriable(record.key, record.content) else { return refuse(link, "a record's key cannot be carried") }
        receiver.expected = receiver.expected.next
        receiver.take(record.position, bytes: record.windowBytes)
        clock.observe(record.version.stamp)
        if isPlanted(.acknowledgeBeforeApplying) { recordDone(receiver, record.position) }
        dispatchLanding(record, .receiver(receiver.origin, record.position), hops: 0)
    }

    // MARK: Acknowledging

    func recordDone(_ receiver: StreamReceiver, _ position: Position) {
        // A record of an earlier connection may finish late; its position comes again, and means the same record.
        guard position > receiver.done, position < receiver.expected else { return }
        receiver.doneAhead.insert(position)
        receiver.finish(position)
        if receiver.isWaiting && receiver.hasRoom, let link = receiver.link {
            receiver.isWaiting = false
            linksToRead.append(link)
        }
        while receiver.doneAhead.remove(receiver.done.next) != nil { receiver.done = receiver.done.next }
        guard !receiver.acknowledgementDue else { return }
        receiver.acknowledgementDue = true
        receiversDue.append(receiver)
    }

    func acknowledge(_ receiver: StreamReceiver) {
        receiver.acknowledgementDue = false
        guard let link = receiver.link, link.isOpen else { return }
        observe(.acknowledges(origin: receiver.origin, position: receiver.done))
        send(.acknowledge(receiver.done), on: link)
    }

    private func noteClock(_ receiver: StreamReceiver, wall: UInt64) {
        let offset = Int64(bitPattern: wall &- now.wallMicroseconds)
        let wasAlarming = receiver.clockOffset.magnitude > Limits.clockAlarmMicroseconds
        receiver.clockOffset = offset
        if offset.magnitude > Limits.clockAlarmMicroseconds && !wasAlarming {
            say(.warning, "clock of another site differs origin=\(receiver.origin) milliseconds=\(offset / 1_000)")
        }
    }
}
