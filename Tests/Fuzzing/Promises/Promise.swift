// What is promised of each parser for any bytes whatever. An input that breaks a promise traps: that is what libFuzzer looks
// for (`Tests/Fuzzing/run`), and what a unit test dies of that hands a promise the inputs which broke it once.

import Kernel

/// One parser, and what must hold for any bytes that it is given.
package struct Promise: Sendable {
    /// What it is called on the command line and in folders.
    package let name: String
    /// What is parsed and what is promised, in one line.
    package let about: String
    /// The fuzzer makes no longer inputs: they would show nothing that shorter ones do not.
    package let bytesMax: Int
    /// Inputs to begin with: what the parser meets every day.
    package let seeds: [[UInt8]]
    /// Words of the format, for inputs to be put together from.
    package let words: [[UInt8]]
    private let body: @Sendable (UnsafeRawBufferPointer) -> Void

    init(
        _ name: String, _ about: String, bytesMax: Int, seeds: [[UInt8]], words: [String] = [],
        body: @escaping @Sendable (UnsafeRawBufferPointer) -> Void
    ) {
        self.name = name
        self.about = about
        self.bytesMax = bytesMax
        self.seeds = seeds
        self.words = words.map { Array($0.utf8) }
        self.body = body
    }

    /// Returns if the promise holds for these bytes, and traps if not.
    package func check(_ bytes: UnsafeRawBufferPointer) { body(bytes) }

    /// Returns if the promise holds for these bytes, and traps if not.
    package func check(_ bytes: [UInt8]) { bytes.withUnsafeBytes { check($0) } }

    /// Every parser's.
    package static let all: [Promise] = [
        textRequests, textReplies, keyListings, binaryRequests, binaryReplies,
        peerFrames, ringFingerprint, preamble, certificateNames,
        logRecord, logRecovery, logCursor, logRoundTrip,
        siteFile, federationFile, ringSpelling, magentFlags,
        credentialsFile, textAuthentication,
        httpRequest, httpResponse, statusReport,
        byteQueue,
    ]
}

/// Ways for the same bytes to arrive: whatever a network does to a stream, what is understood of it must not change.
enum Arrivals {
    /// Streams up to this length are cut at every place.
    static let everyCutBytesMax = 32
    /// Streams up to this length arrive byte by byte, too.
    static let byteByByteBytesMax = 600
    /// How many cuts of a longer stream are tried.
    static let cuts = 6

    /// For each way the steps: how many bytes are there in all after each. The cuts follow from the bytes themselves, so that
    /// an input that fails once fails again.
    static func ways(_ bytes: UnsafeRawBufferPointer) -> [[Int]] {
        guard bytes.count > 1 else { return [] }
        var ways: [[Int]] = []
        if bytes.count <= everyCutBytesMax {
            ways = (1..<bytes.count).map { [$0, bytes.count] }
        } else {
            var random = SeededRandom(seed: UInt64(CRC32C.checksum(bytes)))
            for _ in 0..<cuts { ways.append([1 + random.below(bytes.count - 1), bytes.count]) }
        }
        if bytes.count <= byteByByteBytesMax { ways.append(Array(1...bytes.count)) }
        return ways
    }
}
