import Foundation
import Testing

@testable import EventLoop

@Suite struct ListenerTests {
    private func complaint(_ body: () throws(SocketError) -> Void) -> String {
        do throws(SocketError) {
            try body()
            return "no complaint"
        } catch {
            return "\(error)"
        }
    }

    @Test func aBusyPortIsNamedWithARemedy() throws {
        let loop = try Loop()
        let bound = try #require(try BoundSocket.tcp(host: "127.0.0.1", port: 0).first?.first)
        let listener = try Listener(loop, bound, role: 1, token: 0)
        defer { listener.close() }
        let words = complaint { () throws(SocketError) in _ = try BoundSocket.tcp(host: "127.0.0.1", port: bound.port) }
        #expect(words.contains("cannot listen on 127.0.0.1:\(bound.port): Address already in use; another process"))
    }

    @Test func loopsOfOneProcessShareAPortButStrangersDoNotJoin() throws {
        let loop = try Loop()
        let probe = try #require(try BoundSocket.tcp(host: "127.0.0.1", port: 0).first?.first)
        let port = probe.port
        probe.close()
        let sets = try BoundSocket.tcp(host: "127.0.0.1", port: port, shared: 2)
        #expect(sets.count == 2 && sets.allSatisfy { $0.count == 1 })
        let listeners = try sets.joined().map { try Listener(loop, $0, role: 1, token: 0) }
        let words = complaint { () throws(SocketError) in _ = try BoundSocket.tcp(host: "127.0.0.1", port: port, shared: 2) }
        #expect(words.contains("Address already in use"), "a second daemon on the same port must not go unnoticed")
        for listener in listeners { listener.close() }
    }

    @Test func aFileInThePathIsNoFolderThatIsMissing() throws {
        let file = NSTemporaryDirectory() + "meridian-file-\(UUID().uuidString)"
        try Data().write(to: URL(fileURLWithPath: file))
        defer { try? FileManager.default.removeItem(atPath: file) }
        let words = complaint { () throws(SocketError) in _ = try BoundSocket.unix(path: file + "/s") }
        #expect(words.contains("a part of the path is a file and no folder"), "\(words)")
    }

    @Test func anAddressOfAnotherMachineIsRefused() {
        let words = complaint { () throws(SocketError) in _ = try BoundSocket.tcp(host: "192.0.2.1", port: 0) }
        #expect(words.contains("no interface of this machine has that address"))
    }

    @Test func aUnixSocketReplacesADeadOneButNeitherALiveOneNorAFile() throws {
        let folder = NSTemporaryDirectory() + "meridian-unix-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/s"
        let loop = try Loop()
        let dead = try BoundSocket.unix(path: path)
        try dead.listen()
        Descriptor.close(dead.descriptor)  // as a killed process leaves it: the file stays
        #expect(FileManager.default.fileExists(atPath: path))
        let bound = try BoundSocket.unix(path: path, mode: 0o600)
        let listener = try Listener(loop, bound, role: 1, token: 0)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(
            complaint { () throws(SocketError) in _ = try BoundSocket.unix(path: path) }.contains("another process listens there")
        )
        listener.close()
        #expect(!FileManager.default.fileExists(atPath: path), "an orderly end removes the file")
        try "data".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(complaint { () throws(SocketError) in _ = try BoundSocket.unix(path: path) }.contains("is not a socket"))
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "data")
        let long = folder + "/" + String(repeating: "x", count: 120)
        #expect(complaint { () throws(SocketError) in _ = try BoundSocket.unix(path: long) }.contains("longer than 107 bytes"))
    }

    @Test func whoIsNotWantedYetWaitsAndIsAcceptedLater() throws {
        let loop = try Loop()
        let bound = try #require(try BoundSocket.tcp(host: "127.0.0.1", port: 0).first?.first)
        let address = try #require(SocketAddress(numericHost: "127.0.0.1", port: bound.port))
        let listener = try Listener(loop, bound, role: 1, token: 0)
        defer { listener.close() }
        let sockets = try (0..<3).map { try Socket.connect(loop, to: address, role: 2, token: UInt64($0)) }
        defer { for socket in sockets { socket.close() } }
        var accepted: [Int32] = []
        defer { for descriptor in accepted { Descriptor.close(descriptor) } }
        /// Accepts up to a number of connections, as often as the loop says that there are some.
        func accept(most: Int) {
            for _ in 0..<5 {
                loop.wait(until: Clock.monotonicMicroseconds() + 50_000)
                for index in 0..<loop.readyCount where loop.ready(index).role == 1 {
                    listener.accept(while: { accepted.count < most }, { accepted.append($0.descriptor) })
                }
            }
        }
        accept(most: 2)
        #expect(accepted.count == 2 && listener.pause == .unwanted)
        accept(most: 3)
        #expect(accepted.count == 2, "a listener that rests is not reported")
        listener.resume()
        accept(most: 4)
        #expect(accepted.count == 3 && listener.pause == nil)
    }

    @Test func aUnixSocketIsGivenToAGroupThatExists() throws {
        let path = NSTemporaryDirectory() + "meridian-group-\(UUID().uuidString)"
        let words = complaint { () throws(SocketError) in _ = try BoundSocket.unix(path: path, group: "no-such-group") }
        #expect(words.contains("there is no such group; correct 'unix-group'"))
        #expect(!FileManager.default.fileExists(atPath: path), "nothing is left behind")
        let own = try #require(getgrgid(getegid()).map { String(cString: $0.pointee.gr_name) })
        let bound = try BoundSocket.unix(path: path, mode: 0o620, group: own)
        defer { bound.close() }
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o620)
        #expect(attributes[.groupOwnerAccountName] as? String == own)
    }

    @Test func aLinkInASocketsPlaceIsNotFollowed() throws {
        let folder = NSTemporaryDirectory() + "meridian-link-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (secret, link) = (folder + "/secret", folder + "/link")
        try "data".write(toFile: secret, atomically: false, encoding: .utf8)
        chmod(secret, 0o600)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: secret)
        #expect(BoundSocket.own(link, mode: 0o666, group: nil) == ENOTSOCK)
        #expect(BoundSocket.own(secret, mode: 0o666, group: nil) == ENOTSOCK)
        let mode = try FileManager.default.attributesOfItem(atPath: secret)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func signalsAreReadAndDoNotKill() throws {
        let signals = try Signals([SIGUSR2])
        let loop = try Loop()
        signals.watch(in: loop, role: 3)
        pthread_kill(pthread_self(), SIGUSR2)
        loop.wait(until: nil)
        #expect(loop.readyCount == 1 && loop.ready(0).role == 3)
        #expect(signals.next() == SIGUSR2)
        #expect(signals.next() == nil)
    }
}
