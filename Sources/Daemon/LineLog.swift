// Log lines for people, on stderr: the time, how much it matters, one event, its details.
//
//     2026-11-22T11:31:40.123Z notice north/n1 s1p1l0 memcached connected server=a missed_keys=0

import EventLoop
import Logging

/// Writes one line per event to stderr.
struct LineLogHandler: LogHandler {
    var logLevel: Logger.Level = .info
    var metadata: Logger.Metadata = [:]
    let label: String

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line = "\(Self.timestamp(Clock.wallMicroseconds())) \(event.level) \(label)"
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
        line += " \(event.message)"
        for (key, value) in (event.metadata ?? [:]).sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
        // Whatever a peer's words contain, an event stays one line.
        let bytes = line.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? " " : Character($0) }
        Descriptor.writeError(String(bytes))
    }

    /// `2026-11-22T11:31:40.123Z`
    static func timestamp(_ microseconds: UInt64) -> String {
        let days = Int(microseconds / 86_400_000_000)
        let rest = microseconds % 86_400_000_000
        // Civil date of a day count, with years that begin in March so that the leap day is the last.
        let shifted = days + 719_468
        let era = shifted / 146_097
        let ofEra = shifted % 146_097
        let year = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let shiftedMonth = (5 * ofYear + 2) / 153
        let day = ofYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let civilYear = year + era * 400 + (month <= 2 ? 1 : 0)
        let date = "\(civilYear)-\(padded(month, 2))-\(padded(day, 2))"
        let hour = padded(Int(rest / 3_600_000_000), 2)
        let minute = padded(Int(rest / 60_000_000 % 60), 2)
        let second = padded(Int(rest / 1_000_000 % 60), 2)
        return "\(date)T\(hour):\(minute):\(second).\(padded(Int(rest / 1_000 % 1_000), 3))Z"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

/// A throttle for each kind of line: what a port scanner provokes must not hide the sibling whose certificate has expired.
struct LogThrottles {
    /// Kinds that are told apart; all others share one throttle.
    static let kindsMax = 64

    private var byKind: [String: LogThrottle] = [:]

    /// What to append to the line of this kind that may now be written, or nil when it may not.
    mutating func permit(_ kind: String, atMonotonic now: UInt64) -> String? {
        if byKind.count >= Self.kindsMax, byKind[kind] == nil { byKind = byKind.filter { !$0.value.isOver(atMonotonic: now) } }
        let known = byKind[kind] != nil || byKind.count < Self.kindsMax - 1 ? kind : ""
        return byKind[known, default: LogThrottle()].permit(atMonotonic: now)
    }
}

/// Lets a few lines of a kind through per window, then counts: strangers must not fill the disk with our log.
struct LogThrottle {
    /// Lines of one kind per window.
    static let linesPerWindowMax = 10
    /// Length of the window.
    static let windowMicroseconds: UInt64 = 60_000_000

    private var windowEnds: UInt64 = 0
    private var lines = 0
    private var suppressed = 0

    /// True when its window has passed and nothing is left to be told.
    func isOver(atMonotonic now: UInt64) -> Bool { now >= windowEnds && suppressed == 0 }

    /// What to append to the line that may now be written, or nil when it may not.
    mutating func permit(atMonotonic now: UInt64) -> String? {
        if now >= windowEnds {
            windowEnds = now + Self.windowMicroseconds
            defer { suppressed = 0 }
            lines = 1
            return suppressed == 0 ? "" : " (\(suppressed) more like it in the last minute)"
        }
        guard lines < Self.linesPerWindowMax else {
            suppressed += 1
            return nil
        }
        lines += 1
        return ""
    }
}
