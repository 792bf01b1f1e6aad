// Names and passwords as memcached's auth file (`-Y`) has them, a line for each, and whether somebody has shown a pair of them.
//
//     alice:a password of hers
//     backend:another
//
// What memcached 1.6.18 cuts off or leaves out without a word (a longer line, a ninth one) is a mistake here, and so is a pair that
// nobody could show.

/// Who may use a listener: the pairs of one file.
public struct Credentials: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// A secret filled up to the longest there can be, so that comparing takes as long whatever it is.
    private struct Secret: Sendable, Equatable {
        var bytes: [UInt8]
        var count: Int

        init(_ secret: some Collection<UInt8>) {
            count = secret.count
            bytes = Array(secret.prefix(MemcacheLimits.credentialsLineBytesMax))
            bytes += [UInt8](repeating: 0, count: MemcacheLimits.credentialsLineBytesMax - bytes.count)
        }

        /// 1 for the same, else 0, without a branch that depends on either.
        func matches(_ other: Secret) -> UInt64 {
            var difference = UInt64(truncatingIfNeeded: count ^ other.count)
            for place in 0..<MemcacheLimits.credentialsLineBytesMax {
                difference |= UInt64(bytes[place] ^ other.bytes[place])
            }
            return ((difference | (0 &- difference)) >> 63) ^ 1
        }
    }

    private struct User: Sendable, Equatable {
        var name: Secret
        var password: Secret
    }

    private let users: [User]

    /// Nobody.
    public init() { users = [] }

    /// Reads a file's bytes.
    public init(file bytes: [UInt8]) throws(CredentialsMistake) {
        var users: [User] = []
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty ?? false { lines.removeLast() }
        for (place, line) in lines.enumerated() {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            guard place < MemcacheLimits.credentialsMax else { throw CredentialsMistake(line: place + 1, .tooMany) }
            users.append(try Self.user(line, place + 1))
        }
        guard !users.isEmpty else { throw CredentialsMistake(line: 1, .nobody) }
        self.users = users
    }

    private static func user(_ line: ArraySlice<UInt8>, _ number: Int) throws(CredentialsMistake) -> User {
        guard line.count <= MemcacheLimits.credentialsLineBytesMax else { throw CredentialsMistake(line: number, .tooLong) }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { throw CredentialsMistake(line: number, .noColon) }
        guard !line.contains(0), !line.contains(13) else { throw CredentialsMistake(line: number, .notText) }
        let (name, password) = (line[..<colon], line[(colon + 1)...])
        guard !name.isEmpty else { throw CredentialsMistake(line: number, .noName) }
        guard !password.isEmpty else { throw CredentialsMistake(line: number, .noPassword) }
        return User(name: Secret(name), password: Secret(password))
    }

    /// True when this name has this password. Every pair is compared to its end, whatever is found before.
    public func admit(name: [UInt8], password: [UInt8]) -> Bool {
        let (name, password) = (Secret(name), Secret(password))
        var found: UInt64 = 0
        for user in users { found |= user.name.matches(name) & user.password.matches(password) }
        return found != 0
    }

    /// How many there are.
    public var count: Int { users.count }

    /// Never what they are.
    public var description: String { "\(users.count) users" }

    /// Nothing to look into.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why a file of names and passwords is refused.
public struct CredentialsMistake: Error, Sendable, Equatable, CustomStringConvertible {
    /// What can be wrong.
    public enum Kind: Sendable {
        /// There is no line.
        case nobody
        /// More lines than memcached knows.
        case tooMany
        /// A line longer than memcached reads.
        case tooLong
        /// A line without a colon; an empty one, too.
        case noColon
        /// Nothing before the colon.
        case noName
        /// Nothing behind the colon.
        case noPassword
        /// A zero byte, or a carriage return that does not end the line.
        case notText
    }

    /// Line, from 1.
    public var line: Int
    /// What is wrong.
    public var kind: Kind

    init(line: Int, _ kind: Kind) {
        self.line = line
        self.kind = kind
    }

    /// What is wrong and what to do about it; never a word of the line itself.
    public var description: String {
        switch kind {
        case .nobody: "it names nobody; write lines like user:password"
        case .tooMany: "line \(line) is one too many; memcached knows \(MemcacheLimits.credentialsMax) users"
        case .tooLong: "line \(line) is longer than \(MemcacheLimits.credentialsLineBytesMax) bytes; shorten it"
        case .noColon: "line \(line) has no colon; write it like user:password, without empty lines or comments"
        case .noName: "line \(line) has no name before its colon"
        case .noPassword: "line \(line) has no password behind its colon"
        case .notText: "line \(line) holds a zero byte or a stray carriage return; write plain text"
        }
    }
}
