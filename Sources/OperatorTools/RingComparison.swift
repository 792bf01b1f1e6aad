// What moves when one ring takes another's place. Both are asked for every key; a key moves when the two servers are not one
// memcached. Which servers of the two are one is told by where they are, if both sides say so: that is where the items are.
// Two sites of a federation hold the same ring at different addresses, so there names decide.

import Configuration
import Ring

/// One of two rings that are compared.
public struct RingSide: Sendable {
    /// What the operator called it: a path or a spelling.
    public var label: String
    /// How it places keys.
    public var flavour: RingFlavour
    /// Its servers, in ring order.
    public var servers: [RingServer]
    /// Where each server is, in the same order; nil when only names are known.
    public var addresses: [HostPort]?
    /// The site whose addresses they are; nil when it is no site's.
    public var site: String?

    /// The ring of a shared file: names without addresses.
    public init(label: String, federation: Federation) {
        self.label = label
        flavour = federation.flavour
        servers = federation.servers
    }

    /// The ring of a site file, with the site's addresses.
    public init(label: String, federation: Federation, site: Site) {
        self.init(label: label, federation: federation)
        addresses = site.primaries.map(\.address)
        self.site = site.name
    }

    /// A ring in one word. Names that can be addresses are taken for addresses if that is what all of them are.
    public init(label: String, spelling: RingSpelling) {
        self.label = label
        flavour = spelling.flavour
        servers = spelling.servers
        let found = servers.compactMap { HostPort($0.name, portByDefault: RingSpelling.portByDefault) }
        let areAddresses = servers.allSatisfy { $0.name.contains(":") || $0.name.allSatisfy { $0.isNumber || $0 == "." } }
        addresses = areAddresses && found.count == servers.count ? found : nil
    }

    /// `magent-ketama, 3 servers`
    var described: String { "\(flavour.rawValue), \(Amount.counted(servers.count, "server"))" }
}

/// Counts which keys two rings place differently.
public struct RingComparison: Sendable {
    private let a: RingSide
    private let b: RingSide
    private let ringA: Continuum
    private let ringB: Continuum
    /// For each server of A its place among all servers of both, and the same for B.
    private let placesA: [Int]
    private let placesB: [Int]
    /// All servers of both rings, each once.
    private let names: [String]
    private let isByAddress: Bool
    /// Keys by their place in A, then in B.
    private var counts: [Int]
    private var keyCount = 0

    /// Compares two rings of one server or more each; no key has been asked for yet.
    public init(_ a: RingSide, _ b: RingSide) {
        self.a = a
        self.b = b
        ringA = Continuum(flavour: a.flavour, servers: a.servers)
        ringB = Continuum(flavour: b.flavour, servers: b.servers)
        isByAddress = a.addresses != nil && b.addresses != nil && (a.site == nil || b.site == nil || a.site == b.site)
        let matched = Self.match(a, b, byAddress: isByAddress)
        placesA = Array(a.servers.indices)
        placesB = matched.places
        names = matched.names
        counts = [Int](repeating: 0, count: names.count * names.count)
    }

    /// Asks both rings for a key.
    public mutating func add(_ key: [UInt8]) {
        let from = placesA[ringA.server(for: key)]
        let to = placesB[ringB.server(for: key)]
        counts[from * names.count + to] += 1
        keyCount += 1
    }

    /// Finds for each server of B its place, and names all servers: as in A, and as in B where that is another name.
    private static func match(_ a: RingSide, _ b: RingSide, byAddress: Bool) -> (places: [Int], names: [String]) {
        var names = a.servers.map(\.name)
        var places: [Int] = []
        for (index, server) in b.servers.enumerated() {
            let twin =
                byAddress
                ? b.addresses.flatMap { a.addresses?.firstIndex(of: $0[index]) }
                : a.servers.firstIndex { $0.name == server.name }
            guard let twin else {
                places.append(names.count)
                // A server that kept its name and changed its address is another memcached.
                let isTaken = a.servers.contains { $0.name == server.name }
                names.append(isTaken ? "\(server.name) (at \(b.addresses?[index].description ?? "B"))" : server.name)
                continue
            }
            places.append(twin)
            if names[twin] != server.name { names[twin] += " = \(server.name)" }
        }
        return (places, names)
    }
}

// What came of it.
extension RingComparison {
    /// What one server loses and gains.
    public struct ServerShare: Sendable, Equatable, Encodable {
        /// Its name; `A's = B's` where the rings name one memcached differently.
        public var server: String
        /// Keys that the first ring gives it.
        public var keysInA: Int
        /// Keys that the second ring gives it.
        public var keysInB: Int
        /// Keys that both give it.
        public var stay: Int
    }

    /// Keys that go from one server to another.
    public struct Move: Sendable, Equatable, Encodable {
        /// Where the first ring has them.
        public var from: String
        /// Where the second ring has them.
        public var to: String
        /// How many.
        public var keys: Int
    }

    /// The result, as `--json` prints it.
    public struct Report: Sendable, Equatable, Encodable {
        /// Keys that were asked for.
        public var keys: Int
        /// Keys that the rings place on different servers.
        public var moved: Int
        /// `address` or `name`: how it was told which servers are one.
        public var comparedBy: String
        /// Every server of either ring.
        public var servers: [ServerShare]
        /// Where keys go, the most first.
        public var moves: [Move]
    }

    /// The result.
    public var report: Report {
        let places = names.indices
        let servers = places.map { place in
            ServerShare(
                server: names[place], keysInA: places.reduce(0) { $0 + count(place, $1) },
                keysInB: places.reduce(0) { $0 + count($1, place) }, stay: count(place, place))
        }
        var moves: [Move] = []
        for from in places {
            for to in places where to != from && count(from, to) > 0 {
                moves.append(Move(from: names[from], to: names[to], keys: count(from, to)))
            }
        }
        moves.sort { ($1.keys, $0.from, $0.to) < ($0.keys, $1.from, $1.to) }
        return Report(
            keys: keyCount, moved: moves.reduce(0) { $0 + $1.keys }, comparedBy: isByAddress ? "address" : "name",
            servers: servers,
            moves: moves)
    }

    private func count(_ from: Int, _ to: Int) -> Int { counts[from * names.count + to] }

    /// Most pairs of servers that are listed.
    private static let movesShownMax = 40

    /// The result for people. `source` says where the keys came from, such as `sampled`.
    public func lines(source: String) -> [String] {
        let report = report
        var lines = [
            "A: \(a.described), \(a.label)", "B: \(b.described), \(b.label)",
            "\(Amount.counted(report.keys, "\(source) key")); servers are told apart by \(report.comparedBy).", "",
            report.moved == 0
                ? "No key moves."
                : "\(Amount.share(report.moved, of: report.keys)) of the keys move: \(Amount.count(UInt64(report.moved))).",
            "",
        ]
        lines += shares(report)
        if report.moved > 0 { lines += [""] + pairs(report) }
        return lines
    }

    private func shares(_ report: Report) -> [String] {
        var table = Table([
            ("SERVER", .left), ("IN A", .right), ("IN B", .right), ("STAY", .right), ("LEAVE", .right), ("ARRIVE", .right),
        ])
        for server in report.servers {
            let parts = [
                server.keysInA, server.keysInB, server.stay, server.keysInA - server.stay, server.keysInB - server.stay,
            ]
            table.add([server.server] + parts.map { Amount.share($0, of: report.keys) })
        }
        return table.lines
    }

    private func pairs(_ report: Report) -> [String] {
        var table = Table([("FROM", .left), ("TO", .left), ("KEYS", .right), ("SHARE", .right)])
        for move in report.moves.prefix(Self.movesShownMax) {
            table.add([move.from, move.to, Amount.count(UInt64(move.keys)), Amount.share(move.keys, of: report.keys)])
        }
        let rest = report.moves.dropFirst(Self.movesShownMax)
        guard !rest.isEmpty else { return table.lines }
        let keys = rest.reduce(0) { $0 + $1.keys }
        return table.lines + ["and \(Amount.count(UInt64(keys))) keys between \(Amount.counted(rest.count, "more pair"))"]
    }
}
