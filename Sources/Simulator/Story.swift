// What happened, for people. A run that nobody reads pays nothing for it: the text is an autoclosure that only a story
// that is told evaluates. A violation replays its seed with the story on.

/// The lines of one run: virtual time, who, what.
public struct Story: Sendable {
    /// Lines that are kept; older ones are forgotten.
    public static let linesMax = 200_000

    /// False in runs that only count.
    public let told: Bool
    /// The lines, oldest first.
    public private(set) var lines: [String] = []
    /// Lines forgotten because there were too many.
    public private(set) var forgotten = 0

    /// Gets each line at once: what a core says before it stops must not be lost with it.
    private let listener: (@Sendable (String) -> Void)?

    /// A story that is told, or one that nobody reads.
    public init(told: Bool, listener: (@Sendable (String) -> Void)? = nil) {
        self.told = told || listener != nil
        self.listener = listener
    }

    /// Adds a line.
    mutating func say(_ microseconds: UInt64, _ who: String, _ what: String) {
        let line = "\(Self.seconds(microseconds)) \(Self.padded(who)) \(what)"
        listener?(line)
        lines.append(line)
        if lines.count >= Self.linesMax {
            forgotten += Self.linesMax / 2
            lines.removeFirst(Self.linesMax / 2)
        }
    }

    /// The last lines.
    public func tail(_ count: Int) -> ArraySlice<String> { lines.suffix(count) }

    /// `   12.345678`
    static func seconds(_ microseconds: UInt64) -> String {
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        let whole = String(microseconds / 1_000_000)
        return String(repeating: " ", count: max(0, 5 - whole.count)) + whole + "." + fraction
    }

    private static func padded(_ who: String) -> String { who + String(repeating: " ", count: max(0, 9 - who.count)) }

    /// Bytes as a person reads them: printable, line ends as `\n`, long ones cut.
    static func readable(_ bytes: some Collection<UInt8>, most: Int = 120) -> String {
        var text = ""
        for byte in bytes.prefix(most) {
            switch byte {
            case 13: text += "\\r"
            case 10: text += "\\n"
            case 32..<127: text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += "\\x" + String(byte, radix: 16)
            }
        }
        return bytes.count > most ? text + "… (\(bytes.count) bytes)" : text
    }
}
