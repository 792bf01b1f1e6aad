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
    let siteText = try readText(path, what: "site file", remedy: "check the path given to --config")
    let federationPath = try SiteFiles.federationPath(inSiteText: siteText, sitePath: path)
    let federationText = try readText(
        federationPath, what: "shared file", remedy: "check 'federation:' in \(path), which is relative to that file's folder")
    return try SiteFiles.parse(
        federationText: federationText, federationPath: federationPath, siteText: siteText, sitePath: path, cores: cores)
}

/// True when a file looks like the one that all sites share.
public func isSharedFile(path: String) throws -> Bool {
    SiteFiles.isSharedFile(try readText(path, what: "file", remedy: "check the path"))
}

/// Reads a shared file by itself.
public func loadFederation(path: String) throws -> Federation {
    let text = try readText(path, what: "shared file", remedy: "check the path")
    return try SiteFiles.parse(federationText: text, federationPath: path)
}

/// What one proxy needs on this machine and cannot read, each with what to do; empty when all is there. Only asked of the
/// proxy that runs here: its siblings' files may be on other machines.
public func unreadableFiles(of proxy: SiteProxy) -> [String] {
    let files = [
        ("authority", proxy.authorityPath), ("certificate", proxy.certificatePath), ("key", proxy.keyPath),
    ]
    return files.compactMap { key, path in
        FileManager.default.isReadableFile(atPath: path)
            ? nil : "proxy \(proxy.name): \(key) \(path) cannot be read. Create it, or mend its owner and mode"
    }
}

/// The text of a file within the limit.
func readText(_ path: String, what: String, remedy: String) throws -> String {
    let file: FileHandle
    do {
        file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    } catch {
        throw SiteLoadError(description: "\(what) \(path) cannot be opened: \(reason(error)); \(remedy)")
    }
    let data: Data
    do {
        data = try file.read(upToCount: SiteFiles.fileBytesMax + 1) ?? Data()
    } catch {
        throw SiteLoadError(description: "\(what) \(path) cannot be read: \(reason(error)); \(remedy)")
    }
    guard data.count <= SiteFiles.fileBytesMax else {
        throw SiteLoadError(description: "\(what) \(path) is longer than \(SiteFiles.fileBytesMax) bytes; \(remedy)")
    }
    guard let text = String(data: data, encoding: .utf8) else {
        throw SiteLoadError(description: "\(what) \(path) is not UTF-8 text; \(remedy)")
    }
    return text
}

private func reason(_ error: any Error) -> String {
    let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError ?? error as NSError
    return underlying.domain == NSPOSIXErrorDomain
        ? String(cString: strerror(Int32(underlying.code))) : "\(error.localizedDescription)"
}
