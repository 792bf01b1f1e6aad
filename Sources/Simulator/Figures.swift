// What happened in a run, in numbers: a simulator that finds nothing must show that it looked.

/// Counts of one run, or of many added up.
public struct Figures: Sendable {
    /// What is counted, in the order in which it is printed.
    public enum Count: Int, Sendable, CaseIterable {
        case seeds, virtualMicroseconds, steps, commands, replies, clientErrors, clientTimeouts, commits, landings, applied,
            superseded
        case assertions, inDoubts, forgotten, resets, partitions, cutOffs, strandings, crashes, midTurnCrashes, powerFailures,
            pauses,
            clockJumps
        case backendRestarts, backendStalls, diskFaults, leaves, quietMicroseconds, keysCompared, missesExcused, keysExcused
        case readsChecked, writesProven, ringChanges

        /// What `meridian-sim` prints.
        public var name: String {
            switch self {
            case .seeds: "seeds"
            case .virtualMicroseconds: "virtual time"
            case .steps: "steps of lanes"
            case .commands: "client commands"
            case .replies: "replies"
            case .clientErrors: "error replies"
            case .clientTimeouts: "clients that gave up"
            case .commits: "commits"
            case .landings: "landings"
            case .applied: "remote records applied"
            case .superseded: "remote records superseded"
            case .assertions: "assertions"
            case .inDoubts: "in doubt"
            case .forgotten: "keys left the index"
            case .resets: "connection resets"
            case .partitions: "partitions"
            case .cutOffs: "servers cut off"
            case .strandings: "proxies cut off from all servers"
            case .crashes: "process crashes"
            case .midTurnCrashes: "of them in mid-turn"
            case .powerFailures: "power failures"
            case .pauses: "pauses"
            case .clockJumps: "clock jumps"
            case .backendRestarts: "server restarts"
            case .backendStalls: "server stalls"
            case .diskFaults: "disk faults"
            case .leaves: "orderly leaves"
            case .quietMicroseconds: "time to come to rest"
            case .keysCompared: "keys compared at rest"
            case .missesExcused: "misses excused"
            case .keysExcused: "keys excused"
            case .readsChecked: "reads checked"
            case .writesProven: "acknowledged writes proven"
            case .ringChanges: "servers added or removed"
            }
        }
    }

    private var counts = [UInt64](repeating: 0, count: Count.allCases.count)
    /// Most entries that one lane's index held.
    public var indexEntriesMax: UInt64 = 0

    /// All zero.
    public init() {}

    /// One count.
    public subscript(_ count: Count) -> UInt64 {
        get { counts[count.rawValue] }
        set { counts[count.rawValue] = newValue }
    }

    /// Adds another run's.
    public mutating func add(_ other: Figures) {
        for index in counts.indices { counts[index] += other.counts[index] }
        indexEntriesMax = max(indexEntriesMax, other.indexEntriesMax)
    }

    /// All numbers in one line, for a worker's report.
    public var line: String {
        (counts + [indexEntriesMax]).map { String($0) }.joined(separator: " ")
    }

    /// Reads such a line.
    public init?(line: Substring) {
        let numbers = line.split(separator: " ").compactMap { UInt64($0) }
        guard numbers.count == Count.allCases.count + 1 else { return nil }
        counts = Array(numbers.dropLast())
        indexEntriesMax = numbers[numbers.count - 1]
    }
}
