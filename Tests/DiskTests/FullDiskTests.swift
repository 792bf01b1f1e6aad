import Glibc
import Kernel
import Testing
import WriteLog

@testable import Disk

/// A file system of 72 KiB in memory, for as long as a test lasts. Needs the right to mount.
final class TinyDisk {
    let folder = TemporaryFolder()
    let isMounted: Bool

    init() { isMounted = mount("tmpfs", folder.path, "tmpfs", 0, "size=72k") == 0 }

    deinit { if isMounted { umount2(folder.path, Int32(MNT_DETACH)) } }

    static var isPossible: Bool { TinyDisk().isMounted }
}

/// A disk that fills up: new segments fail with a reason, what is prepared stays writable, nothing is lost.
@Suite struct FullDiskTests {
    @Test("A full disk refuses the next segment, says what is needed and free, and heals", .enabled(if: TinyDisk.isPossible))
    func fullDisk() throws {
        let disk = TinyDisk()
        let ballast = "\(disk.folder.path)/ballast"
        try FileBytes.write([UInt8](repeating: 1, count: 40 * 1024), to: ballast, at: 0)
        var written = 0
        do {
            let lane = try DiskLane(disk.folder.path)
            let reason = try #require(lane.prepare())
            #expect(reason.contains("log segment 1 cannot be made in \(disk.folder.path)/lane-3: No space left on device"))
            #expect(reason.contains("16384 bytes needed, "))
            #expect(reason.contains(" bytes free"))
            #expect(reason.contains("free space on this file system"))
            #expect(!(try Posix.list(lane.folder.path)).contains { $0.hasSuffix(".new") })
            while lane.writer.hasRoom(forBytes: 1024, owed: 0) {
                try lane.append(DiskLane.record(written))
                written += 1
            }
            #expect(written > 10)
            #expect(lane.prepare() != nil)
            unlink(ballast)
            #expect(lane.prepare() == nil)
            try lane.append(5, first: written)
            written += 5
            guard case .synced = lane.sync() else {
                Issue.record("not synced")
                return
            }
            lane.stop()
        }
        let lane = try DiskLane(disk.folder.path)
        #expect(lane.recovered == (0..<written).map(DiskLane.record))
        lane.stop()
    }
}
