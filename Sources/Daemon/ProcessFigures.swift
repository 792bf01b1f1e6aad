// What a lane cannot know by itself of the process, for the clients' `stats`.

import EventLoop
import Glibc
import Proxy
import Synchronization

extension SharedState {
    /// The process as it is now, and what the loops but this one have counted.
    func facts(for lane: Int) -> ProcessFacts {
        var facts = ProcessFacts()
        facts.pid = getpid()
        facts.eventLibrary = Loop.libraryVersion
        var usage = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            facts.userMicroseconds = Self.microseconds(usage.ru_utime)
            facts.systemMicroseconds = Self.microseconds(usage.ru_stime)
        }
        facts.clients = clientCount.load(ordering: .relaxed)
        facts.clientPlaces = clientPlaces.load(ordering: .relaxed)
        facts.listenersPaused = listenersPaused.load(ordering: .relaxed)
        facts.clientsRejected = clientsRejected.load(ordering: .relaxed)
        for (other, status) in board.all.enumerated() where other != lane {
            facts.otherLoops.merge(status?.counters ?? [:]) { $0 &+ $1 }
        }
        return facts
    }

    private static func microseconds(_ time: timeval) -> UInt64 { UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_usec) }
}
