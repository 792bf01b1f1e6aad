// Which proxies a command is about: options that status, lag, hot and ring share.

import ArgumentParser
import Configuration
import Foundation
import OperatorTools
import SiteLoader

/// A site file that is of no use.
struct UnreadableSite: Error, CustomStringConvertible {
    /// Every mistake, with what to do; a line for each.
    var description: String
}

/// A site file with what is in it.
struct LoadedSite {
    var path: String
    var federation: Federation
    var site: Site

    /// Reads a site file; mistakes are printed and end the command.
    init(path: String) throws {
        do {
            self = try Self(reading: path)
        } catch {
            printError(error.description)
            throw ExitCode(1)
        }
    }

    /// Reads a site file.
    init(reading path: String) throws(UnreadableSite) {
        self.path = path
        do {
            (federation, site) = try loadSite(path: path)
        } catch {
            throw UnreadableSite(description: "\(error)")
        }
    }

    func endpoints(only proxies: [String]) -> [AdminEndpoint] {
        site.proxies.filter { proxies.isEmpty || proxies.contains($0.name) }
            .map { AdminEndpoint(of: $0, in: federation, siteFile: path) }
    }
}

struct Targets: ParsableArguments {
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Site files; every proxy in them is asked.", discussion: "Several sites may be given: --config north.yaml south.yaml",
            valueName: "file"))
    var config: [String] = []

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Ask only these proxies of the site files.", valueName: "name"))
    var proxy: [String] = []

    @Option(
        help: ArgumentHelp(
            "Ask the admin endpoint at this address instead.", discussion: "host:port, or unix:/path of its socket. Repeatable.",
            valueName: "address"))
    var admin: [String] = []

    @Option(help: ArgumentHelp("Longest wait for each proxy, such as 500ms or 5s.", valueName: "time"))
    var timeout: String = "2s"

    func validate() throws {
        guard !config.isEmpty || !admin.isEmpty else {
            throw ValidationError("Say which proxies to ask: --config north.yaml, or --admin 127.0.0.1:11400.")
        }
        guard proxy.isEmpty || !config.isEmpty else {
            throw ValidationError("--proxy picks from the proxies of a site file: give it with --config.")
        }
        for address in admin where ListenAddress(address) == nil {
            throw ValidationError("--admin \(address) is not an address. Write host:port or unix:/path.")
        }
        guard let seconds = readSeconds(timeout), seconds >= 0.001, seconds <= 3_600 else {
            throw ValidationError("--timeout \(timeout) is not a time. Write it like 500ms or 5s, from 1ms to 1h.")
        }
    }

    var client: AdminClient { AdminClient(timeoutMilliseconds: Int((readSeconds(timeout) ?? 2) * 1_000)) }

    /// Reads the site files and finds the endpoints; mistakes are printed and end the command.
    func endpoints() throws -> [AdminEndpoint] {
        do {
            return try readEndpoints()
        } catch let unreadable as UnreadableSite {
            printError(unreadable.description)
            throw ExitCode(1)
        }
    }

    /// Reads the site files and finds the endpoints; throws `UnreadableSite`.
    func readEndpoints() throws -> [AdminEndpoint] {
        let sites = try config.map(LoadedSite.init(reading:))
        let known = sites.flatMap(\.site.proxies).map(\.name)
        for name in proxy where !known.contains(name) {
            throw ValidationError(
                "There is no proxy \(name) in \(config.joined(separator: ", ")); there are \(known.joined(separator: ", ")).")
        }
        return sites.flatMap { $0.endpoints(only: proxy) }
            + admin.compactMap(ListenAddress.init).map(AdminEndpoint.init(address:))
    }
}

/// A line to standard error.
func printError(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }

/// The time of day so many seconds ago, with the date when that was not today.
func clock(_ secondsAgo: Double) -> String {
    var now = time(nil)
    var then = time_t(Double(now) - min(max(secondsAgo, 0), Double(now)))
    var today = tm()
    var parts = tm()
    localtime_r(&now, &today)
    localtime_r(&then, &parts)
    let time = String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
    guard parts.tm_yday != today.tm_yday || parts.tm_year != today.tm_year else { return time }
    return String(format: "%04d-%02d-%02d ", Int(parts.tm_year) + 1_900, parts.tm_mon + 1, parts.tm_mday) + time
}

/// A document as JSON text, keys in order.
func json(_ document: some Encodable, pretty: Bool) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = pretty ? [.sortedKeys, .prettyPrinted] : [.sortedKeys]
    return String(decoding: try encoder.encode(document), as: UTF8.self)
}
