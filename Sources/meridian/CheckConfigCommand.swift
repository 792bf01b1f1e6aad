import ArgumentParser
import Configuration
import OperatorTools
import SiteLoader

struct CheckConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check site files and the shared file that they name.",
        discussion: """
            Every mistake is printed with file, line, column and what to do about it; nothing is started or changed.

              meridian check-config /etc/meridian/north.yaml
              meridian check-config north.yaml south.yaml
              meridian check-config federation.yaml

            With several site files it is also checked that their shared files agree, as the sites themselves do when they connect. \
            Start new files from Sites/templates.

            Exits with 0 when all is right, with 1 when there is a mistake.
            """)

    @Argument(help: ArgumentHelp("Site files, or the shared file.", valueName: "file"))
    var files: [String]

    func run() throws {
        var sites: [(path: String, federation: Federation)] = []
        var failed = false
        for file in files {
            do {
                if try isSharedFile(path: file) {
                    print("\(file): \(described(try loadFederation(path: file)))")
                } else {
                    let (federation, site) = try loadSite(path: file)
                    print("\(file): \(described(site, of: federation))")
                    sites.append((file, federation))
                }
            } catch {
                printError("\(error)")
                failed = true
            }
        }
        if let first = sites.first {
            for other in sites.dropFirst() {
                guard let difference = federationDifference(first.federation, other.federation) else { continue }
                printError("\(first.path) (here) and \(other.path) (there) do not belong together: \(difference)")
                failed = true
            }
        }
        if failed { throw ExitCode(1) }
    }
}
