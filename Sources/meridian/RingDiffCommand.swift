import ArgumentParser
import Configuration
import Foundation
import OperatorTools
import SiteLoader

struct RingDiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Which share of the keys two rings place differently.",
        discussion: """
            A and B are each a site file, a shared file, or a ring in one word:

              HASH:SERVER,SERVER*WEIGHT,…   HASH is ketama, magent-ketama or magent-modulo

              meridian ring diff north.yaml north-new.yaml
              meridian ring diff magent-ketama:10.0.0.1:11211,10.0.0.2:11211 north.yaml
              meridian ring diff ketama:cache1,cache2 'ketama:cache1,cache2,cache3*2' --keys 1000000
              meridian ring diff magent-modulo:10.0.0.1,10.0.0.2 magent-ketama:10.0.0.1,10.0.0.2 --keys-file keys.txt

            ketama hashes names as they stand. libmemcached and twemproxy name a server on port 11211 by its host alone, any \
            other by host:port: so ketama:10.0.0.1,10.0.0.2:11212. magent's rings are over ip:port; the port may be left out.

            Both rings are asked for the same keys: made-up ones, the same in every run, or a shop's own with --keys-file. \
            A key moves when the two servers are not the same memcached. Servers are told apart by address where both rings \
            have addresses, as a site file and a ring of addresses do; by name otherwise, and between two different sites.

            SERVER's figures are shares of all keys: those it has IN A and IN B, and of these those that STAY, LEAVE and ARRIVE.

            Exits with 0 whether keys move or not, with 1 when a file has mistakes.
            """)

    @Argument(help: ArgumentHelp("The ring as it is.", valueName: "A"))
    var first: String

    @Argument(help: ArgumentHelp("The ring as it will be.", valueName: "B"))
    var second: String

    @Option(help: ArgumentHelp("Ask for so many made-up keys; \(SampledKeys.countByDefault) unless given.", valueName: "number"))
    var keys: Int?

    @Option(help: ArgumentHelp("Ask for the keys in this file, one on each line.", valueName: "file"))
    var keysFile: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if let keys, !(1...SampledKeys.countMax).contains(keys) {
            throw ValidationError("--keys is \(keys). Use a number from 1 to \(SampledKeys.countMax).")
        }
        if keys != nil, keysFile != nil { throw ValidationError("--keys and --keys-file: give one of them.") }
        for text in [first, second] where isSpelling(text) {
            do {
                _ = try RingSpelling(text)
            } catch {
                throw ValidationError(error.description)
            }
        }
    }

    func run() throws {
        var comparison = RingComparison(try side(first), try side(second))
        if let keysFile {
            var lines = KeyLines(try bytes(of: keysFile))
            while let key = lines.next() { comparison.add(key) }
            if let complaint = lines.complaint { throw refused("\(keysFile): \(complaint)") }
            if comparison.report.keys == 0 { throw refused("\(keysFile): there is no key in it; put one on each line") }
        } else {
            for key in SampledKeys(count: keys ?? SampledKeys.countByDefault) { comparison.add(key) }
        }
        if json {
            print(try meridian.json(comparison.report, pretty: true))
        } else {
            print(comparison.lines(source: keysFile == nil ? "sampled" : "own").joined(separator: "\n"))
        }
    }

    /// A ring, or what was meant for one, rather than a file.
    private func isSpelling(_ text: String) -> Bool {
        RingSpelling.begins(text) || RingSpelling.resembles(text) && !FileManager.default.fileExists(atPath: text)
    }

    private func side(_ text: String) throws -> RingSide {
        do {
            if isSpelling(text) {
                let spelling = try RingSpelling(text)
                if let caution = spelling.caution { printError("note: \(caution)") }
                return RingSide(label: text, spelling: spelling)
            }
            if try isSharedFile(path: text) { return RingSide(label: text, federation: try loadFederation(path: text)) }
            let (federation, site) = try loadSite(path: text)
            return RingSide(label: text, federation: federation, site: site)
        } catch {
            throw refused("\(error)")
        }
    }

    private func bytes(of path: String) throws -> [UInt8] {
        do {
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            let data = try file.read(upToCount: KeyLines.fileBytesMax + 1) ?? Data()
            guard data.count <= KeyLines.fileBytesMax else {
                throw refused("\(path) is longer than \(KeyLines.fileBytesMax) bytes")
            }
            return Array(data)
        } catch let code as ExitCode {
            throw code
        } catch {
            throw refused("\(path) cannot be read: \(error.localizedDescription)")
        }
    }

    private func refused(_ words: String) -> ExitCode {
        printError(words)
        return ExitCode(1)
    }
}
