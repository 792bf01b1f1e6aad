// Buffers grow with a client's busiest time, and stay: most clients come again soon, and growing anew costs. One that has been quiet for
// a while gives them back, or a pool's hundreds of idle connections would each keep what a single pipeline took.
//
// Looked for with the upkeep, so many places of the table at a time: nothing per command.

import Kernel

extension LaneNode {
    /// Looks at the next clients, around the table.
    func tendQuiet() {
        for _ in 0..<min(sessions.places, Limits.quietLooksMax) {
            if clientReport.quietPlace >= sessions.places { clientReport.quietPlace = 0 }
            let session = sessions.value(at: clientReport.quietPlace)
            clientReport.quietPlace += 1
            if let session, isQuiet(session) { giveBack(session) }
        }
    }

    private func isQuiet(_ session: ClientSession) -> Bool {
        session.slots.isEmpty && monotonic - min(session.lastCommandAt, monotonic) > Limits.quietMicroseconds
    }

    /// Whatever came or went since it last gave anything back went through its buffers: while there is nothing in them to give, the shell
    /// need not hear of it again.
    private func giveBack(_ session: ClientSession) {
        let incoming = connections.incoming(session.connection).giveBack()
        let outgoing = connections.outgoing(session.connection).giveBack()
        let rest = session.giveBack()
        if incoming || outgoing || rest { effects.actions.append(.quiet(session.connection)) }
    }
}
