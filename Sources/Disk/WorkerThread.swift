// One thread that does what may block, in the order it was asked, so that no loop ever waits for a disk.

import Dispatch
import Foundation
import Synchronization

/// A thread and its jobs. It runs until `stop`.
final class WorkerThread: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var stopping = false
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let finished = DispatchSemaphore(value: 0)

    init(name: String) {
        let thread = Thread { self.run() }
        thread.name = name
        thread.start()
    }

    /// Queues a job; after `stop`, does nothing.
    func perform(_ job: @escaping @Sendable () -> Void) {
        let queued = state.withLock { state in
            if !state.stopping { state.jobs.append(job) }
            return !state.stopping
        }
        if queued { wake.signal() }
    }

    /// Finishes the queued jobs and ends the thread; returns when it has ended. Not to be called from a job.
    func stop() {
        let first = state.withLock { state in
            defer { state.stopping = true }
            return !state.stopping
        }
        guard first else { return }
        wake.signal()
        finished.wait()
    }

    private func run() {
        while true {
            wake.wait()
            let (jobs, stopping) = state.withLock { state in
                defer { state.jobs = [] }
                return (state.jobs, state.stopping)
            }
            for job in jobs { job() }
            if stopping { break }
        }
        finished.signal()
    }
}
