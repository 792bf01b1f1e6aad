import Glibc
import Kernel
import Testing
import WriteLog

@testable import Disk

/// Opening a lane's folder: first, again, after crashes, and when it is not ours.
@Suite struct LogFolderTests {
    private let folder = TemporaryFolder()
    private var lanePath: String { "\(folder.path)/lane-3" }
    private func segmentPath(_ segment: Int) -> String { "\(lanePath)/segment-00000000000\(segment).log" }

    /// Opens the folder for as long as `body` runs.
    private func withLane<Result>(_ body: (DiskLane) throws -> Result) throws -> Result {
        let lane = try DiskLane(folder.path)
        defer { lane.stop() }
        return try body(lane)
    }

    /// What opening the folder says when it refuses.
    private func refusal(
        lane: LaneID = DiskLane.lane, federation: String = "shop", segmentBytes: Int = DiskLane.segmentBytes
    ) -> String {
        do {
            _ = try LogFolder(folder: folder.path, lane: lane, federation: federation, segmentBytes: segmentBytes) { _, _ in }
            return "opened"
        } catch {
            return error.description
        }
    }

    @Test("What was written over several segments is there when the folder is opened again")
    func reopen() throws {
        let tail = try withLane { lane in
            #expect(lane.recovered.isEmpty)
            #expect(lane.folder.tail == .zero)
            try lane.append(100)
            #expect(lane.writer.segment >= 2)
            return lane.writer.tail
        }
        try withLane { lane in
            #expect(lane.recovered == (0..<100).map(DiskLane.record))
            #expect(lane.folder.tail == tail)
            #expect(lane.folder.firstSegment == 0)
            #expect(lane.folder.tornBytes == 0)
            try lane.append(50, first: 100)
        }
        try withLane { #expect($0.recovered == (0..<150).map(DiskLane.record)) }
    }

    @Test("Only the owner may read the folder, even where it was open to others before")
    func modes() throws {
        mkdir(lanePath, 0o755)
        chmod(lanePath, 0o755)
        try withLane { lane in
            try lane.append(1)
            #expect(FileBytes.mode(lanePath) == 0o700)
            #expect(FileBytes.mode(segmentPath(0)) == 0o600)
            #expect(FileBytes.mode("\(lanePath)/lock") == 0o600)
        }
    }

    @Test("Missing folders are made on the way")
    func missingFolders() throws {
        let deep = "\(folder.path)/a/b/c"
        let lane = try DiskLane(deep)
        #expect(FileBytes.mode("\(deep)/lane-3") == 0o700)
        #expect(lane.folder.path == "\(deep)/lane-3")
    }

    @Test("A second process is refused, by the number of the first")
    func locked() throws {
        try withLane { _ in
            let refused = refusal()
            #expect(refused.contains(lanePath))
            #expect(refused.contains("process \(getpid()) uses it"))
            #expect(refused.contains("stop that process first"))
        }
        #expect(refusal() == "opened")
    }

    @Test("A torn tail is overwritten with zeros and named, and the log goes on in its place")
    func tornTail() throws {
        let (kept, torn) = try withLane { lane in
            try lane.append(5)
            _ = lane.sync()
            return (lane.writer.tail, try lane.append(LogRecord(kind: .intent, payload: [UInt8](repeating: 0xee, count: 500))))
        }
        #expect(torn == kept)
        try FileBytes.write([UInt8](repeating: 0, count: 100), to: segmentPath(0), at: Int(torn.raw) + 200)
        try withLane { lane in
            #expect(lane.recovered == (0..<5).map(DiskLane.record))
            #expect(lane.folder.tail == torn)
            #expect(lane.folder.tornBytes == 64 + 500)
            let bytes = try FileBytes.read(segmentPath(0))
            #expect(bytes.count == DiskLane.segmentBytes)
            #expect(bytes[Int(torn.raw)...].allSatisfy { $0 == 0 })
            try lane.append(1, first: 5)
        }
        try withLane { lane in
            #expect(lane.recovered == (0..<6).map(DiskLane.record))
            #expect(lane.folder.tornBytes == 0)
        }
    }

    @Test("Segments behind a torn tail are deleted, and the log grows into new ones")
    func tornSegments() throws {
        let hole = try withLane { lane in
            try lane.append(3)
            _ = lane.sync()
            let hole = lane.writer.tail
            try lane.append(97, first: 3)
            #expect(lane.writer.segment >= 2)
            return hole
        }
        try FileBytes.write([0, 0, 0, 0, 0, 0, 0, 0], to: segmentPath(0), at: Int(hole.raw))
        try withLane { lane in
            #expect(lane.recovered.count == 3)
            #expect(lane.folder.discardedSegments.last == 1)
            #expect(access(segmentPath(1), F_OK) != 0)
            try lane.append(97, first: 200)
        }
        try withLane { #expect($0.recovered == (0..<3).map(DiskLane.record) + (200..<297).map(DiskLane.record)) }
    }

    @Test("Damage names folder, segment and remedy, and changes nothing")
    func damage() throws {
        try withLane { lane in
            try lane.append(100)
            _ = lane.sync()
            try lane.append(1, first: 100)
        }
        var bytes = try FileBytes.read(segmentPath(1))
        bytes[5_000] ^= 0x10
        try FileBytes.write(bytes, to: segmentPath(1), at: 0)
        let refused = refusal()
        #expect(refused.hasPrefix("the log in \(lanePath) cannot be used: log segment 1 at @"))
        #expect(refused.contains("restore the lane's folder from a copy"))
        #expect(try FileBytes.read(segmentPath(1)) == bytes)
        bytes[5_000] ^= 0x10
        try FileBytes.write(bytes, to: segmentPath(1), at: 0)
        try withLane { #expect($0.recovered.count == 101) }
    }

    @Test("Another lane's, federation's or segment size's log is refused with what to do")
    func otherLogs() throws {
        try withLane { try $0.append(1) }
        #expect(
            refusal(lane: LaneID(site: SiteID(1), proxy: 9, lane: 3)).contains("the log belongs to lane s1p2l3, this is s1p9l3"))
        #expect(refusal(federation: "bank").contains("the log belongs to federation shop, this is bank"))
        #expect(refusal(segmentBytes: 4096).contains("set the site file's segment size to 16384"))
        #expect(refusal() == "opened")
    }

    @Test("A segment of the wrong length, a missing one, and one half made")
    func wrongFiles() throws {
        try withLane { try $0.append(100) }
        let bytes = try FileBytes.read(segmentPath(1))
        #expect(truncate(segmentPath(1), 100) == 0)
        #expect(refusal().contains("log segment 1 at @16384: the segment's file has 100 bytes instead of 16384"))
        unlink(segmentPath(1))
        #expect(refusal().contains("log segment 1 at @16384: the segment's file is missing"))
        try FileBytes.write(bytes, to: segmentPath(1), at: 0)
        try FileBytes.write([1, 2, 3], to: segmentPath(9) + ".new", at: 0)
        try withLane { #expect($0.recovered.count == 100) }
        #expect(access(segmentPath(9) + ".new", F_OK) != 0)
    }

    @Test("A folder that its file system does not allow says so")
    func denied() throws {
        do {
            _ = try LogFolder(folder: "/proc/meridian/log", lane: DiskLane.lane, federation: "shop", segmentBytes: 4096) {
                _, _ in
            }
            Issue.record("opened")
        } catch {
            #expect(error.description.contains("making the folder /proc/meridian: No such file or directory"))
        }
    }

    @Test("A folder that cannot be made says so")
    func unusable() throws {
        try FileBytes.write([1], to: "\(folder.path)/file", at: 0)
        do {
            _ = try LogFolder(folder: "\(folder.path)/file", lane: DiskLane.lane, federation: "shop", segmentBytes: 4096) {
                _, _ in
            }
            Issue.record("opened")
        } catch {
            #expect(error.description.contains("\(folder.path)/file/lane-3: Not a directory"))
        }
    }
}
