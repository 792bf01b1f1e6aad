import Configuration
import Disk
import EventLoop
import Foundation
import Ring
import Testing

@testable import Daemon

/// What a start is refused with: the exit code says whether to try again, and the words what to do.
@Suite struct StartTests {
    private func proxy(folder: String, connections: Int = 1) -> SiteProxy {
        SiteProxy(
            name: "n1", clients: [], replication: HostPort(host: "127.0.0.1", port: 1), admin: .unix(path: "/a"), folder: folder,
            authorityPath: "", certificatePath: "", keyPath: "", clientConnectionsMax: connections)
    }

    private func files(_ proxy: SiteProxy, servers: Int = 1) -> (federation: Federation, site: Site) {
        let names = (0..<servers).map { "cache\($0)" }
        let federation = Federation(
            name: "f", flavour: .magentKetama, servers: names.map { RingServer(name: $0, weight: 1) }, slotCount: 1_024,
            itemBytesMax: 1 << 20,
            sites: [
                FederationSite(
                    id: 1, name: "s", proxies: [FederationProxy(id: 1, name: proxy.name, replication: proxy.replication)])
            ], crossing: [])
        let site = Site(
            name: "s", primaries: names.map { Backend(name: $0, weight: 1, address: HostPort(host: $0, port: 11_211)) },
            backups: [], proxies: [proxy], loops: 1, durability: .memory, unreachable: .miss, flush: .local, times: SiteTimes(),
            segmentBytes: 16 << 20)
        return (federation, site)
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
        let (federation, site) = files(many)
        #expect(DaemonStart.clientPlaces(many, of: site, federation, isAlone: true).warning?.hasSuffix("or lower -n") == true)
        #expect(DaemonStart.clientPlaces(many, of: site, federation).warning?.hasSuffix("or lower connections-max") == true)
    }

    @Test("A site with many servers keeps as many more open files from its clients")
    func filesForServers() {
        let few = files(proxy(folder: "/f"), servers: 2)
        #expect(DaemonStart.filesPerLane(few.site, few.federation) == 128)
        let many = files(proxy(folder: "/f"), servers: 1_000)
        #expect(DaemonStart.filesPerLane(many.site, many.federation) > 1_000)
    }

    @Test("A folder that is called like a lane that there cannot be is none of ours")
    func strangeFolders() throws {
        let folder = NSTemporaryDirectory() + "meridian-lanes-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in ["lane-9223372036854775807", "lane-256", "lane-x"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        try DaemonStart.checkLaneCount(proxy(folder: folder), loops: 1)
    }
}
