import Simulator
import Testing

// Whole runs: a fixed set of seeds holds, a seed is a history, and the checkers have teeth.

@Suite struct SimulationTests {
    /// Seeds that every test run takes; the large set is run by hand (`meridian-sim --seeds 20000`).
    static let seeds: [UInt64] = Array(1...12)

    @Test(arguments: seeds) func aFixedSeedHolds(_ seed: UInt64) {
        let outcome = Simulation.run(SimulationOptions(seed: seed))
        if let violation = outcome.violation {
            Issue.record("seed \(seed) (\(outcome.options)): \(violation); replay: meridian-sim --seed \(seed)")
        }
    }

    @Test func aSeedIsAHistory() {
        let options = SimulationOptions(seed: 77)
        let first = Simulation.run(options, told: true)
        let second = Simulation.run(options, told: true)
        #expect(first.digest == second.digest)
        #expect(first.story.lines == second.story.lines, "the same seed must tell the same story")
        #expect(Simulation.run(options).digest == first.digest, "telling the story must not change it")
    }

    @Test func aRunIsBusy() {
        var figures = Figures()
        for seed in UInt64(1)...24 { figures.add(Simulation.run(SimulationOptions(seed: seed)).figures) }
        #expect(figures[.seeds] == 24)
        for count in [
            Figures.Count.commands, .commits, .landings, .applied, .superseded, .forgotten, .keysCompared, .writesProven,
        ] {
            #expect(figures[count] > 100, "\(count.name): a simulator in which nothing happens finds nothing")
        }
        for count in [Figures.Count.crashes, .partitions, .pauses, .backendRestarts, .clockJumps, .diskFaults, .leaves] {
            #expect(figures[count] > 0, "\(count.name): two dozen seeds meet every common fault")
        }
    }

    /// The bugs that a handful of seeds shows; `meridian-sim --planted` hunts all of them.
    @Test(arguments: [
        "acknowledge-before-applying", "tombstones-dropped", "forgets-too-early", "last-arrival-wins",
    ])
    func aPlantedBugIsCaught(_ bug: String) {
        let caught = (UInt64(1)...6).contains { Simulation.run(SimulationOptions(seed: $0, bug: bug)).violation != nil }
        #expect(caught, "\(bug) goes unnoticed in 6 seeds")
    }

    @Test func aRestartWithoutItsIndexIsCaught() {
        let scenario = Scenario.all.first { $0.number == 4 }
        #expect(scenario?.run(bug: "index-not-rebuilt").violation != nil)
    }

    @Test func optionsAreDrawnFromTheSeedAlone() {
        #expect(SimulationOptions(seed: 5).description == SimulationOptions(seed: 5).description)
        let kinds = Set((UInt64(1)...200).map { SimulationOptions(seed: $0).faults })
        #expect(kinds.contains([]), "some seeds run without faults")
        #expect(kinds.count > 15, "the seeds mix their faults")
    }
}
