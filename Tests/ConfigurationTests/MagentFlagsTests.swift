import Configuration
import Ring
import Testing

// What magent's flags make of a proxy, and how a flag that is wrong is told.
@Suite struct MagentFlagsTests {
    private var flags: MagentFlags {
        var flags = MagentFlags()
        flags.primaries = ["10.0.0.1", "10.0.0.2:11212"]
        flags.folder = "/tmp/x"
        return flags
    }

    private func mistakes(_ change: (inout MagentFlags) -> Void) -> [String] {
        var flags = flags
        change(&flags)
        do throws(MagentFlags.Mistakes) {
            _ = try flags.files()
            return []
        } catch {
            return error.mistakes
        }
    }

    @Test func `a proxy without a federation is a federation of one`() throws {
        var flags = flags
        flags.backups = ["10.0.0.9"]
        flags.isKetama = true
        let (federation, site) = try flags.files()
        #expect(federation.flavour == .magentKetama)
        #expect(federation.sites.flatMap(\.proxies).count == 1)
        // magent hashes ip and port, given or not.
        #expect(federation.servers.map(\.name) == ["10.0.0.1:11211", "10.0.0.2:11212"])
        #expect(federation.servers.allSatisfy { $0.weight == 1 })
        #expect(site.primaries.map(\.address.description) == federation.servers.map(\.name))
        #expect(site.backups.map(\.name) == ["10.0.0.9:11211"])
        #expect(site.proxies[0].clients == [.tcp(HostPort(host: "0.0.0.0", port: 11_211))])
        #expect(site.proxies[0].clientConnectionsMax == 4_096)
        #expect(site.proxies[0].admin == .unix(path: "/tmp/x/admin.sock"))
        #expect(site.loops == 1)
        // Keys may be locks; there is nobody whom they could be kept from.
        #expect(federation.crossing.isEmpty)
    }

    @Test func `without ketama the servers stay in the order of the flags, which the modulo rule counts by`() throws {
        var flags = flags
        let forwards = try flags.files().federation
        #expect(forwards.flavour == .magentModulo)
        flags.primaries.reverse()
        #expect(try flags.files().federation.servers == forwards.servers.reversed())
    }

    @Test func `an IPv6 address without brackets is shown with them`() {
        #expect(mistakes { $0.primaries = ["::1"] }.first?.hasSuffix("IPv6 stands in brackets: [::1].") == true)
        #expect(mistakes { $0.primaries = ["[::1]"] }.isEmpty)
        #expect(mistakes { $0.primaries = ["h:x"] }.first?.contains("brackets") == false)
    }

    @Test func `a unix socket instead of TCP`() throws {
        var flags = flags
        flags.port = 0
        flags.socketPath = "/run/m.sock"
        #expect(try flags.files().site.proxies[0].clients == [.unix(path: "/run/m.sock")])
        #expect(!flags.isOpenToOthers)
    }

    @Test func `whether other machines can connect`() {
        var flags = flags
        #expect(flags.isOpenToOthers)
        flags.host = "127.0.0.1"
        #expect(!flags.isOpenToOthers)
        flags.host = "::"
        #expect(flags.isOpenToOthers)
    }

    @Test func `large items get a log whose segments hold them`() throws {
        var flags = flags
        flags.itemBytesMax = 8 << 20
        #expect(try flags.files().site.segmentBytes == 32 << 20)
    }

    @Test func `large items get memory for clients, on each of many loops`() throws {
        var flags = flags
        #expect(try flags.files().site.clients.memoryBytesMax == 512 << 20)
        flags.loops = 64
        flags.itemBytesMax = 16 << 20
        #expect(try flags.files().site.clients.memoryBytesMax == 4 << 30)
    }

    @Test func `a server's name is a key of the log`() {
        let host = [String](repeating: String(repeating: "h", count: 60), count: 4).joined(separator: ".")
        #expect(mistakes { $0.primaries = ["\(host):11211"] } == [])
        #expect(mistakes { $0.primaries = ["\(host).hh:11211"] }.first?.contains("is not a server") == true)
    }

    @Test func `each mistake is told with its flag and a remedy`() {
        #expect(mistakes { _ in } == [])
        #expect(mistakes { $0.primaries = [] } == ["No memcached server is given. Add -s ip:port, once for each."])
        #expect(
            mistakes { $0.primaries[0] = "10.0.0.1:99999" } == [
                "-s 10.0.0.1:99999 is not a server. Write it like 10.0.0.1:11211; without a port it is 11211."
            ])
        #expect(mistakes { $0.primaries[0] = "0.0.0.0" }.first?.hasPrefix("-s 0.0.0.0 is not a server.") == true)
        #expect(
            mistakes { $0.primaries.append("10.0.0.1:11211") } == ["-s 10.0.0.1:11211 is given twice. Give each memcached once."])
        #expect(mistakes { $0.backups = ["b", "b:11211"] } == ["-b b:11211 is given twice. Give each memcached once."])
        #expect(
            mistakes { $0.backups = ["10.0.0.1"] } == [
                "-b 10.0.0.1:11211 is a primary, too. Run a memcached of its own as backup, best on another machine."
            ])
        for port in [-1, 65_536] {
            #expect(
                mistakes { $0.port = port } == [
                    "-l 0.0.0.0 -p \(port) is not an address. Give an ip or a host, and a port from 1 to 65535; 0 turns TCP off."
                ])
        }
        #expect(mistakes { $0.host = "not a host" }.first?.hasPrefix("-l not a host -p 11211 is not an address.") == true)
        #expect(
            mistakes { $0.port = 0 } == ["-p 0 turns TCP off, and there is no -f: nobody could connect. Give one of them."])
        #expect(
            mistakes { $0.socketPath = "/" + String(repeating: "x", count: 107) }.first?.hasSuffix("Use one of 1 to 107 bytes.")
                == true)
        #expect(mistakes { $0.connectionsMax = 0 } == ["-n is 0. Use a number from 1 to 1000000."])
        #expect(mistakes { $0.keepAliveConnections = -3 } == ["-i is -3. Use a number from 1 to 1000000."])
        #expect(mistakes { $0.loops = 65 } == ["--loops is 65. Use a number from 1 to 64."])
        #expect(mistakes { $0.itemBytesMax = 1 } == ["--item-size-max is 1. Use a number from 1024 to 134217728."])
        // All at once.
        #expect(
            mistakes {
                $0.connectionsMax = 0
                $0.primaries = ["a b"]
            }.count == 2)
    }
}
