import Kernel
import Testing

@testable import Memcache

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// The file of names and passwords: memcached's format, and what memcached would cut off without a word.
@Suite struct CredentialsTests {
    private func admits(_ credentials: Credentials, _ name: String, _ password: String) -> Bool {
        credentials.admit(name: bytes(name), password: bytes(password))
    }

    @Test("Each pair opens, and no mixture of two does")
    func pairs() throws {
        let credentials = try Credentials(file: bytes("alice:secret\r\nbob:pass:word x\ncarol:s"))
        #expect(credentials.count == 3)
        #expect(
            admits(credentials, "alice", "secret") && admits(credentials, "bob", "pass:word x")
                && admits(credentials, "carol", "s"))
        for (name, password) in [
            ("alice", "s"), ("carol", "secret"), ("alice", "secre"), ("alice", "secret\0"), ("alic", "esecret"), ("", ""),
            ("alice", ""),
            ("bob", "pass"), ("bob:pass", "word x"), ("Alice", "secret"), ("alice", "secretx"),
            ("alice", String(repeating: "s", count: 5_000)),
        ] {
            #expect(!admits(credentials, name, password), "\(name) \(password)")
        }
        #expect(!admits(Credentials(), "", ""), "nobody is let in where nobody is known")
    }

    @Test(
        "What memcached would leave out, and what nobody could show, is a mistake with its line",
        arguments: [
            ("", 1, .nobody), ("\n", 1, .noColon), ("a:b\n\n", 2, .noColon), ("a:b\n# users\n", 2, .noColon),
            (":b\n", 1, .noName), ("a:\n", 1, .noPassword), ("a:b\0\n", 1, .notText), ("a:b\rc\n", 1, .notText),
        ] as [(String, Int, CredentialsMistake.Kind)])
    func mistakes(text: String, line: Int, kind: CredentialsMistake.Kind) {
        #expect(throws: CredentialsMistake(line: line, kind)) { try Credentials(file: bytes(text)) }
    }

    @Test("Eight users of 255 bytes are the most")
    func limits() throws {
        let longest = "a:" + String(repeating: "p", count: 253)
        let most = try Credentials(file: bytes(String(repeating: longest + "\n", count: 8)))
        #expect(admits(most, "a", String(repeating: "p", count: 253)))
        #expect(!admits(most, "a", String(repeating: "p", count: 254)))
        #expect(throws: CredentialsMistake(line: 1, .tooLong)) { try Credentials(file: bytes(longest + "p\n")) }
        #expect(throws: CredentialsMistake(line: 9, .tooMany)) {
            try Credentials(file: bytes(String(repeating: "a:b\n", count: 9)))
        }
    }

    @Test("No secret is in anything that could be printed")
    func silent() throws {
        let credentials = try Credentials(file: bytes("alice:secret\n"))
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped] {
            #expect(!text.contains("alice") && !text.contains("secret") && !text.contains("115"), "\(text)")
        }
        do {
            _ = try Credentials(file: bytes("alice:secret\nhunter2\n"))
            Issue.record("a line without a colon was accepted")
        } catch {
            #expect(!"\(error)".contains("hunter2") && "\(error)".contains("line 2"))
        }
    }

    @Test("Random files never trap, and whoever is in one gets in")
    func random() {
        var read = 0
        for seed in 0..<3_000 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            let pieces = ["a", "b", "ab:", ":", "a:b\n", "b:a:c\r\n", "\n", "\r", "\0", "\u{ff}", " "]
            let most = seed % 2 == 0 ? pieces.count : 6
            let file = bytes((0..<random.below(9)).map { _ in pieces[random.below(most)] }.joined())
            guard let credentials = try? Credentials(file: file) else { continue }
            read += 1
            for line in file.split(separator: 10) {
                let line = line.last == 13 ? line.dropLast() : line
                let colon = line.firstIndex(of: 58) ?? line.endIndex
                #expect(credentials.admit(name: Array(line[..<colon]), password: Array(line[(colon + 1)...])))
            }
        }
        #expect(read > 100, "only \(read) files were good: this test shows little")
    }
}

/// The first words of a text connection. That they are memcached's is shown by the system tests, byte for byte; here is why.
@Suite struct TextAuthenticationTests {
    /// Feeds bytes in pieces as a session does; the outcomes that say something.
    private func outcomes(_ text: String, piece: Int = .max) -> [TextAuthentication.Outcome] {
        var machine = TextAuthentication()
        var found: [TextAuthentication.Outcome] = []
        let queue = ByteQueue()
        var rest = bytes(text)[...]
        while !rest.isEmpty {
            queue.append(Array(rest.prefix(piece)))
            rest = rest.dropFirst(piece)
            while !queue.isEmpty {
                let outcome = machine.next(in: queue.readable)
                switch outcome {
                case .incomplete: break
                case .taken(let consume): queue.consume(consume)
                case .refused(_, let consume), .shown(_, _, let consume):
                    queue.consume(consume)
                    found.append(outcome)
                case .closed: return found + [outcome]
                }
                if outcome == .incomplete { break }
            }
        }
        return found
    }

    private func shown(_ name: String, _ password: String, _ consume: Int) -> TextAuthentication.Outcome {
        .shown(name: bytes(name), password: bytes(password), consume: consume)
    }

    @Test("A set with a name and a password, in one piece or byte by byte", arguments: [1, 2, 7, .max])
    func pieces(piece: Int) {
        #expect(outcomes("set any 9 9 4\r\na bc\r\n", piece: piece) == [shown("a", "bc", 6)])
        #expect(
            outcomes("get k\r\nset k 0 0 4\r\na bc\r\nset k 0 0 1\r\nxy\n", piece: piece) == [
                .refused("CLIENT_ERROR unauthenticated\r\n", consume: 7), shown("a", "bc", 6),
                .refused("CLIENT_ERROR bad command line termination\r\n", consume: 3),
            ])
    }

    @Test("The first two words count, up to a zero byte")
    func words() {
        #expect(outcomes("set k 0 0 13\r\n  ab  c d e  \r\n") == [shown("ab", "c", 15)])
        #expect(outcomes("set k 0 0 6\r\na b\0 c\r\n") == [shown("a", "b", 8)])
        let format = TextAuthentication.Outcome.refused("CLIENT_ERROR bad authentication token format\r\n", consume: 5)
        #expect(outcomes("set k 0 0 3\r\nabc\r\n") == [format])
        #expect(outcomes("set k 0 0 3\r\na\0b\r\n") == [format])
    }

    @Test("A block that no pair needs is read past, and nothing of it kept", arguments: [1, 1_000, .max])
    func long(piece: Int) {
        let block = "alice " + String(repeating: "x", count: 3_000)
        let line = "set k 0 0 \(block.utf8.count)\r\n"
        #expect(
            outcomes(line + block + "\r\nset k 0 0 4\r\na bc\r\n", piece: piece) == [
                .refused("CLIENT_ERROR authentication failure\r\n", consume: 2), shown("a", "bc", 6),
            ])
        #expect(
            outcomes(line + block + "xx", piece: piece) == [.refused("CLIENT_ERROR bad command line termination\r\n", consume: 2)]
        )
    }

    @Test("A line that does not end closes, and so does a length that memcached takes for less than nothing")
    func closes() {
        #expect(outcomes(String(repeating: "x", count: 2_048)) == [])
        #expect(outcomes(String(repeating: "x", count: 2_049)) == [.closed])
        #expect(outcomes("set k 0 0 2147483646\r\nxx") == [.closed])
    }

    @Test("Random bytes never trap, and no more is dropped than there is")
    func random() {
        let pieces = [
            "set ", "k ", "0 ", "4", "4294967295", "4294967294", "-1", "+4", "\r\n", "\n", "a bc", "\0", " ", "x", "\r", "get",
        ]
        var letIn = 0
        for seed in 0..<5_000 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            var text = ""
            for _ in 0..<random.below(24) { text += pieces[random.below(pieces.count)] }
            if seed % 8 == 0 { text = "set k 0 0 4\r\na bc\r\n" + text }
            for outcome in outcomes(text, piece: 1 + random.below(9)) {
                if case .shown(let name, let password, _) = outcome {
                    letIn += 1
                    #expect(!name.isEmpty && !password.isEmpty && name.count + password.count < text.utf8.count)
                }
            }
        }
        #expect(letIn >= 625)
    }
}

@Suite struct BinaryAuthenticationTests {
    private func packet(_ opcode: UInt8, _ key: String = "", _ value: [UInt8] = [], keyBytes: Int? = nil, bodyBytes: Int? = nil)
        -> [UInt8]
    {
        let queue = ByteQueue()
        queue.append([0x80, opcode])
        queue.append(bigEndian: UInt16(keyBytes ?? key.utf8.count))
        queue.append([0, 0, 0, 0])
        queue.append(bigEndian: UInt32(bodyBytes ?? key.utf8.count + value.count))
        queue.append([UInt8](repeating: 0, count: 12))
        return Array(queue.readable) + bytes(key) + value
    }

    private func outcome(_ packet: [UInt8], _ translator: inout BinaryTranslator) -> String {
        switch packet.withUnsafeBytes({ translator.next(in: $0, text: ByteQueue()) }) {
        case .incomplete: "incomplete"
        case .request(let request): "\(request.verb)"
        case .refused(let reply, _, _, let close): "\(reply)\(close ? "closed" : "")"
        case .refusedStore: "refused store"
        case .authentication(let request, let consume, let swallow): "\(request) \(consume) \(swallow)"
        }
    }

    @Test("Only SASL and version pass while nobody knows who it is; then everything does")
    func lock() {
        var translator = BinaryTranslator(asksWho: true)
        let refusal = "CLIENT_ERROR unauthenticated\r\nclosed"
        #expect(outcome(packet(0x0b), &translator) == "version")
        #expect(outcome(packet(0x20), &translator) == "mechanisms 24 0")
        #expect(outcome(packet(0x00, "k"), &translator) == refusal)
        #expect(outcome(packet(0x77), &translator) == refusal)
        #expect(
            outcome(packet(0x00, keyBytes: 60_000, bodyBytes: 60_000), &translator) == refusal, "a long key is not waited for")
        #expect(outcome(packet(0x0a), &translator) == refusal)
        translator.isLocked = false
        #expect(outcome(packet(0x0a), &translator) == "mn")
        #expect(outcome(packet(0x00, keyBytes: 60_000, bodyBytes: 60_000), &translator) == "incomplete")
    }

    @Test("Where nobody is asked, SASL is an unknown command, as it was")
    func unasked() {
        var translator = BinaryTranslator()
        #expect(outcome(packet(0x20), &translator) == "ERROR\r\n")
        #expect(outcome(packet(0x0a), &translator) == "mn")
    }

    @Test("A message is waited for within its limit, and swallowed beyond")
    func limits() {
        var translator = BinaryTranslator(asksWho: true)
        #expect(outcome(packet(0x21, "PLAIN", bodyBytes: 5 + 2_048), &translator) == "incomplete")
        #expect(outcome(packet(0x21, "PLAIN", bodyBytes: 5 + 2_049), &translator) == "messageTooLong 29 2049")
        #expect(outcome(packet(0x21, String(repeating: "P", count: 33), [1]), &translator) == "mechanismTooLong 57 1")
        #expect(outcome(packet(0x21, "", [1]), &translator) == "CLIENT_ERROR bad command line format\r\nclosed")
    }

    @Test("A message of PLAIN has three parts, and asks for nobody else")
    func plain() {
        func pair(_ text: String) -> String? {
            BinaryAuthentication.pair(in: bytes(text)).map {
                String(decoding: $0.name, as: UTF8.self) + "/" + String(decoding: $0.password, as: UTF8.self)
            }
        }
        #expect(pair("\0alice\0secret word") == "alice/secret word")
        #expect(pair("alice\0alice\0x") == "alice/x")
        #expect(pair("bob\0alice\0x") == nil)
        #expect(pair("") == nil && pair("\0a") == nil && pair("\0a\0b\0") == nil)
        #expect(BinaryAuthentication.isPlain(bytes("plAIN")) && !BinaryAuthentication.isPlain(bytes("PLAI")))
        #expect(!BinaryAuthentication.isPlain(bytes("PLAIN2")) && !BinaryAuthentication.isPlain([]))
    }
}
