import ArgumentParser
import Configuration
import Testing

@testable import meridian

// What people type, up to where the work begins.
@Suite struct MagentCommandLineTests {
    private func flags(_ line: String) throws -> MagentFlags {
        try #require(try Meridian.parseAsRoot(words("magent \(line)")) as? MagentCommand).flags()
    }

    private func command(_ line: String) throws -> MagentCommand {
        try #require(try Meridian.parseAsRoot(words("magent \(line)")) as? MagentCommand)
    }

    @Test func `magent's defaults`() throws {
        let command = try command("-s 10.0.0.1")
        #expect(!command.isVerbose && !command.staysInForeground && command.user == nil && command.group == nil)
        let flags = try command.flags()
        #expect(flags.primaries == ["10.0.0.1"])
        #expect(flags.backups.isEmpty)
        #expect(flags.port == 11_211)
        #expect(flags.host == "0.0.0.0")
        #expect(flags.socketPath == nil)
        #expect(flags.connectionsMax == 4_096)
        #expect(!flags.isKetama)
        #expect(flags.keepAliveConnections == 20)
    }

    @Test func `every flag of magent's`() throws {
        let line =
            "-v -D -u cache -g www -p 12000 -l 10.0.0.5 -f /run/m.sock -s 10.0.0.1:11211 -s 10.0.0.2 -b 10.0.0.9:11213 -b 10.0.0.8 -n 51200 -k -i 7"
        let command = try command(line)
        #expect(command.isVerbose && command.staysInForeground)
        #expect(command.user == "cache" && command.group == "www")
        let flags = try command.flags()
        #expect(flags.primaries == ["10.0.0.1:11211", "10.0.0.2"])
        #expect(flags.backups == ["10.0.0.9:11213", "10.0.0.8"])
        #expect(flags.port == 12_000)
        #expect(flags.host == "10.0.0.5")
        #expect(flags.socketPath == "/run/m.sock")
        #expect(flags.connectionsMax == 51_200)
        #expect(flags.isKetama)
        #expect(flags.keepAliveConnections == 7)
    }

    @Test func `flags run together, as getopt takes them`() throws {
        let command = try command("-vDk -p12000 -s10.0.0.1:11211 -l127.0.0.1 -u0")
        #expect(command.isVerbose && command.staysInForeground && command.user == "0")
        let flags = try command.flags()
        #expect(flags.isKetama && flags.port == 12_000 && flags.primaries == ["10.0.0.1:11211"] && flags.host == "127.0.0.1")
    }

    @Test func `a relative socket is where it was meant, although the background is elsewhere`() throws {
        #expect(try flags("-p 0 -f m.sock -s h").socketPath?.hasPrefix("/") == true)
        #expect(try flags("-p 0 -f m.sock -s h").socketPath?.hasSuffix("/m.sock") == true)
    }

    @Test(arguments: [
        ("", "No memcached server is given."), ("-s 10.0.0.1:x", "-s 10.0.0.1:x is not a server."), ("-s h -x", "-x"),
        ("-s h -p many", "many"), ("-s h -p 0", "nobody could connect"), ("-s h -b h", "is a primary, too"),
        ("-s h --item-size-max big", "is not a size"), ("-s h stray", "stray"), ("-s", "-s"),
    ])
    func `a wrong flag is named, and the exit code is that of wrong usage`(line: String, words: String) {
        #expect {
            try Meridian.parseAsRoot(self.words("magent \(line)"))
        } throws: { error in
            Meridian.exitCode(for: error).rawValue == 64 && Meridian.fullMessage(for: error).contains(words)
        }
    }

    private func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }
}
