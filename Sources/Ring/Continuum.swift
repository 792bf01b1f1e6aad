// Which server a key lives on. A continuum is built once from names and weights and then asked for every key, so it is
// one flat sorted array of points with a coarse index over it:
//
//     hash of the key ──▶ index[top bits] ──▶ a few points, halved ──▶ first point >= hash ──▶ server
//
// The rules for points and hashes are those of `commands.md` section 4, taken from what the real programs do; the
// vectors in Tests/RingTests/Vectors hold them to it.

/// The placement of keys on servers, by one of the flavours. It never changes; a class, so that asking it copies none of its tables.
public final class Continuum: Sendable {
    /// The flavour that the points follow.
    public let flavour: RingFlavour
    /// The servers, in the order that `server(for:)` counts in.
    public let servers: [RingServer]
    /// How many points each server got, in the servers' order; a server without any never gets a key. Empty for the
    /// modulo flavour.
    public let pointCounts: [Int]

    /// Points in rising order: the value in the upper half, the server's index in the lower. No value occurs twice.
    let points: [UInt64]
    /// `firsts[t]` is the first point whose value's upper bits are `t` or more; one more entry than there are values of `t`.
    private let firsts: [UInt32]

    /// Upper bits of a hash that the coarse index is over.
    private static let indexBits: UInt64 = 10
    /// Most servers on one ring: what an index in a handshake and a person can oversee.
    public static let serversMax = 1_024

    /// Places servers by the rules of a flavour. An empty list makes a ring that must not be asked.
    public init(flavour: RingFlavour, servers: [RingServer]) {
        precondition(servers.count <= Self.serversMax, "a ring of \(servers.count) servers; the most is \(Self.serversMax)")
        self.flavour = flavour
        self.servers = servers
        guard flavour != .magentModulo else {
            pointCounts = []
            points = []
            firsts = []
            return
        }
        pointCounts = servers.map { Self.digests(of: $0, among: servers, flavour: flavour) * 4 }
        points = Self.points(of: servers, pointCounts: pointCounts, flavour: flavour)
        firsts = Self.firsts(of: points)
    }

    /// True when there is no server to place keys on.
    public var isEmpty: Bool { servers.isEmpty }

    /// The index in `servers` of the server that a key lives on. The ring must not be empty.
    public func server(for key: UnsafeRawBufferPointer) -> Int {
        precondition(!servers.isEmpty, "a ring without servers was asked for a key")
        if servers.count == 1 { return 0 }
        switch flavour {
        case .ketama: return server(at: MD5.firstWord(key))
        case .magentKetama:
            let hash = MD5.firstWord(key)
            return hash == 0 ? modulo(key) : server(at: hash)
        case .magentModulo: return modulo(key)
        }
    }

    /// The same for a key as text; for cold paths.
    public func server(for key: String) -> Int {
        var key = key
        return key.withUTF8 { server(for: UnsafeRawBufferPointer($0)) }
    }

    /// The same for a key of any bytes; for cold paths.
    public func server(for key: [UInt8]) -> Int { key.withUnsafeBytes { server(for: $0) } }

    /// The server of the first point that is not less than the hash; of the first of all when there is none.
    func server(at hash: UInt32) -> Int {
        guard !points.isEmpty else { return 0 }
        let top = Int(UInt64(hash) >> (32 - Self.indexBits))
        let wanted = UInt64(hash) << 32
        var low = Int(firsts[top])
        var high = Int(firsts[top + 1])
        while low < high {
            let middle = (low + high) / 2
            if points[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        return Int(truncatingIfNeeded: points[low < points.count ? low : 0] & 0xffff_ffff)
    }

    /// magent's modulo rule: Bernstein's hash over signed bytes.
    private func modulo(_ key: UnsafeRawBufferPointer) -> Int {
        var hash: UInt32 = 5_381
        for byte in key { hash = hash &* 33 &+ UInt32(bitPattern: Int32(Int8(bitPattern: byte))) }
        return Int(hash & 0x7fff_ffff) % servers.count
    }
}

// Building.
extension Continuum {
    /// Digests that a server is hashed to, four points each. In single precision, as the real programs compute: the
    /// difference shows in weights that do not divide evenly.
    private static func digests(of server: RingServer, among servers: [RingServer], flavour: RingFlavour) -> Int {
        let total = servers.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
        guard total > 0 else { return 0 }
        let share = Float(server.weight) / Float(total)
        let each: Float = flavour == .ketama ? 40 : 500
        return Int(share * each * Float(servers.count))
    }

    /// All points, sorted, the first of equal values kept. Equal values go to the server whose name sorts first, so that
    /// the order of the list never matters.
    private static func points(of servers: [RingServer], pointCounts: [Int], flavour: RingFlavour) -> [UInt64] {
        var found: [(value: UInt32, server: Int)] = []
        found.reserveCapacity(pointCounts.reduce(0, +))
        for (index, server) in servers.enumerated() {
            let name = hashedName(of: server.name, flavour: flavour)
            for k in 0..<pointCounts[index] / 4 {
                var text = "\(name)-\(k)"
                let digest = text.withUTF8 { MD5.digest(UnsafeRawBufferPointer($0)) }
                for value in [digest.0, digest.1, digest.2, digest.3] { found.append((value, index)) }
            }
        }
        found.sort { a, b in a.value != b.value ? a.value < b.value : servers[a.server].name < servers[b.server].name }
        var points: [UInt64] = []
        points.reserveCapacity(found.count)
        for point in found where points.last.map({ $0 >> 32 != UInt64(point.value) }) ?? true {
            points.append(UInt64(point.value) << 32 | UInt64(point.server))
        }
        return points
    }

    /// What is hashed: magent writes its `ip:port` names with a hyphen.
    private static func hashedName(of name: String, flavour: RingFlavour) -> String {
        guard flavour == .magentKetama, let colon = name.lastIndex(of: ":") else { return name }
        return "\(name[..<colon])-\(name[name.index(after: colon)...])"
    }

    private static func firsts(of points: [UInt64]) -> [UInt32] {
        let tops = 1 << Int(indexBits)
        var firsts: [UInt32] = []
        firsts.reserveCapacity(tops + 1)
        var point = 0
        for top in 0...tops {
            while point < points.count, points[point] >> (64 - indexBits) < UInt64(top) { point += 1 }
            firsts.append(UInt32(point))
        }
        return firsts
    }
}
