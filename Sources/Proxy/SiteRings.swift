// What decides where a key lives at a site: the ring of the federation, and the one of the site's backups. All lanes of a group must have
// the same, in the same order: they speak of servers by number.

import Configuration
import Kernel
import Ring

/// The rings of a site.
struct SiteRings {
    let primaries: Continuum
    /// Nil where there are no backups.
    let backups: Continuum?
    /// What sites compare.
    let fingerprint: RingFingerprint
    /// The same of the backups' ring.
    let backupFingerprint: RingFingerprint
    /// What siblings compare: everything about both rings, in a number; never 0.
    let digest: UInt64

    init(_ federation: Federation, _ site: Site) {
        let backups = site.backups.map { RingServer(name: $0.name, weight: $0.weight) }
        self.init(flavour: federation.flavour, primaries: federation.servers, backups: backups, slotCount: federation.slotCount)
    }

    private init(flavour: RingFlavour, primaries: [RingServer], backups: [RingServer], slotCount: Int) {
        self.primaries = Continuum(flavour: flavour, servers: primaries)
        self.backups = backups.isEmpty ? nil : Continuum(flavour: flavour, servers: backups)
        fingerprint = RingFingerprint(flavour: flavour, servers: primaries, slotCount: slotCount)
        backupFingerprint = RingFingerprint(flavour: flavour, servers: backups, slotCount: slotCount)
        let inOrder = "\(flavour.rawValue) \(slotCount) \(Self.words(primaries)) | \(Self.words(backups))"
        digest = Self.digest(of: Array(inOrder.utf8))
    }

    /// Keys live on the same servers, however these are numbered.
    func places(as other: SiteRings) -> Bool {
        fingerprint == other.fingerprint && backupFingerprint == other.backupFingerprint
    }

    /// At least one of a key's two servers is the same by both.
    func sharesPool(with other: SiteRings) -> Bool {
        fingerprint == other.fingerprint || backupFingerprint == other.backupFingerprint
    }

    private static func words(_ servers: [RingServer]) -> String {
        servers.map { "\($0.weight) \($0.name.utf8.count) \($0.name)" }.joined(separator: " ")
    }

    /// Two checksums, of the bytes and of the bytes backwards.
    private static func digest(of bytes: [UInt8]) -> UInt64 {
        let forwards = bytes.withUnsafeBytes { CRC32C.checksum($0) }
        let backwards = bytes.reversed().withUnsafeBytes { CRC32C.checksum($0) }
        return max(1, UInt64(forwards) << 32 | UInt64(backwards))
    }
}

// In the log.
extension SiteRings {
    /// Both fingerprints, the first preceded by its length in four bytes.
    func encode() -> [UInt8] {
        let first = fingerprint.encode()
        let length = UInt32(first.count)
        return (0..<4).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } + first + backupFingerprint.encode()
    }

    /// Reads what `encode` wrote; nil for anything else.
    init?(encoded bytes: [UInt8]) {
        guard bytes.count >= 4 else { return nil }
        let length = bytes[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= bytes.count - 4, let first = try? RingFingerprint.decode(bytes[4..<4 + length]),
            let second = try? RingFingerprint.decode(bytes[(4 + length)...]), !first.servers.isEmpty
        else { return nil }
        self.init(flavour: first.flavour, primaries: first.servers, backups: second.servers, slotCount: first.slotCount)
    }
}
