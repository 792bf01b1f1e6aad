import ArgumentParser
import Foundation
import OperatorTools

struct LagCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lag",
        abstract: "How far the other sites are behind.",
        discussion: """
            For each lane and each other site: the age of the oldest record that the site has not acknowledged, how many such \
            records there are and their bytes, how many it acknowledges per second, and when it was last heard. These records \
            are what would be lost if this site were destroyed now.

              meridian lag --config north.yaml
              meridian lag --config north.yaml --watch
              meridian lag --config north.yaml south.yaml --by-proxy --json

            A link that has been silent for 3 s says "not heard since"; what nobody has heard of is "unknown", never zero.

            MONITORING PLUGIN
            With --warn or --crit it prints one line with performance data, for Nagios, Icinga and their kin:

              meridian lag --config /etc/meridian/north.yaml --warn 1s --crit 5s

            and exits with 0 ok; 1 warning: a lag reached --warn; 2 critical: a lag reached --crit, or a site refuses or was \
            never heard; 3 unknown: a proxy did not answer, or a file cannot be read. A silent link counts as lagging for as long as it has been silent.

            Otherwise exits with 0 when every proxy of this machine answered, with 1 when one did not.
            """)

    @OptionGroup var targets: Targets

    @Flag(help: "One line for each proxy and site instead of each lane and site.")
    var byProxy = false

    @Flag(help: "Ask again and again, until Ctrl-C.")
    var watch = false

    @Option(help: ArgumentHelp("With --watch: the time between two looks.", valueName: "time"))
    var interval: String = "1s"

    @Flag(help: "Print JSON; with --watch one document per line.")
    var json = false

    @Option(help: ArgumentHelp("Warn at this lag, such as 1s or 500ms.", valueName: "time"))
    var warn: String?

    @Option(help: ArgumentHelp("Critical at this lag, such as 5s or 1min.", valueName: "time"))
    var crit: String?

    private static let intervalSecondsMin = 0.1

    func validate() throws {
        for (name, text) in [("--warn", warn), ("--crit", crit)] {
            if let text, readSeconds(text) == nil {
                throw ValidationError("\(name) \(text) is not a time. Write it like 500ms or 5s.")
            }
        }
        if let first = warn.flatMap(readSeconds), let second = crit.flatMap(readSeconds), first > second {
            throw ValidationError("--warn is above --crit; a warning comes first.")
        }
        guard let seconds = readSeconds(interval), seconds >= Self.intervalSecondsMin, seconds <= 86_400 else {
            throw ValidationError("--interval \(interval) is not a time from 100ms to 24h.")
        }
        if isCheck, watch || json {
            throw ValidationError("--warn and --crit make one line for a monitor: without --watch and --json.")
        }
    }

    private var isCheck: Bool { warn != nil || crit != nil }

    func run() throws {
        if isCheck { try check() }
        let endpoints = try targets.endpoints()
        repeat {
            let report = LagReport(query(endpoints, with: targets.client), byProxy: byProxy)
            try show(report)
            if !watch, !report.unanswered.isEmpty { throw ExitCode(1) }
            if watch { Thread.sleep(forTimeInterval: readSeconds(interval) ?? 1) }
        } while watch
    }

    private func show(_ report: LagReport) throws {
        if json {
            print(try meridian.json(report, pretty: !watch))
        } else {
            let isScreen = watch && isatty(STDOUT_FILENO) == 1
            // Home, print, then clear what is left below: no flicker.
            if isScreen { print("\u{1b}[H", terminator: "") }
            if watch { print("\(clock(0))  every \(interval), Ctrl-C ends\(isScreen ? "\u{1b}[K" : "")") }
            print(report.lines(clock: clock).map { isScreen ? "\($0)\u{1b}[K" : $0 }.joined(separator: "\n"))
            print(isScreen ? "\u{1b}[J" : "", terminator: watch && !isScreen ? "\n" : "")
        }
        fflush(nil)
    }

    /// A plugin prints one line and exits, whatever happens.
    private func check() throws -> Never {
        let endpoints: [AdminEndpoint]
        do {
            endpoints = try targets.readEndpoints()
        } catch let unreadable as UnreadableSite {
            let lines = unreadable.description.split(separator: "\n")
            let others = lines.count > 1 ? " (and more: meridian check-config)" : ""
            print("MERIDIAN LAG UNKNOWN - \(lines.first ?? "")\(others)")
            throw ExitCode(LagCheck.Outcome.unknown.rawValue)
        }
        let limits = LagCheck(warnSeconds: warn.flatMap(readSeconds), criticalSeconds: crit.flatMap(readSeconds))
        let (line, outcome) = limits.run(LagReport(query(endpoints, with: targets.client), byProxy: byProxy), clock: clock)
        print(line)
        throw ExitCode(outcome.rawValue)
    }
}
