// One thread's wait for whatever happens next. libevent tells readiness and nothing else: its callbacks only note what is
// ready, and the owner of the loop reads the notes after the wait. So a turn is one straight piece of code,
//
//     wait ──▶ ready list ──▶ handle each ──▶ write the dirty ones ──▶ wait
//
// and no callback ever runs in the middle of another.

import CEvent

/// One event loop: an epoll set, a list of what is ready, and one timer.
///
/// It belongs to one thread and is never touched from another; other threads reach its owner through a `Mailbox`.
public final class Loop {
    /// The version of the event library.
    public static var libraryVersion: String { String(cString: event_get_version()) }

    /// What a wait found ready.
    public struct Ready: Sendable {
        /// The owner's mark for what it watches.
        public var role: UInt32
        /// The owner's number for which one.
        public var token: UInt64
        /// True when it can be written, false when it can be read.
        public var writable: Bool
    }

    let base: OpaquePointer
    let list: UnsafeMutablePointer<meridian_ready_list>
    private let timer: OpaquePointer
    /// When the timer is set to go off; `UInt64.max` when it is not.
    private var armedFor = UInt64.max

    /// Longest single wait, so that a wrong deadline can never put a loop to sleep for good.
    public static let waitMicrosecondsMax: UInt64 = 1_000_000

    /// Makes a loop with nothing to wait for. Fails only when the system has no descriptors left.
    public init() throws(SocketError) {
        list = .allocate(capacity: 1)
        list.initialize(to: meridian_ready_list())
        guard let base = meridian_base_new(), let timer = meridian_timer_new(base, list) else {
            list.deallocate()
            throw SocketError(
                action: "make", subject: "an event loop", code: 0, reason: "libevent found no usable event mechanism",
                remedy: "raise the limit on open files (ulimit -n)")
        }
        self.base = base
        self.timer = timer
    }

    deinit {
        // Every Watch holds its loop, so no event is left that could refer to these.
        event_free(timer)
        event_base_free(base)
        free(list.pointee.items)
        list.deallocate()
    }

    /// Waits until something is ready or `deadline` (monotonic microseconds) has passed; nil waits for the longest wait.
    /// What is ready is then at `ready(0) …< readyCount`.
    public func wait(until deadline: UInt64?) {
        list.pointee.count = 0
        let now = meridian_monotonic_microseconds()
        let latest = now + Self.waitMicrosecondsMax
        let wake = min(deadline ?? latest, latest)
        if wake <= now {
            // Without EVLOOP_ONCE, libevent would go on for as long as anything is left unread.
            event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK)
            noteTimer()
            return
        }
        // An earlier timer is left alone: waking once too often is cheaper than setting it at each turn.
        if wake < armedFor {
            meridian_timer_add(timer, wake - now)
            armedFor = wake
        }
        event_base_loop(base, EVLOOP_ONCE)
        noteTimer()
    }

    /// libevent's own clock is coarse: the timer may go off a few milliseconds before `armedFor` by ours. So whether it has
    /// gone off is noted, not computed; a timer that is taken for set but is not would be a wait without end.
    private func noteTimer() {
        guard list.pointee.timer_fired != 0 else { return }
        list.pointee.timer_fired = 0
        armedFor = .max
    }

    /// How much the last wait found ready.
    public var readyCount: Int { list.pointee.count }

    /// One of the things that the last wait found ready.
    public func ready(_ index: Int) -> Ready {
        precondition(index >= 0 && index < list.pointee.count, "ready \(index) of \(list.pointee.count)")
        let noted = list.pointee.items[index]  // Bounds checked above; the list is only filled inside a wait.
        return Ready(role: noted.role, token: noted.token, writable: noted.writable != 0)
    }
}

/// A descriptor that a loop waits for: reading and writing are switched separately, both start switched off.
///
/// Readiness is level-triggered: what is not read now is reported again by the next wait.
public final class Watch {
    private let loop: Loop
    private let watch: UnsafeMutablePointer<meridian_watch>
    private var cancelled = false

    /// Whether readable is reported.
    public var reading = false {
        didSet {
            guard reading != oldValue, !cancelled else { return }
            if reading { event_add(watch.pointee.read, nil) } else { event_del(watch.pointee.read) }
        }
    }

    /// Whether writable is reported.
    public var writing = false {
        didSet {
            guard writing != oldValue, !cancelled else { return }
            if writing { event_add(watch.pointee.write, nil) } else { event_del(watch.pointee.write) }
        }
    }

    /// Watches a descriptor for the owner, who gets back `role` and `token`. The descriptor stays the owner's to close,
    /// after `cancel`.
    public init(_ loop: Loop, descriptor: Int32, role: UInt32, token: UInt64) {
        self.loop = loop
        guard let watch = meridian_watch_new(loop.base, loop.list, descriptor, token, role) else {
            preconditionFailure("out of memory for a watch")
        }
        self.watch = watch
    }

    deinit { cancel() }

    /// Ends watching; must come before the descriptor is closed. What the current wait already noted stays noted.
    public func cancel() {
        guard !cancelled else { return }
        cancelled = true
        meridian_watch_free(watch)
    }
}
