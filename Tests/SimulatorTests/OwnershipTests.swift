import Testing

@testable import Simulator

// Whoever runs thousands of worlds one after the other needs each to go before the next one comes.

@Suite struct OwnershipTests {
    /// Something that is not kept alive by being watched.
    private struct Watched {
        let name: String
        weak var object: AnyObject?

        init(_ name: String, _ object: AnyObject?) {
            self.name = name
            self.object = object
        }
    }

    /// Runs a seed for a while, and forgets it.
    private func run(_ seed: UInt64) -> [Watched] {
        let world = World(SimulationOptions(seed: seed))
        world.begin()
        world.run(for: 20_000_000)
        #expect(world.violation == nil)
        let lanes = world.proxies.flatMap(\.lanes)
        #expect(lanes.contains { $0.node != nil } && !world.links.isEmpty)
        return [Watched("the world", world)] + world.proxies.map { Watched("proxy \($0.name)", $0) }
            + lanes.map { Watched("lane \($0.name)", $0) } + lanes.map { Watched("the core of lane \($0.name)", $0.node) }
            + world.servers.map { Watched("server \($0.name)", $0) } + world.clients.map { Watched($0.name, $0) }
            + world.links.map { Watched("connection \($0.number)", $0) }
    }

    @Test("A world goes with the last who holds it, and everything in it (a worker ended for want of memory)", arguments: [1, 8])
    func aWorldGoes(_ seed: UInt64) {
        let left = run(seed).filter { $0.object != nil }.map(\.name)
        #expect(left.isEmpty, "the run is over, and these are still there: \(left.joined(separator: ", "))")
    }
}
