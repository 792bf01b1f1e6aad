import Foundation
import Kernel
import Ring
import Testing

/// One line of a vector file: a key and the index of the server that a real program sent it to.
struct Placement {
    var key: String
    var server: Int
}

/// Reads a file of Vectors; see the README beside the files.
func placements(_ file: String, from source: String = #filePath) throws -> [Placement] {
    let folder = URL(filePath: source).deletingLastPathComponent().appending(path: "Vectors")
    let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
    return try text.split(separator: "\n").map { line in
        let tab = try #require(line.lastIndex(of: "\t"))
        let server = try #require(Int(line[line.index(after: tab)...]))
        return Placement(key: String(line[..<tab]), server: server)
    }
}

/// Keys like those that clients use, always the same ones.
func sampleKeys(_ count: Int) -> [String] {
    var random = SeededRandom(seed: 7)
    return (0..<count).map { index in "memc.sess.key.\(index).\(String(random.next(), radix: 36))" }
}

/// Servers of equal weight: cache1, cache2 …
func servers(_ count: Int, weight: UInt32 = 1) -> [RingServer] {
    (1...count).map { RingServer(name: "cache\($0)", weight: weight) }
}
