// One thread that syncs. Requests that come in while it syncs are answered together by the next sync: the newest covers all.

import Kernel
import Synchronization
import WriteLog

/// Syncs a lane's log, off the loop.
public final class SyncThread: Sendable {
    /// What came of syncing. Delivered on the sync thread.
    public enum Completion: Sendable {
        /// Everything below the address is on the disk.
        case synced(LogOffset)
        /// The disk refused to say that. What it holds is unknown from here on, and asking again would be a lie: the
        /// process must end and recover. No more completions follow.
        case failed(DiskError)
    }

    private struct State {
        var synced: LogOffset
        var wanted: LogOffset
        var queued = false
        var failed = false
    }

    private let files: SegmentFiles
    private let completion: @Sendable (Completion) -> Void
    private let worker = WorkerThread(name: "log-sync")
    private let state: Mutex<State>

    /// Starts with everything below `synced` on the disk: the recovered tail.
    public init(_ files: SegmentFiles, synced: LogOffset, completion: @escaping @Sendable (Completion) -> Void) {
        self.files = files
        self.completion = completion
        state = Mutex(State(synced: synced, wanted: synced))
    }

    /// Syncs what was written below an address; answered by `synced` with that or a higher one. Requests that come while
    /// it syncs share an answer.
    public func request(upTo offset: LogOffset) {
        let queue = state.withLock { state in
            state.wanted = max(state.wanted, offset)
            guard !state.queued, !state.failed else { return false }
            state.queued = true
            return true
        }
        if queue { worker.perform { [self] in syncOnce() } }
    }

    /// Finishes the sync that was asked for and ends the thread; returns when it has ended.
    public func stop() { worker.stop() }

    private func syncOnce() {
        let (from, to, failed) = state.withLock { state in
            state.queued = false
            return (state.synced, state.wanted, state.failed)
        }
        if failed { return }
        do throws(DiskError) {
            try files.sync(from: from, to: to)
            state.withLock { $0.synced = to }
            completion(.synced(to))
        } catch {
            state.withLock { $0.failed = true }
            completion(.failed(error))
        }
    }
}
