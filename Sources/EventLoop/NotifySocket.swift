// systemd's notification socket (sd_notify(3)), so that libsystemd need not be linked for one datagram.

import CEvent
import Glibc

/// Sends states to the service manager that started this process, if one did.
public enum NotifySocket {
    /// Sends one message, such as `READY=1`. Whether anybody listens does not matter.
    public static func send(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET") else { return }
        meridian_notify(path, state)
    }
}
