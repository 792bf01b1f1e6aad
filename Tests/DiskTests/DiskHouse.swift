// What the disk's tests share: folders that go away again, a mailbox that stands for the loop's, and a lane that writes.

import Dispatch
import Glibc
import Kernel
import Synchronization
import WriteLog

@testable import Disk

/// A new folder for one test, removed with all it holds when the test is over.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/meridian-disk-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "no folder in /tmp")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    static func remove(_ path: String) {
        for name in (try? Posix.list(path)) ?? [] where name != "." && name != ".." {
            let entry = "\(path)/\(name)"
            if unlink(entry) != 0 { remove(entry) }
        }
        rmdir(path)
    }
}

/// Collects what threads report, and waits for it.
final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func post(_ message: Message) {
        messages.withLock { $0.append(message) }
        arrived.signal()
    }

    var isEmpty: Bool { messages.withLock { $0.isEmpty } }

    /// The next message; nil if none comes within ten seconds.
    func next() -> Message? {
        guard arrived.wait(timeout: .now() + 10) == .success else { return nil }
        return messages.withLock { $0.removeFirst() }
    }
}

/// One lane on real files, driven as a loop drives it, but waiting for each answer.
final class DiskLane {
    static let lane = LaneID(site: SiteID(1), proxy: 2, lane: 3)
    static let segmentBytes = 16 * 1024

    let folder: LogFolder
    let files: SegmentFiles
    let mailbox = Mailbox<SegmentFiles.Completion>()
    let syncs = Mailbox<SyncThread.Completion>()
    let thread: SyncThread
    var writer: LogWriter
    /// What recovery found.
    let recovered: [LogRecord]

    init(_ path: String, lane: LaneID = DiskLane.lane, federation: String = "shop", segmentBytes: Int = DiskLane.segmentBytes)
        throws
    {
        var records: [LogRecord] = []
        folder = try LogFolder(folder: path, lane: lane, federation: federation, segmentBytes: segmentBytes) { record, _ in
            records.append(record)
        }
        recovered = records
        files = try SegmentFiles(folder) { [mailbox] in mailbox.post($0) }
        thread = SyncThread(files, synced: folder.tail) { [syncs] in syncs.post($0) }
        writer = LogWriter(tail: folder.tail, segmentBytes: segmentBytes, lane: lane, federation: federation)
    }

    deinit { stop() }

    func stop() {
        thread.stop()
        files.stop()
    }

    /// Makes the segments that the writer wants; returns why one could not be made.
    func prepare() -> String? {
        while let segment = writer.segmentWanted {
            writer.noteAsked(segment: segment)
            files.prepare(segment)
            switch mailbox.next() {
            case .segmentReady(let ready): writer.notePrepared(segment: ready)
            case .segmentFailed(let failed, let reason):
                writer.noteFailed(segment: failed)
                return reason
            case let other: return "unexpected \(String(describing: other))"
            }
        }
        return nil
    }

    /// Appends and writes a record; its segments must be there.
    @discardableResult
    func append(_ record: LogRecord) throws -> LogOffset {
        let offset = writer.append(record)
        try files.write(writer.pending, at: writer.flushed)
        return offset
    }

    /// Appends, writes and prepares as many records as asked for, numbered from `first`.
    func append(_ count: Int, first: Int = 0) throws {
        for number in first..<(first + count) {
            if let reason = prepare() { throw DiskError(doing: "preparing", path: folder.path, cause: reason, remedy: "") }
            try append(Self.record(number))
        }
    }

    /// Syncs all that was written.
    func sync() -> SyncThread.Completion? {
        thread.request(upTo: writer.flushed)
        let completion = syncs.next()
        if case .synced(let offset) = completion { writer.noteSynced(offset) }
        return completion
    }

    static func record(_ number: Int) -> LogRecord {
        LogRecord(
            kind: .intent, content: .value, position: Position(UInt64(number)), key: Array("key-\(number)".utf8),
            payload: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number * 37 % 900))
    }
}

/// A file's bytes, for tests that break them.
enum FileBytes {
    static func read(_ path: String) throws -> [UInt8] {
        let file = try OpenFile(path, flags: O_RDONLY)
        return try file.read(try file.size(), at: 0)
    }

    static func write(_ bytes: [UInt8], to path: String, at offset: Int) throws {
        try OpenFile(path, flags: O_WRONLY | O_CREAT).write(bytes, count: bytes.count, at: offset)
    }

    static func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }
}
