// The daemon's command line: read the files, check them, run one proxy.

import ArgumentParser
import Configuration
import Daemon
import Foundation
import Logging
import SiteLoader
import Status

@main
struct Meridiand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meridiand",
        abstract:
            "One proxy of a federated memcached: serves clients, owns its share of the keys, streams writes to other sites.",
        discussion: """
            A site's proxies all read the same site file; --proxy says which of them this process is. Clients connect to any \
            proxy of their site, with memcached's text or binary protocol.

            EXAMPLES
              meridiand --config /etc/meridian/north.yaml --check-config
              meridiand --config /etc/meridian/north.yaml --proxy n1

            SIGNALS
              SIGTERM, SIGINT  hand the slots over to the other proxies and end, within five seconds
              SIGINT again     end at once; the log is recovered at the next start
              SIGHUP           read the site's files, certificates and users' files anew: all of it, or nothing with the reason in the log

            PRIVILEGES
              Started as root with 'user' (and 'group') in the site file, it becomes that user once its addresses are bound.

            EXIT CODES
              0 ended as told    64 wrong usage            65 the log is damaged    70 the orderly end took too long
              71 the system refused something, such as a port         74 a disk failed        78 a mistake in the site files, or a folder \
            that cannot be used

            Log lines go to standard error. How the proxy is doing: meridian status, meridian lag, and /metrics of its \
            admin endpoint.
            """,
        version: MeridianVersion.text)

    @Option(name: .shortAndLong, help: ArgumentHelp("The site file (YAML); it names the shared file.", valueName: "file"))
    var config: String

    @Option(name: .shortAndLong, help: ArgumentHelp("Which of the site's proxies this process is.", valueName: "name"))
    var proxy: String?

    @Flag(
        help:
            "Check the files, print every mistake with file, line and remedy, and end. With --proxy, its certificates and users' files too."
    )
    var checkConfig = false

    @Option(help: ArgumentHelp("The least that is logged: debug, notice, warning or error.", valueName: "level"))
    var logLevel: LogThreshold = .notice

    enum LogThreshold: String, ExpressibleByArgument, CaseIterable {
        case debug, notice, warning, error

        var level: Logger.Level {
            switch self {
            case .debug: .debug
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            }
        }
    }

    func validate() throws {
        guard checkConfig || proxy != nil else {
            throw ValidationError("--proxy NAME is needed: which of the site's proxies is this?")
        }
    }

    func run() throws {
        let (federation, site) = try load()
        if checkConfig { return try check(federation, site) }
        var launch = Launch()
        launch.read = { [config] in try loadSite(path: config) }
        let code = Daemon.run(
            federation: federation, site: site, proxyName: proxy ?? "", logLevel: logLevel.level, launch: launch)
        if code != 0 { throw ExitCode(code) }
    }

    private func load() throws -> (federation: Federation, site: Site) {
        do {
            return try loadSite(path: config)
        } catch let problems as ConfigurationProblems {
            complain(problems.description)
            throw ExitCode(DaemonFailure.Code.configuration.rawValue)
        } catch {
            complain("\(error)")
            throw ExitCode(DaemonFailure.Code.configuration.rawValue)
        }
    }

    private func check(_ federation: Federation, _ site: Site) throws {
        if let proxy {
            do throws(DaemonFailure) {
                for warning in try Daemon.check(federation: federation, site: site, proxyName: proxy) {
                    complain("warning: \(warning)")
                }
            } catch {
                complain(error.description)
                throw ExitCode(error.code.rawValue)
            }
        }
        print("configuration is valid")
    }

    private func complain(_ words: String) { FileHandle.standardError.write(Data("\(words)\n".utf8)) }
}
