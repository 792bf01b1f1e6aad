import Testing

@testable import Simulator

// What the simulated network owes to TCP.

@Suite struct NetworkTests {
    /// A proxy writes to a server that it cannot see; then its end is gone, and later the way is free again.
    private func holdsAfterwards(waiting milliseconds: UInt64 = 100, losing lose: (World, Link) -> Void) -> Bool {
        let script = Script(Script.options(seed: 1), told: false)
        let key = script.key(0)
        let owner = script.owner(of: key, at: 0)
        let primary = script.primary(of: key, at: 0)
        let link = script.world.links.first { link in
            if case .server(let server) = link.target {
                server.it === primary && link.ends[0].machine == owner.machine
            } else {
                false
            }
        }
        guard let link else { fatalError("no lane of \(owner.name) is connected to \(primary.name)") }
        primary.wasCutOff = true
        script.cut([owner.machine], [primary.machine])
        script.world.send(bytes: Array("set \(key.name) 0 0 1\r\nx\r\n".utf8), over: link, from: 0)
        script.wait(milliseconds: milliseconds)
        lose(script.world, link)
        script.cut([owner.machine], [primary.machine], false)
        script.wait(milliseconds: 2_000)
        return script.held(key, primary) != nil
    }

    @Test("What an end sent into a cut arrives when that heals, as long as the end is there to send it again")
    func retransmitted() { #expect(holdsAfterwards { _, _ in }) }

    @Test("What an end sent into a cut is lost with the end that gives up (seed 91085)")
    func gaveUp() { #expect(!holdsAfterwards { $0.giveUp($1, side: 0) }) }

    @Test("What an end sent into a cut is lost when the end is aborted", arguments: [0, 100])
    func aborted(afterMilliseconds: UInt64) {
        #expect(!holdsAfterwards(waiting: afterMilliseconds) { $0.abort($1, side: 0) })
    }
}
