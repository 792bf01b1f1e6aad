import Ring
import Testing

/// Which servers gain and lose keys, against many keys that were asked for one by one.
@Suite struct RingDifferenceTests {
    private static func servers(_ names: String) -> [RingServer] {
        names.split(separator: " ").map { word in
            let parts = word.split(separator: "*")
            return RingServer(name: String(parts[0]), weight: parts.count > 1 ? UInt32(parts[1])! : 1)
        }
    }

    @Test(
        "They are the servers between which keys move",
        arguments: [RingFlavour.ketama, .magentKetama],
        [
            ("a b", "a b c"), ("a b c", "a c"), ("a", "b"), ("a b", "b a"), ("a b*2", "a b*3"), ("a b c d e", "a b c d"),
            ("a b", "c d"),
        ])
    func sampled(flavour: RingFlavour, names: (old: String, new: String)) {
        let old = Continuum(flavour: flavour, servers: Self.servers(names.old))
        let new = Continuum(flavour: flavour, servers: Self.servers(names.new))
        let difference = RingDifference(from: old, to: new)
        var sampled = RingDifference(from: old, to: old)
        for number in 0..<50_000 {
            let (from, to) = (
                old.servers[old.server(for: "key\(number)")].name, new.servers[new.server(for: "key\(number)")].name
            )
            if from != to {
                sampled.losing.insert(from)
                sampled.gaining.insert(to)
            }
        }
        #expect(difference == sampled)
    }

    @Test("By the modulo rule every key may move, unless the servers and their order are the same")
    func modulo() {
        let old = Continuum(flavour: .magentModulo, servers: Self.servers("a b"))
        #expect(RingDifference(from: old, to: Continuum(flavour: .magentModulo, servers: Self.servers("a b"))).gaining.isEmpty)
        let turned = RingDifference(from: old, to: Continuum(flavour: .magentModulo, servers: Self.servers("b a")))
        #expect(turned.gaining == ["a", "b"] && turned.losing == ["a", "b"])
        let grown = RingDifference(from: old, to: Continuum(flavour: .magentModulo, servers: Self.servers("a b c")))
        #expect(grown.gaining == ["a", "b", "c"] && grown.losing == ["a", "b"])
    }

    @Test("Under another flavour every key may move")
    func flavour() {
        let old = Continuum(flavour: .ketama, servers: Self.servers("a b"))
        let new = RingDifference(from: old, to: Continuum(flavour: .magentKetama, servers: Self.servers("a b")))
        #expect(new.gaining == ["a", "b"] && new.losing == ["a", "b"])
    }
}
