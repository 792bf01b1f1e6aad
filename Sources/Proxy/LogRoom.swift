// Room in the log. A segment that is full has a successor, made beforehand; where more comes than segments are made for, it waits for
// the next one, in the order in which it came, instead of being refused. It waits, too, while the outcomes of what is under way may
// take all the room that there is.
//
//     first in line for its key, and no room, or others wait for it ─▶ the key joins the line
//     a new segment, an outcome that took less                      ─▶ from the front, as far as there is room
//     no segment for as long as a server may be silent, or only ever too few of them, or one cannot be made
//                                                                   ─▶ writes are refused, and it is said why; records and doubts stay

import DequeModule
import Kernel
import WriteLog

/// Keys whose first in line waits for room, the longest first.
struct RoomQueue {
    private var order: Deque<(key: [UInt8], ticket: UInt64)> = []
    /// Invariant: each key's place in the line is the one with its ticket; other places of it are of earlier times.
    private var members = KeyMap<(ticket: UInt64, since: UInt64)>()
    private var lastTicket: UInt64 = 0

    var isEmpty: Bool { members.isEmpty }

    /// The key is the first of all.
    func isFirst(_ key: [UInt8]) -> Bool { first == key }

    var first: [UInt8]? { order.first { members[$0.key]?.ticket == $0.ticket }?.key }

    /// Since when it waits, in monotonic microseconds; nil if it does not.
    func since(_ key: [UInt8]) -> UInt64? { members[key]?.since }

    /// Nothing if it waits already.
    mutating func join(_ key: [UInt8], at monotonic: UInt64) {
        guard !members.has(key) else { return }
        lastTicket += 1
        members[key] = (lastTicket, monotonic)
        order.append((key, lastTicket))
    }

    /// Nothing if it does not wait.
    mutating func leave(_ key: [UInt8]) {
        members.removeValue(forKey: key)
        while let first = order.first, members[first.key]?.ticket != first.ticket { order.removeFirst() }
    }

    /// Keys that have waited since then or longer, the longest first.
    func waiting(since limit: UInt64) -> [[UInt8]] {
        order.prefix { members[$0.key].map { $0.since <= limit } ?? true }
            .filter { members[$0.key]?.ticket == $0.ticket }.map(\.key)
    }
}

extension LaneNode {
    /// Bytes that a write's intent takes in the log.
    private func intentBytes(_ write: Write) -> Int {
        LogRecord.encodedBytes(keyBytes: write.key.count, payloadBytes: write.effect.isCertain ? write.payloadCount : 0)
    }

    /// Bytes that a write's outcome may take in the log: what the intent does not hold comes with it.
    func outcomeBytesMax(_ write: Write) -> Int {
        var payload = 0
        if write.effect.readsBack {
            payload = min(write.commandBytes + configuration.federation.itemBytesMax, 1 << 27)
        } else if !write.effect.isCertain {
            payload = write.payloadCount
        }
        return LogRecord.encodedBytes(keyBytes: write.key.count, payloadBytes: payload)
    }

    /// True when the log takes a write, and whatever comes of it.
    func hasRoom(for write: Write) -> Bool {
        hasRoom(intentBytes: intentBytes(write), outcomeBytes: outcomeBytesMax(write))
    }

    func hasRoom(intentBytes: Int, outcomeBytes: Int) -> Bool {
        log.hasRoom(
            forBytes: intentBytes, owed: owedBytes + outcomeBytes + Limits.logReserveBytes(configuration.site.segmentBytes))
    }

    /// True when a command of so many bytes would find room and nobody waits for it; rather false than true.
    func findsRoom(commandBytes: Int) -> Bool {
        // It may become a little longer on its way to a server.
        let bytes = LogRecord.encodedBytes(keyBytes: 512, payloadBytes: commandBytes)
        return awaitingRoom.isEmpty
            && hasRoom(intentBytes: bytes, outcomeBytes: bytes + min(configuration.federation.itemBytesMax, 1 << 27))
    }

    /// True when a key's first in line, for which there is room or not, is not held up by those who wait for longer.
    func mayTake(_ hasRoom: Bool, _ key: [UInt8]) -> Bool { hasRoom && (awaitingRoom.isEmpty || awaitingRoom.isFirst(key)) }

    /// True when a write of the key need not wait for room: there is some, or there will be none in time.
    func mayStart(_ write: Write) -> Bool { mayTake(hasRoom(for: write), write.key) || isRoomOverdue(write.key) }

    /// True when what waits for room has done so for too long, or when none will come.
    func isRoomOverdue(_ key: [UInt8]) -> Bool {
        !logFailure.isEmpty || awaitingRoom.since(key).map { $0 <= roomOverdueSince } ?? false
    }

    /// What has waited for room since then, or for longer, waits in vain: it has for as long as a server may be silent; or, where segments
    /// do come and there is memory for what waits, several times as long.
    private var roomOverdueSince: UInt64 {
        if !logFailure.isEmpty { return .max }
        let patience = roomPatienceMicroseconds
        let isComing = monotonic - min(segmentCameAt, monotonic) < patience && !clientMemory.isTight
        return monotonic - min(isComing ? Limits.roomPatienceFactor * patience : patience, monotonic)
    }

    private var roomPatienceMicroseconds: UInt64 { UInt64(configuration.site.times.backendTimeoutMilliseconds) * 1_000 }

    /// What is first in line for a key is looked at: it joins those who wait for room, or leaves them.
    func noteRoom(for key: [UInt8], _ keyWork: KeyWork) {
        guard let first = keyWork.waiters.first else { return awaitingRoom.isEmpty ? () : awaitingRoom.leave(key) }
        if !findsRoom(first, key) {
            awaitingRoom.join(key, at: monotonic)
        } else if !isHolding, mayStamp() {
            // It waits for something else. What holds everybody up takes nobody's place from him.
            awaitingRoom.leave(key)
        }
    }

    private func findsRoom(_ waiter: Waiter, _ key: [UInt8]) -> Bool {
        switch waiter {
        case .write(let write, _): mayTake(hasRoom(for: write), key)
        case .landing(let record, _, _): mayTake(hasRoom(for: record), key)
        case .doubt: mayTake(hasRoom(forDoubt: key), key)
        }
    }

    /// There may be room again: those go on who wait for it, in their turn.
    func giveRoom() {
        roomMayHaveCome = false
        while !isHolding, mayStamp(), let key = awaitingRoom.first {
            guard let keyWork = work[key] else {
                awaitingRoom.leave(key)
                continue
            }
            drain(key, keyWork)
            if awaitingRoom.isFirst(key) { return }
        }
    }

    /// Those who have waited too long hear of that.
    func refuseOverdue() {
        for key in awaitingRoom.waiting(since: roomOverdueSince) {
            guard let keyWork = work[key] else {
                awaitingRoom.leave(key)
                continue
            }
            drain(key, keyWork)
            refuseStuckWrites(key, keyWork)
        }
    }

    func logFullReply() -> [UInt8] {
        let why = logFailure.isEmpty ? "its next segment is not ready yet" : logFailure
        return Array("SERVER_ERROR write log of lane \(laneID) takes no more writes: \(why)\r\n".utf8)
    }
}
