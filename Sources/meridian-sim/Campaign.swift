import Foundation
import Simulator

// Many seeds over several processes. A worker that ends in the middle of a seed (the core's own precondition failed) is a
// finding like any other: the seed is named, and a new worker goes on behind it.

/// Runs many seeds and prints figures.
struct Campaign {
    /// Violations that are told with their stories; further ones are only counted.
    static let storiesMax = 5

    var first: UInt64
    var seeds: Int
    var jobs: Int
    var plan: Plan

    func run() throws -> Bool {
        let began = Date()
        let findings = Findings()
        let threads = (0..<min(jobs, seeds)).map { job in
            let thread = Thread { share(job, findings) }
            thread.start()
            return thread
        }
        while threads.contains(where: { !$0.isFinished }) {
            Thread.sleep(forTimeInterval: 0.2)
            findings.progress(of: seeds, since: began)
        }
        return findings.report(since: began, plan)
    }

    /// One job's seeds: every `jobs`-th.
    private func share(_ job: Int, _ findings: Findings) {
        var next = first + UInt64(job)
        let end = first + UInt64(seeds)
        while next < end {
            let count = Int((end - next + UInt64(jobs) - 1) / UInt64(jobs))
            let process = WorkerProcess(first: next, stride: UInt64(jobs), count: count, plan: plan)
            var current: UInt64?
            process.run { line in
                switch line.word {
                case "begin": current = line.seed
                case "violation": findings.violation(line.seed, line.rest)
                case "end":
                    findings.add(line.rest)
                    current = nil
                    next = line.seed + UInt64(jobs)
                default: break
                }
                return true
            }
            if let current {
                findings.violation(current, "the core stopped: \(process.lastWords)")
                next = current + UInt64(jobs)
            } else if next < end, process.failedToStart {
                return findings.violation(next, "the worker did not start")
            }
        }
    }
}

/// One child process and its lines.
final class WorkerProcess {
    struct Line {
        var word: Substring
        var seed: UInt64
        var rest: Substring
    }

    private let process = Process()
    private let output = Pipe()
    private let errors = Pipe()
    private(set) var failedToStart = false
    private(set) var lastWords = ""

    init(first: UInt64, stride: UInt64, count: Int, plan: Plan) {
        process.executableURL = Bundle.main.executableURL
        process.arguments =
            ["--seeds", String(count), "--worker", "--first", String(first), "--stride", String(stride)] + plan.arguments
        process.standardOutput = output
        process.standardError = errors
    }

    /// Hands each line to `take` until that says false or the process ends.
    func run(_ take: (Line) -> Bool) {
        do { try process.run() } catch {
            failedToStart = true
            lastWords = "\(error)"
            return
        }
        var held = Data()
        reading: while true {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty { break }
            held.append(data)
            while let end = held.firstIndex(of: 10) {
                let text = String(decoding: held[held.startIndex..<end], as: UTF8.self)
                held.removeSubrange(held.startIndex...end)
                let words = text.split(separator: " ", maxSplits: 2)
                guard words.count >= 2, let seed = UInt64(words[1]) else { continue }
                if !take(Line(word: words[0], seed: seed, rest: words.count > 2 ? words[2] : "")) {
                    process.terminate()
                    break reading
                }
            }
        }
        process.waitUntilExit()
        let said = String(decoding: errors.fileHandleForReading.availableData, as: UTF8.self)
        lastWords =
            said.split(separator: "\n").first { $0.contains("Fatal error") || $0.contains("rror:") }.map(String.init)
            ?? "signal \(process.terminationStatus)"
    }
}

extension WorkerProcess {
    /// The message of a failed precondition, or the first place of the core in the trace that Swift leaves behind.
    private static func cause(_ said: Data) -> String? {
        let lines = String(decoding: said, as: UTF8.self).split(separator: "\n")
        let message = lines.first { $0.contains("Fatal error") } ?? lines.first { $0.contains("runtime failure") }
        let place = lines.first { $0.contains("Sources/Proxy/") || $0.contains("Sources/Simulator/") }
        let parts = [message, place].compactMap { $0?.split(separator: " ").dropFirst().joined(separator: " ") }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }
}

/// What all jobs have found; shared by their threads, so every access holds the lock.
final class Findings: @unchecked Sendable {
    private let lock = NSLock()
    private var figures = Figures()
    private var violations: [(seed: UInt64, what: String)] = []
    private var toldAt = Date()

    func add(_ line: Substring) {
        lock.lock()
        defer { lock.unlock() }
        if let more = Figures(line: line) { figures.add(more) }
    }

    func violation(_ seed: UInt64, _ what: some StringProtocol) {
        lock.lock()
        defer { lock.unlock() }
        violations.append((seed, String(what)))
        FileHandle.standardOutput.write(Data("seed \(seed): VIOLATION: \(what)\n".utf8))
    }

    func progress(of seeds: Int, since began: Date) {
        lock.lock()
        defer { lock.unlock() }
        guard Date().timeIntervalSince(toldAt) > 30 else { return }
        toldAt = Date()
        let done = figures[.seeds]
        let speed = Double(done) / Date().timeIntervalSince(began)
        FileHandle.standardError.write(
            Data("\(done) of \(seeds) seeds, \(violations.count) violations, \(Campaign.rounded(speed)) seeds/s\n".utf8))
    }

    /// Prints everything; true when there was no violation.
    func report(since began: Date, _ plan: Plan) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        let seconds = Date().timeIntervalSince(began)
        for count in Figures.Count.allCases { print(Campaign.row(count.name, count, figures[count])) }
        print(Campaign.row("most keys in one index", figures.indexEntriesMax))
        print("\(Campaign.rounded(seconds)) s, \(Campaign.rounded(Double(figures[.seeds]) / seconds)) seeds/s")
        for finding in violations.prefix(Campaign.storiesMax) where !finding.what.hasPrefix("the core stopped") {
            print("\n" + Runs.report(finding.seed, plan))
        }
        for finding in violations.prefix(Campaign.storiesMax) where finding.what.hasPrefix("the core stopped") {
            let command = (["meridian-sim", "--seed", String(finding.seed)] + plan.arguments).joined(separator: " ")
            print("\nseed \(finding.seed): \(finding.what)\n  replay: \(command)")
        }
        print("\n\(figures[.seeds]) seeds, \(violations.count) violations")
        return violations.isEmpty
    }
}

extension Campaign {
    static func rounded(_ number: Double) -> String { String(format: "%.1f", number) }

    static func row(_ name: String, _ number: UInt64) -> String {
        name.padding(toLength: 30, withPad: " ", startingAt: 0) + String(number)
    }

    static func row(_ name: String, _ count: Figures.Count, _ number: UInt64) -> String {
        switch count {
        case .virtualMicroseconds, .quietMicroseconds:
            name.padding(toLength: 30, withPad: " ", startingAt: 0) + rounded(Double(number) / 60_000_000) + " min"
        default: row(name, number)
        }
    }
}
