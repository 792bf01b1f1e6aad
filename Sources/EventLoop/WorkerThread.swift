// Threads by pthreads: one per loop, and a few helpers that may wait for a disk or a name server.

import CEvent
import Glibc

/// A running thread, to be joined or detached.
public struct WorkerThread: Sendable {
    private let thread: pthread_t

    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts a thread; its name (at most 15 bytes) shows in `top -H` and debuggers.
    public static func start(name: String, _ run: @escaping @Sendable () -> Void) throws(SocketError) -> WorkerThread {
        // The body is retained across the border and released by the new thread, once, when it has been taken over.
        let body = Unmanaged.passRetained(Body(name: name, run: run))
        var thread = pthread_t()
        let failure = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let body = Unmanaged<Body>.fromOpaque(context).takeRetainedValue()
                meridian_name_thread(body.name)
                body.run()
                return nil
            }, body.toOpaque())
        guard failure == 0 else {
            body.release()
            throw SocketError(
                action: "start", subject: "thread \(name)", code: failure, remedy: "raise the limit on processes (ulimit -u)")
        }
        return WorkerThread(thread: thread)
    }

    /// Waits for the thread to end.
    public func join() { pthread_join(thread, nil) }

    /// Lets the thread end by itself.
    public func detach() { pthread_detach(thread) }
}
