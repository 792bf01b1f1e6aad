// A ring in one word, for the command line:
//
//     magent-ketama:10.0.0.1:11211,10.0.0.2        ketama:cache1,cache2*3
//     └── flavour ┘ └──── server ┘ └ port 11211         └ name     └ weight

import Ring

/// A ring as it is spelled on a command line.
public struct RingSpelling: Sendable, Hashable {
    /// How the ring places keys.
    public var flavour: RingFlavour
    /// The servers, in the order that they were given.
    public var servers: [RingServer]

    /// magent's and memcached's port, where none is given.
    public static let portByDefault: UInt16 = 11_211

    /// Why a text is not a ring.
    public struct Mistake: Error, Sendable, Hashable, CustomStringConvertible {
        /// What is wrong and what to do about it.
        public var description: String

        /// Wraps the words.
        public init(description: String) { self.description = description }
    }

    /// True when a text begins like a ring's spelling, or nearly so, rather than being the path of a file.
    public static func begins(_ text: String) -> Bool {
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains(where: { "/.".contains($0) }) else { return false }
        return Spelling.nearest(to: String(text[..<colon]), among: RingFlavour.allCases.map(\.rawValue)) != nil
    }

    /// True when a text would be a ring if its hash were known, and may be the path of a file: `foo:a,b`.
    public static func resembles(_ text: String) -> Bool {
        guard let colon = text.firstIndex(of: ":"), text[colon...].count > 1 else { return false }
        let hash = text[..<colon].utf8
        return !hash.isEmpty && hash.allSatisfy { $0 == 45 || (48...57).contains($0) || (97...122).contains($0 | 0x20) }
    }

    /// What may not be what was meant, though it can be; nil when there is nothing.
    public var caution: String? {
        guard flavour == .ketama, let server = servers.first(where: { $0.name.hasSuffix(":\(Self.portByDefault)") }) else {
            return nil
        }
        let host = server.name.dropLast("\(Self.portByDefault)".utf8.count + 1)
        return
            "\(server.name) is hashed as it stands; libmemcached and twemproxy hash a server on port \(Self.portByDefault) by its "
            + "host alone: \(host)"
    }

    /// Reads a spelling.
    public init(_ text: String) throws(Mistake) {
        guard let flavour = Self.flavour(of: text) else {
            let known = RingFlavour.allCases.map(\.rawValue)
            throw Mistake(
                description: "\(shown(text)) does not begin with \(known.map { "\($0):" }.joined(separator: ", ")). "
                    + "Write it like ketama:cache1,cache2*3 or magent-ketama:10.0.0.1:11211,10.0.0.2:11211.")
        }
        let words = text.dropFirst(flavour.rawValue.count + 1).split(separator: ",", omittingEmptySubsequences: false)
        guard words.count <= Continuum.serversMax else {
            throw Mistake(description: "\(shown(text)) has \(words.count) servers. The most is \(Continuum.serversMax).")
        }
        var servers: [RingServer] = []
        for word in words {
            let server = try Self.server(word, flavour: flavour)
            guard !servers.contains(where: { $0.name == server.name }) else {
                throw Mistake(description: "\(shown(text)) names \(server.name) twice. Give each server its own name.")
            }
            servers.append(server)
        }
        if let objection = RingRules.objections(to: servers, flavour: flavour).first {
            throw Mistake(description: "\(objection.message). \(objection.remedy).")
        }
        self.flavour = flavour
        self.servers = servers
    }

    private static func flavour(of text: String) -> RingFlavour? {
        RingFlavour.allCases.first { text.hasPrefix("\($0.rawValue):") }
    }

    /// `name` or `name*weight`. magent's rings are over addresses, whose port may be left out.
    private static func server(_ word: Substring, flavour: RingFlavour) throws(Mistake) -> RingServer {
        let parts = word.split(separator: "*", maxSplits: 1, omittingEmptySubsequences: false)
        var name = String(parts[0])
        guard !name.isEmpty, name.utf8.count <= RingFingerprint.nameBytesMax, name.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw Mistake(
                description: "'\(shown(String(word)))' is not a server's name. Put commas between names of 1 to "
                    + "\(RingFingerprint.nameBytesMax) letters, without spaces.")
        }
        if flavour != .ketama, let address = HostPort(name, portByDefault: portByDefault) { name = address.description }
        guard parts.count == 2 else { return RingServer(name: name, weight: 1) }
        guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let weight = UInt32(parts[1]),
            (1...UInt32(FederationFile.weightMax)).contains(weight)
        else {
            throw Mistake(
                description: "'\(shown(String(word)))' has no weight behind the '*'. Write a number from 1 to "
                    + "\(FederationFile.weightMax), such as \(shown(name))*2.")
        }
        return RingServer(name: name, weight: weight)
    }
}

extension HostPort {
    /// Reads `host:port`, `[ipv6]:port`, or a host without a port; nil when it is none of them.
    public init?(_ text: String, portByDefault: UInt16) {
        guard let address = HostPort(text) ?? HostPort("\(text):\(portByDefault)") else { return nil }
        self = address
    }
}
