// From checked files to running loops. Everything that can be refused is refused here, before the first client is
// accepted, each with one line and an exit code.

import Configuration
import Disk
import EventLoop
import Foundation
import Kernel
import Logging
import Proxy
import TLS
import WriteLog

/// A lane's folder, locked and read.
struct OpenedLane: Sendable {
    var configuration: LaneConfiguration
    var folder: LogFolder
    var recovery: LaneRecovery
}

/// What a proxy has bound.
struct BoundSockets: Sendable {
    var clients: ClientSockets
    var replication: [BoundSocket] = []
    var admin: BoundSocket

    /// Gives all addresses up.
    func close() {
        clients.close()
        for bound in replication + [admin] { bound.close() }
    }
}

/// The steps of starting.
enum DaemonStart {
    /// A logger whose lines begin with the lane's name behind the proxy's.
    static func logger(_ identity: PeerIdentity, lane: LaneID, level: Logger.Level) -> Logger {
        var logger = Logger(label: "\(identity.site)/\(identity.proxy) \(lane)") { LineLogHandler(label: $0) }
        logger.logLevel = level
        return logger
    }

    /// The proxy's own part of the site file.
    static func proxy(_ name: String, of site: Site, federation: Federation) throws(DaemonFailure) -> SiteProxy {
        guard let here = federation.sites.first(where: { $0.name == site.name }) else {
            throw DaemonFailure(.configuration, "the shared file has no site \(site.name); add it there")
        }
        guard let proxy = site.proxies.first(where: { $0.name == name }), here.proxies.contains(where: { $0.name == name }) else {
            let known = site.proxies.map(\.name).joined(separator: ", ")
            throw DaemonFailure(
                .configuration, "site \(site.name) has no proxy \(name); its proxies are \(known); choose one with --proxy")
        }
        return proxy
    }

    /// Loads the certificates and sees that they are this proxy's.
    static func certificates(_ proxy: SiteProxy, identity: PeerIdentity) throws(DaemonFailure) -> TLSContext {
        let context: TLSContext
        do throws(TLSError) {
            context = try TLSContext(
                TLSFiles(authority: proxy.authorityPath, certificate: proxy.certificatePath, key: proxy.keyPath))
        } catch {
            throw DaemonFailure(.configuration, error.description)
        }
        if let objection = objection(toOwn: context.names, identity: identity) {
            throw DaemonFailure(.configuration, "\(proxy.certificatePath): \(objection)")
        }
        return context
    }

    /// Reads what clients' listeners need.
    static func doors(_ proxy: SiteProxy) throws(DaemonFailure) -> ClientDoors {
        do throws(ClientDoors.Failure) {
            return try ClientDoors(proxy)
        } catch {
            throw DaemonFailure(.configuration, error.description)
        }
    }

    /// Why a certificate is not this proxy's, or nil.
    static func objection(toOwn names: CertificateNames, identity: PeerIdentity) -> String? {
        let own = CertificateNames(federation: identity.federation, site: identity.site, proxy: identity.proxy)
        return names == own ? nil : "the certificate names \(names), this proxy is \(own); issue one with URI \(own.uri)"
    }

    /// A log of a lane that no loop would run any more holds records that would never be delivered.
    static func checkLaneCount(_ proxy: SiteProxy, loops: Int, isAlone: Bool = false) throws(DaemonFailure) {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: proxy.folder)) ?? []
        let lanes = entries.compactMap { $0.hasPrefix("lane-") ? UInt8($0.dropFirst(5)).map(Int.init) : nil }
        guard let highest = lanes.max(), highest >= loops else { return }
        let (loopsName, remedy) =
            isAlone
            ? ("--loops", "give --loops \(highest + 1), or name another folder with --folder")
            : (
                "'loops'",
                "set 'loops' to \(highest + 1) or more, or, once every site has acknowledged them (meridian lag), move "
                    + "\(proxy.folder)/lane-\(loops) and above away"
            )
        throw DaemonFailure(
            .configuration, "\(proxy.folder) holds the logs of \(highest + 1) lanes, but \(loopsName) is \(loops); \(remedy)")
    }

    /// Binds all addresses; for a proxy that is alone there is none for replication.
    static func bind(
        _ proxy: SiteProxy, loops: Int, policy: ClientPolicy, isAlone: Bool
    ) throws(DaemonFailure) -> BoundSockets {
        do throws(SocketError) {
            let admin = try bindAdmin(proxy.admin)
            let listeners = Dictionary(uniqueKeysWithValues: proxy.clients.enumerated().map { ($0.offset, $0.element) })
            var sockets = BoundSockets(
                clients: try ClientSockets(Array(proxy.clients.indices), of: listeners, loops: loops, policy: policy),
                admin: admin)
            let replication = proxy.replication
            if isAlone { return sockets }
            sockets.replication = try BoundSocket.tcp(host: replication.host, port: replication.port)[0]
            return sockets
        } catch {
            throw DaemonFailure(.system, error.description)
        }
    }

    private static func bindAdmin(_ address: ListenAddress) throws(SocketError) -> BoundSocket {
        switch address {
        case .unix(let path): return try BoundSocket.unix(path: path, mode: 0o660)
        case .tcp(let address):
            let found = try SocketAddress.resolve(host: address.host, port: address.port, passive: true)
            guard found.allSatisfy(\.isLoopback) else {
                throw SocketError(
                    action: "serve admin requests on", subject: address.description, code: 0,
                    reason: "anybody on the network could read it", remedy: "use 127.0.0.1, ::1 or unix:PATH")
            }
            return try BoundSocket.tcp(host: address.host, port: address.port)[0][0]
        }
    }

    /// Open files that a lane needs besides its clients: each memcached server, each sibling, a stream to and one from each other site,
    /// and some for segments, lists of keys and connections that replace others.
    static func filesPerLane(_ site: Site, _ federation: Federation) -> Int {
        let linked = site.primaries.count + site.backups.count + site.proxies.count * site.loops + 2 * federation.sites.count
        return max(DaemonLimits.filesPerLaneMin, linked + DaemonLimits.filesPerLaneBesides) + DaemonLimits.strangersMax
    }

    /// How many clients there may be: connections-max, or what open files there are besides those that memcached servers, peers and
    /// the log need; with a warning when that is less. Clients must never take the descriptor with which a server is reached again.
    static func clientPlaces(
        _ proxy: SiteProxy, of site: Site, _ federation: Federation, isAlone: Bool = false
    ) -> (count: Int, warning: String?) {
        let reserve = site.loops * filesPerLane(site, federation) + DaemonLimits.filesPerProcessMin
        let wanted = proxy.clientConnectionsMax + reserve
        let limit = Descriptor.raiseLimit(to: wanted)
        let places = max(1, min(proxy.clientConnectionsMax, limit - reserve))
        guard places < proxy.clientConnectionsMax else { return (places, nil) }
        let setting = isAlone ? "-n" : "connections-max"
        return (
            places,
            """
            only \(places) clients at a time: the limit on open files is \(limit), \(setting) \
            \(proxy.clientConnectionsMax) needs \(wanted); raise it (ulimit -n, LimitNOFILE=) or lower \(setting)
            """
        )
    }

    /// Once the addresses are bound and the key is read, root has nothing left to do. What a start made for itself becomes the
    /// account's, too.
    static func dropPrivileges(
        _ account: Account?, _ proxy: SiteProxy, _ policy: ClientPolicy, _ sockets: BoundSockets, _ launch: Launch, logger: Logger
    ) throws(DaemonFailure) {
        if let account {
            let clients = sockets.clients.unix.map(\.bound)
            let paths = clients.compactMap(\.path)
            let own = (launch.madeFolder ? [proxy.folder] : []) + [sockets.admin].compactMap(\.path)
            try account.become(
                owning: policy.unixGroup == nil ? own + paths : own, keepingGroup: policy.unixGroup == nil ? [] : paths)
            logger.notice("running as user=\(account.name ?? "\(account.user)") group=\(account.group)")
        }
        if Privileges.isRoot {
            let remedy = launch.isAlone ? "name one with -u" : "set 'user' in the site file"
            logger.warning("running as root; a user of its own is enough for a proxy: \(remedy)")
        }
    }

    /// Locks and reads every lane's log, side by side.
    static func openLanes(
        federation: Federation, site: Site, proxy: SiteProxy, logger: Logger
    ) throws(DaemonFailure) -> [OpenedLane] {
        var opened: [OpenedLane] = []
        for lane in 0..<site.loops {
            let configuration = LaneConfiguration(federation: federation, site: site, proxy: proxy.name, lane: lane)
            var recovery = LaneRecovery(configuration)
            var records = 0
            do throws(LogFolderError) {
                let folder = try LogFolder(
                    folder: proxy.folder, lane: configuration.laneID, federation: federation.name, segmentBytes: site.segmentBytes
                ) { record, offset in
                    records += 1
                    recovery.replay(record, at: offset)
                }
                Self.logger(configuration.identity, lane: configuration.laneID, level: logger.logLevel).notice(
                    "log recovered path=\(folder.path) records=\(records) tail=\(folder.tail) tornBytes=\(folder.tornBytes)")
                opened.append(OpenedLane(configuration: configuration, folder: folder, recovery: recovery))
            } catch {
                throw failure(error)
            }
        }
        return opened
    }

    /// What a folder is or lacks somebody must mend, and starting again does not; what a disk does may pass.
    static func code(of error: DiskError) -> DaemonFailure.Code {
        switch error.code {
        case EWOULDBLOCK, EMFILE, ENFILE: .system
        case EACCES, EPERM, ENOENT, ENOTDIR, EISDIR, EEXIST, ELOOP, ENAMETOOLONG, EROFS: .configuration
        default: .disk
        }
    }

    private static func failure(_ error: LogFolderError) -> DaemonFailure {
        switch error {
        case .disk(let disk): DaemonFailure(code(of: disk), disk.description)
        case .damage: DaemonFailure(.data, error.description)
        }
    }
}
