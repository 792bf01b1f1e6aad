import Foundation
import Simulator

// Checkers must have teeth: each known bug is planted in the core, and seeds are run until one shows it.

/// Runs the planted bugs and prints how many seeds each took.
struct PlantedTable {
    var first: UInt64
    var seedsMax: Int
    var jobs: Int
    var plan: Plan

    private static let provokedBy = ["clock-not-persisted": "clocks,crashes"]
    /// Bugs that so few seeds show that a named history is played at once.
    private static let shownByHistory: Set = ["slots-at-once"]

    /// What caught a bug.
    private struct Catch {
        var seeds: Int
        var seed: UInt64
        var what: String
    }

    func run(_ names: [String]) throws -> Bool {
        print("bug".padding(toLength: 30, withPad: " ", startingAt: 0) + "seeds  caught by")
        var missed = 0
        for name in names {
            let label = name.padding(toLength: 30, withPad: " ", startingAt: 0)
            if !Self.shownByHistory.contains(name), let found = hunt(name) {
                let seeds = String(found.seeds).padding(toLength: 7, withPad: " ", startingAt: 0)
                print("\(label)\(seeds)seed \(found.seed): \(found.what.prefix(150))")
            } else if let (number, what) = history(name) {
                print("\(label)-      scenario \(number): \(what.prefix(150))")
            } else {
                print("\(label)NOT CAUGHT in \(seedsMax) seeds")
                missed += 1
            }
            fflush(nil)  // a line as soon as it is known
        }
        print("\(names.count - missed) of \(names.count) bugs caught")
        return missed == 0
    }

    /// The named history that shows a bug which is too rare for the seeds.
    private func history(_ name: String) -> (number: Int, what: String)? {
        for scenario in Scenario.all where scenario.run().violation == nil {
            if let violation = scenario.run(bug: name).violation { return (scenario.number, "\(violation)") }
        }
        return nil
    }

    /// Runs seeds until one fails that does not fail without the bug.
    private func hunt(_ name: String) -> Catch? {
        var sound = plan
        // A bug that only one kind of fault shows is hunted with that kind.
        if sound.faults == nil { sound.faults = Self.provokedBy[name] }
        var plan = sound
        plan.bug = name
        let process = WorkerProcess(first: first, stride: 1, count: seedsMax, plan: plan)
        var current: UInt64?
        var found: Catch?
        process.run { line in
            switch line.word {
            case "begin": current = line.seed
            case "end": current = nil
            case "violation":
                // What fails without the bug too says nothing about it.
                if Simulation.run(sound.options(line.seed)).violation != nil { return true }
                found = Catch(seeds: Int(line.seed - first) + 1, seed: line.seed, what: String(line.rest))
                return false
            default: break
            }
            return true
        }
        if found == nil, let current {
            found = Catch(seeds: Int(current - first) + 1, seed: current, what: "the core stopped: \(process.lastWords)")
        }
        return found
    }
}
