// magent's flags for magent's users: the daemon without a federation.

import ArgumentParser
import Configuration
import Daemon
import EventLoop
import Foundation
import Logging
import OperatorTools

struct MagentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "magent",
        abstract: "A local proxy with magent's flags and magent's placement, without a federation.",
        discussion: """
            Takes magent 0.6's flags, puts every key where magent puts it, and needs no files: what is warm stays warm.

              meridian magent -k -p 12000 -s 10.0.0.1 -s 10.0.0.2:11212 -b 10.0.0.9
              meridian magent -D -v -l 127.0.0.1 -f /run/magent.sock -s 10.0.0.1:11211

            Servers are hashed by the ip:port that -s gives, as magent does: spell them as you did there. Without -k their order \
            counts. -i is accepted and means nothing: each event loop has one pipelined connection to each server.

            WHAT IS BETTER THAN MAGENT
              A primary that is down is answered for by its backup; one that comes back empty is, too, and is filled again. A \
            server that missed writes gets them before it is read. Each write is done once. With primary and backup both \
            down, reads are misses and writes errors, at once.

            WHAT IT TAKES
              Servers must be memcached 1.6 or later, and only this proxy may write to them. A memcached cannot be a primary and a backup at once.
              While it runs it keeps a write log, in a private folder under TMPDIR (/tmp) that is removed at the end; with --folder, \
            in a folder that stays, and then a crash leaves no write undecided. It takes some 32 MiB for each loop, and while a \
            server is down all that is written meanwhile.

            LISTENING
              Unless -l says otherwise it listens on all addresses, as magent does. memcached's protocol asks for no password: \
            in an open network use -l 127.0.0.1 or -p 0 -f PATH.

            BACKGROUND
              Without -D it goes to the background as soon as it serves; what goes wrong before is told here and by the exit \
            code. Log lines go on to a file that standard error was redirected to, else nowhere.

            SIGNALS
              SIGTERM, SIGINT  end, within five seconds
              SIGINT again     end at once

            EXIT CODES
              0 it serves (without -D), or ended as told       64 a flag is wrong
              71 the system refused something, such as a port  74 a disk failed
              78 the folder cannot be used                     65 and 70 as meridiand's

            To have two sites, or two proxies, write the site files of meridiand with "hash: magent-ketama" (-k) or \
            "hash: magent-modulo", and the same servers' names. meridian ring diff shows what another ring would move.
            """)

    @Flag(name: .customShort("v"), help: "Log what happens; else only warnings and errors.")
    var isVerbose = false

    @Flag(name: .customShort("D"), help: "Stay in the foreground.")
    var staysInForeground = false

    @Option(
        name: .customShort("u", allowingJoined: true),
        help: ArgumentHelp("Become this user once the ports are bound; a name or a number.", valueName: "uid"))
    var user: String?

    @Option(
        name: .customShort("g", allowingJoined: true),
        help: ArgumentHelp("Become this group; the user's own unless given.", valueName: "gid"))
    var group: String?

    @Option(
        name: .customShort("p", allowingJoined: true),
        help: ArgumentHelp("TCP port to listen at; 0 for none.", valueName: "port"))
    var port = 11_211

    @Option(
        name: .customShort("l", allowingJoined: true),
        help: ArgumentHelp("Address to listen at; all of this machine's unless given.", valueName: "ip"))
    var listen: String?

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("Unix socket to listen at.", valueName: "file"))
    var file: String?

    @Option(
        name: .customShort("s", allowingJoined: true),
        help: ArgumentHelp("Add a memcached server; repeatable. The port is 11211 unless given.", valueName: "ip:port"))
    var servers: [String] = []

    @Option(
        name: .customShort("b", allowingJoined: true),
        help: ArgumentHelp("Add a backup memcached server; repeatable.", valueName: "ip:port"))
    var backups: [String] = []

    @Option(
        name: .customShort("n", allowingJoined: true),
        help: ArgumentHelp("Most client connections at a time.", valueName: "number"))
    var connectionsMax = 4_096

    @Flag(name: .customShort("k"), help: "Place keys by ketama; without it by the modulo rule.")
    var isKetama = false

    @Option(
        name: .customShort("i", allowingJoined: true),
        help: ArgumentHelp(
            "Keep-alive connections that magent kept to each server. Accepted, and means nothing here.", valueName: "number"))
    var keepAliveConnections = 20

    @Option(
        help: ArgumentHelp(
            "Not magent's: event loops. More than one only where one core is not enough: keys then pass from loop to loop.",
            valueName: "number"))
    var loops = 1

    @Option(
        help: ArgumentHelp("Not magent's: longest value, the same as memcached's -I, such as 1MiB.", valueName: "size"))
    var itemSizeMax = "1MiB"

    @Option(
        help: ArgumentHelp(
            "Not magent's: keep the write log here, over restarts; for one proxy alone.", valueName: "folder"))
    var folder: String?

    /// The flags as Configuration checks them; the folder is not known yet.
    func flags() throws -> MagentFlags {
        guard let itemBytesMax = MagentFlags.bytes(itemSizeMax) else {
            throw ValidationError("--item-size-max \(itemSizeMax) is not a size. Write it like 512KiB or 2MiB.")
        }
        var flags = MagentFlags()
        flags.primaries = servers
        flags.backups = backups
        flags.isKetama = isKetama
        flags.host = listen ?? MagentFlags.everywhere
        flags.port = port
        flags.socketPath = file.map(Self.absolute)
        flags.connectionsMax = connectionsMax
        flags.keepAliveConnections = keepAliveConnections
        flags.loops = loops
        flags.itemBytesMax = itemBytesMax
        flags.folder = folder.map(Self.absolute) ?? "/"
        flags.machine = ProcessInfo.processInfo.hostName
        return flags
    }

    func validate() throws {
        do {
            _ = try flags().files()
        } catch let error as MagentFlags.Mistakes {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        do {
            let account = user == nil && group == nil ? nil : try Account(user: user, group: group)
            // Relative paths are those of the folder that it is started in, which the background leaves.
            let flags = try flags()
            let temporary = Self.absolute(FileManager.default.temporaryDirectory.path)
            let background = staysInForeground ? nil : try Background.enter()
            try serve(flags, temporary: temporary, as: account, telling: background)
        } catch let failure as DaemonFailure {
            printError("meridian magent: \(failure)")
            throw ExitCode(failure.code.rawValue)
        } catch let error as SocketError {
            printError("meridian magent: \(error)")
            throw ExitCode(DaemonFailure.Code.system.rawValue)
        }
    }

    private func serve(
        _ flags: MagentFlags, temporary: String, as account: Account?, telling background: Background?
    ) throws {
        let scratch = folder == nil ? try ScratchFolder(under: temporary, owner: account) : nil
        defer { scratch?.remove() }
        var flags = flags
        let isNew = try scratch != nil || makeFolder(flags.folder)
        if let scratch { flags.folder = scratch.path }
        let (federation, site) = try flags.files()
        announce(flags, federation)
        var launch = Launch()
        launch.isAlone = true
        launch.madeFolder = isNew
        launch.account = account
        launch.whenServing = {
            background?.serving()
            // Deleting may take a while: not on a loop.
            try? WorkerThread.start(name: "sweep") { ScratchFolder.sweep(under: temporary) }.detach()
        }
        let code = Daemon.run(
            federation: federation, site: site, proxyName: MagentFlags.names.proxy, logLevel: isVerbose ? .debug : .warning,
            launch: launch)
        if code != 0 { throw ExitCode(code) }
    }

    /// What somebody who starts it by hand wants to know.
    private func announce(_ flags: MagentFlags, _ federation: Federation) {
        printError(
            "meridian magent: \(Amount.counted(flags.primaries.count, "primary", "primaries")), "
                + "\(Amount.counted(flags.backups.count, "backup")) by \(federation.flavour.rawValue); how it is doing: "
                + "meridian status --admin unix:\(flags.folder)/admin.sock")
        if listen == nil, flags.isOpenToOthers {
            printError(
                "meridian magent: listening on all addresses, port \(port), and memcached's protocol asks for no password; "
                    + "-l 127.0.0.1 keeps other machines out")
        }
    }

    /// Makes the folder for the log; false if it is there.
    private func makeFolder(_ path: String) throws -> Bool {
        var isFolder = ObjCBool(false)
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) {
            guard isFolder.boolValue else {
                throw DaemonFailure(.configuration, "--folder \(path) is a file; name a folder, or one that can be made")
            }
            return false
        }
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            return true
        } catch {
            throw DaemonFailure(.system, "cannot make the folder \(path): \(error.localizedDescription)")
        }
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }
}
