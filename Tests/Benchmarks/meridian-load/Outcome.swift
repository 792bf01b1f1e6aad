// What a load came to, and how it is told: one JSON object on standard output.

/// Counts of a load: what was measured, and what was wrong at any time.
struct Outcome {
    /// Unexpected replies that are quoted.
    static let examplesMax = 5

    var requests: UInt64 = 0
    var sets: UInt64 = 0
    var misses: UInt64 = 0
    var wrong: UInt64 = 0
    var examples: [String] = []
    var latency = Histogram()

    /// Counts a request that was answered while it was measured.
    mutating func count(_ asked: Asked, now: UInt64) {
        requests += 1
        if asked.keys == 0 { sets += 1 }
        latency.record(now - min(asked.since, now))
    }

    /// Counts what is wrong with an answer.
    mutating func judge(_ answer: Answer) {
        switch answer {
        case .right: break
        case .misses(let keys): misses += UInt64(keys)
        case .wrong(let text):
            wrong += 1
            if examples.count < Self.examplesMax { examples.append(text) }
        }
    }
}

/// The JSON that is printed. Times are microseconds unless their name says otherwise.
struct LoadReport: Codable {
    struct Latency: Codable {
        var p50: Double
        var p90: Double
        var p99: Double
        var p999: Double
        var mean: Double
        var longest: Double

        init(_ histogram: Histogram) {
            p50 = histogram.quantile(0.5)
            p90 = histogram.quantile(0.9)
            p99 = histogram.quantile(0.99)
            p999 = histogram.quantile(0.999)
            mean = histogram.mean
            longest = Double(histogram.longest)
        }
    }

    /// Requests that were answered while it was measured.
    var requests: UInt64
    /// Those of them that were writes.
    var sets: UInt64
    /// Keys that were asked for and not there, from the first request to the last.
    var misses: UInt64
    /// Requests that were answered with an error, or with another value than was stored, from the first to the last.
    var wrong: UInt64
    /// Some of the wrong answers.
    var examples: [String]
    /// How long it was measured.
    var seconds: Double
    var requestsPerSecond: Double
    var latency: Latency
    /// CPU that the named processes used meanwhile.
    var processes: [String: ProcessAccount]

    init(_ outcome: Outcome, microseconds: UInt64, processes: [String: ProcessAccount]) {
        requests = outcome.requests
        sets = outcome.sets
        misses = outcome.misses
        wrong = outcome.wrong
        examples = outcome.examples
        seconds = Double(microseconds) / 1e6
        requestsPerSecond = microseconds == 0 ? 0 : Double(outcome.requests) / seconds
        latency = Latency(outcome.latency)
        self.processes = processes
    }
}
