import Ring
import Testing

// A farm that moves to Meridian stays warm only if every key stays where the old program put it.
@Suite struct VectorTests {
    /// The servers of Vectors/README.md by the names that ketama hashes: `host` on port 11211, else `host:port`.
    static let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4:11212"]
    /// The same as magent names them.
    static let magentAddresses = ["127.0.0.2:11211", "127.0.0.3:11211", "127.0.0.4:11212"]

    @Test func `libmemcached's weighted ketama is reproduced`() throws {
        let weights: [UInt32] = [1, 2, 5]
        let servers = zip(Self.addresses, weights).map { RingServer(name: $0, weight: $1) }
        try expect(Continuum(flavour: .ketama, servers: servers), toReproduce: "ketama_weighted.tsv")
    }

    @Test func `twemproxy's named servers are reproduced`() throws {
        try expect(Continuum(flavour: .ketama, servers: servers(3)), toReproduce: "twemproxy_names.tsv")
    }

    @Test func `magent's ketama is reproduced`() throws {
        let servers = Self.magentAddresses.map { RingServer(name: $0, weight: 1) }
        try expect(Continuum(flavour: .magentKetama, servers: servers), toReproduce: "magent_ketama.tsv")
    }

    @Test func `magent's modulo is reproduced`() throws {
        let servers = Self.magentAddresses.map { RingServer(name: $0, weight: 1) }
        try expect(Continuum(flavour: .magentModulo, servers: servers), toReproduce: "magent_modulo.tsv")
    }

    private func expect(_ ring: Continuum, toReproduce file: String) throws {
        let recorded = try placements(file)
        #expect(recorded.count == 2_511)
        let moved = recorded.filter { ring.server(for: $0.key) != $0.server }
        #expect(moved.isEmpty, "\(moved.count) keys of \(file) are placed elsewhere, first \(moved.first?.key ?? "")")
    }
}
