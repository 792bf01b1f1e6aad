import Configuration
import Foundation
import Testing

@testable import Daemon

@Suite struct ScratchFolderTests {
    private let parent = FileManager.default.temporaryDirectory.appending(path: "scratch-tests-\(UUID())").path

    init() throws { try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true) }

    private var entries: [String] { (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [] }

    @Test func `it is private, and gone at the end with all that is in it`() throws {
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let folder = try ScratchFolder(under: parent, owner: nil)
        let mode = try FileManager.default.attributesOfItem(atPath: folder.path)[.posixPermissions] as? Int
        #expect(mode == 0o700)
        try FileManager.default.createDirectory(atPath: "\(folder.path)/lane-0", withIntermediateDirectories: true)
        #expect(FileManager.default.createFile(atPath: "\(folder.path)/lane-0/segment", contents: Data("x".utf8)))
        folder.remove()
        #expect(entries.isEmpty)
    }

    @Test func `what a killed process left is removed; what is in use, new, or no folder of ours is not`() throws {
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let living = try ScratchFolder(under: parent, owner: nil)
        // As after kill -9: the folder is there, its lock is free.
        for name in ["meridian-magent.dead00", "meridian-magent.nolock", "something.else"] {
            try FileManager.default.createDirectory(atPath: "\(parent)/\(name)", withIntermediateDirectories: true)
        }
        for name in ["meridian-magent.dead00", "something.else"] {
            #expect(FileManager.default.createFile(atPath: "\(parent)/\(name)/in-use", contents: nil))
        }
        try FileManager.default.createSymbolicLink(
            atPath: "\(parent)/meridian-magent.link00", withDestinationPath: "\(parent)/something.else")
        ScratchFolder.sweep(under: parent)
        #expect(entries.count == 5)
        ScratchFolder.sweep(under: parent, olderThanSeconds: 0)
        #expect(!entries.contains("meridian-magent.dead00"))
        #expect(entries.count == 4)
        #expect(FileManager.default.fileExists(atPath: "\(parent)/something.else/in-use"))
        #expect(FileManager.default.fileExists(atPath: "\(living.path)/in-use"))
        living.remove()
    }

    @Test func `a folder that cannot be made is told with a remedy`() {
        #expect {
            try ScratchFolder(under: "\(parent)/absent", owner: nil)
        } throws: {
            "\($0)".contains("TMPDIR") && ($0 as? DaemonFailure)?.code == .system
        }
        try? FileManager.default.removeItem(atPath: parent)
    }
}

@Suite struct AccountTests {
    @Test func `users are found by name and by number, with their own group`() throws {
        let root = try Account(user: "root", group: nil)
        #expect(root == Account(user: 0, group: 0, name: "root"))
        #expect(try Account(user: "0", group: nil) == Account(user: 0, group: 0), "a number has no further groups")
        let nobody = try Account(user: "nobody", group: nil)
        #expect(nobody.user == 65_534 && nobody.group != 0)
        #expect(try Account(user: "nobody", group: "root").group == 0)
        #expect(try Account(user: "nobody", group: "7").group == 7)
    }

    @Test func `who does not exist is named`() {
        for (user, group, words) in [
            ("nobody-knows-me", nil, "there is no user 'nobody-knows-me'"),
            (nil, "no-such-group", "there is no group 'no-such-group'"),
            ("4000000000", nil, "say which group"), ("-1", nil, "there is no user '-1'"),
        ] as [(String?, String?, String)] {
            #expect {
                try Account(user: user, group: group)
            } throws: {
                "\($0)".contains(words) && ($0 as? DaemonFailure)?.code == .usage
            }
        }
    }

    @Test func `a site's proxies run as anybody but root, if there is such a somebody`() throws {
        for (account, words) in [
            (SiteAccount(user: "root", group: nil), "that is root"), (SiteAccount(user: "0", group: nil), "that is root"),
            (SiteAccount(user: "no-such-user", group: nil), "there is no user 'no-such-user'"),
            (SiteAccount(user: "nobody", group: "no-such-group"), "there is no group 'no-such-group'"),
        ] {
            #expect {
                try Account(account)
            } throws: {
                "\($0)".contains(words) && ($0 as? DaemonFailure)?.code == .configuration
            }
        }
    }

    @Test func `whoever it is already, it becomes without rights`() throws {
        let own = try Account(user: String(getuid()), group: String(getgid()))
        #expect(own.isOurs)
        try own.become(owning: ["/nowhere"])
    }
}
