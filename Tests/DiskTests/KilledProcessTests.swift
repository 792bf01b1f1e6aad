import Foundation
import Glibc
import Kernel
import Testing
import WriteLog

@testable import Disk

/// `kill -9` at a random moment of writing, again and again on one log.
@Suite struct KilledProcessTests {
    /// Where a child finds its parent's folder.
    private static func path(of process: pid_t) -> String { "/tmp/meridian-killed-\(process)" }

    /// A child: goes on with the log, notes each record that was handed to the kernel, and is killed on the way.
    private static func writeUntilKilled() throws {
        let path = path(of: getppid())
        let lane = try DiskLane(path)
        let progress = try OpenFile("\(path)/progress", flags: O_WRONLY | O_CREAT)
        var written = lane.recovered.count
        var random = SystemRandomNumberGenerator()
        let patience = useconds_t(1_000 + random.next() % 30_000)
        Thread {
            usleep(patience)
            kill(getpid(), SIGKILL)
        }.start()
        while true {
            try lane.append(1, first: written)
            written += 1
            let bytes = withUnsafeBytes(of: UInt64(written).littleEndian) { Array($0) }
            try progress.write(bytes, count: 8, at: 0)
            if written % 10 == 0 { lane.thread.request(upTo: lane.writer.flushed) }
        }
    }

    @Test("No record that reached the kernel is missing after kill -9, ten times over")
    func killed() async throws {
        let path = Self.path(of: getpid())
        TemporaryFolder.remove(path)
        defer { TemporaryFolder.remove(path) }
        var total = 0
        for _ in 0..<10 {
            await #expect(processExitsWith: .signal(SIGKILL)) { try Self.writeUntilKilled() }
            let lane = try DiskLane(path)
            let noted = try FileBytes.read("\(path)/progress")
            let written = noted.reversed().reduce(0) { $0 << 8 | Int($1) }
            total += written
            #expect(lane.recovered.count >= written)
            #expect(lane.recovered == (0..<lane.recovered.count).map(DiskLane.record))
            lane.stop()
        }
        // On a busy machine one round may be killed before its first record; never all ten.
        #expect(total > 0)
    }
}
