import Kernel
import Testing

/// A run comes back with its seed.
@Suite struct SeededRandomTests {
    @Test("The published sequence of SplitMix64 for the seed 1234567")
    func published() {
        var random = SeededRandom(seed: 1_234_567)
        let numbers = (0..<5).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423, 4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ])
    }

    @Test("The same seed gives the same run, another seed another")
    func seeds() {
        func run(_ seed: UInt64) -> [Int] {
            var random = SeededRandom(seed: seed)
            return (0..<100).map { _ in random.below(1_000) }
        }
        #expect(run(42) == run(42))
        #expect(run(42) != run(43))
    }

    @Test("Numbers stay below their bound and reach all of it; chances come true about as often as they should")
    func shares() {
        var random = SeededRandom(seed: 9)
        var seen = [Int](repeating: 0, count: 10)
        for _ in 0..<10_000 { seen[random.below(10)] += 1 }
        #expect(seen.allSatisfy { $0 > 850 && $0 < 1_150 })
        let hits = (0..<10_000).count { _ in random.chance(0.3) }
        #expect(hits > 2_800 && hits < 3_200)
        #expect((0..<1_000).allSatisfy { _ in !random.chance(0) })
        #expect((0..<1_000).allSatisfy { _ in random.chance(1) })
    }
}
