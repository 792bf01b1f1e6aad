// The model and the real program side by side: whatever is said to one is said to the other, and their replies are held
// against each other byte for byte. Only times may differ, by the seconds that pass between the two.

import Foundation
import Kernel
import Simulator
import Testing

final class MemcachedTwin {
    let model: MemcachedModel
    private let process: MemcachedProcess
    private let clock: MemcachedSocket
    private var sockets: [Int: MemcachedSocket] = [:]
    private let startedAtSeconds: UInt64
    private var incoming: [Int: ByteQueue] = [:]
    /// Replies of the model that the real one holds back: it sends a refusal only when the refused block has been swallowed.
    private var owed: [Int: [UInt8]] = [:]
    private(set) var wallMicroseconds: UInt64 = 0

    init(itemBytesMax: Int = 1_048_576) throws {
        // Its background threads hold items now and then, and a held item is not changed in place by `incr`: no run would
        // be like another.
        let quiet = ["-o", "no_lru_maintainer,no_lru_crawler"]
        process = try MemcachedProcess(arguments: quiet + (itemBytesMax == 1_048_576 ? [] : ["-I", String(itemBytesMax)]))
        clock = try process.connect()
        startedAtSeconds = try clock.stat("time") - clock.stat("uptime") + 2
        model = MemcachedModel(
            itemBytesMax: itemBytesMax, pid: UInt32(try clock.stat("pid")), startedAtWallSeconds: startedAtSeconds)
        try synchronise()
    }

    /// Gives the model the real one's second.
    func synchronise() throws { wallMicroseconds = (startedAtSeconds + (try clock.stat("uptime")) - 2) * 1_000_000 }

    /// Says `text` to both on connection `connection`, in pieces of the given sizes for the real one, and compares. False
    /// when they differ; the difference has then been recorded as an issue.
    @discardableResult
    func say(_ text: String, on connection: Int = 0, _ location: SourceLocation = #_sourceLocation) throws -> Bool {
        try say(Array(text.utf8), on: connection, location)
    }

    @discardableResult
    func say(
        _ bytes: [UInt8], on connection: Int = 0, splitAt: Int? = nil, _ location: SourceLocation = #_sourceLocation
    ) throws -> Bool {
        let socket: MemcachedSocket
        if let open = sockets[connection] {
            socket = open
        } else {
            socket = try process.connect()
            sockets[connection] = socket
            incoming[connection] = ByteQueue()
        }
        let queue = incoming[connection] ?? ByteQueue()
        queue.append(bytes)
        let outgoing = ByteQueue()
        let open = model.receive(queue, from: connection, into: outgoing, wallMicroseconds: wallMicroseconds)
        let expected = (owed[connection] ?? []) + [UInt8](outgoing.readable)
        if let splitAt, splitAt < bytes.count {
            try socket.send(Array(bytes[0..<splitAt]))
            usleep(200)
            try socket.send(Array(bytes[splitAt...]))
        } else {
            try socket.send(bytes)
        }
        let actual = socket.receive(expected.count, milliseconds: 300)
        let isHeldBack = open && actual.count < expected.count
        owed[connection] = isHeldBack ? Array(expected[actual.count...]) : nil
        if !Self.areAlike(isHeldBack ? Array(expected[0..<actual.count]) : expected, actual) {
            Issue.record(
                """
                memcached and its model differ
                sent:      \(Self.shown(bytes))
                memcached: \(Self.shown(actual))
                model:     \(Self.shown(expected))
                """, sourceLocation: location)
            return false
        }
        if !open {
            let closed = socket.isClosed()
            #expect(closed, "memcached keeps open what its model closes: \(Self.shown(bytes))", sourceLocation: location)
            sockets[connection] = nil
            incoming[connection] = nil
            return closed
        }
        return true
    }

    /// True when nothing more comes from the real one than what was compared.
    func isQuiet(on connection: Int = 0) -> Bool {
        guard let socket = sockets[connection] else { return true }
        return owed[connection] == nil && socket.receive(1, milliseconds: 50).isEmpty
    }

    static func shown(_ bytes: [UInt8]) -> String {
        let text = bytes.prefix(700).map { byte in
            switch byte {
            case 13: "\\r"
            case 10: "\\n"
            case 32..<127: String(UnicodeScalar(byte))
            default: "\\x" + String(byte, radix: 16)
            }
        }
        return text.joined() + (bytes.count > 700 ? "… (\(bytes.count) bytes)" : "")
    }

    /// Equal, but for remaining times of up to three seconds' difference, and for ages: when memcached takes an item for used
    /// again depends on its background threads.
    private static func areAlike(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        if a == b { return true }
        let separators: Set<UInt8> = [32, 10, 13]
        let left = a.split(omittingEmptySubsequences: false) { separators.contains($0) }
        let right = b.split(omittingEmptySubsequences: false) { separators.contains($0) }
        if left.count != right.count { return false }
        return zip(left, right).allSatisfy { one, other in
            if one == other { return true }
            guard let (kind, number) = time(one), let (otherKind, otherNumber) = time(other) else { return false }
            return kind == otherKind && abs(number - otherNumber) <= (kind == "l" || kind == "la=" ? 300 : 3)
        }
    }

    private static func time(_ token: ArraySlice<UInt8>) -> (String, Int64)? {
        let text = String(decoding: token, as: UTF8.self)
        for prefix in ["t", "l", "exp=", "la="] where text.hasPrefix(prefix) {
            if let number = Int64(text.dropFirst(prefix.count)) { return (prefix, number) }
        }
        return nil
    }
}
