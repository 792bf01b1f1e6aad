// Makes authorities and certificates for a test, with the openssl command line, in a temporary folder.

import Foundation
import TLS

/// One authority and what it has signed. The folder goes when the workshop does.
final class CertificateWorkshop {
    let folder: String

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    init() throws {
        folder = NSTemporaryDirectory() + "meridian-tls-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try makeAuthority("ca")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    func makeAuthority(_ name: String) throws {
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
            "/CN=\(name)", "-keyout", path("\(name).key"), "-out", path("\(name).pem"))
    }

    /// Issues a certificate with these subject alternative names (openssl's syntax) and returns the files of its owner.
    func issue(_ name: String, san: String?, authority: String = "ca", days: Int = 30) throws -> TLSFiles {
        try openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=\(name)",
            "-keyout", path("\(name).key"), "-out", path("\(name).csr"))
        var extensions = "basicConstraints=CA:FALSE\n"
        if let san { extensions += "subjectAltName=\(san)\n" }
        try extensions.write(toFile: path("\(name).ext"), atomically: true, encoding: .utf8)
        try openssl(
            "x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(authority).pem"), "-CAkey", path("\(authority).key"),
            "-CAcreateserial", "-days", "\(days)", "-extfile", path("\(name).ext"), "-out", path("\(name).pem"))
        return TLSFiles(authority: path("ca.pem"), certificate: path("\(name).pem"), key: path("\(name).key"))
    }

    func issue(site: String, proxy: String, authority: String = "ca", days: Int = 30) throws -> TLSFiles {
        try issue("\(site)-\(proxy)-\(authority)", san: "URI:meridian://shop/\(site)/\(proxy)", authority: authority, days: days)
    }

    @discardableResult
    func openssl(_ arguments: String...) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(description: "openssl \(arguments): \(text)") }
        return text
    }
}
