// The pure rooms stay pure: no socket, file, clock, thread or random source of their own. That is what lets the simulator run
// the whole federation from one seed. It is decided by what a file imports, so this test reads every import line, of the shells too:
// one room alone knows libevent, one alone OpenSSL.

import Foundation
import Testing

/// The rooms above the line of shells, and every module that each may import (`Docs/architecture.md`).
private let pureRooms: [String: Set<String>] = [
    "Kernel": ["CMachine"],
    "Memcache": ["Kernel"],
    "Ring": ["Kernel"],
    "Status": [],
    "WriteLog": ["Kernel"],
    "Replication": ["Kernel", "WriteLog"],
    "Configuration": ["Kernel", "Ring", "Yams"],
    "Proxy": ["Kernel", "Memcache", "Ring", "WriteLog", "Replication", "Configuration", "Status", "DequeModule"],
]

/// The shells, and every module that each may import.
private let shellRooms: [String: Set<String>] = [
    "EventLoop": ["Kernel", "CEvent", "Glibc"],
    "TLS": ["Kernel", "COpenSSL"],
    "Disk": ["Kernel", "WriteLog", "Dispatch", "Foundation", "Glibc", "Synchronization"],
    "Daemon": [
        "Kernel", "Memcache", "WriteLog", "Proxy", "Configuration", "Status", "EventLoop", "TLS", "Disk", "Logging", "Foundation",
        "Glibc", "Synchronization",
    ],
    "SiteLoader": ["Configuration", "Foundation"],
    "OperatorTools": ["Kernel", "Configuration", "Ring", "Status", "Foundation", "Glibc"],
    "meridiand": ["Daemon", "Configuration", "SiteLoader", "Status", "Logging", "ArgumentParser", "Foundation"],
    "meridian": [
        "Daemon", "EventLoop", "OperatorTools", "SiteLoader", "Configuration", "Status", "Logging", "ArgumentParser",
        "Foundation",
    ],
    "meridian-sim": ["Simulator", "ArgumentParser", "Foundation"],
]

/// Rooms that must never be reached from the simulator: the shells and what they stand on.
private let shells: Set<String> = ["EventLoop", "TLS", "Disk", "Daemon", "CEvent", "COpenSSL", "Logging", "Foundation", "Glibc"]

private let sources = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Sources")

/// The modules that the text imports, with the number of the line.
private func imports(in text: String) -> [(line: Int, module: String)] {
    var found: [(Int, String)] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == ";" }).map(String.init)
        guard let keyword = words.firstIndex(of: "import"), words[..<keyword].allSatisfy(isImportModifier) else { continue }
        var rest = words[(keyword + 1)...]
        // `import struct Foundation.Date` names a kind first.
        let kinds: Set<String> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
        if let kind = rest.first, kinds.contains(kind) { rest = rest.dropFirst() }
        guard let module = rest.first?.split(separator: ".").first else { continue }
        found.append((index + 1, String(module)))
    }
    return found
}

private func isImportModifier(_ word: String) -> Bool {
    word.hasPrefix("@") || ["public", "package", "internal", "fileprivate", "private"].contains(word)
}

/// Every Swift file of a room.
private func files(of room: String) throws -> [URL] {
    let folder = sources.appendingPathComponent(room)
    let all = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    let swift = (all?.compactMap { $0 as? URL } ?? []).filter { $0.pathExtension == "swift" }
    try #require(!swift.isEmpty, "there is no Swift file in \(folder.path)")
    return swift.sorted { $0.path < $1.path }
}

@Suite struct PureRoomsTests {
    @Test(arguments: pureRooms.keys.sorted() + shellRooms.keys.sorted())
    func aRoomImportsOnlyItsNeighbours(room: String) throws {
        let allowed = try #require(pureRooms[room] ?? shellRooms[room])
        for file in try files(of: room) {
            for (line, module) in imports(in: try String(contentsOf: file, encoding: .utf8)) {
                #expect(allowed.contains(module), "\(room)/\(file.lastPathComponent):\(line) imports \(module)")
            }
        }
    }

    @Test func theSimulatorNeverReachesAShell() throws {
        for file in try files(of: "Simulator") {
            for (line, module) in imports(in: try String(contentsOf: file, encoding: .utf8)) {
                #expect(!shells.contains(module), "Simulator/\(file.lastPathComponent):\(line) imports \(module)")
            }
        }
    }

    @Test func everyRoomIsKnown() throws {
        let rooms = try FileManager.default.contentsOfDirectory(atPath: sources.path).filter { !$0.hasPrefix(".") }
        let known = Set(pureRooms.keys).union(shellRooms.keys).union(["Simulator", "CMachine", "CEvent", "COpenSSL"])
        #expect(Set(rooms) == known)
    }

    /// The test's own eyes: every way to write an import is seen, and text that only looks like one is not.
    @Test func everyFormOfImportIsSeen() {
        let text = """
            import Glibc
            @preconcurrency import Foundation
            private import Dispatch
            @testable public import struct Darwin.timeval
            // import Nothing
            let text = "import Nothing"
            """
        #expect(imports(in: text).map(\.module) == ["Glibc", "Foundation", "Dispatch", "Darwin"])
        #expect(imports(in: text).map(\.line) == [1, 2, 3, 4])
    }
}
