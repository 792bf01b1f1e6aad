// From the text of two files to the values that the proxies run on. Pure: who calls has read the files.

import Yams

/// Reads a shared file and a site file together.
public enum SiteFiles {
    /// Longest file that is read, in bytes.
    public static let fileBytesMax = YAMLDocument.fileBytesMax

    /// True when a text looks like the file that all sites share, false when like one site's own.
    public static func isSharedFile(_ text: String) -> Bool {
        guard case .mapping(let mapping)? = YAMLDocument.root(of: text, into: ProblemList(file: "")) else { return false }
        let keys = mapping.compactMap { $0.key.scalar?.string }
        return !keys.contains("site") && (keys.contains("ring") || keys.contains("sites"))
    }

    /// Where a site file says that the shared file is.
    public struct FederationReference: Sendable, Hashable {
        /// The shared file's path, a relative one resolved against the site file's folder.
        public var path: String
        /// Line of the site file, from 1.
        public var line: Int
        /// Column of the site file, from 1.
        public var column: Int

        /// Makes a reference of its parts.
        public init(path: String, line: Int, column: Int) {
            self.path = path
            self.line = line
            self.column = column
        }
    }

    /// Finds the shared file that a site file names.
    public static func federationReference(
        inSiteText text: String, sitePath: String
    ) throws(ConfigurationProblems) -> FederationReference {
        let problems = ProblemList(file: sitePath)
        let reference = YAMLDocument.root(of: text, into: problems).flatMap {
            SiteFile(problems, cores: 1).federationReference($0)
        }
        // Keys that occur twice and the like are told by `parse`, together with everything else.
        if let reference { return reference }
        throw ConfigurationProblems(problems.sorted)
    }

    /// The federation of a shared file.
    public static func parse(
        federationText: String, federationPath: String
    ) throws(ConfigurationProblems) -> Federation {
        let problems = ProblemList(file: federationPath)
        let federation = readFederation(federationText, into: problems)
        if let federation, problems.problems.isEmpty { return federation }
        throw ConfigurationProblems(problems.sorted)
    }

    /// The federation and one of its sites. All mistakes of both files are reported together.
    ///
    /// - Parameters:
    ///   - federationText: what the shared file holds.
    ///   - federationPath: the shared file's path, for messages.
    ///   - siteText: what the site file holds.
    ///   - sitePath: the site file's path, for messages; relative paths in the file are resolved against its folder.
    ///   - cores: this machine's cores: the number of loops when the site file does not say.
    public static func parse(
        federationText: String, federationPath: String, siteText: String, sitePath: String, cores: Int
    ) throws(ConfigurationProblems) -> (federation: Federation, site: Site) {
        let shared = ProblemList(file: federationPath)
        let local = ProblemList(file: sitePath)
        let readable = readFederation(federationText, into: shared)
        let federation = shared.problems.isEmpty ? readable : nil
        let site = YAMLDocument.root(of: siteText, into: local).flatMap {
            SiteFile(local, cores: cores).read($0, federation: federation)
        }
        let problems = shared.sorted + local.sorted
        if let federation, let site, problems.isEmpty { return (federation, site) }
        throw ConfigurationProblems(problems)
    }

    private static func readFederation(_ text: String, into problems: ProblemList) -> Federation? {
        YAMLDocument.root(of: text, into: problems).flatMap { FederationFile(problems).read($0) }
    }
}
