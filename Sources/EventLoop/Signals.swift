// Signals as readiness: they are blocked in every thread and read from a descriptor, so no handler ever interrupts.

import CEvent
import Glibc

/// The process's signals, read by one loop.
public final class Signals {
    private let descriptor: Int32
    private var watch: Watch?

    /// Blocks the signals in this thread and in all that it starts later: to be made before any other thread.
    public init(_ signals: [Int32]) throws(SocketError) {
        descriptor = meridian_signalfd(signals, Int32(signals.count))
        guard descriptor >= 0 else { throw SocketError(action: "receive", subject: "signals", code: -descriptor) }
    }

    deinit {
        watch?.cancel()
        close(descriptor)
    }

    /// Has the loop report `role` when a signal has come.
    public func watch(in loop: Loop, role: UInt32) {
        let watch = Watch(loop, descriptor: descriptor, role: role, token: 0)
        watch.reading = true
        self.watch = watch
    }

    /// The next signal that has come, or nil.
    public func next() -> Int32? {
        let signal = meridian_signalfd_next(descriptor)
        return signal == 0 ? nil : signal
    }

    /// A write to a closed connection is an error to handle, not a reason to die.
    public static func ignoreBrokenPipes() { meridian_ignore_sigpipe() }
}
