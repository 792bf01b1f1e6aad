import Foundation
import Simulator

// Runs in this very process: a replay with its story, the scenarios, and a worker's share of a campaign.

/// What the runs of one command have in common.
struct Plan {
    /// Virtual minutes of load and faults.
    var minutes: Double
    /// Only these faults, as given on the command line; nil for what the seed draws.
    var faults: String?
    /// A known bug to exhibit.
    var bug: String?

    func options(_ seed: UInt64) -> SimulationOptions {
        var options = SimulationOptions(seed: seed, minutes: minutes, bug: bug)
        if let faults, let kinds = Runs.kinds(faults) {
            options.faults = kinds
            if !kinds.isEmpty, options.faultCount == 0 { options.faultCount = max(1, Int(minutes * 8)) }
        }
        return options
    }

    /// The same on a command line.
    var arguments: [String] {
        var arguments = minutes == 1 ? [] : ["--minutes", String(minutes)]
        if let faults { arguments += ["--faults", faults] }
        if let bug { arguments += ["--plant", bug] }
        return arguments
    }
}

enum Runs {
    /// Every known bug's name.
    static let bugNames = SimulationOptions.bugNames

    static func kinds(_ text: String) -> FaultKinds? {
        var kinds = FaultKinds()
        for name in text.split(separator: ",") where name != "none" {
            guard let kind = FaultKinds.named.first(where: { $0.name == name })?.kind else { return nil }
            kinds.insert(kind)
        }
        return kinds
    }

    /// Starts this program again with hash tables that are the same in every process, so that nothing can hang on their
    /// order from one run to the next.
    static func settleHashing() {
        let name = "SWIFT_DETERMINISTIC_HASHING"
        guard ProcessInfo.processInfo.environment[name] == nil, let path = Bundle.main.executablePath else { return }
        setenv(name, "1", 1)
        var arguments = CommandLine.arguments.map { strdup($0) } + [nil]
        execv(path, &arguments)
        // Only reached where the program cannot be started again: then it goes on as it is.
    }

    /// Runs a seed and tells its story.
    static func replay(_ seed: UInt64, _ plan: Plan, last: Int?) -> Bool {
        let outcome =
            last == nil ? Simulation.run(plan.options(seed)) { print($0) } : Simulation.run(plan.options(seed), told: true)
        if let last { for line in outcome.story.tail(last) { print(line) } }
        print("seed \(seed): \(outcome.options)")
        if let violation = outcome.violation {
            print("seed \(seed): VIOLATION: \(violation)")
        } else {
            print("seed \(seed): no violation")
        }
        return outcome.violation == nil
    }

    /// What people need to see of a violation: its seed, the rule, the story's end, and how to see all of it.
    static func report(_ seed: UInt64, _ plan: Plan, lines: Int = 25) -> String {
        let outcome = Simulation.run(plan.options(seed), told: true)
        let command = (["meridian-sim", "--seed", String(seed)] + plan.arguments).joined(separator: " ")
        return
            (["seed \(seed): \(outcome.violation?.description ?? "not seen again")"]
            + outcome.story.tail(lines).map { "    " + $0 }
            + ["  replay: \(command)"]).joined(separator: "\n")
    }

    /// Plays scenarios.
    static func play(_ which: String, _ plan: Plan, told: Bool, last: Int?) -> Bool {
        var failed = 0
        let chosen = Scenario.all.filter { which == "all" || String($0.number) == which }
        for scenario in chosen {
            let outcome = scenario.run(told: told, bug: plan.bug)
            for line in outcome.story.tail(last ?? Story.linesMax) { print(line) }
            print("scenario \(scenario.number): \(scenario.title): \(outcome.violation.map { "VIOLATION: \($0)" } ?? "held")")
            if outcome.violation != nil { failed += 1 }
        }
        if which == "all" { print("\(chosen.count - failed) passed, \(failed) failed") }
        return failed == 0
    }
}

/// One process's share of a campaign; it reports line by line, so that a seed that ends the process is known.
struct Worker {
    var first: UInt64
    var stride: UInt64
    var count: Int
    var plan: Plan

    func run() -> Bool {
        for number in 0..<count {
            let seed = first + UInt64(number) * stride
            say("begin \(seed)")
            let outcome = Simulation.run(plan.options(seed))
            if let violation = outcome.violation { say("violation \(seed) \(violation.description)") }
            say("end \(seed) \(outcome.figures.line)")
        }
        return true
    }

    private func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}
