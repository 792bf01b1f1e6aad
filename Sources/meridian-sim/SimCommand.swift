import ArgumentParser
import Foundation
import Simulator

// The simulator's command line: replay one seed with its story, run many, plant bugs, play scenarios.

@main
struct SimCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meridian-sim",
        abstract: "Runs whole federations in one thread, from a seed, under faults, and checks the federation's promises.",
        discussion: """
            The core is the daemon's own; network, disks, clocks, memcached servers and clients are simulated, and time is
            virtual. A seed decides everything, so a violation comes back with its seed.

            EXAMPLES
              meridian-sim --seeds 20000 --jobs 2      look for violations in seeds 1 to 20000
              meridian-sim --seed 17                   replay seed 17 and tell its whole story
              meridian-sim --seed 17 --story-last 80   … only the end of it
              meridian-sim --seed 17 --faults crashes  … with only this kind of fault
              meridian-sim --scenario 9                play a named history; `all` tells their names
              meridian-sim --scenario all              play them all
              meridian-sim --planted                   plant each known bug and show that it is caught
              meridian-sim --planted no-assertion      … only this one

            EXIT STATUS
              0 no violation (with --planted: every bug was caught); 1 otherwise; 64 wrong usage.
            """)

    @Option(help: "Replay this seed and tell its story.")
    var seed: UInt64?

    @Option(help: "Run this many seeds and print figures.")
    var seeds: Int?

    @Option(help: "The first of --seeds, or the first that --planted tries.")
    var first: UInt64 = 1

    @Option(help: "Processes that run seeds side by side.")
    var jobs: Int = ProcessInfo.processInfo.activeProcessorCount

    @Option(help: "Virtual minutes of load and faults in each run; peace comes after them.")
    var minutes: Double = 1

    @Option(help: "Only these kinds of faults, separated by commas; 'none' or any of: \(SimCommand.faultNames).")
    var faults: String?

    @Option(help: "Tell only the last lines of a story.")
    var storyLast: Int?

    @Option(help: "Play a scenario by number, or 'all'.")
    var scenario: String?

    @Flag(help: "Plant known bugs, one at a time (all, or the one named), and show that each is caught.")
    var planted = false

    @Option(help: "Seeds that --planted tries before it calls a bug uncaught.")
    var plantedSeedsMax: Int = 500

    @Option(help: "Exhibit this known bug in --seed, --seeds or --scenario.")
    var plant: String?

    @Flag(help: .hidden)
    var worker = false

    @Option(help: .hidden)
    var stride: UInt64 = 1

    @Argument(help: "With --planted: the bug's name, one of: \(SimCommand.bugNames).")
    var name: String?

    static let faultNames = FaultKinds.named.map(\.name).joined(separator: ", ")
    static let bugNames = Runs.bugNames.joined(separator: ", ")

    func validate() throws {
        guard jobs > 0 else { throw ValidationError("--jobs must be at least 1") }
        guard minutes > 0, minutes <= 10_000 else { throw ValidationError("--minutes must be above 0 and at most 10000") }
        let modes = [seed != nil, seeds != nil, scenario != nil, planted].count { $0 }
        guard modes == 1 else { throw ValidationError("say one of --seed, --seeds, --scenario or --planted") }
        if let seeds, seeds < 1 { throw ValidationError("--seeds must be at least 1") }
        if name != nil, !planted {
            throw ValidationError("a bug's name goes with --planted; to exhibit one elsewhere, use --plant NAME")
        }
        for bug in [name, plant].compactMap({ $0 }) where !Runs.bugNames.contains(bug) {
            throw ValidationError("no bug is named \(bug); the names are: \(Self.bugNames)")
        }
        if let faults, Runs.kinds(faults) == nil {
            throw ValidationError("unknown kind of fault in '\(faults)'; the kinds are: none, \(Self.faultNames)")
        }
        if let scenario, scenario != "all", !Scenario.all.contains(where: { String($0.number) == scenario }) {
            throw ValidationError(
                "no scenario \(scenario); there are \(Scenario.all.map { String($0.number) }.joined(separator: ", "))")
        }
    }

    func run() throws {
        Runs.settleHashing()
        let plan = Plan(minutes: minutes, faults: faults, bug: plant)
        let sound: Bool
        if let seed {
            sound = Runs.replay(seed, plan, last: storyLast)
        } else if let scenario {
            sound = Runs.play(scenario, plan, told: scenario != "all" || storyLast != nil, last: storyLast)
        } else if planted {
            sound = try PlantedTable(first: first, seedsMax: plantedSeedsMax, jobs: jobs, plan: plan).run(
                name.map { [$0] } ?? Runs.bugNames)
        } else if worker {
            sound = Worker(first: first, stride: stride, count: seeds ?? 0, plan: plan).run()
        } else {
            sound = try Campaign(first: first, seeds: seeds ?? 0, jobs: jobs, plan: plan).run()
        }
        if !sound { throw ExitCode.failure }
    }
}
