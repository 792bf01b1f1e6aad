// The promises by themselves, without a fuzzer: they hold for what parsers meet every day, for what once broke them, and for
// both of these a little spoiled. An input that breaks one traps.

import Foundation
import Fuzzing
import Kernel
import Testing

/// What broke a promise once, each made as small as it goes: a folder for each target.
private let corpus = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Fuzzing/Corpus")

/// The inputs of a target's folder; none when it has no folder.
private func findings(of promise: Promise) throws -> [[UInt8]] {
    let folder = corpus.appendingPathComponent(promise.name)
    guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
    let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    return try files.sorted { $0.path < $1.path }.map { Array(try Data(contentsOf: $0)) }
}

@Suite struct PromiseTests {
    @Test func `every target has a name of its own, inputs to begin with, and no longer ones than it takes`() {
        #expect(Set(Promise.all.map(\.name)).count == Promise.all.count)
        for promise in Promise.all {
            #expect(!promise.seeds.isEmpty, "\(promise.name)")
            #expect(promise.seeds.allSatisfy { $0.count <= promise.bytesMax }, "\(promise.name)")
        }
    }

    @Test func `every folder of findings belongs to a target and holds something`() throws {
        let names = Set(Promise.all.map(\.name))
        guard FileManager.default.fileExists(atPath: corpus.path) else { return }
        for folder in try FileManager.default.contentsOfDirectory(atPath: corpus.path) {
            #expect(names.contains(folder), "there is no target \(folder)")
        }
        for promise in Promise.all { #expect(try findings(of: promise).allSatisfy { !$0.isEmpty }) }
    }

    @Test(arguments: Promise.all.map(\.name))
    func `what broke a promise once does not break it again`(name: String) throws {
        let promise = try #require(Promise.all.first { $0.name == name })
        for input in try promise.seeds + findings(of: promise) { promise.check(input) }
    }

    @Test(arguments: Promise.all.map(\.name))
    func `promises hold for daily inputs that were cut, doubled, spoiled and mixed`(name: String) throws {
        let promise = try #require(Promise.all.first { $0.name == name })
        let known = try promise.seeds + findings(of: promise)
        for seed in 0..<Self.rounds {
            var random = SeededRandom(seed: seed)
            var bytes = known[random.below(known.count)]
            for _ in 0...random.below(4) { spoil(&bytes, known, promise.words, &random) }
            promise.check(bytes)
        }
    }

    /// How many inputs are made for each target: a fuzzer tries as many in the blink of an eye.
    private static let rounds: UInt64 = 150

    private func spoil(_ bytes: inout [UInt8], _ known: [[UInt8]], _ words: [[UInt8]], _ random: inout SeededRandom) {
        let at = random.below(bytes.count + 1)
        let end = min(bytes.count, at + random.below(30))
        switch random.below(6) {
        case 0 where at < bytes.count: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.removeSubrange(at..<end)
        case 2: bytes.insert(contentsOf: bytes[at..<end], at: random.below(bytes.count + 1))
        case 3 where !words.isEmpty: bytes.insert(contentsOf: words[random.below(words.count)], at: at)
        case 4: bytes = Array(bytes[..<at] + known[random.below(known.count)].dropFirst(at))
        default: bytes.removeSubrange(at...)
        }
    }
}
