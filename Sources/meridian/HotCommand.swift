import ArgumentParser
import OperatorTools

struct HotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hot",
        abstract: "Which keys are read most just now.",
        discussion: """
            For each key that stands out: how often it is read in a second, its share of all reads of the site, and its servers, \
            the primary first. The figures are estimates: each loop looks at one read in 64 and lets what it saw \
            count a sixteenth less every second, so that they are of the last quarter of a minute.

              meridian hot --config /etc/meridian/north.yaml
              meridian hot --config north.yaml --most 5
              meridian hot --admin unix:/run/meridian/n1-admin.sock --json

            A proxy knows what its own clients read: ask all proxies of a site. In a key, \\x and two digits stand for a byte \
            that cannot be printed, and \\\\ for a backslash.

            WHAT TO DO
              One key has most of the reads, and its server has no room left: with 'reads: hot-in-turn' in the site file such keys \
            are read from primary and backup in turn; with 'reads: in-turn' or 'reads: least-outstanding' all keys are. \
            Writes are then answered when both servers have them. A change of 'reads' takes a stop of the whole site: all its proxies \
            are stopped, then started.

            Exits with 0 when every proxy of this machine answered, with 1 when one did not.
            """)

    @OptionGroup var targets: Targets

    @Option(help: ArgumentHelp("Print at most so many keys.", valueName: "count"))
    var most: Int = 20

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard most >= 1 else { throw ValidationError("--most \(most) leaves nothing to print. Give a number from 1 on.") }
    }

    func run() throws {
        let report = HotReport(query(try targets.endpoints(), with: targets.client), most: most)
        print(json ? try meridian.json(report, pretty: true) : report.lines.joined(separator: "\n"))
        if !report.unanswered.isEmpty { throw ExitCode(1) }
    }
}
