// What a lane cannot know by itself of the process, for the clients' `stats`.

import EventLoop
import Glibc
import Proxy
import Synchronization

extension SharedState {
    /// The process as it is now, and what the loops but this one, which has so many clients, have reported.
    func facts(for lane: Int, clients: Int) -> ProcessFacts {
        var facts = ProcessFacts()
        facts.pid = getpid()
        facts.eventLibrary = Loop.libraryVersion
        var usage = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            facts.userMicroseconds = Self.microseconds(usage.ru_utime)
            facts.systemMicroseconds = Self.microseconds(usage.ru_stime)
        }
        facts.clientsElsewhere = max(0, clientCount.load(ordering: .relaxed) - clients)
        facts.clientPlaces = clientPlaces.load(ordering: .relaxed)
        facts.listenersPaused = listenersPaused.load(ordering: .relaxed)
        facts.clientsRejected = clientsRejected.load(ordering: .relaxed)
        for (other, status) in board.all.enumerated() where other != lane {
            if let status { facts.otherLanes.append(status) }
        }
        for (other, answers) in board.allAnswers.enumerated() where other != lane { facts.otherAnswers.merge(answers) }
        return facts
    }

    private static func microseconds(_ time: timeval) -> UInt64 { UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_usec) }
}
