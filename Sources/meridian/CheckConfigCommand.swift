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
              meridian check-config --running /etc/meridian/north.yaml north-new.yaml

            With several site files it is also checked that their shared files agree, as the sites themselves do when they connect. \
            Start new files from Sites/templates.

            With --running it is also said what proxies that run on that file would take of the other one at SIGHUP, and what \
            would take a restart. When there is any of the latter, SIGHUP changes nothing at all.

            Exits with 0 when all is right, with 1 when there is a mistake, or something that takes a restart.
            """)

    @Option(help: ArgumentHelp("The site file that proxies run on; say what SIGHUP would change.", valueName: "file"))
    var running: String?

    @Argument(help: ArgumentHelp("Site files, or the shared file.", valueName: "file"))
    var files: [String]

    func validate() throws {
        guard running == nil || files.count == 1 else { throw ValidationError("--running takes one new site file") }
    }

    func run() throws {
        if let running { try preview(running) }
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

    /// What SIGHUP would do; ends the command when that is nothing, because of a mistake or something that takes a restart.
    private func preview(_ running: String) throws {
        do {
            let preview = ReloadPreview(running: try loadSite(path: running), written: try loadSite(path: files[0]))
            print(preview.lines.joined(separator: "\n"))
            if !preview.isTaken { throw ExitCode(1) }
        } catch let code as ExitCode {
            throw code
        } catch {
            printError("\(error)")
            throw ExitCode(1)
        }
    }
}
