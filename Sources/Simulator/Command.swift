import Kernel

// Commands as clients send them, and what their replies may be.

/// One command of a client.
struct Command {
    /// What it does to its key.
    enum Effect {
        case read
        /// Stores a value that names this write; `isConditional`: it may be refused.
        case store(Int, isConditional: Bool)
        /// Adds to the value.
        case extend(Int)
        case delete
        case touch
        case count
        /// Begins a count at zero.
        case beginCount
        /// Empties the federation.
        case flush
        case nothing
    }

    /// What comes back.
    enum ReplyForm: Equatable {
        case silent
        case storage
        case deletion
        case number
        case touched
        case flushed
        case values([Int], withTokens: Bool)
        case meta(opaque: Int, isQuiet: Bool)
        case metaNoop
    }

    var bytes: [UInt8]
    var key: Int
    var effect: Effect
    var reply: ReplyForm
    var sentAt: UInt64 = 0
}

/// One reply, understood.
struct Reply {
    enum Kind {
        /// A quiet command had nothing to say.
        case suppressed
        case stored, notStored, exists, notFound, deleted, touched, flushed, number, values, metaDone, metaValue, metaMiss, noop
        case error
    }

    var kind: Kind
    var number: UInt64 = 0
    var values: [(key: Int, flags: UInt32, data: [UInt8], token: UInt64)] = []
    /// The reply as it came.
    var line: [UInt8] = []
}

/// Reads replies for one command after the other.
enum ReplyReader {
    enum Finding {
        case incomplete
        case suppressed
        case malformed(String)
        case reply(Reply, count: Int)
    }

    /// Reads the reply to `command` at the beginning of `bytes`.
    static func read(_ bytes: ArraySlice<UInt8>, for command: Command, _ world: World) -> Finding {
        guard let line = line(bytes) else { return bytes.count > 4_096 ? .malformed("a line without an end") : .incomplete }
        let words = line.split(separator: 32).map { String(decoding: $0, as: UTF8.self) }
        let count = line.count + 2
        guard let first = words.first else { return .malformed("an empty line") }
        if first == "SERVER_ERROR" || first == "CLIENT_ERROR" || first == "ERROR" {
            let expected = first == "SERVER_ERROR" || (first == "CLIENT_ERROR" && command.reply == .number)
            guard expected || isMetaArithmetic(command) else { return .malformed("an error that the command does not deserve") }
            return .reply(Reply(kind: .error, line: Array(line)), count: count)
        }
        switch command.reply {
        case .silent: return .malformed("a reply to a command with noreply")
        case .storage:
            return word(first, ["STORED": .stored, "NOT_STORED": .notStored, "EXISTS": .exists, "NOT_FOUND": .notFound], line)
        case .deletion: return word(first, ["DELETED": .deleted, "NOT_FOUND": .notFound], line)
        case .flushed: return word(first, ["OK": .flushed], line)
        case .touched: return word(first, ["TOUCHED": .touched, "NOT_FOUND": .notFound], line)
        case .number:
            if first == "NOT_FOUND" { return .reply(Reply(kind: .notFound, line: Array(line)), count: count) }
            guard let number = UInt64(first), words.count == 1 else { return .malformed("no number") }
            return .reply(Reply(kind: .number, number: number, line: Array(line)), count: count)
        case .values(let keys, let withTokens): return values(bytes, keys, withTokens, world)
        case .meta(let opaque, let isQuiet): return meta(bytes, words, opaque, isQuiet, command, world)
        case .metaNoop: return first == "MN" ? .reply(Reply(kind: .noop, line: Array(line)), count: count) : .malformed("no MN")
        }
    }

    private static func isMetaArithmetic(_ command: Command) -> Bool {
        if case .meta = command.reply { return command.bytes.starts(with: Array("ma ".utf8)) }
        return false
    }

    /// The first line without its end; nil when it is not whole.
    private static func line(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let end = bytes.firstIndex(of: 10), end > bytes.startIndex, bytes[end - 1] == 13 else { return nil }
        return bytes[bytes.startIndex..<end - 1]
    }

    private static func word(_ word: String, _ kinds: [String: Reply.Kind], _ line: ArraySlice<UInt8>) -> Finding {
        guard let kind = kinds[word] else { return .malformed("not a reply to this command") }
        return .reply(Reply(kind: kind, line: Array(line)), count: line.count + 2)
    }

    private static func values(_ bytes: ArraySlice<UInt8>, _ keys: [Int], _ withTokens: Bool, _ world: World) -> Finding {
        var reply = Reply(kind: .values)
        var rest = bytes
        var next = 0
        while true {
            guard let line = line(rest) else { return .incomplete }
            let words = line.split(separator: 32).map { String(decoding: $0, as: UTF8.self) }
            rest = rest[(line.endIndex + 2)...]
            if words == ["END"] {
                reply.line = Array(bytes[bytes.startIndex..<rest.startIndex])
                return .reply(reply, count: rest.startIndex - bytes.startIndex)
            }
            if words.first == "SERVER_ERROR" { return .reply(Reply(kind: .error), count: rest.startIndex - bytes.startIndex) }
            guard words.count == (withTokens ? 5 : 4), words[0] == "VALUE", let flags = UInt32(words[2]),
                let size = Int(words[3]),
                let token = withTokens ? UInt64(words[4]) : 0
            else { return .malformed("not a VALUE line") }
            guard let place = keys[next...].firstIndex(where: { world.keys[$0].name == words[1] }) else {
                return .malformed("a value of another key")
            }
            next = place + 1
            guard rest.count >= size + 2 else { return .incomplete }
            let data = Array(rest[rest.startIndex..<rest.startIndex + size])
            guard rest[rest.startIndex + size] == 13, rest[rest.startIndex + size + 1] == 10 else {
                return .malformed("a value longer than it says")
            }
            rest = rest[(rest.startIndex + size + 2)...]
            reply.values.append((keys[place], flags, data, token))
        }
    }

    private static func meta(
        _ bytes: ArraySlice<UInt8>, _ words: [String], _ opaque: Int, _ isQuiet: Bool, _ command: Command, _ world: World
    ) -> Finding {
        guard let line = line(bytes) else { return .incomplete }
        let given = words.dropFirst().first { $0.hasPrefix("O") }
        let isOwn = given == "O\(opaque)"
        if isQuiet, !isOwn { return .suppressed }
        var reply = Reply(kind: .metaDone, line: Array(line))
        let count = line.count + 2
        if words[0] == "EN" { return .reply(Reply(kind: .metaMiss, line: Array(line)), count: count) }
        guard isOwn else { return .malformed("the opaque of another command") }
        switch words[0] {
        case "HD": return .reply(reply, count: count)
        case "NF", "NS", "EX":
            reply.kind = words[0] == "NF" ? .notFound : words[0] == "NS" ? .notStored : .exists
            return .reply(reply, count: count)
        case "VA":
            guard words.count > 1, let size = Int(words[1]) else { return .malformed("no size") }
            guard bytes.count >= count + size + 2 else { return .incomplete }
            let start = bytes.startIndex + count
            guard bytes[start + size] == 13, bytes[start + size + 1] == 10 else {
                return .malformed("a value longer than it says")
            }
            let flags = words.dropFirst(2).first { $0.hasPrefix("f") }.flatMap { UInt32($0.dropFirst()) } ?? 0
            reply.kind = .metaValue
            reply.values = [(command.key, flags, Array(bytes[start..<start + size]), 0)]
            return .reply(reply, count: count + size + 2)
        default: return .malformed("not a reply to a meta command")
        }
    }
}
