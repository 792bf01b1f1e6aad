// The files of one lane's log. The loop writes into segments that exist already, which does not block beyond the kernel's page
// cache; making, deleting and reading segments happens on a thread of its own, in order.
//
//     loop ── write ──▶ page cache ◀── fdatasync ── SyncThread
//     loop ── prepare, delete, read ──▶ worker ── Completion ──▶ the loop's mailbox

import Glibc
import Kernel
import Synchronization
import WriteLog

/// A lane's segments, being written.
public final class SegmentFiles: Sendable {
    /// What came of a request. Delivered on the worker's thread.
    public enum Completion: Sendable {
        /// The segment exists at its full size, on the disk.
        case segmentReady(UInt64)
        /// The segment could not be made; nothing is lost, and asking again is in order.
        case segmentFailed(UInt64, reason: String)
        /// Bytes of the log from the asked address.
        case logRead(LogOffset, [UInt8])
        /// The segment is gone.
        case segmentDeleted(UInt64)
        /// A segment could not be read or deleted: the log cannot be relied on, the process should end.
        case failed(DiskError)
    }

    private let folder: LogFolder
    private let segmentBytes: Int
    private let completion: @Sendable (Completion) -> Void
    private let worker: WorkerThread
    /// Segments that may be written or synced, by number: from the one that holds the synced address on.
    private let open: Mutex<[UInt64: OpenFile]>

    /// Continues the log of a folder. `completion` is called on the worker's thread and must only pass the message on.
    public init(_ folder: LogFolder, completion: @escaping @Sendable (Completion) -> Void) throws(DiskError) {
        self.folder = folder
        segmentBytes = folder.segmentBytes
        self.completion = completion
        var files: [UInt64: OpenFile] = [:]
        if folder.tail.within(segmentBytes: segmentBytes) != 0 {
            let segment = folder.tail.segment(segmentBytes: segmentBytes)
            files[segment] = try OpenFile(folder.path(of: segment), flags: O_RDWR)
        }
        open = Mutex(files)
        worker = WorkerThread(name: "log-files")
    }

    /// Finishes what was asked and ends the worker; returns when it has ended.
    public func stop() { worker.stop() }

    // MARK: On the loop

    /// Writes all that is pending at the address of its first byte, and consumes it. Its segments must be prepared.
    public func write(_ pending: ByteQueue, at flushed: LogOffset) throws(DiskError) {
        var address = flushed
        while !pending.isEmpty {
            let within = address.within(segmentBytes: segmentBytes)
            let piece = pending.readable
            let count = min(piece.count, segmentBytes - within)
            let file = file(of: address.segment(segmentBytes: segmentBytes))
            try file.write(UnsafeRawBufferPointer(rebasing: piece[..<count]), at: within)
            pending.consume(count)
            address = address + count
        }
    }

    // MARK: Asked by the loop, done by the worker

    /// Makes the segment's file, at its full size; answered by `segmentReady` or `segmentFailed`.
    public func prepare(_ segment: UInt64) {
        worker.perform { [self] in
            do throws(DiskError) {
                let file = try make(segment)
                open.withLock { $0[segment] = file }
                completion(.segmentReady(segment))
            } catch {
                completion(.segmentFailed(segment, reason: reason(segment, error)))
            }
        }
    }

    /// Deletes the segment's file.
    public func delete(_ segment: UInt64) {
        worker.perform { [self] in
            do throws(DiskError) {
                open.withLock { $0[segment] = nil }
                try Posix.remove(folder.path(of: segment))
                try Posix.syncFolder(folder.path)
                completion(.segmentDeleted(segment))
            } catch {
                completion(.failed(error))
            }
        }
    }

    /// Reads `count` bytes from an address, fewer if the segment ends before; answered by `logRead`.
    public func read(_ offset: LogOffset, count: Int) {
        worker.perform { [self] in
            do throws(DiskError) {
                let within = offset.within(segmentBytes: segmentBytes)
                let segment = offset.segment(segmentBytes: segmentBytes)
                let held = open.withLock { $0[segment] }
                let file = if let held { held } else { try OpenFile(folder.path(of: segment), flags: O_RDONLY) }
                completion(.logRead(offset, try file.read(min(count, segmentBytes - within), at: within)))
            } catch {
                completion(.failed(error))
            }
        }
    }

    // MARK: For the sync thread

    /// Syncs everything between two addresses.
    func sync(from: LogOffset, to: LogOffset) throws(DiskError) {
        guard from < to else { return }
        for segment in from.segment(segmentBytes: segmentBytes)...(to - 1).segment(segmentBytes: segmentBytes) {
            try file(of: segment).syncData()
        }
        let kept = to.segment(segmentBytes: segmentBytes)
        open.withLock { files in
            for segment in files.keys where segment < kept { files[segment] = nil }
        }
    }

    private func file(of segment: UInt64) -> OpenFile {
        guard let file = open.withLock({ $0[segment] }) else {
            preconditionFailure("log segment \(segment) of \(folder.path) is written or synced but was not prepared")
        }
        return file
    }

    // MARK: Making segments

    private func make(_ segment: UInt64) throws(DiskError) -> OpenFile {
        let path = folder.path(of: segment)
        if access(path, F_OK) == 0 {
            // A spare from before a restart. Recovery has seen to it that it is of full size and all zero.
            return try OpenFile(path, flags: O_RDWR)
        }
        let making = path + ".new"
        try Posix.remove(making)
        do throws(DiskError) {
            let file = try OpenFile(making, flags: O_RDWR | O_CREAT | O_EXCL, doing: "making")
            try file.allocate(segmentBytes)
            try file.sync()
            try Posix.retry("renaming", making) { rename(making, path) }
            try Posix.syncFolder(folder.path)
            // Under its name, so that a later failure names it.
            return try OpenFile(path, flags: O_RDWR)
        } catch {
            // Give the space back at once; that this fails too is no news.
            unlink(making)
            throw error
        }
    }

    private func reason(_ segment: UInt64, _ error: DiskError) -> String {
        let free = Posix.freeBytes(folder.path).map { "\($0) bytes free" } ?? "free space unknown"
        return "log segment \(segment) cannot be made in \(folder.path): \(error.cause) "
            + "(\(segmentBytes) bytes needed, \(free)); \(error.remedy)"
    }
}
