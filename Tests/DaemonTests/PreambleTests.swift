import Kernel
import Testing

@testable import Daemon

@Suite struct PreambleTests {
    private func refusal(_ bytes: [UInt8]) -> String? {
        do throws(Preamble.Refusal) {
            _ = try Preamble(bytes)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test func itsBytesAreFixed() {
        #expect(Preamble(lane: 3).encoded == [0x4d, 0x52, 0x44, 0x4e, 1, 3, 0, 0])
    }

    @Test func itSurvivesTheRoundTripHoweverItIsSplit() throws {
        for lane: UInt8 in [0, 1, 255] {
            let bytes = Preamble(lane: lane).encoded
            for count in 0..<Preamble.bytes { #expect(try Preamble(Array(bytes.prefix(count))) == nil) }
            #expect(try Preamble(bytes) == Preamble(lane: lane))
        }
    }

    @Test func strangersAreRefusedAtTheirFirstWrongByte() {
        #expect(refusal(Array("GET / HT".utf8)) == "it is not a Meridian proxy (it began with \"GET / HT\")")
        #expect(refusal([0x16, 0x03]) == "it is not a Meridian proxy (it began with \"\\x16\\x03\")")
        #expect(refusal([0x4d, 0x52, 0x44, 0x4e, 2, 0, 0, 0])?.contains("version 2") == true)
        #expect(refusal([0x4d, 0x52, 0x44, 0x4e, 1, 0, 0, 9])?.contains("damaged") == true)
    }

    @Test func randomBytesNeverPass() throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<10_000 {
            let bytes = (0..<Preamble.bytes).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            #expect(refusal(bytes) != nil)
        }
    }
}
