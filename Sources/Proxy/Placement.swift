// Where a key lives at this site, and which of its servers decides.

import Kernel
import WriteLog

/// The servers of one key (indices over primaries, then backups).
struct Place: Sendable {
    var primary: Int
    var backup: Int?

    /// The primary, then the backup if there is one.
    var both: Both { Both(place: self) }

    /// One server or two, in place: every write asks for them.
    struct Both: RandomAccessCollection {
        let place: Place
        var startIndex: Int { 0 }
        var endIndex: Int { place.backup == nil ? 1 : 2 }
        subscript(position: Int) -> Int { position == 0 ? place.primary : place.backup ?? place.primary }
    }
}

extension LaneNode {
    /// Every server has been reached, or has been found unreachable. Before that, a lane that has just started would answer
    /// misses for what is there.
    var serversTried: Bool { servers.allSatisfy { $0.acceptsWrites || $0.attempts > 0 } }

    /// The log takes writes, or it is known why it does not. Before that, a lane that has just started would refuse writes for want of
    /// a segment that is being made.
    var logTried: Bool {
        let reserve = Limits.logReserveBytes(configuration.site.segmentBytes)
        return log.hasRoom(forBytes: LogFormat.headBytes, owed: owedBytes + reserve) || !logFailure.isEmpty
    }

    /// Lets the clients go on that came before the servers and the log had been tried.
    func admitClients() {
        guard !clientsAdmitted, serversTried, logTried else { return }
        clientsAdmitted = true
        admitWaiting()
    }

    func route(_ key: UnsafeRawBufferPointer) -> Place {
        let primary = rings.primaries.server(for: key)
        guard let backups = rings.backups else { return Place(primary: primary, backup: nil) }
        return Place(primary: primary, backup: backups.server(for: key) + rings.primaries.servers.count)
    }

    func route(_ key: [UInt8]) -> Place { key.withUnsafeBytes { route($0) } }

    /// True while the backup remembers more than the primary: the primary came back empty, the backup did not since.
    func backupKnowsMore(_ place: Place) -> Bool {
        guard let backup = place.backup else { return false }
        return servers[place.primary].recoveringFrom.contains(backup) && servers[backup].acceptsWrites
    }

    /// The server that decides writes of a key: the one that knows most of it. Nil when none can be reached.
    func authority(at place: Place, _ key: [UInt8]) -> Int? {
        let primary = servers[place.primary]
        guard let backup = place.backup.map({ servers[$0] }) else { return primary.acceptsWrites ? primary.index : nil }
        if primary.holdsForAll(key) && !backupKnowsMore(place) { return primary.index }
        if backup.holdsForAll(key) || (backupKnowsMore(place) && backup.holds(key)) { return backup.index }
        if primary.holds(key) { return primary.index }
        if backup.holds(key) { return backup.index }
        // With nobody else to ask, one that is still being repaired.
        return place.both.first { servers[$0].acceptsWrites }
    }

    /// The server that a read asks first, and whether a miss there is asked of the key's other server.
    func readPlan(at place: Place, _ key: UnsafeRawBufferPointer, wantsToken: Bool, _ turn: ReadTurn = .primary) -> (
        server: Int, fallback: Bool
    )? {
        let primary = servers[place.primary]
        guard let backup = place.backup.map({ servers[$0] }) else { return primary.holds(key) ? (primary.index, false) : nil }
        if primary.holdsForAll(key) {
            guard backupKnowsMore(place) && backup.holdsForAll(key), wantsToken || primary.lacksItems else {
                // What the backup lacks, an eviction may have taken from it: the primary has the last word.
                return turn.isBackups(primary, backup) && !backupKnowsMore(place) && backup.holdsForAll(key)
                    && takesTurns(backup) ? (backup.index, true) : (primary.index, false)
            }
            // A token must come from the server that will compare it.
            return wantsToken ? (backup.index, false) : (primary.index, true)
        }
        return backup.holdsForAll(key) ? (backup.index, false) : nil
    }
}
