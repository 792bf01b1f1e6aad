// Reads a site's files from the disk for the executables; what is in them is Configuration's business.

import Configuration
import Foundation

/// A file that could not be read at all.
public struct SiteLoadError: Error, CustomStringConvertible, Sendable {
    /// What was being read, why it failed, and what to do.
    public var description: String
}

/// Reads a site file and the shared file that it names.
///
/// - Parameters:
///   - path: the site file.
///   - cores: the number of loops when the file does not say; this machine's unless given.
/// - Throws: `ConfigurationProblems` for mistakes in the files, `SiteLoadError` when one cannot be read.
public func loadSite(
    path: String, cores: Int = ProcessInfo.processInfo.activeProcessorCount
) throws -> (federation: Federation, site: Site) {
    let siteText = try text(of: "site file", path, remedy: "check the path that was given")
    if SiteFiles.isSharedFile(siteText) {
        throw SiteLoadError(
            description: "\(path) is the shared file, which all sites have; name this site's own file, which names the shared one"
        )
    }
    let reference = try SiteFiles.federationReference(inSiteText: siteText, sitePath: path)
    let federationText: String
    do {
        federationText = try readText(reference.path)
    } catch {
        throw ConfigurationProblems([
            ConfigurationProblem(
                file: path, line: reference.line, column: reference.column,
                message: "the shared file \(reference.path) \(error.reason)",
                remedy: "Put it there, or mend this path; a relative one starts at this file's folder")
        ])
    }
    return try SiteFiles.parse(
        federationText: federationText, federationPath: reference.path, siteText: siteText, sitePath: path, cores: cores)
}

/// True when a file looks like the one that all sites share.
public func isSharedFile(path: String) throws -> Bool {
    SiteFiles.isSharedFile(try text(of: "file", path, remedy: "check the path that was given"))
}

/// Reads a shared file by itself.
public func loadFederation(path: String) throws -> Federation {
    let text = try text(of: "shared file", path, remedy: "check the path that was given")
    return try SiteFiles.parse(federationText: text, federationPath: path)
}

/// What one proxy needs on this machine and cannot read, each with what to do; empty when all is there. Only asked of the
/// proxy that runs here: its siblings' files may be on other machines.
public func unreadableFiles(of proxy: SiteProxy) -> [String] {
    var files = [
        ("authority", proxy.authorityPath), ("certificate", proxy.certificatePath), ("key", proxy.keyPath),
    ]
    for listener in proxy.clients {
        if let tls = listener.tls {
            files += [("certificate", tls.certificatePath), ("key", tls.keyPath)]
            if let authority = tls.clientAuthorityPath { files.append(("client-authority", authority)) }
        }
        if let path = listener.authenticationPath { files.append(("authentication", path)) }
    }
    return files.compactMap { key, path in
        FileManager.default.isReadableFile(atPath: path)
            ? nil : "proxy \(proxy.name): \(key) \(path) cannot be read. Create it, or mend its owner and mode"
    }
}

/// The text of a file that somebody named on a command line.
private func text(of what: String, _ path: String, remedy: String) throws(SiteLoadError) -> String {
    do {
        return try readText(path)
    } catch {
        throw SiteLoadError(description: "\(what) \(path) \(error.reason); \(remedy)")
    }
}

private struct ReadFailure: Error {
    /// Continues a sentence that begins with the file's path.
    var reason: String
}

/// The text of a file within the limit.
private func readText(_ path: String) throws(ReadFailure) -> String {
    let data: Data
    do {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        data = try file.read(upToCount: SiteFiles.fileBytesMax + 1) ?? Data()
    } catch {
        throw ReadFailure(reason: "cannot be read: \(systemReason(error))")
    }
    guard data.count <= SiteFiles.fileBytesMax else {
        throw ReadFailure(reason: "is longer than \(SiteFiles.fileBytesMax) bytes")
    }
    guard let text = String(data: data, encoding: .utf8) else { throw ReadFailure(reason: "is not UTF-8 text") }
    return text
}

/// The operating system's word for a Foundation error.
private func systemReason(_ error: any Error) -> String {
    let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError ?? error as NSError
    guard underlying.domain == NSPOSIXErrorDomain else { return error.localizedDescription }
    return String(cString: strerror(Int32(underlying.code)))
}
