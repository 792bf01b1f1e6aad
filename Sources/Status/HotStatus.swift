/// What one lane's clients read most, estimated from samples of the last quarter of a minute.
public struct HotStatus: Codable, Sendable {
    /// All keys that are read in a second, those of retrievals of many keys one by one.
    public var readsPerSecond: Double
    /// The keys that stand out, the hottest first.
    public var keys: [HotKeyStatus] = []

    /// Reads without a key that stands out.
    public init(readsPerSecond: Double) { self.readsPerSecond = readsPerSecond }
}

/// A key that is read much.
public struct HotKeyStatus: Codable, Sendable {
    /// The key as `KeyText` writes it.
    public var key: String
    /// How often it is read in a second.
    public var readsPerSecond: Double
    /// The names of its servers, the primary first.
    public var servers: [String]

    /// Makes an entry of its parts.
    public init(key: String, readsPerSecond: Double, servers: [String]) {
        self.key = key
        self.readsPerSecond = readsPerSecond
        self.servers = servers
    }
}

/// A key's bytes as text that is safe to print and says exactly which bytes they are.
public enum KeyText {
    /// What can be printed of ASCII as it is, save the backslash, which is doubled; every other byte as `\x` and two digits. So a space,
    /// which only keys of the binary protocol have, cannot be taken for the end of the key.
    public static func escaped(_ key: [UInt8]) -> String {
        var text = ""
        for byte in key {
            switch byte {
            case UInt8(ascii: "\\"): text += "\\\\"
            case 0x21...0x7e: text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return text
    }
}
