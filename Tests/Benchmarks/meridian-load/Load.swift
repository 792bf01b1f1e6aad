// The load itself: one thread, one loop. Closed, every connection always has `depth` requests on their way, and asks the next
// one when a reply comes in. Paced, requests fall due at a fixed rate, whatever the replies do, go to the connections in turn,
// and their latency counts from when they were due: a server that stops for a moment is not let off those it kept waiting.
//
//     connect ──▶ warm up ──────────▶ measure ──────────────▶ drain ─────────────▶ end
//                                      account, count, account  nothing is asked
//
// Wrong replies are counted from the first to the last.

import EventLoop
import Glibc
import Kernel

/// What a load consists of.
struct LoadPlan {
    /// Share of requests that are writes, 0…1.
    var writeShare: Double
    /// Keys of each retrieval.
    var keysPerGet: Int
    /// Measuring ends after this many microseconds …
    var measureMicroseconds: UInt64
    /// … or this many requests, whichever comes first.
    var requestsMax: UInt64
    var warmUpMicroseconds: UInt64
    /// Requests per second of a paced load; nil for a closed one.
    var rate: Double?
    /// Processes whose CPU is accounted, by name.
    var processes: [String: Int32]
}

/// A running load.
final class Load {
    private enum Phase { case warmUp, measure, drain }

    /// How long the last replies may take once nothing more is asked.
    private static let drainSecondsMax: UInt64 = 10

    private let crowd: Crowd
    private let texts: Texts
    private let plan: LoadPlan
    private var random = SeededRandom(seed: 7)
    private var outcome = Outcome()
    private var phase = Phase.warmUp
    /// When the first request of a paced load was due, how many were asked since, and whose turn it is.
    private var pacedFrom: UInt64 = 0
    private var paced: UInt64 = 0
    private var turn = 0

    init(_ crowd: Crowd, _ texts: Texts, _ plan: LoadPlan) {
        self.crowd = crowd
        self.texts = texts
        self.plan = plan
    }

    /// Runs the load to its end.
    func run() throws(LoadFailure) -> LoadReport {
        try begin()
        try turns(until: Clock.monotonicMicroseconds() + plan.warmUpMicroseconds)
        phase = .measure
        let before = try accounts()
        let begun = Clock.monotonicMicroseconds()
        try turns(until: begun + plan.measureMicroseconds)
        let ended = Clock.monotonicMicroseconds()
        let used = try accounts().map { ($0.key, $0.value.since(before[$0.key] ?? $0.value)) }
        phase = .drain
        try drain()
        return LoadReport(outcome, microseconds: ended - begun, processes: Dictionary(uniqueKeysWithValues: used))
    }

    private func accounts() throws(LoadFailure) -> [String: ProcessAccount] {
        var found: [String: ProcessAccount] = [:]
        for (name, pid) in plan.processes { found[name] = try ProcessAccount.of(pid) }
        return found
    }

    /// Whether the next request is a write is drawn; so is its key.
    private func request(since: UInt64) -> Asked {
        let isWrite = random.chance(plan.writeShare)
        return Asked(since: since, key: random.below(texts.keys), keys: isWrite ? 0 : plan.keysPerGet)
    }

    private func begin() throws(LoadFailure) {
        pacedFrom = Clock.monotonicMicroseconds()
        guard plan.rate == nil else { return }
        for member in crowd.members {
            while member.hasRoom { member.ask(request(since: Clock.monotonicMicroseconds())) }
            try member.flush()
        }
    }

    /// Waits for the replies that are still owed: a server that keeps one back is not measured, it is broken.
    private func drain() throws(LoadFailure) {
        let deadline = Clock.monotonicMicroseconds() + Self.drainSecondsMax * 1_000_000
        while crowd.members.contains(where: { $0.count > 0 }) {
            guard Clock.monotonicMicroseconds() < deadline else {
                let owed = crowd.members.reduce(0) { $0 + $1.count }
                throw LoadFailure(description: "\(owed) requests were not answered within \(Self.drainSecondsMax) s")
            }
            crowd.loop.wait(until: deadline)
            for index in 0..<crowd.loop.readyCount { try handle(crowd.loop.ready(index)) }
        }
    }

    private func turns(until deadline: UInt64) throws(LoadFailure) {
        var now = Clock.monotonicMicroseconds()
        while now < deadline && outcome.requests < plan.requestsMax {
            if plan.rate == nil {
                crowd.loop.wait(until: deadline)
            } else {
                // A loop sleeps for milliseconds at least, and requests fall due in between: so it only looks, and lets others run.
                crowd.loop.wait(until: now)
                if crowd.loop.readyCount == 0 { sched_yield() }
            }
            for index in 0..<crowd.loop.readyCount { try handle(crowd.loop.ready(index)) }
            now = Clock.monotonicMicroseconds()
            if let rate = plan.rate { try askDue(rate, now) }
        }
    }

    private func handle(_ ready: Loop.Ready) throws(LoadFailure) {
        let member = crowd.members[Int(ready.token)]
        guard !ready.writable else { return try member.flush() }
        try member.receive()
        let now = Clock.monotonicMicroseconds()
        while let (asked, answer) = try member.next() {
            outcome.judge(answer)
            if phase == .measure { outcome.count(asked, now: now) }
            if plan.rate == nil && phase != .drain { member.ask(request(since: now)) }
        }
        if plan.rate == nil { try member.flush() }
    }

    /// Asks what is due by now, as far as connections have room for it.
    private func askDue(_ rate: Double, _ now: UInt64) throws(LoadFailure) {
        let due = UInt64(Double(now - pacedFrom) * rate / 1e6)
        while paced < due, let member = nextWithRoom() {
            paced += 1
            member.ask(request(since: pacedFrom + UInt64(Double(paced) * 1e6 / rate)))
            try member.flush()
        }
    }

    private func nextWithRoom() -> LoadConnection? {
        for _ in crowd.members.indices {
            let member = crowd.members[turn]
            turn = (turn + 1) % crowd.members.count
            if member.hasRoom { return member }
        }
        return nil
    }
}

/// Stores every key once, and returns how many answers were wrong and one of them.
func store(_ texts: Texts, over crowd: Crowd) throws(LoadFailure) -> (wrong: Int, example: String) {
    var next = 0
    var answered = 0
    var wrong = (0, "")
    func ask(_ member: LoadConnection) throws(LoadFailure) {
        while next < texts.keys, member.hasRoom {
            member.ask(Asked(since: 0, key: next, keys: 0))
            next += 1
        }
        try member.flush()
    }
    for member in crowd.members { try ask(member) }
    while answered < texts.keys {
        crowd.loop.wait(until: nil)
        for index in 0..<crowd.loop.readyCount {
            let ready = crowd.loop.ready(index)
            let member = crowd.members[Int(ready.token)]
            if !ready.writable { try member.receive() }
            while let (_, answer) = try member.next() {
                answered += 1
                if case .wrong(let text) = answer { wrong = (wrong.0 + 1, text) }
            }
            try ask(member)
        }
    }
    return wrong
}
