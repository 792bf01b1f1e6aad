// What a lane starts with: its log, folded record by record, oldest first (`Docs/log-format.md`).

import DequeModule
import Kernel
import Replication
import WriteLog

/// Where reading must start to find a segment's committed records with their intents.
struct SegmentStart: Sendable {
    var segment: UInt64
    /// Position of the first record committed in the segment; all earlier ones are in earlier segments.
    var firstPosition: Position
    /// Lowest address of an intent that was undecided when the segment began.
    var readFrom: LogOffset
}

/// Commits whose intents, with the payloads, are in an earlier segment: that one is needed for as long as they are.
struct StraddlingCommits: Sendable {
    private var highest: [UInt64: Position] = [:]

    /// Takes in a commit and the addresses of it and its intent.
    mutating func note(_ position: Position, intent: LogOffset, commit: LogOffset, _ segmentBytes: Int) {
        let segment = intent.segment(segmentBytes: segmentBytes)
        guard position > .zero, segment < commit.segment(segmentBytes: segmentBytes) else { return }
        highest[segment] = max(highest[segment] ?? .zero, position)
    }

    /// Highest position that needs the segment, although it was committed in a later one.
    subscript(segment: UInt64) -> Position { highest[segment] ?? .zero }

    /// The segment is deleted.
    mutating func remove(_ segment: UInt64) { highest[segment] = nil }
}

/// A write that the log holds without an outcome.
struct OpenIntent: Sendable {
    var offset: LogOffset
    var record: LogRecord
    var recordBytes: UInt32
}

/// Folds a lane's log into its state.
public struct LaneRecovery: Sendable {
    struct KnownServer: Sendable {
        var incarnation: [UInt8]
        var recovering: Bool
        var cutOff: Bool
        var movedAt: UInt64
        var clearedTo: UInt64
    }

    let configuration: LaneConfiguration
    private(set) var committed = Position.zero
    private var ceiling: UInt64 = 0
    private(set) var stableFloor: UInt64 = 0
    private(set) var acknowledged: [SiteID: Position] = [:]
    private(set) var servers: [String: KnownServer] = [:]
    /// The rings that were last in effect; nil where the log does not say.
    private(set) var rings: SiteRings?
    private(set) var segmentStarts: Deque<SegmentStart> = []
    private(set) var straddling = StraddlingCommits()
    private var open: [LogOffset: OpenIntent] = [:]
    private var landedFloor = LogOffset.zero
    private var rebuilt = KeyIndex()
    private var highestStamp: UInt64 = 0

    /// Nothing replayed yet: a new lane.
    public init(_ configuration: LaneConfiguration) { self.configuration = configuration }

    /// Takes in the next record of the log.
    public mutating func replay(_ record: LogRecord, at offset: LogOffset) {
        let bytes = LogRecord.encodedBytes(keyBytes: record.key.count, payloadBytes: record.payload.count)
        highestStamp = max(highestStamp, record.version.stamp)
        let segment = offset.segment(segmentBytes: configuration.site.segmentBytes)
        if segmentStarts.last.map({ $0.segment < segment }) ?? true {
            segmentStarts.append(
                SegmentStart(segment: segment, firstPosition: committed.next, readFrom: open.keys.min() ?? offset))
        }
        switch record.kind {
        case .intent, .derivedIntent:
            open[offset] = OpenIntent(offset: offset, record: record, recordBytes: UInt32(bytes))
        case .commit:
            committed = max(committed, record.position)
            straddling.note(record.position, intent: LogOffset(record.reference), commit: offset, configuration.site.segmentBytes)
            // Without its intent it was shipped long since, and the segment of the intent deleted.
            guard let intent = open.removeValue(forKey: LogOffset(record.reference)) else { return }
            note(intent.record, at: intent.offset, bytes: intent.recordBytes)
        case .commitValue:
            open[LogOffset(record.reference)] = nil
            note(record, at: offset, bytes: UInt32(bytes))
            committed = max(committed, record.position)
        case .abort: open[LogOffset(record.reference)] = nil
        case .applied: note(record, at: offset, bytes: UInt32(bytes))
        case .landed: landedFloor = max(landedFloor, LogOffset(record.reference))
        case .acknowledged:
            let site = SiteID(UInt8(truncatingIfNeeded: record.clientFlags))
            acknowledged[site] = max(acknowledged[site] ?? .zero, record.position)
        case .ceiling:
            ceiling = max(ceiling, record.version.stamp)
            stableFloor = max(stableFloor, record.reference)
            committed = max(committed, record.position)
        case .backendState:
            servers[String(decoding: record.key, as: UTF8.self)] = KnownServer(
                incarnation: record.payload, recovering: record.clientFlags & 1 != 0, cutOff: record.clientFlags & 2 != 0,
                movedAt: record.version.stamp, clearedTo: record.reference)
        case .rings: rings = SiteRings(encoded: record.payload)
        case .segmentHeader, .pad: break
        }
    }

    private mutating func note(_ record: LogRecord, at offset: LogOffset, bytes: UInt32) {
        switch record.content {
        case .none: break
        case .touch:
            rebuilt.raiseTouch(
                record.key, version: record.version, expiry: record.expiryMicroseconds,
                position: record.kind == .applied ? .zero : record.position, holder: configuration.laneID)
        case .value, .tombstone:
            rebuilt.raise(
                record.key, version: record.version, content: record.content, expiry: record.expiryMicroseconds,
                holder: configuration.laneID, offset: offset, recordBytes: bytes, isHearsay: true)
        }
        lastOffset[record.key] = offset
    }

    /// Where each key was last written, to find what may not have landed.
    private var lastOffset: [[UInt8]: LogOffset] = [:]

    /// The clock goes on above this.
    var clockFloor: UInt64 { configuration.planted.contains(.clockNotPersisted) ? 0 : max(ceiling, highestStamp) }

    /// What is not yet stable.
    var index: KeyIndex {
        guard !configuration.planted.contains(.indexNotRebuilt) else { return KeyIndex() }
        var kept = rebuilt
        kept.forget(upTo: stableFloor, pinned: { _, _ in false }, forgotten: { _, _ in })
        kept.dropSettled(upTo: stableFloor)
        return kept
    }

    /// Stores and deletes without an outcome, oldest first: their payload is known, so they are committed.
    var openIntents: [OpenIntent] {
        open.values.filter { $0.record.kind == .intent }.sorted { $0.offset < $1.offset }
    }

    /// Derived writes without an outcome, by key: the one with the highest version. What stays on one server was none.
    var doubts: [[UInt8]: LogRecord] {
        let derived = open.values.filter {
            $0.record.kind == .derivedIntent && $0.record.content != .none && $0.offset >= landedFloor
        }
        return Dictionary(derived.map { ($0.record.key, $0.record) }) { $0.version < $1.version ? $1 : $0 }
    }

    /// Keys whose last write may not have landed everywhere, and those whose derived write has no outcome.
    var unresolved: [(key: [UInt8], cause: AssertionCause)] {
        let derived = doubts
        let known = index
        let unlanded = lastOffset.filter { $0.value >= landedFloor && derived[$0.key] == nil && known[$0.key] != nil }.keys
        return derived.keys.sorted { $0.lexicographicallyPrecedes($1) }.map { ($0, .doubt) }
            + unlanded.sorted { $0.lexicographicallyPrecedes($1) }.map { ($0, isOnlyTouched(known[$0]) ? .touched : .overtaken) }
    }

    /// The value landed long since, and another lane may have written a younger one that is stable by now: only the touch is open.
    private func isOnlyTouched(_ entry: KeyEntry?) -> Bool {
        guard let entry, entry.touch > .zero else { return false }
        return entry.version == .zero || entry.offset < landedFloor
    }
}
