import Foundation
import Fuzzing
import Kernel
import Testing
import WriteLog

/// Bytes that nobody wrote, from seeds: no crash, and the promises of the log (`Tests/Fuzzing`).
@Suite struct FuzzTests {
    /// How many seeds; `MERIDIAN_FUZZ_SEEDS` asks for more.
    static let seeds = ProcessInfo.processInfo.environment["MERIDIAN_FUZZ_SEEDS"].flatMap { UInt64($0) } ?? 60

    @Test("Random bytes")
    func noise() {
        for seed in 0..<Self.seeds {
            var random = SeededRandom(seed: seed)
            let bytes = [UInt8].random(&random, random.below(3 * LogFormat.segmentBytesMin))
            read(bytes)
        }
    }

    @Test("Logs with bytes changed, dropped and doubled")
    func mutations() {
        for seed in 0..<Self.seeds { mutate(seed: seed) }
    }

    /// Breaks the log of one seed.
    private func mutate(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let log = MemoryLog.random(&random, records: 30)
        var bytes = log.segments.keys.sorted().flatMap { log.segments[$0]! }
        for _ in 0..<(1 + random.below(8)) {
            let at = random.below(bytes.count)
            switch random.below(5) {
            case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[at & ~7] = [0, 63, 64, 255][random.below(4)]
            case 2: bytes.removeSubrange(at..<min(bytes.count, at + 8 * (1 + random.below(20))))
            case 3: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 8 * random.below(40))], at: at & ~7)
            default: bytes.removeLast(random.below(min(bytes.count, 3000)))
            }
        }
        read(bytes)
    }

    /// Reads bytes as they are, as one record and as a log.
    private func read(_ bytes: [UInt8]) {
        let asTheyAre: UInt8 = 1
        Promise.logRecord.check([asTheyAre] + bytes.prefix(600))
        Promise.logRecovery.check([asTheyAre, 0] + bytes)
        Promise.logCursor.check([asTheyAre, 0] + bytes)
    }
}
