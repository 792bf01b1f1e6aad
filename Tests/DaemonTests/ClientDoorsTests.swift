import Configuration
import Foundation
import Kernel
import Testing

@testable import Daemon

/// What listeners name is read as a whole, and what is wrong with a file is told with its path.
@Suite struct ClientDoorsTests {
    private let folder = NSTemporaryDirectory() + "meridian-doors-\(UUID().uuidString)"

    private func proxy(_ listeners: [ClientListener]) -> SiteProxy {
        SiteProxy(
            name: "n1", clients: listeners, replication: HostPort(host: "127.0.0.1", port: 1), admin: .unix(path: "/a"),
            folder: "/f",
            authorityPath: "", certificatePath: "", keyPath: "", clientConnectionsMax: 1)
    }

    private func users(_ text: String, mode: Int = 0o600) throws -> String {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/users.txt"
        #expect(FileManager.default.createFile(atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: mode]))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        return path
    }

    private func clean() { try? FileManager.default.removeItem(atPath: folder) }

    private func listener(_ path: String, host: String = "127.0.0.1") -> ClientListener {
        ClientListener(.tcp(HostPort(host: host, port: 11_212)), authenticationPath: path)
    }

    @Test("Pairs are kept by the place of their listener")
    func places() throws {
        defer { clean() }
        let path = try users("alice:secret\n")
        let doors = try ClientDoors(proxy([.unix(path: "/run/n1"), listener(path)]))
        #expect(doors.credentials.keys.sorted() == [1] && doors.contexts.isEmpty)
        #expect(doors.credentials[1]?.admit(name: Array("alice".utf8), password: Array("secret".utf8)) == true)
        #expect(doors.warnings == [])
    }

    @Test("A file that everybody can read, and passwords in clear, are warned of once")
    func warnings() throws {
        defer { clean() }
        let path = try users("alice:secret\n", mode: 0o644)
        let doors = try ClientDoors(proxy([listener(path), listener(path, host: "10.0.0.1")]))
        #expect(
            doors.warnings == [
                "\(path) can be read by everybody on this machine (mode 644); chmod o-r it",
                "clients at 10.0.0.1:11212 send their passwords in clear; add 'tls' to the listener",
            ])
    }

    @Test("A missing, wrong or endless file is refused with its path, and never with what is in it")
    func refusals() throws {
        defer { clean() }
        func refusal(_ path: String) -> String {
            do {
                _ = try ClientDoors(proxy([listener(path)]))
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        #expect(refusal("/nowhere/users") == "cannot read the users' file /nowhere/users; create it, or mend its owner and mode")
        let wrong = refusal(try users("hunter2\n"))
        #expect(wrong.hasSuffix("users.txt: line 1 has no colon; write it like user:password, without empty lines or comments"))
        #expect(refusal(try users(String(repeating: "a:b\n", count: 2_000))).hasSuffix("is longer than 4096 bytes"))
    }
}
