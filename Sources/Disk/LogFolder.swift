// One lane's folder: who may use it, what it holds, and what its log says at start (`Docs/log-format.md` sections 1 and 6).

import Glibc
import Kernel
import WriteLog

/// A lane's folder, locked for this process, its log recovered.
public final class LogFolder: Sendable {
    /// The lane's folder.
    public let path: String
    /// Bytes of a segment.
    public let segmentBytes: Int
    /// Where the log continues; everything below is on the disk.
    public let tail: LogOffset
    /// The lowest segment that exists; the tail's if there is none.
    public let firstSegment: UInt64
    /// Bytes of a torn tail that were overwritten with zeros; 0 if the log ended cleanly.
    public let tornBytes: Int
    /// Segments behind a torn tail that were deleted.
    public let discardedSegments: [UInt64]

    /// Holds the lock for as long as the folder is in use.
    private let lock: OpenFile

    /// Opens or makes `folder/lane-N`, takes its lock, hands every record to `replay`, oldest first, and makes the tail fit to be
    /// appended to. Nothing is changed if the log is damaged or another's.
    public init(
        folder: String, lane: LaneID, federation: String, segmentBytes: Int, replay: (LogRecord, LogOffset) -> Void
    ) throws(LogFolderError) {
        let path = "\(folder)/lane-\(lane.lane)"
        var scanner = LogScanner(lane: lane, federation: federation, segmentBytes: segmentBytes)
        do throws(DiskError) {
            lock = try Self.takeFolder(path)
        } catch {
            throw .disk(error)
        }
        self.path = path
        self.segmentBytes = segmentBytes
        var buffer: [UInt8] = []
        for segment in try Self.disk({ () throws(DiskError) in try Self.segments(in: path) }) {
            let file = try Self.disk { () throws(DiskError) in try OpenFile(Self.name(of: segment, in: path), flags: O_RDWR) }
            try Self.load(file, segment: segment, segmentBytes: segmentBytes, folder: path, into: &buffer)
            do throws(LogDamage) {
                try Self.scan(buffer, segment: segment, scanner: &scanner, replay: replay)
            } catch {
                throw .damage(error, folder: path)
            }
            // A process that was killed may have left this in the kernel only; from here on it counts as synced.
            try Self.disk { () throws(DiskError) in try file.syncData() }
        }
        let outcome = scanner.finish()
        do throws(DiskError) {
            try Self.mend(outcome, folder: path, segmentBytes: segmentBytes)
        } catch {
            throw .disk(error)
        }
        tail = outcome.tail
        firstSegment = outcome.firstSegment
        tornBytes = outcome.tornBytes
        discardedSegments = outcome.discarded
    }

    /// The path of a segment's file.
    public func path(of segment: UInt64) -> String { Self.name(of: segment, in: path) }

    // MARK: The folder

    static func name(of segment: UInt64, in folder: String) -> String {
        let digits = String(segment)
        return "\(folder)/segment-\(String(repeating: "0", count: max(0, 12 - digits.count)))\(digits).log"
    }

    /// Locks a file, and waits a second for whoever is about to let go: a process that is going down, or a child of one that has not
    /// yet become another program. As `flock`: 0, or -1 and `errno`.
    private static func patiently(_ descriptor: Int32) -> Int32 {
        for _ in 0..<20 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return 0 }
            guard errno == EWOULDBLOCK else { return -1 }
            usleep(50_000)
        }
        return flock(descriptor, LOCK_EX | LOCK_NB)
    }

    private static func takeFolder(_ path: String) throws(DiskError) -> OpenFile {
        try Posix.makeFolder(path)
        // The log holds every value that passes: nobody else may read it, whatever the folder was before.
        try Posix.retry("closing to others", path) { chmod(path, 0o700) }
        let lock = try OpenFile("\(path)/lock", flags: O_RDWR | O_CREAT)
        do throws(DiskError) {
            try Posix.retry("locking", lock.path) { patiently(lock.descriptor) }
        } catch  where error.code == EWOULDBLOCK {
            let holder = String(decoding: try lock.read(32, at: 0).prefix { $0 >= 48 && $0 <= 57 }, as: UTF8.self)
            throw DiskError(
                doing: "locking", path: path, code: EWOULDBLOCK,
                cause: "process \(holder.isEmpty ? "(unknown)" : holder) uses it",
                remedy: "stop that process first, or give this proxy a folder of its own")
        }
        try Posix.retry("writing", lock.path) { ftruncate(lock.descriptor, 0) }
        let own = Array("\(getpid())\n".utf8)
        try lock.write(own, count: own.count, at: 0)
        return lock
    }

    /// Numbers of the segments in a folder, lowest first; removes segments whose making was interrupted.
    private static func segments(in path: String) throws(DiskError) -> [UInt64] {
        var segments: [UInt64] = []
        for name in try Posix.list(path) where name.hasPrefix("segment-") {
            if name.hasSuffix(".log.new") { try Posix.remove("\(path)/\(name)") }
            guard name.hasSuffix(".log"), let segment = UInt64(name.dropFirst(8).dropLast(4)) else { continue }
            segments.append(segment)
        }
        return segments.sorted()
    }

    // MARK: Recovery

    private static func load(
        _ file: OpenFile, segment: UInt64, segmentBytes: Int, folder: String, into buffer: inout [UInt8]
    ) throws(LogFolderError) {
        let size = try disk { () throws(DiskError) in try file.size() }
        guard size == segmentBytes else {
            let start = try disk { () throws(DiskError) in try file.read(LogFormat.headerBytesMax, at: 0) }
            let header = start.withUnsafeBytes { SegmentHeader(beginning: $0) }
            throw .damage(sizeMismatch(segment, size: size, segmentBytes: segmentBytes, header: header), folder: folder)
        }
        if buffer.isEmpty { buffer = [UInt8](repeating: 0, count: segmentBytes) }
        let got: Int
        do throws(DiskError) { got = try file.read(into: &buffer, at: 0) } catch { throw .disk(error) }
        guard got == segmentBytes else {
            throw .disk(
                DiskError(doing: "reading", path: file.path, cause: "only \(got) bytes could be read", remedy: "check the disk"))
        }
    }

    private static func sizeMismatch(_ segment: UInt64, size: Int, segmentBytes: Int, header: SegmentHeader?) -> LogDamage {
        let offset = LogOffset(startOf: segment, segmentBytes: segmentBytes)
        if let header, header.segmentBytes == size {
            return LogDamage(
                segment: segment, offset: offset,
                what: "the log's segments have \(size) bytes, the site file says \(segmentBytes)",
                remedy:
                    "set the site file's segment size to \(size); to change it, drain the proxy and move the lane's folder away")
        }
        return LogDamage(
            segment: segment, offset: offset, what: "the segment's file has \(size) bytes instead of \(segmentBytes)")
    }

    private static func scan(
        _ buffer: [UInt8], segment: UInt64, scanner: inout LogScanner, replay: (LogRecord, LogOffset) -> Void
    ) throws(LogDamage) {
        let result = buffer.withUnsafeBytes { bytes in
            Result { () throws(LogDamage) in try scanner.scan(segment: segment, bytes: bytes, replay: replay) }
        }
        try result.get()
    }

    /// Makes the log continue at its tail: nothing but zeros behind it.
    private static func mend(_ outcome: LogScanner.Outcome, folder: String, segmentBytes: Int) throws(DiskError) {
        for segment in outcome.discarded {
            try Posix.remove(name(of: segment, in: folder))
            try Posix.syncFolder(folder)
        }
        guard outcome.tornBytes > 0 else { return }
        let file = try OpenFile(name(of: outcome.tail.segment(segmentBytes: segmentBytes), in: folder), flags: O_RDWR)
        try zero(file, from: outcome.tail.within(segmentBytes: segmentBytes), to: segmentBytes)
        try file.syncData()
    }

    private static func zero(_ file: OpenFile, from start: Int, to end: Int) throws(DiskError) {
        let zeros = [UInt8](repeating: 0, count: min(end - start, 1024 * 1024))
        for offset in stride(from: start, to: end, by: zeros.count) {
            try file.write(zeros, count: min(zeros.count, end - offset), at: offset)
        }
    }

    private static func disk<Result>(_ body: () throws(DiskError) -> Result) throws(LogFolderError) -> Result {
        do throws(DiskError) { return try body() } catch { throw .disk(error) }
    }
}
