import Glibc
import Kernel
import Testing
import WriteLog

@testable import Disk

/// Writing, reading, deleting and syncing segments, and a disk that refuses.
@Suite struct SegmentFilesTests {
    private let folder = TemporaryFolder()

    /// The process's descriptor of an open file.
    private func descriptor(of path: String) throws -> Int32 {
        for name in try Posix.list("/proc/self/fd") {
            var target = [CChar](repeating: 0, count: 4096)
            let count = readlink("/proc/self/fd/\(name)", &target, target.count)
            let text = String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text == path { return Int32(name)! }
        }
        throw DiskError(doing: "finding", path: path, code: ENOENT)
    }

    /// Puts a pipe in place of an open file, so that neither writing at an address nor syncing works.
    private func breakFile(_ path: String) throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        #expect(dup2(ends[1], try descriptor(of: path)) >= 0)
        close(ends[0])
        close(ends[1])
    }

    @Test("A prepared segment has its full size and nothing in it")
    func prepared() throws {
        let lane = try DiskLane(folder.path)
        #expect(lane.prepare() == nil)
        for segment in [0, 1] as [UInt64] {
            #expect(try FileBytes.read(lane.folder.path(of: segment)) == [UInt8](repeating: 0, count: DiskLane.segmentBytes))
        }
    }

    @Test("Preparing a segment that exists already is no work")
    func preparedTwice() throws {
        let lane = try DiskLane(folder.path)
        try lane.append(3)
        lane.files.prepare(0)
        guard case .segmentReady(0) = lane.mailbox.next() else {
            Issue.record("segment 0 is not ready")
            return
        }
        try lane.append(3, first: 3)
        lane.files.read(.zero, count: 4096)
        guard case .logRead(_, let bytes) = lane.mailbox.next() else {
            Issue.record("nothing was read")
            return
        }
        #expect(bytes[72...].contains { $0 != 0 })
    }

    @Test("One write of many records is split at the segments' ends")
    func splitWrite() throws {
        let lane = try DiskLane(folder.path)
        #expect(lane.prepare() == nil)
        var written: [LogRecord] = []
        while lane.writer.segment == 0 {
            written.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 3, count: 1000)))
            lane.writer.append(written.last!)
        }
        #expect(lane.writer.pending.count > DiskLane.segmentBytes)
        try lane.files.write(lane.writer.pending, at: lane.writer.flushed)
        #expect(lane.writer.pending.isEmpty)
        lane.stop()
        let first = try FileBytes.read(lane.folder.path(of: 0)) + FileBytes.read(lane.folder.path(of: 1))
        var cursor = LogCursor(from: .zero, to: lane.writer.tail, segmentBytes: DiskLane.segmentBytes)
        var found: [LogRecord] = []
        while let (offset, count) = cursor.wanted {
            try cursor.feed(offset, Array(first[Int(offset.raw)..<(Int(offset.raw) + count)]))
            while let (_, record) = try cursor.next() { found.append(record) }
        }
        #expect(found == written)
    }

    @Test("A cursor reads the whole log back through the worker, while older segments are closed and newer ones open")
    func readBack() throws {
        let lane = try DiskLane(folder.path)
        try lane.append(100)
        _ = lane.sync()
        try lane.append(20, first: 100)
        var cursor = LogCursor(from: .zero, to: lane.writer.tail, segmentBytes: DiskLane.segmentBytes)
        var found: [LogRecord] = []
        while let (offset, count) = cursor.wanted {
            lane.files.read(offset, count: count)
            guard case .logRead(let at, let bytes) = lane.mailbox.next() else {
                Issue.record("nothing was read at \(offset)")
                return
            }
            try cursor.feed(at, bytes)
            while let (_, record) = try cursor.next() { found.append(record) }
        }
        #expect(found == (0..<120).map(DiskLane.record))
    }

    @Test("A deleted segment is gone, and the log opens without it")
    func deleted() throws {
        do {
            let lane = try DiskLane(folder.path)
            try lane.append(100)
            lane.files.delete(0)
            guard case .segmentDeleted(0) = lane.mailbox.next() else {
                Issue.record("segment 0 was not deleted")
                return
            }
            #expect(access(lane.folder.path(of: 0), F_OK) != 0)
            lane.files.read(.zero, count: 100)
            guard case .failed(let error) = lane.mailbox.next() else {
                Issue.record("a deleted segment was read")
                return
            }
            #expect(error.description.contains("segment-000000000000.log: No such file or directory"))
            lane.stop()
        }
        let lane = try DiskLane(folder.path)
        #expect(lane.folder.firstSegment == 1)
        #expect(lane.recovered.last == DiskLane.record(99))
    }

    @Test("Syncing reports how far, closes what is done with, and many requests share few syncs")
    func syncs() throws {
        let lane = try DiskLane(folder.path)
        try lane.append(100)
        guard case .synced(let offset) = lane.sync() else {
            Issue.record("not synced")
            return
        }
        #expect(offset == lane.writer.tail)
        #expect(throws: DiskError.self) { try descriptor(of: lane.folder.path(of: 0)) }
        var requests = 0
        for number in 100..<300 {
            try lane.append(1, first: number)
            lane.thread.request(upTo: lane.writer.flushed)
            requests += 1
        }
        lane.thread.stop()
        var last = offset
        var answers = 0
        while last < lane.writer.tail, case .synced(let next) = lane.syncs.next() {
            #expect(next >= last)
            last = next
            answers += 1
        }
        #expect(last == lane.writer.tail)
        #expect(answers <= requests)
    }

    @Test("A request for what is on the disk already is answered too")
    func syncedAlready() throws {
        let lane = try DiskLane(folder.path)
        guard case .synced(let offset) = lane.sync() else {
            Issue.record("no answer")
            return
        }
        #expect(offset == .zero)
    }

    @Test("An error on sync is fatal, and no later sync pretends that all is well")
    func syncFails() throws {
        let lane = try DiskLane(folder.path)
        try lane.append(5)
        try breakFile(lane.folder.path(of: 0))
        guard case .failed(let error) = lane.sync() else {
            Issue.record("synced a pipe")
            return
        }
        #expect(error.description.hasPrefix("syncing \(lane.folder.path(of: 0)): Invalid argument"))
        lane.thread.request(upTo: lane.writer.flushed)
        lane.thread.stop()
        #expect(lane.syncs.isEmpty)
    }

    @Test("An error on write is typed and names the file")
    func writeFails() throws {
        let lane = try DiskLane(folder.path)
        try lane.append(5)
        try breakFile(lane.folder.path(of: 0))
        let error = #expect(throws: DiskError.self) { try lane.append(1) }
        #expect(error?.code == ESPIPE)
        #expect(error?.path == lane.folder.path(of: 0))
    }
}
