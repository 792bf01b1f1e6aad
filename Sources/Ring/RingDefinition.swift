/// How keys are placed on servers (`commands.md` section 4).
public enum RingFlavour: String, Sendable, Hashable, CaseIterable {
    /// libmemcached's weighted ketama, twemproxy's and this project's default.
    case ketama
    /// magent's ketama.
    case magentKetama = "magent-ketama"
    /// magent's modulo rule.
    case magentModulo = "magent-modulo"
}

/// One server on a ring.
public struct RingServer: Sendable, Hashable {
    /// Its name: what is hashed onto the continuum.
    public var name: String
    /// Its share of the continuum relative to the others', at least 1.
    public var weight: UInt32

    /// Makes a server of its parts.
    public init(name: String, weight: UInt32) {
        self.name = name
        self.weight = weight
    }
}
