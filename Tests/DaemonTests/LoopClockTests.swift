import Kernel
import Testing

@testable import Daemon

@Suite struct LoopClockTests {
    private func machine(_ milliseconds: UInt64) -> Instant {
        Instant(monotonicMicroseconds: milliseconds * 1_000, wallMicroseconds: 1_700_000_000_000_000 + milliseconds * 1_000)
    }

    @Test func ordinaryWaitsPassAsTheyAre() {
        var clock = LoopClock(machine(1_000))
        #expect(clock.advance(to: machine(1_100), due: 1_100_000) == 0)
        #expect(clock.advance(to: machine(1_590), due: 1_100_000) == 0, "late, but no more than load explains")
        #expect(clock.now == machine(1_590))
    }

    @Test func aPauseOfTheWholeMachineIsNobodysSilence() {
        var clock = LoopClock(machine(1_000))
        #expect(clock.advance(to: machine(21_100), due: 1_100_000) == 20_000_000)
        #expect(clock.now.monotonicMicroseconds == 1_100_000, "time goes on where the wait was to end")
        #expect(clock.now.wallMicroseconds == machine(21_100).wallMicroseconds, "the wall clock is the machine's")
        #expect(clock.machineTime(1_200_000) == 21_200_000)
        #expect(clock.advance(to: machine(21_200), due: 1_200_000) == 0)
        #expect(clock.now.monotonicMicroseconds == 1_200_000)
    }

    @Test func aWaitThatIsNotToWaitCannotSeemLate() {
        var clock = LoopClock(machine(1_000))
        #expect(clock.advance(to: machine(1_400), due: 0) == 0)
        #expect(clock.advance(to: machine(2_400), due: 0) == 1_000_000, "but a second without a turn is a pause")
    }

    @Test func timeNeverGoesBack() {
        var random = SeededRandom(seed: 5)
        var real: UInt64 = 10
        var clock = LoopClock(machine(real))
        var last = clock.now.monotonicMicroseconds
        for _ in 0..<10_000 {
            real += UInt64(random.below(random.chance(0.1) ? 5_000 : 50))
            let due = last + UInt64(random.below(100_000))
            _ = clock.advance(to: machine(real), due: random.chance(0.2) ? 0 : due)
            #expect(clock.now.monotonicMicroseconds >= last)
            last = clock.now.monotonicMicroseconds
        }
    }
}
