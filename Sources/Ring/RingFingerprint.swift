// What two sites compare before they exchange a record (`federation.md` section 6). Not a hash: the whole ring in a few
// hundred bytes, so that a refusal can name the server that differs.
//
//     bytes  content, integers least significant byte first
//     1      format: 1
//     1      flavour: 0 ketama, 1 magent-ketama, 2 magent-modulo
//     4      number of slots
//     2      number of servers
//            per server, sorted by name (magent-modulo: in ring order):
//     4        weight
//     1        length of the name in bytes, 1 or more
//     …        the name, UTF-8

/// Everything about a ring that must be the same at every site.
public struct RingFingerprint: Sendable, Hashable {
    /// The ring's flavour.
    public let flavour: RingFlavour
    /// Number of slots.
    public let slotCount: Int
    /// The servers in comparison order: by name, save for the modulo flavour, where the order itself counts.
    public let servers: [RingServer]

    private static let format: UInt8 = 1
    /// Longest server name in bytes.
    public static let nameBytesMax = 255

    /// The fingerprint of a ring.
    public init(flavour: RingFlavour, servers: [RingServer], slotCount: Int) {
        self.flavour = flavour
        self.slotCount = slotCount
        self.servers = flavour == .magentModulo ? servers : servers.sorted { $0.name < $1.name }
    }

    /// How the ring `there` differs from this one, for people; nil when it does not.
    public func difference(from there: RingFingerprint) -> String? {
        // Also where a name stands twice, which no site file says but a peer may.
        if self == there { return nil }
        if flavour != there.flavour { return "ring hash: \(flavour.rawValue) here, \(there.flavour.rawValue) there" }
        if slotCount != there.slotCount { return "slots: \(slotCount) here, \(there.slotCount) there" }
        let weightsThere = Dictionary(there.servers.map { ($0.name, $0.weight) }, uniquingKeysWith: { first, _ in first })
        let namesHere = Set(servers.map(\.name))
        var found: [String] = []
        for server in servers {
            guard let weight = weightsThere[server.name] else {
                found.append("server \(server.name): weight \(server.weight) here, absent there")
                continue
            }
            if weight != server.weight { found.append("server \(server.name): weight \(server.weight) here, \(weight) there") }
        }
        for server in there.servers where !namesHere.contains(server.name) {
            found.append("server \(server.name): absent here, weight \(server.weight) there")
        }
        if found.isEmpty, servers != there.servers { found.append(orderDifference(from: there)) }
        return found.isEmpty ? nil : Self.listed(found)
    }

    /// The rings have equal servers in another order, or one is listed twice.
    private func orderDifference(from there: RingFingerprint) -> String {
        for (index, pair) in zip(servers, there.servers).enumerated() where pair.0 != pair.1 {
            return "server \(index + 1) of the list: \(pair.0.name) here, \(pair.1.name) there"
        }
        return "number of servers: \(servers.count) here, \(there.servers.count) there"
    }

    /// The first differences; a ring of another federation would otherwise fill a log line.
    private static func listed(_ differences: [String]) -> String {
        let shown = 3
        let text = differences.prefix(shown).joined(separator: "; ")
        return differences.count > shown ? "\(text); and \(differences.count - shown) more" : text
    }
}

/// Why bytes are not a ring's fingerprint.
public enum RingFingerprintError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The bytes end before the fingerprint does.
    case truncated
    /// More bytes than the fingerprint takes.
    case trailing(bytes: Int)
    /// A format that this version does not know.
    case format(UInt8)
    /// A flavour that this version does not know.
    case flavour(UInt8)
    /// Not a power of two, or more than `Slots.countMax`.
    case slots(UInt32)
    /// More servers than `Continuum.serversMax`.
    case servers(UInt16)
    /// An empty name, or one that is not UTF-8; the number is the server's place in the list, from 0.
    case name(server: Int)

    /// What is wrong, for the log.
    public var description: String {
        switch self {
        case .truncated: "ring fingerprint is cut short"
        case .trailing(let bytes): "ring fingerprint is followed by \(bytes) bytes that do not belong to it"
        case .format(let format): "ring fingerprint has format \(format); this version knows 1. Upgrade the older side"
        case .flavour(let flavour): "ring fingerprint has flavour \(flavour), which this version does not know"
        case .slots(let count): "ring fingerprint has \(count) slots; must be a power of two up to \(Slots.countMax)"
        case .servers(let count): "ring fingerprint has \(count) servers; the most is \(Continuum.serversMax)"
        case .name(let server): "ring fingerprint has an empty or unreadable name for server number \(server)"
        }
    }
}

// Bytes.
extension RingFingerprint {
    /// The bytes of the handshake, as in the head of this file.
    public func encode() -> [UInt8] {
        var bytes: [UInt8] = [Self.format, Self.code(of: flavour)]
        Self.append(UInt32(slotCount), to: &bytes)
        Self.append(UInt16(servers.count), to: &bytes)
        for server in servers {
            let name = Array(server.name.utf8)
            precondition(!name.isEmpty && name.count <= Self.nameBytesMax, "server name of \(name.count) bytes")
            Self.append(server.weight, to: &bytes)
            bytes.append(UInt8(name.count))
            bytes += name
        }
        return bytes
    }

    /// Reads what `encode` wrote; the bytes must be exactly one fingerprint.
    public static func decode(_ bytes: some Collection<UInt8>) throws(RingFingerprintError) -> RingFingerprint {
        var rest = bytes[...]
        let format = try take(UInt8.self, from: &rest)
        guard format == Self.format else { throw .format(format) }
        let code = try take(UInt8.self, from: &rest)
        guard let flavour = RingFlavour.allCases.first(where: { Self.code(of: $0) == code }) else { throw .flavour(code) }
        let slots = try take(UInt32.self, from: &rest)
        guard slots > 0, slots & (slots - 1) == 0, slots <= UInt32(Slots.countMax) else { throw .slots(slots) }
        let count = try take(UInt16.self, from: &rest)
        guard count <= Continuum.serversMax else { throw .servers(count) }
        var servers: [RingServer] = []
        for index in 0..<Int(count) {
            let weight = try take(UInt32.self, from: &rest)
            let length = Int(try take(UInt8.self, from: &rest))
            guard rest.count >= length else { throw .truncated }
            guard length > 0, let name = String(validating: rest.prefix(length), as: UTF8.self) else {
                throw .name(server: index)
            }
            rest = rest.dropFirst(length)
            servers.append(RingServer(name: name, weight: weight))
        }
        guard rest.isEmpty else { throw .trailing(bytes: rest.count) }
        return RingFingerprint(flavour: flavour, servers: servers, slotCount: Int(slots))
    }

    private static func code(of flavour: RingFlavour) -> UInt8 {
        switch flavour {
        case .ketama: 0
        case .magentKetama: 1
        case .magentModulo: 2
        }
    }

    private static func append<Number: FixedWidthInteger>(_ number: Number, to bytes: inout [UInt8]) {
        for shift in stride(from: 0, to: Number.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    private static func take<Number: FixedWidthInteger, Bytes: Collection<UInt8>>(
        _: Number.Type, from bytes: inout Bytes
    ) throws(RingFingerprintError) -> Number where Bytes.SubSequence == Bytes {
        guard bytes.count >= Number.bitWidth / 8 else { throw .truncated }
        var number: Number = 0
        for shift in stride(from: 0, to: Number.bitWidth, by: 8) {
            guard let byte = bytes.popFirst() else { throw .truncated }
            number |= Number(byte) << shift
        }
        return number
    }
}
