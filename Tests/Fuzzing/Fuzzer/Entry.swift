// What libFuzzer calls. Which parser is asked, and what else is wanted, is in the environment, since the command line is
// libFuzzer's; `Tests/Fuzzing/run` sets it.

import Foundation
import Fuzzing

/// The promise that this process tries to break.
private let chosen: Promise? = {
    let name = ProcessInfo.processInfo.environment["MERIDIAN_FUZZ_TARGET"]
    return Promise.all.first { $0.name == name }
}()

/// Before the first input: lists the targets, or writes what a target begins with, and ends; or goes on if there is a target.
@_cdecl("LLVMFuzzerInitialize")
public func fuzzerInitialize(_ count: UnsafeMutableRawPointer, _ arguments: UnsafeMutableRawPointer) -> Int32 {
    let environment = ProcessInfo.processInfo.environment
    if environment["MERIDIAN_FUZZ_LIST"] != nil {
        for promise in Promise.all { print("\(promise.name)\t\(promise.bytesMax)\t\(promise.about)") }
        exit(0)
    }
    guard let chosen else {
        FileHandle.standardError.write(Data("meridian-fuzz: MERIDIAN_FUZZ_TARGET names no target; use Tests/Fuzzing/run\n".utf8))
        exit(64)
    }
    if let folder = environment["MERIDIAN_FUZZ_PREPARE"] {
        do {
            try prepare(chosen, in: URL(fileURLWithPath: folder))
            exit(0)
        } catch {
            FileHandle.standardError.write(Data("meridian-fuzz: cannot write to \(folder): \(error)\n".utf8))
            exit(73)
        }
    }
    return 0
}

/// One input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzerTestOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    chosen?.check(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}

/// Writes a target's seeds, and its words in libFuzzer's form: `seeds/`, `words`.
private func prepare(_ promise: Promise, in folder: URL) throws {
    let seeds = folder.appendingPathComponent("seeds")
    try FileManager.default.createDirectory(at: seeds, withIntermediateDirectories: true)
    for (index, seed) in promise.seeds.enumerated() {
        try Data(seed).write(to: seeds.appendingPathComponent("seed-\(index)"))
    }
    let words = promise.words.map { word in
        "\"\(word.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())\"\n"
    }
    try Data(words.joined().utf8).write(to: folder.appendingPathComponent("words"))
}
