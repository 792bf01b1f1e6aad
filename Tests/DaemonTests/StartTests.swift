import Configuration
import Disk
import EventLoop
import Foundation
import Testing

@testable import Daemon

/// What a start is refused with: the exit code says whether to try again, and the words what to do.
@Suite struct StartTests {
    private func proxy(folder: String, connections: Int = 1) -> SiteProxy {
        SiteProxy(
            name: "n1", clients: [], replication: HostPort(host: "127.0.0.1", port: 1), admin: .unix(path: "/a"), folder: folder,
            authorityPath: "", certificatePath: "", keyPath: "", clientConnectionsMax: connections)
    }

    @Test("A folder that cannot be used is a mistake that starting again does not mend; a failing disk may recover")
    func folders() {
        func code(_ error: Int32) -> DaemonFailure.Code { DaemonStart.code(of: DiskError(doing: "", path: "", code: error)) }
        for error in [EACCES, ENOTDIR, ENOENT, EROFS, EEXIST] { #expect(code(error) == .configuration) }
        for error in [EIO, ENOSPC] { #expect(code(error) == .disk) }
        #expect(code(EWOULDBLOCK) == .system)
    }

    @Test("Who has given flags is told of flags, who has written files of settings")
    func remedies() throws {
        let folder = NSTemporaryDirectory() + "meridian-lanes-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder + "/lane-1", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func words(isAlone: Bool) -> String {
            do throws(DaemonFailure) {
                try DaemonStart.checkLaneCount(proxy(folder: folder), loops: 1, isAlone: isAlone)
                return ""
            } catch {
                return error.description
            }
        }
        #expect(words(isAlone: true).contains("give --loops 2") && !words(isAlone: true).contains("'loops'"))
        #expect(words(isAlone: false).contains("set 'loops' to 2 or more"))
        let many = proxy(folder: folder, connections: 1 << 40)
        #expect(DaemonStart.clientPlaces(many, loops: 1, isAlone: true).warning?.hasSuffix("or lower -n") == true)
        #expect(DaemonStart.clientPlaces(many, loops: 1).warning?.hasSuffix("or lower connections-max") == true)
    }
}
