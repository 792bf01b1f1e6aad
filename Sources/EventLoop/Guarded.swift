// A value behind a pthread lock. Synchronization's Mutex would do as well, were it not that ThreadSanitizer does not see
// what Mutex does in a contended futex on Linux and calls it a race; it knows pthread locks.

import Glibc

/// A value that several threads share, one at a time.
///
/// Unchecked because the compiler cannot see it; it holds: the value is only ever touched while the lock is held.
public final class Guarded<Value: Sendable>: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private var value: Value

    /// Puts a value behind a lock of its own.
    public init(_ value: Value) {
        self.value = value
        lock = .allocate(capacity: 1)
        lock.initialize(to: pthread_mutex_t())
        let failure = pthread_mutex_init(lock, nil)
        precondition(failure == 0, "a lock could not be made: error \(failure)")
    }

    deinit {
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    /// Works on the value while nobody else does. Short, and never waiting for anything else.
    public func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body(&value)
    }
}
