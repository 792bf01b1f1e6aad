import Configuration
import Foundation
import SiteLoader
import Testing

/// A folder of its own for one test, gone with it.
final class Folder {
    let path = FileManager.default.temporaryDirectory.appending(path: "meridian-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ bytes: Data) throws -> String {
        let file = "\(path)/\(name)"
        try bytes.write(to: URL(fileURLWithPath: file))
        return file
    }

    func write(_ name: String, _ text: String) throws -> String { try write(name, Data(text.utf8)) }
}

@Suite struct SiteLoaderTests {
    let folder: Folder
    static let templates = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sites/templates")

    init() throws { folder = try Folder() }

    private func template(_ name: String) throws -> String {
        try String(contentsOf: Self.templates.appending(path: name), encoding: .utf8)
    }

    private func message(_ action: () throws -> Void) -> String {
        do {
            try action()
            return "no error"
        } catch { return "\(error)" }
    }

    @Test func `a site file is read with the shared file beside it`() throws {
        _ = try folder.write("federation.yaml", template("federation.yaml"))
        let file = try folder.write("site.yaml", template("site.yaml"))
        let (federation, site) = try loadSite(path: file)
        #expect(federation.name == "shop")
        #expect(site.name == "north")
        #expect(site.proxies[0].keyPath == "\(folder.path)/tls/n1.key")
    }

    @Test func `the shared file is told from a site file`() throws {
        #expect(try isSharedFile(path: folder.write("federation.yaml", template("federation.yaml"))))
        #expect(try !isSharedFile(path: folder.write("site.yaml", template("site.yaml"))))
        #expect(try loadFederation(path: "\(folder.path)/federation.yaml").sites.count == 2)
    }

    @Test func `the shared file in a site file's place is named as what it is`() throws {
        let file = try folder.write("federation.yaml", template("federation.yaml"))
        #expect(message { _ = try loadSite(path: file) }.hasPrefix("\(file) is the shared file, which all sites have; name"))
    }

    @Test func `a file that is not there is named, with who named it`() throws {
        #expect(
            message { _ = try loadSite(path: "/nowhere/north.yaml") }.hasPrefix(
                "site file /nowhere/north.yaml cannot be read: No such file"))
        let file = try folder.write("site.yaml", template("site.yaml"))
        let text = message { _ = try loadSite(path: file) }
        #expect(text.hasPrefix("\(file):8:13: the shared file \(folder.path)/federation.yaml cannot be read: No such file"))
    }

    @Test func `folders, pictures and endless files are refused`() throws {
        #expect(message { _ = try loadSite(path: folder.path) }.contains("Is a directory"))
        let picture = try folder.write("picture.yaml", Data([0x89, 0x50, 0xff, 0xfe]))
        #expect(message { _ = try loadSite(path: picture) }.contains("is not UTF-8 text"))
        let long = try folder.write("long.yaml", Data(repeating: 35, count: 2 << 20))
        #expect(message { _ = try loadSite(path: long) }.contains("longer than 1048576 bytes"))
        #expect(message { _ = try loadSite(path: "/dev/zero") }.contains("longer than 1048576 bytes"))
    }

    @Test func `mistakes come through as they are`() throws {
        let file = try folder.write("site.yaml", "site: north\nfederation: federation.yaml\nserver: x\n")
        _ = try folder.write("federation.yaml", template("federation.yaml"))
        let problems = #expect(throws: ConfigurationProblems.self) { try loadSite(path: file) }
        #expect(problems?.problems.contains { $0.line == 3 && $0.message.hasPrefix("'server' is not known") } == true)
    }

    @Test func `a proxy's own files are looked for`() throws {
        _ = try folder.write("federation.yaml", template("federation.yaml"))
        let (_, site) = try loadSite(path: folder.write("site.yaml", template("site.yaml")))
        #expect(unreadableFiles(of: site.proxies[0]).count == 3)
        try FileManager.default.createDirectory(atPath: "\(folder.path)/tls", withIntermediateDirectories: true)
        for name in ["authority.pem", "n1.pem", "n1.key"] { _ = try folder.write("tls/\(name)", "x") }
        #expect(unreadableFiles(of: site.proxies[0]) == [])
        #expect(
            unreadableFiles(of: site.proxies[1]).first?.hasPrefix(
                "proxy n2: certificate \(folder.path)/tls/n2.pem cannot be read") == true)
    }
}
