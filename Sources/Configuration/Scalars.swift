// The small languages inside values: sizes, durations, addresses, names, paths, key patterns.

import Yams

extension ProblemList {
    /// Bytes: `1048576`, `512KiB`, `64MiB`, `1GiB`.
    func size(_ node: Node, _ what: String, in range: ClosedRange<Int>) -> Int? {
        guard let text = text(node, what) else { return nil }
        guard let bytes = Self.bytes(text) else {
            report(node, "\(what) must be a size, not '\(shown(text))'", remedy: "Write it like 512KiB, 64MiB or 1GiB")
            return nil
        }
        guard range.contains(bytes) else {
            report(
                node, "\(what) is \(shown(text))",
                remedy: "Use a size from \(Self.sizeText(range.lowerBound)) to \(Self.sizeText(range.upperBound))")
            return nil
        }
        return bytes
    }

    /// Reads a size; nil when it is none.
    static func bytes(_ text: String) -> Int? {
        quantity(text, units: [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1), ("", 1)])
    }

    /// Milliseconds: `100ms`, `2s`, `1min`. A bare number is refused: nobody remembers which unit it had.
    func duration(_ node: Node, _ what: String, in range: ClosedRange<Int>) -> Int? {
        guard let text = text(node, what) else { return nil }
        let units = [("ms", 1), ("s", 1_000), ("min", 60_000)]
        guard let milliseconds = Self.quantity(text, units: units) else {
            report(node, "\(what) must be a time with its unit, not '\(shown(text))'", remedy: "Write it like 100ms, 2s or 1min")
            return nil
        }
        guard range.contains(milliseconds) else {
            report(
                node, "\(what) is \(shown(text))", remedy: "Use a time from \(range.lowerBound)ms to \(range.upperBound)ms")
            return nil
        }
        return milliseconds
    }

    /// `host:port`, `[ipv6]:port`.
    func hostPort(_ node: Node, _ what: String) -> HostPort? {
        guard let text = text(node, what) else { return nil }
        guard let address = HostPort(text) else {
            report(
                node, "\(what) must be host:port, not '\(shown(text))'",
                remedy: "Write it like 10.0.0.1:11211, cache1.example.net:11211 or [fd00::1]:11211, port 1 to 65535")
            return nil
        }
        return address
    }

    /// `host:port` or `unix:/path`.
    func listenAddress(_ node: Node, _ what: String, relativeTo file: String) -> ListenAddress? {
        guard let text = text(node, what) else { return nil }
        guard text.hasPrefix("unix:") else {
            guard let address = HostPort(text) else {
                report(
                    node, "\(what) must be host:port or unix:path, not '\(shown(text))'",
                    remedy: "Write it like 0.0.0.0:11211, [::]:11211 or unix:/run/meridian/clients.sock, port 1 to 65535")
                return nil
            }
            return .tcp(address)
        }
        let path = Paths.resolve(String(text.dropFirst("unix:".count)), relativeTo: file)
        guard text.count > "unix:".count, path.utf8.count <= Self.unixPathBytesMax, !path.utf8.contains(0) else {
            report(
                node, "\(what) must name a socket by a path of 1 to \(Self.unixPathBytesMax) bytes, not '\(shown(path))'",
                remedy: "Choose a shorter path, such as unix:/run/meridian/clients.sock")
            return nil
        }
        return .unix(path: path)
    }

    /// A path, relative to the folder of the file that names it.
    func path(_ node: Node, _ what: String, relativeTo file: String) -> String? {
        guard let text = text(node, what) else { return nil }
        guard !text.utf8.contains(0), text.utf8.count <= Self.pathBytesMax else {
            report(node, "\(what) is not a path", remedy: "Use a path of at most \(Self.pathBytesMax) bytes")
            return nil
        }
        return Paths.resolve(text, relativeTo: file)
    }

    /// A name of a federation, site or proxy: it appears in certificates, logs, metrics and paths.
    func name(_ node: Node, _ what: String) -> String? { name(node, what, alphabet: Self.nameAlphabet) }

    /// A name of a server: the same, or an address, since rings that came from elsewhere hash addresses.
    func serverName(_ node: Node, _ what: String) -> String? { name(node, what, alphabet: Self.nameAlphabet + ":[]") }

    private func name(_ node: Node, _ what: String, alphabet: String) -> String? {
        guard let text = text(node, what) else { return nil }
        let allowed = Set(alphabet.utf8)
        guard text.utf8.count <= Self.nameBytesMax, text.utf8.allSatisfy({ allowed.contains($0) }) else {
            report(
                node, "\(what) cannot be '\(shown(text))'",
                remedy: "Use letters, digits, '.', '_' and '-', at most \(Self.nameBytesMax) of them")
            return nil
        }
        return text
    }

    /// A key pattern with one star: `*.lock`, `memc.sess.key.lock.*`.
    func keyPattern(_ node: Node, _ what: String) -> (prefix: String, suffix: String)? {
        guard let text = text(node, what) else { return nil }
        let parts = text.split(separator: "*", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= Self.keyBytesMax + 1, text.utf8.allSatisfy({ $0 > 32 && $0 != 127 }) else {
            report(
                node, "\(what) must be a key with one '*', not '\(shown(text))'",
                remedy: "Write it like \"session.*\" or \"*.lock\", without spaces, at most \(Self.keyBytesMax) bytes")
            return nil
        }
        return (String(parts[0]), String(parts[1]))
    }

    private static let nameAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    /// Longest name: a label of a host name in a certificate.
    static let nameBytesMax = 63
    /// Linux: `sun_path` has 108 bytes with its final zero.
    static let unixPathBytesMax = 107
    /// Linux: `PATH_MAX` with its final zero.
    static let pathBytesMax = 4_095
    /// memcached's longest key.
    static let keyBytesMax = 250

    /// A whole number and a unit, without or with a space between.
    static func quantity(_ text: String, units: [(suffix: String, factor: Int)]) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int(digits) else { return nil }
        let suffix = text.dropFirst(digits.count).drop { $0 == " " }
        guard let unit = units.first(where: { $0.suffix.lowercased() == suffix.lowercased() }) else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.factor)
        return overflow ? nil : product
    }

    /// Bytes in the largest unit that divides them.
    static func sizeText(_ bytes: Int) -> String {
        for (suffix, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] where bytes >= 1 << shift && bytes & (1 << shift - 1) == 0
        {
            return "\(bytes >> shift)\(suffix)"
        }
        return "\(bytes)B"
    }
}

extension HostPort {
    /// Reads `host:port` or `[ipv6]:port`; nil when it is neither, or the port is not from 1 to 65535.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(digits), port > 0 else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":"), host.utf8.allSatisfy({ Self.isHexadecimal($0) || ":.%".utf8.contains($0) }) else {
                return nil
            }
        } else {
            guard host.utf8.allSatisfy({ Self.isHostByte($0) }) else { return nil }
        }
        guard !host.isEmpty, host.utf8.count <= Self.hostBytesMax else { return nil }
        self.init(host: String(host), port: port)
    }

    /// True for addresses that only this machine reaches.
    public var isLoopback: Bool {
        host == "localhost" || host == "::1"
            || host.hasPrefix("127.") && host.utf8.allSatisfy { $0 == 46 || (48...57).contains($0) }
    }

    /// True for addresses that mean "all of this machine's": good to listen at, not to connect to.
    public var isWildcard: Bool { host == "0.0.0.0" || host == "::" }

    /// RFC 1035 section 2.3.4.
    private static let hostBytesMax = 253

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || ".-_".utf8.contains(byte)
    }
}

extension ListenAddress {
    /// Reads `host:port` or `unix:/path`; nil when it is neither.
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst("unix:".count))
            guard !path.isEmpty, path.utf8.count <= ProblemList.unixPathBytesMax, !path.utf8.contains(0) else { return nil }
            self = .unix(path: path)
        } else {
            guard let address = HostPort(text) else { return nil }
            self = .tcp(address)
        }
    }
}

/// Paths as text; whether anything is there is for the shells to find out.
public enum Paths {
    /// The path itself when it is absolute, else under the folder of the file that names it.
    public static func resolve(_ path: String, relativeTo file: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        var rest = Substring(path)
        while rest.hasPrefix("./") { rest = rest.dropFirst(2) }
        return String(file[...slash]) + rest
    }
}
