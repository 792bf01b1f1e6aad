// `meridian lag` as a monitoring plugin: one line, performance data, an exit code (Monitoring Plugins Development
// Guidelines, sections "Plugin Output" and "Performance data").

import Foundation

/// Limits that a lag is held against.
public struct LagCheck: Sendable {
    /// What the plugin exits with.
    public enum Outcome: Int32, Sendable {
        /// All is well.
        case ok = 0
        /// A lag reached the first limit.
        case warning = 1
        /// A lag reached the second limit, or a destination was never heard.
        case critical = 2
        /// A proxy did not answer, so that its lag is not known.
        case unknown = 3

        /// Which of two outcomes decides, as the plugins' own `max_state` has it.
        fileprivate var rank: Int {
            switch self {
            case .ok: 0
            case .unknown: 1
            case .warning: 2
            case .critical: 3
            }
        }

        fileprivate var word: String {
            switch self {
            case .ok: "OK"
            case .warning: "WARNING"
            case .critical: "CRITICAL"
            case .unknown: "UNKNOWN"
            }
        }
    }

    /// A lag of this many seconds is a warning; nil for never.
    public var warnSeconds: Double?
    /// A lag of this many seconds is critical; nil for never.
    public var criticalSeconds: Double?

    /// Makes a check of its limits.
    public init(warnSeconds: Double?, criticalSeconds: Double?) {
        self.warnSeconds = warnSeconds
        self.criticalSeconds = criticalSeconds
    }

    /// What one link comes to.
    public func outcome(of link: LagLink) -> Outcome {
        guard let seconds = link.certainSeconds else { return .critical }
        if let criticalSeconds, seconds >= criticalSeconds { return .critical }
        if let warnSeconds, seconds >= warnSeconds { return .warning }
        return link.state == "refused" ? .critical : .ok
    }

    /// The plugin's line and what to exit with.
    public func run(_ report: LagReport, clock: (Double) -> String) -> (line: String, outcome: Outcome) {
        var outcome: Outcome = report.unanswered.isEmpty ? .ok : .unknown
        for link in report.links where self.outcome(of: link).rank > outcome.rank { outcome = self.outcome(of: link) }
        let text = summary(report, outcome, clock: clock)
        // A bar begins the performance data, so it cannot occur in the text.
        let line = "MERIDIAN LAG \(outcome.word) - \(Table.printable(text).replacing("|", with: "/"))"
        let data = report.links.map { performance($0) }.joined(separator: " ")
        return (data.isEmpty ? line : "\(line) | \(data)", outcome)
    }

    private func summary(_ report: LagReport, _ outcome: Outcome, clock: (Double) -> String) -> String {
        if outcome == .unknown { return report.unanswered.map(\.description).joined(separator: "; ") }
        guard let worst = report.links.max(by: { isBetter($0, $1) }) else { return "no other site" }
        let records = report.links.reduce(UInt64(0)) { $0 &+ $1.records }
        let bytes = report.links.reduce(UInt64(0)) { $0 &+ $1.bytes }
        let behind = "\(Amount.count(records)) records, \(Amount.bytes(bytes)) behind over \(report.links.count) links"
        var text = "\(worst.origin) to \(worst.destination) "
        text += worst.isSilent ? worst.heardText(clock: clock) : Amount.seconds(worst.seconds)
        if worst.state == "refused" { text += ", refused: \(worst.message)" }
        text += "; \(behind)"
        if !report.unanswered.isEmpty {
            text +=
                "; no answer from \(report.unanswered.map { $0.endpoint.proxy ?? "\($0.endpoint.address)" }.joined(separator: ", "))"
        }
        return text
    }

    private func isBetter(_ a: LagLink, _ b: LagLink) -> Bool {
        let (one, other) = (outcome(of: a).rank, outcome(of: b).rank)
        return one != other ? one < other : (a.certainSeconds ?? .infinity) < (b.certainSeconds ?? .infinity)
    }

    /// `'north_n1_s1p1l0_south'=0.000400s;1;5;0` and the records and bytes; `U` where nothing is known.
    private func performance(_ link: LagLink) -> String {
        let parts = [link.site, link.proxy, link.lane, link.destination].filter { !$0.isEmpty }
        let label = parts.joined(separator: "_").filter { $0 != "'" && $0 != "=" && $0 != "|" }
        let limits = "\(Self.limit(warnSeconds));\(Self.limit(criticalSeconds));0"
        let seconds = link.certainSeconds.map { String(format: "%.6fs", $0) } ?? "U"
        return "'\(label)'=\(seconds);\(limits) '\(label)_records'=\(link.records);;;0 '\(label)_bytes'=\(link.bytes)B;;;0"
    }

    private static func limit(_ seconds: Double?) -> String { seconds.map { String(format: "%g", $0) } ?? "" }
}

/// A time on the command line: `500ms`, `1s`, `1.5s`, `2min`, `1h`; seconds when there is no unit.
public func readSeconds(_ text: String) -> Double? {
    let units: [(suffix: String, factor: Double)] = [("ms", 0.001), ("min", 60), ("h", 3_600), ("s", 1), ("", 1)]
    for unit in units where text.hasSuffix(unit.suffix) {
        let digits = text.dropLast(unit.suffix.count)
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber || $0 == "." }), let number = Double(digits),
            number.isFinite
        else { return nil }
        return number * unit.factor
    }
    return nil
}
