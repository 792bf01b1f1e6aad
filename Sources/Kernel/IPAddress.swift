// Addresses of the internet protocol as numbers, to be compared with networks. Read from text without asking anybody: a name
// is no address here.

/// An IPv4 or IPv6 address. An IPv4 address that comes as IPv6 (`::ffff:10.0.0.1`, what a socket that hears both reports) is the
/// IPv4 address that it means.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// 4 bytes or 16, the most significant first.
    public let bytes: [UInt8]

    /// Makes an address of its 4 or 16 bytes; nil for any other number of them.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        let isMapped = bytes.count == 16 && bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 255 && bytes[11] == 255
        self.bytes = isMapped ? Array(bytes.suffix(4)) : bytes
    }

    /// Reads `10.0.0.1`, `fd00::1` or `::ffff:10.0.0.1`; nil for anything else, names and zones included.
    public init?(_ text: String) {
        guard let bytes = text.contains(":") ? Self.six(text) : Self.four(Substring(text)) else { return nil }
        self.init(bytes: bytes)
    }

    /// 32 or 128.
    public var bits: Int { bytes.count * 8 }

    /// `10.0.0.1`, or eight groups in hexadecimal, none left out.
    public var description: String {
        if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") }
        return stride(from: 0, to: 16, by: 2)
            .map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }
            .joined(separator: ":")
    }

    private static func four(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        let bytes = parts.compactMap { part -> UInt8? in
            // `010` is eight to some and ten to others.
            guard part == "0" || !part.hasPrefix("0"), part.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
            return UInt8(part)
        }
        return bytes.count == 4 ? bytes : nil
    }

    private static func six(_ text: String) -> [UInt8]? {
        var halves: [[UInt8]] = []
        var rest = Substring(text)
        while let gap = doubleColon(rest) {
            guard halves.isEmpty, let front = groups(rest[..<gap], mayEndInFour: false) else { return nil }
            halves.append(front)
            rest = rest[rest.index(gap, offsetBy: 2)...]
        }
        guard let back = groups(rest, mayEndInFour: true) else { return nil }
        guard let front = halves.first else { return back.count == 16 ? back : nil }
        let missing = 16 - front.count - back.count
        return missing >= 2 ? front + [UInt8](repeating: 0, count: missing) + back : nil
    }

    private static func doubleColon(_ text: Substring) -> Substring.Index? {
        var previous: Substring.Index?
        for index in text.indices where text[index] == ":" {
            if let previous, text.index(after: previous) == index { return previous }
            previous = index
        }
        return nil
    }

    private static func groups(_ text: Substring, mayEndInFour: Bool) -> [UInt8]? {
        guard !text.isEmpty else { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (place, part) in parts.enumerated() {
            if mayEndInFour, place == parts.count - 1, part.contains(".") {
                guard let four = four(part) else { return nil }
                bytes += four
                continue
            }
            let isHexadecimal = part.utf8.allSatisfy {
                (48...57).contains($0) || (65...70).contains($0) || (97...102).contains($0)
            }
            guard (1...4).contains(part.utf8.count), isHexadecimal, let group = UInt16(part, radix: 16) else { return nil }
            bytes += [UInt8(group >> 8), UInt8(group & 255)]
        }
        return bytes.count <= 16 ? bytes : nil
    }
}
