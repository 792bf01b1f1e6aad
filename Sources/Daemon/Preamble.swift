// The eight bytes in clear that a dialling proxy sends before TLS, so that the accepting process knows which of its loops
// the connection belongs to before it has spent anything on it.
//
//     0..3  M R D N
//     4     version, 1
//     5     number of the lane that is wanted
//     6..7  zero

/// The preamble of a peer connection.
package struct Preamble: Equatable {
    /// Its length.
    package static let bytes = 8
    static let version: UInt8 = 1

    package var lane: UInt8

    package var encoded: [UInt8] { Array("MRDN".utf8) + [Self.version, lane, 0, 0] }

    /// Why some bytes are not one.
    package struct Refusal: Error, Equatable {
        package var reason: String
    }

    package init(lane: UInt8) { self.lane = lane }

    /// Reads what has arrived: nil while it is only the beginning of one. What cannot become a preamble is refused at its
    /// first wrong byte, so that a stranger who waits for an answer does not wait for the time limit.
    package init?(_ bytes: [UInt8]) throws(Refusal) {
        let magic = Array("MRDN".utf8)
        guard bytes.starts(with: magic.prefix(bytes.count)) else {
            throw Refusal(reason: "it is not a Meridian proxy (it began with \(Self.printable(bytes)))")
        }
        guard bytes.count >= Self.bytes else { return nil }
        guard bytes[4] == Self.version else {
            throw Refusal(reason: "it speaks version \(bytes[4]) of the peer protocol, this proxy \(Self.version)")
        }
        guard bytes[6] == 0 && bytes[7] == 0 else { throw Refusal(reason: "its preamble is damaged") }
        lane = bytes[5]
    }

    /// Bytes as an operator can read them.
    static func printable(_ bytes: [UInt8]) -> String {
        let text = bytes.map { byte in
            byte >= 32 && byte < 127 && byte != UInt8(ascii: "\"") ? String(UnicodeScalar(byte)) : "\\x" + hex(byte)
        }
        return "\"\(text.joined())\""
    }

    private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }
}
