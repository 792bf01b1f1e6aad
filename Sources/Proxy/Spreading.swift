// Which of a key's two servers a read asks, where the site spreads its reads (`reads:` in the site file). Only servers that this lane
// may trust are chosen between: both can be reached, lack nothing of the key, and neither has lost its memory in favour of the
// other. So that a client reads what it wrote wherever it reads next, writes are answered when both servers have them
// (`OwnerLane.swift`).
//
//     hot-in-turn         hot key ─▶ primary, backup, primary, backup …    any other key ─▶ primary
//     in-turn             any key ─▶ primary, backup, primary, backup …
//     least-outstanding   any key ─▶ the one with fewer replies to come; in turn when they are equal
//
// Always the primary's: reads behind writes of the same connection that are still under way, since they may follow these on the same path;
// reads that want a CAS value, since the server that numbers items is the one that compares; and what is told of one server's item
// and not of its value.

import Configuration
import Memcache

/// Whose turn it is, if both servers of a key may be asked.
enum ReadTurn {
    case primary
    case backup
    /// Whoever has fewer replies to come.
    case idler(backupIfEven: Bool)

    func isBackups(_ primary: BackendServer, _ backup: BackendServer) -> Bool {
        switch self {
        case .primary: return false
        case .backup: return true
        case .idler(let backupIfEven):
            let (first, second) = (primary.expected.count, backup.expected.count)
            return first == second ? backupIfEven : second < first
        }
    }

    /// The primary's for a key that may not be read from both.
    func asFar(as isAllowed: Bool) -> ReadTurn { isAllowed ? self : .primary }
}

extension LaneNode {
    /// Whose turn the next request of a client is.
    func turn(of session: ClientSession) -> ReadTurn {
        guard session.writes == 0 else { return .primary }
        wasBackupsTurn.toggle()
        if configuration.site.reads == .leastOutstanding { return .idler(backupIfEven: wasBackupsTurn) }
        return wasBackupsTurn ? .backup : .primary
    }

    /// Whose turn a client's read of one key is.
    func turn(of session: ClientSession, _ key: UnsafeRawBufferPointer) -> ReadTurn {
        mayTakeTurns(key) ? turn(of: session) : .primary
    }

    /// True when the key may be read from both its servers.
    func mayTakeTurns(_ key: UnsafeRawBufferPointer) -> Bool {
        switch configuration.site.reads {
        case .primary: false
        case .hotInTurn: hotKeys.isHot(key)
        case .inTurn, .leastOutstanding: true
        }
    }

    /// A backup that came back empty is left alone until it has been refilled, unless nobody refills it.
    func takesTurns(_ backup: BackendServer) -> Bool { !backup.lacksItems || configuration.site.refillKeysPerSecond == 0 }

    /// Counts a read, now and then.
    func sampleRead(_ key: UnsafeRawBufferPointer) {
        if hotKeys.isNextSample() { hotKeys.take(key) }
    }
}

extension Request {
    /// True for a read of what the key's two servers do not have in common: a CAS value, whether and when an item was read before, or
    /// what memcached knows of it internally.
    var isAnsweredByOneServer: Bool { verb == .me || meta.has("c") || meta.has("h") || meta.has("l") }
}
