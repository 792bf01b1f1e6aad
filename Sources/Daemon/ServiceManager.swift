// systemd's readiness protocol (sd_notify(3)): one datagram to the socket named in NOTIFY_SOCKET. Without that, nothing.

import EventLoop
import Foundation

/// Tells the service manager how far we are.
enum ServiceManager {
    /// The daemon serves.
    static func ready() { NotifySocket.send("READY=1\nSTATUS=serving") }
    /// The daemon is ending.
    static func stopping() { NotifySocket.send("STOPPING=1\nSTATUS=handing over") }
}
