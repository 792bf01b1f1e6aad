import ArgumentParser
import OperatorTools

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "What the proxies of a site are doing.",
        discussion: """
            For each proxy: its lanes (event loops), its memcached servers, its siblings, and whatever needs somebody's attention.

              meridian status --config /etc/meridian/north.yaml
              meridian status --config north.yaml --proxy n1 --all
              meridian status --admin unix:/run/meridian/n1-admin.sock --json

            STATES
              lane      joining: catching up before it takes its slots; serving; leaving: handing over
              server    up; recovering: came back empty, reads also ask the backup; repairing: keys that it missed are written
                        again; down
              sibling   serving, joining, leaving, dead

            Exits with 0 when every proxy of this machine answered, with 1 when one did not.
            """)

    @OptionGroup var targets: Targets

    @Flag(help: "Show every counter and gauge too.")
    var all = false

    @Flag(help: "Print the proxies' reports as a JSON list.")
    var json = false

    func run() throws {
        let result = query(try targets.endpoints(), with: targets.client)
        if json {
            print(try meridian.json(result.statuses, pretty: true))
        } else {
            print(result.statuses.map { StatusView($0).lines(all: all).joined(separator: "\n") }.joined(separator: "\n\n"))
        }
        for unanswered in result.unanswered + result.elsewhere { printError("\(unanswered)") }
        if !result.unanswered.isEmpty { throw ExitCode(1) }
    }
}
