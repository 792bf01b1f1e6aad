import Foundation
import Fuzzing
import Kernel
import Replication
import Testing

/// Bytes that nobody sent, from seeds: no crash, no byte read twice, and what is taken for a message is one.
@Suite struct FuzzTests {
    /// How many seeds; `MERIDIAN_FUZZ_SEEDS` asks for more.
    static let seeds = ProcessInfo.processInfo.environment["MERIDIAN_FUZZ_SEEDS"].flatMap { UInt64($0) } ?? 400

    @Test("Random bytes behind a valid head: the fields' decoders see anything at all")
    func noise() {
        for seed in 0..<Self.seeds {
            var random = SeededRandom(seed: seed)
            for type in UInt8(0)...20 { take(sealed([type] + random.bytes(random.below(200)))) }
            take(random.bytes(random.below(300)))
        }
    }

    @Test("Frames with bytes changed, dropped and doubled, the checksum made right again")
    func mutations() {
        for seed in 0..<Self.seeds {
            var random = SeededRandom(seed: seed)
            for _ in 0..<10 {
                var body = Array(frame(random.message()).dropFirst(FrameCodec.headBytes))
                for _ in 0..<1 + random.below(4) { mutate(&body, &random) }
                take(sealed(body))
            }
        }
    }

    @Test("Streams of frames with bytes changed, dropped and doubled")
    func brokenStreams() {
        for seed in 0..<Self.seeds {
            var random = SeededRandom(seed: seed)
            var bytes = (0..<6).flatMap { _ in frame(random.message()) }
            for _ in 0..<1 + random.below(3) { mutate(&bytes, &random) }
            take(bytes)
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        guard !bytes.isEmpty else { return }
        let at = random.below(bytes.count)
        switch random.below(5) {
        case 0: bytes[at] = random.small()
        case 1: bytes[at] = [0, 1, 127, 128, 250, 251, 255][random.below(7)]
        case 2: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(20)))
        case 3: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + random.below(40))], at: at)
        default: for place in at..<min(bytes.count, at + 4) { bytes[place] = 0xff }
        }
    }

    /// Decodes to the end or to the first error; whatever is a message has the very bytes it came from (`Tests/Fuzzing`).
    private func take(_ bytes: [UInt8]) {
        let asTheyAre: UInt8 = 1
        Promise.peerFrames.check([asTheyAre] + bytes)
    }
}
