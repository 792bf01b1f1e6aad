// What a proxy allows its clients as a whole: how much memory, what happens to one too many, who may open its unix
// sockets. Read from the site file's keys of the same names.

import Yams

/// What all clients of one proxy together may have, and who may reach its unix sockets.
public struct ClientPolicy: Sendable, Hashable {
    /// What happens to a client past `connections-max`.
    public enum Excess: String, Sendable, Hashable, CaseIterable {
        /// It is told `SERVER_ERROR Too many open connections`, and closed.
        case refuse
        /// It waits in the kernel's queue until another client leaves.
        case wait
    }

    /// What happens to a client past `connections-max`.
    public var excess = Excess.refuse
    /// What the buffers of all clients of one proxy may hold; spread evenly over its loops.
    public var memoryBytesMax = Self.memoryBytesByDefault
    /// Mode of the clients' unix sockets.
    public var unixMode: UInt32 = 0o666
    /// Group of the clients' unix sockets; nil leaves it as the system makes it.
    public var unixGroup: String?

    /// The defaults.
    public init() {}

    /// Memory of all clients' buffers unless the file says otherwise.
    public static let memoryBytesByDefault = 512 << 20
    /// Every ceiling for clients' memory.
    static let memoryBytes = 8 << 20...1 << 40
    /// Largest items that one loop's share must have room for, so that a few of them do not close each other's clients.
    static let itemsPerLoopMin = 4

    /// The least ceiling that leaves room for them.
    static func memoryBytesLeast(loops: Int, itemBytesMax: Int) -> Int { loops * itemsPerLoopMin * itemBytesMax }
}

/// As whom a proxy runs once it has bound its addresses.
public struct SiteAccount: Sendable, Hashable {
    /// The user's name.
    public var user: String
    /// The group's name; nil is the user's own.
    public var group: String?

    /// Makes an account of its parts.
    public init(user: String, group: String?) {
        self.user = user
        self.group = group
    }
}

/// Reads the keys that concern all clients, and the account.
struct ClientPolicyFile {
    let problems: ProblemList

    static let keys = ["connections-over", "memory-max", "unix-mode", "unix-group", "user", "group"]

    /// The policy; `loops` and the largest item decide what the least memory is. Nil when something was reported.
    func read(_ fields: Fields, loops: Int?, itemBytesMax: Int?) -> ClientPolicy? {
        var policy = ClientPolicy()
        let least = ClientPolicy.memoryBytesLeast(loops: loops ?? 1, itemBytesMax: itemBytesMax ?? 0)
        guard let memory = readMemory(fields["memory-max"], least: least) else { return nil }
        policy.memoryBytesMax = memory
        if let node = fields["connections-over"] {
            guard let excess = problems.choice(node, "connections-over", of: ClientPolicy.Excess.self) else { return nil }
            policy.excess = excess
        }
        if let node = fields["unix-mode"] {
            guard let mode = readMode(node) else { return nil }
            policy.unixMode = mode
        }
        if let node = fields["unix-group"] {
            guard let group = problems.name(node, "unix-group") else { return nil }
            policy.unixGroup = group
        }
        return policy
    }

    /// As whom to run; nil when nothing is said.
    func readAccount(_ fields: Fields) -> SiteAccount? {
        let group = fields["group"].flatMap { problems.name($0, "group") }
        guard let node = fields["user"] else {
            if let lonely = fields["group"] {
                problems.report(lonely, "'group' is given without 'user'", remedy: "Add 'user: meridian', or leave both out")
            }
            return nil
        }
        return problems.name(node, "user").map { SiteAccount(user: $0, group: group) }
    }

    private func readMemory(_ node: Node?, least: Int) -> Int? {
        guard let node else { return max(ClientPolicy.memoryBytesByDefault, least) }
        guard let bytes = problems.size(node, "memory-max", in: ClientPolicy.memoryBytes) else { return nil }
        if bytes < least {
            problems.report(
                node, "memory-max leaves no room for \(ClientPolicy.itemsPerLoopMin) of the largest items on each loop",
                remedy: "Use \(ProblemList.sizeText(least)) or more, or fewer loops")
        }
        return bytes
    }

    /// Octal, as `chmod` takes it: `0660`, `"0660"`, `660`.
    private func readMode(_ node: Node) -> UInt32? {
        guard let text = problems.text(node, "unix-mode") else { return nil }
        let digits = text.hasPrefix("0o") ? text.dropFirst(2) : Substring(text)
        guard digits.count <= 4, digits.allSatisfy(\.isNumber), let mode = UInt32(digits, radix: 8), 1...0o777 ~= mode else {
            problems.report(
                node, "unix-mode must be a file mode, not '\(shown(text))'", remedy: "Write it like \"0660\" or \"0666\"")
            return nil
        }
        return mode
    }
}
