// How many clients there may be, over all loops of the process. A place is taken before a connection is made a client, and
// given back when it has gone.
//
//     connections-over: refuse    accept ─▶ place? ─▶ welcome, or SERVER_ERROR and close
//     connections-over: wait      place? ─▶ accept ─▶ welcome; without one the listener rests until the next housekeeping

import Configuration
import EventLoop
import Synchronization

extension SharedState {
    /// memcached's words, after the class of error that every client library knows.
    static let tooMany = "SERVER_ERROR Too many open connections\r\n"

    /// Accepts clients as far as there are places; true when a turn's limit ended it, and more may be waiting.
    @discardableResult
    func admit(from listener: Listener, at number: Int, of running: Running, _ welcome: (Listener.Accepted) -> Void) -> Bool {
        let mayBeMore: Bool
        switch running.site.clients.excess {
        case .refuse:
            mayBeMore = listener.accept { accepted in
                if takePlace() { return welcome(accepted) }
                clientsRejected.add(1, ordering: .relaxed)
                // A client that is to speak TLS would not understand it.
                if running.listeners[number]?.tls == nil { Descriptor.writeOnce(accepted.descriptor, Self.tooMany) }
                Descriptor.close(accepted.descriptor)
            }
        case .wait:
            var hasPlace = false
            mayBeMore = listener.accept {
                if !hasPlace { hasPlace = takePlace() }
                return hasPlace
            } _: { accepted in
                hasPlace = false
                welcome(accepted)
            }
            if hasPlace { leavePlace() }
            if listener.pause == .unwanted { listenersPaused.add(1, ordering: .relaxed) }
        }
        return mayBeMore
    }

    /// With the housekeeping: a listener that rests tries again, once there is a reason to.
    func reopen(_ listener: Listener, of running: Running, at monotonic: UInt64) {
        switch listener.pause {
        case nil: break
        case .exhausted:
            if let note = exhaustion.withLock({ $0.permit(atMonotonic: monotonic) }) {
                logger.warning(
                    """
                    no descriptors left for clients at \(listener.bound.name); they wait; raise the limit on open files (ulimit -n, \
                    LimitNOFILE=, fs.file-max)\(note)
                    """)
            }
            listener.resume()
        case .unwanted:
            // Since the files were read anew those who wait may be there to be refused.
            let hasPlaces = clientCount.load(ordering: .relaxed) < clientPlaces.load(ordering: .relaxed)
            if hasPlaces || running.site.clients.excess == .refuse { listener.resume() }
        }
    }

    /// A client has gone.
    func leavePlace() { clientCount.subtract(1, ordering: .relaxed) }

    private func takePlace() -> Bool {
        if clientCount.add(1, ordering: .relaxed).newValue <= clientPlaces.load(ordering: .relaxed) { return true }
        leavePlace()
        return false
    }
}
