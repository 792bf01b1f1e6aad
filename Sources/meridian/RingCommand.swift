import ArgumentParser
import OperatorTools

struct RingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ring",
        abstract: "Where keys live, at every site; what another ring would move.",
        discussion: """
              meridian ring user:1234 --config north.yaml
              meridian ring diff north.yaml north-new.yaml

            "where" may be left out, unless the key is called diff or where.
            """,
        subcommands: [RingWhereCommand.self, RingDiffCommand.self], defaultSubcommand: RingWhereCommand.self)
}

struct RingWhereCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "where",
        abstract: "Where keys live, at every site.",
        discussion: """
            For each key: its slot, and at each given site the primary and the backup with their addresses, and the proxy and \
            lane that owns the slot, as far as the site's proxies answer.

              meridian ring user:1234 --config north.yaml
              meridian ring user:1234 memc.sess.key.abc --config north.yaml south.yaml
              meridian ring user:1234 --config north.yaml --offline

            Keys come first: everything after --config is a file. The owner is "unknown" when no proxy of the site can be \
            asked from this machine. Exits with 0.
            """)

    @Argument(help: ArgumentHelp("Keys, of 1 to 250 bytes.", valueName: "key"))
    var keys: [String]

    @Option(
        parsing: .upToNextOption, help: ArgumentHelp("Site files, one for each site that you want to see.", valueName: "file"))
    var config: [String]

    @Flag(help: "Do not ask the proxies who owns the slot.")
    var offline = false

    private static let keyBytesMax = 250

    func validate() throws {
        for key in keys where key.utf8.isEmpty || key.utf8.count > Self.keyBytesMax {
            throw ValidationError("A key has 1 to \(Self.keyBytesMax) bytes; this one has \(key.utf8.count).")
        }
    }

    func run() throws {
        let sites = try config.map(LoadedSite.init(path:))
        let client = AdminClient(timeoutMilliseconds: 1_000)
        let statuses = sites.map { offline ? [] : query($0.endpoints(only: []), with: client).statuses }
        let placements = keys.flatMap { key in
            zip(sites, statuses).map { Placement(key: key, federation: $0.federation, site: $0.site, statuses: $1) }
        }
        print(placementLines(placements).joined(separator: "\n"))
    }
}
