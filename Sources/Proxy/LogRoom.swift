// Room in the log. A segment that is full has a successor, made beforehand; where writes come faster than segments are made, they wait for
// the next one, those first that came first, instead of being refused. They wait, too, while the outcomes of those under way may take
// all the room that there is.
//
//     no room ─▶ nothing has failed, and nobody has waited for longer than a server may ─ yes ─▶ behind whoever waits already
//                                                                                       └ no ──▶ refused, and it is said why

import Kernel
import WriteLog

extension LaneNode {
    /// Bytes that a write's outcome may take in the log.
    func outcomeBytesMax(_ write: Write) -> Int {
        let payload = write.effect.readsBack ? min(write.command.count + configuration.federation.itemBytesMax, 1 << 27) : 0
        return LogRecord.encodedBytes(keyBytes: write.key.count, payloadBytes: payload)
    }

    /// True when the log takes a write, and whatever comes of it.
    func hasRoom(for write: Write) -> Bool {
        hasRoom(
            intentBytes: LogRecord.encodedBytes(keyBytes: write.key.count, payloadBytes: write.payloadCount),
            outcomeBytes: outcomeBytesMax(write))
    }

    func hasRoom(intentBytes: Int, outcomeBytes: Int) -> Bool {
        log.hasRoom(
            forBytes: intentBytes, owed: owedBytes + outcomeBytes + Limits.logReserveBytes(configuration.site.segmentBytes))
    }

    /// True when a write that has just come finds room, with nobody waiting for it longer.
    func findsRoom(_ write: Write) -> Bool { awaitingRoom.isEmpty && hasRoom(for: write) }

    /// The same of a command of so many bytes, which is not a write yet; rather false than true.
    func findsRoom(commandBytes: Int) -> Bool {
        // It may become a little longer on its way to a server.
        let bytes = LogRecord.encodedBytes(keyBytes: 512, payloadBytes: commandBytes)
        return awaitingRoom.isEmpty
            && hasRoom(intentBytes: bytes, outcomeBytes: bytes + min(configuration.federation.itemBytesMax, 1 << 27))
    }

    /// True where what finds no room waits for it: the next segment is on its way.
    func awaitsRoom() -> Bool {
        guard logFailure.isEmpty else { return false }
        let since = roomAwaitedSince ?? monotonic
        roomAwaitedSince = since
        return monotonic - since < UInt64(configuration.site.times.backendTimeoutMilliseconds) * 1_000
    }

    /// There is a new segment, or an outcome has taken less than it might have: those go on who wait for room, in their turn.
    func giveRoom() {
        roomMayHaveCome = false
        roomAwaitedSince = nil
        goOnWithRoom()
    }

    /// Those who wait for room go on as far as there is any; if they have waited too long, or it will not come, they hear of that.
    func goOnWithRoom() {
        while let key = awaitingRoom.first {
            if let keyWork = work[key] {
                drain(key, keyWork)
                if case .write(let write, _) = keyWork.waiters.first, !hasRoom(for: write), awaitsRoom() { return }
            }
            _ = awaitingRoom.popFirst()
        }
    }

    func logFullReply() -> [UInt8] {
        let why = logFailure.isEmpty ? "its next segment is not ready yet" : logFailure
        return Array("SERVER_ERROR write log of lane \(laneID) takes no more writes: \(why)\r\n".utf8)
    }
}
