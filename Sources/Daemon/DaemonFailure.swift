// Every way in which the daemon ends other than by order: one clear line and an exit code of sysexits.h.

/// Why the daemon cannot start or go on.
public struct DaemonFailure: Error, Sendable, CustomStringConvertible {
    /// The exit code, as in sysexits.h.
    public enum Code: Int32, Sendable {
        /// The command line is wrong.
        case usage = 64
        /// The log is damaged.
        case data = 65
        /// A mistake of ours.
        case software = 70
        /// The system refused something, such as a port.
        case system = 71
        /// A disk failed.
        case disk = 74
        /// The site files, or what they name, are wrong.
        case configuration = 78
    }

    /// The exit code.
    public var code: Code
    /// What is wrong and what to do about it.
    public var description: String

    /// Makes a failure of its parts.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
