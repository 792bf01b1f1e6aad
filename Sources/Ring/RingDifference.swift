// What moves when a ring takes another's place: which servers gain keys, and which lose some. Not sampled: between two neighbouring points
// of both rings all keys live on one server under either of them, so that asking both rings at every point is asking them for every key.

/// The servers whose keys are not the same under two rings, by name.
public struct RingDifference: Sendable, Hashable {
    /// Servers of the new ring that get keys of others.
    public var gaining: Set<String> = []
    /// Servers of the old ring some of whose keys go to others.
    public var losing: Set<String> = []

    /// Compares two rings of one server or more each. Left out of account is the one key in four thousand million that magent's ketama
    /// places by the modulo rule.
    public init(from old: Continuum, to new: Continuum) {
        guard old.flavour == new.flavour, old.flavour != .magentModulo else {
            if old.flavour == new.flavour && old.servers.map(\.name) == new.servers.map(\.name) { return }
            gaining = Set(new.servers.map(\.name))
            losing = Set(old.servers.map(\.name))
            return
        }
        compare(old, new, at: .max)
        for point in old.points + new.points { compare(old, new, at: UInt32(truncatingIfNeeded: point >> 32)) }
    }

    private mutating func compare(_ old: Continuum, _ new: Continuum, at hash: UInt32) {
        let (from, to) = (old.servers[old.server(at: hash)].name, new.servers[new.server(at: hash)].name)
        guard from != to else { return }
        losing.insert(from)
        gaining.insert(to)
    }
}
