// What libevent has to say, which it would write to standard error as often as it likes.

import CEvent

/// Where libevent's warnings go, for all loops of the process.
public enum LibraryLog {
    private static let listener = Guarded<(@Sendable (String) -> Void)?>(nil)

    /// From now on each warning is handed over, from whatever thread it comes. Debugging messages are dropped.
    public static func divert(to tell: @escaping @Sendable (String) -> Void) {
        listener.withLock { $0 = tell }
        event_set_log_callback { severity, message in
            guard severity >= EVENT_LOG_WARN, let message else { return }
            LibraryLog.note("libevent: \(String(cString: message))")
        }
    }

    /// Says something of our own where libevent calls back without telling for whom.
    static func note(_ message: String) {
        guard let tell = listener.withLock({ $0 }) else { return }
        tell(message)
    }
}
