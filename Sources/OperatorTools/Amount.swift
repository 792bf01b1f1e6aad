/// Numbers as operators read them: with a unit, and no more digits than mean something.
public enum Amount {
    /// A duration in seconds: `0.4 ms`, `250 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
    public static func seconds(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "?" }
        let milliseconds = seconds * 1_000
        if milliseconds < 0.05 { return "0 s" }
        if milliseconds < 10 { return "\(tenths(milliseconds)) ms" }
        if milliseconds < 999.5 { return "\(whole(milliseconds)) ms" }
        if seconds < 59.95 { return "\(tenths(seconds)) s" }
        let total = seconds < Double(Int.max / 2) ? Int(seconds.rounded()) : Int.max / 2
        if total < 3_600 { return "\(total / 60) min \(total % 60) s" }
        if total < 86_400 { return "\(total / 3_600) h \(total % 3_600 / 60) min" }
        return "\(total / 86_400) d \(total % 86_400 / 3_600) h"
    }

    /// Bytes: `512 B`, `3.4 KiB`, `64.0 MiB`.
    public static func bytes(_ bytes: UInt64) -> String {
        if bytes < 1 << 10 { return "\(bytes) B" }
        for (unit, shift) in [("KiB", 10), ("MiB", 20), ("GiB", 30)] where bytes < 1 << (shift + 10) {
            return "\(tenths(Double(bytes) / Double(1 << shift))) \(unit)"
        }
        return "\(tenths(Double(bytes) / Double(1 << 40))) TiB"
    }

    /// A rate per second: `0/s`, `0.5/s`, `120/s`, `12,500/s`.
    public static func rate(_ perSecond: Double) -> String {
        guard perSecond.isFinite, perSecond >= 0, perSecond < 1e15 else { return "?" }
        return perSecond > 0 && perSecond < 10 ? "\(tenths(perSecond))/s" : "\(count(UInt64(perSecond.rounded())))/s"
    }

    /// A count with its thousands apart: `12,500`.
    public static func count(_ number: UInt64) -> String {
        let digits = String(number)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// A part of a whole: `0 %`, `<0.1 %`, `51.2 %`.
    public static func share(_ part: Int, of whole: Int) -> String {
        part > 0 && whole > 0 ? share(Double(part) / Double(whole)) : "0 %"
    }

    /// A part of 1: `0 %`, `<0.1 %`, `51.2 %`.
    public static func share(_ part: Double) -> String {
        guard part > 0, part <= 1 else { return part > 1 ? "100.0 %" : "0 %" }
        let percent = part * 100
        return percent < 0.05 ? "<0.1 %" : "\(tenths(percent)) %"
    }

    /// A count with its noun: `1 server`, `3 servers`, `2 primaries`.
    public static func counted(_ number: Int, _ noun: String, _ plural: String? = nil) -> String {
        "\(count(UInt64(max(number, 0)))) \(number == 1 ? noun : plural ?? "\(noun)s")"
    }

    private static func whole(_ number: Double) -> String { String(Int(number.rounded())) }

    private static func tenths(_ number: Double) -> String {
        let scaled = Int((number * 10).rounded())
        return "\(scaled / 10).\(scaled % 10)"
    }
}
