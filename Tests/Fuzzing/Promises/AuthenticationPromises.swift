// Names and passwords: the file that holds them, and what a client says before it is let in.

import Kernel
import Memcache

extension Promise {
    static let credentialsFile = Promise(
        "credentials-file",
        "a file of names and passwords: mistakes that tell no secret, or pairs that are admitted, and no others",
        bytesMax: 2_560,
        seeds: ["alice:a password\nbackend:another\r\n", "a:b", "a:b:c\n", "\n", "noname\n", ":x\n", "x:\n", "a:b\u{0}\n"].map {
            Array($0.utf8)
        },
        words: [":", "\n", "\r\n", "\u{0}", "alice:", String(repeating: "x", count: 200)]
    ) { bytes in
        let file = Array(bytes)
        guard let credentials = readCredentials(file) else { return }
        precondition(1...MemcacheLimits.credentialsMax ~= credentials.count)
        precondition(credentials.description == "\(credentials.count) users", "a description that says more")
        for line in file.split(separator: 10) {
            let line = line.last == 13 ? line.dropLast() : line
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { preconditionFailure("a line without a colon") }
            let (name, password) = (Array(line[..<colon]), Array(line[(colon + 1)...]))
            precondition(credentials.admit(name: name, password: password), "a pair of the file is not admitted")
            precondition(!credentials.admit(name: name, password: []), "no password is admitted")
            precondition(!credentials.admit(name: [], password: password), "no name is admitted")
            precondition(!credentials.admit(name: name, password: password + [0]), "a longer password is admitted")
            let longer = name + [UInt8](repeating: 0, count: MemcacheLimits.credentialsLineBytesMax)
            precondition(!credentials.admit(name: longer, password: password), "a longer name is admitted")
        }
    }

    /// The pairs, or nil for a mistake, which names a line and repeats nothing of it.
    private static func readCredentials(_ file: [UInt8]) -> Credentials? {
        do throws(CredentialsMistake) {
            return try Credentials(file: file)
        } catch {
            let lines = file.count { $0 == 10 } + 1
            precondition(1...lines ~= error.line, "line \(error.line) of \(lines)")
            precondition(error.description.utf8.count < 120 && !error.description.contains(where: \.isNewline))
            return nil
        }
    }

    static let textAuthentication = Promise(
        "text-authentication",
        "what a text client says before it is let in: the same however it is cut, and nothing kept of what is too long",
        bytesMax: 8_192,
        seeds: [
            "set k 0 0 10\r\nalice pass\r\nget k\r\n", "get k\r\nset k 0 0 3\r\na b\r\nset k 0 0 5\r\n a b \r\n",
            "set k 0 0 4294967295\r\nx\r\n", "set k 0 0 4294967294\r\nget k\r\n", "set k 0 0 4000\r\nxx\r\nyy\r\n",
            "set k 0 0 -1\r\nx", "set k 0 0 +2 \r\na\r\n", "set k 0 0 2147483646\r\n", "quit\r\n",
        ].map { Array($0.utf8) },
        words: [
            "set k 0 0 ", "2", "\r\n", "4294967295", "4294967294", "2147483645", "2147483646", "-", "+", " ", "\u{0}",
            "alice pass",
            "3000", String(repeating: "x", count: 2_000),
        ]
    ) { bytes in
        let whole = outcomes(bytes, arriving: [bytes.count])
        for way in Arrivals.ways(bytes) {
            precondition(outcomes(bytes, arriving: way) == whole, "what is understood depends on how the bytes arrive")
        }
    }

    /// What is done about these bytes, and how many of them were dropped with it.
    private struct Heard: Equatable {
        var told: [TextAuthentication.Outcome] = []
        var taken: [Int] = []
        var isClosed = false
    }

    private static func outcomes(_ bytes: UnsafeRawBufferPointer, arriving way: [Int]) -> Heard {
        var authentication = TextAuthentication()
        var heard = Heard()
        var at = 0
        for arrived in way {
            while at < arrived {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[at..<arrived])
                let outcome = authentication.next(in: rest)
                let consumed: Int
                switch outcome {
                case .incomplete:
                    precondition(
                        rest.count <= MemcacheLimits.authenticationBlockBytesMax + 2, "\(rest.count) bytes of a stranger are kept"
                    )
                    consumed = 0
                case .closed:
                    heard.isClosed = true
                    return heard
                case .taken(let consume): consumed = consume
                case .refused(_, let consume): consumed = consume
                case .shown(let name, let password, let consume):
                    precondition(name.count + password.count < consume, "more is shown than was said")
                    consumed = consume
                }
                precondition(consumed <= rest.count, "beyond the bytes")
                if consumed == 0 { break }
                at += consumed
                if case .taken = outcome { continue }
                heard.told.append(outcome)
                heard.taken.append(at)
            }
        }
        return heard
    }
}
