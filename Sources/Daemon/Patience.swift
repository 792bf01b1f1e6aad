// Clients whose replies wait for those behind them: a pipeline over several servers is answered in many small turns, and each write is a
// system call. Each waits for the same while, so they stand in line.

import Kernel

/// Who waits, and since when.
struct Patience {
    private struct Wait {
        let connection: Connection
        let since: UInt64
    }

    private var line: [Wait] = []
    /// What stands before it in the line has been let go.
    private var front = 0

    var isEmpty: Bool { front == line.count }

    /// Joins the line, at a moment in monotonic microseconds.
    mutating func add(_ connection: Connection, at monotonic: UInt64) {
        connection.patientSince = monotonic
        line.append(Wait(connection: connection, since: monotonic))
    }

    /// Lets go of those that have waited since this moment or longer. Who was written to meanwhile, and waits again, stands further back.
    mutating func release(upTo monotonic: UInt64, into dirty: inout [ConnectionID]) {
        while front < line.count, line[front].since <= monotonic {
            let wait = line[front]
            if wait.connection.patientSince == wait.since { dirty.append(wait.connection.id) }
            front += 1
        }
        if front == line.count || front >= 1_024 {
            line.removeFirst(front)
            front = 0
        }
    }
}
