// How one thread tells a loop something: a locked array and an eventfd. The loop takes a whole batch per turn, and the
// eventfd is only written when the box was empty, so a burst of messages costs one system call.
//
//     any thread ──post──▶ [ messages ] ──eventfd──▶ wait ──take──▶ the loop's turn

import CEvent

/// A queue of messages into one loop. Anybody may post; only the loop's thread takes.
public final class Mailbox<Message: Sendable>: Sendable {
    private let waiting = Guarded<[Message]>([])
    private let descriptor: Int32

    /// An empty mailbox.
    public init() throws(SocketError) {
        descriptor = meridian_eventfd()
        guard descriptor >= 0 else {
            throw SocketError(
                action: "make", subject: "a mailbox", code: -descriptor, remedy: "raise the limit on open files (ulimit -n)")
        }
    }

    deinit { close(descriptor) }

    /// Queues a message and wakes the loop.
    public func post(_ message: Message) {
        let wasEmpty = waiting.withLock { messages in
            messages.append(message)
            return messages.count == 1
        }
        if wasEmpty { meridian_eventfd_signal(descriptor) }
    }

    /// Everything queued so far, oldest first.
    public func take() -> [Message] {
        meridian_eventfd_clear(descriptor)
        return waiting.withLock { messages in
            defer { messages = [] }
            return messages
        }
    }

    /// Has the loop report this mailbox, by `role`, whenever something was posted.
    public func watch(in loop: Loop, role: UInt32) -> Watch {
        let watch = Watch(loop, descriptor: descriptor, role: role, token: 0)
        watch.reading = true
        return watch
    }
}
