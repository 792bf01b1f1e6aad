// Where clients connect, and what is asked of those who do.

import Kernel

/// One address at which a proxy serves clients.
public struct ClientListener: Sendable, Hashable, CustomStringConvertible {
    /// Where it listens.
    public var address: ListenAddress
    /// TLS, where connections are encrypted.
    public var tls: ListenerTLS?
    /// Path of the file of names and passwords, where clients must give one of them.
    public var authenticationPath: String?
    /// The networks whose clients are let in; empty for everybody.
    public var allowed: [Network]

    /// Makes a listener of its parts.
    public init(_ address: ListenAddress, tls: ListenerTLS? = nil, authenticationPath: String? = nil, allowed: [Network] = []) {
        self.address = address
        self.tls = tls
        self.authenticationPath = authenticationPath
        self.allowed = allowed
    }

    /// A TCP address open to all who reach it.
    public static func tcp(_ address: HostPort) -> ClientListener { ClientListener(.tcp(address)) }

    /// A unix socket open to all who may open it.
    public static func unix(path: String) -> ClientListener { ClientListener(.unix(path: path)) }

    /// True when a client from this address is let in; nil is a unix socket's, to which networks mean nothing.
    public func admits(_ client: IPAddress?) -> Bool {
        guard !allowed.isEmpty, let client else { return true }
        return allowed.contains { $0.contains(client) }
    }

    /// `host:port` or `unix:path`.
    public var description: String { address.description }
}

/// The files of a listener's TLS, all PEM.
public struct ListenerTLS: Sendable, Hashable {
    /// The certificate that clients are shown, with any intermediate ones behind it.
    public var certificatePath: String
    /// Its private key.
    public var keyPath: String
    /// The authority that must have signed the clients' certificates; nil when none are asked for.
    public var clientAuthorityPath: String?

    /// Names the files.
    public init(certificatePath: String, keyPath: String, clientAuthorityPath: String? = nil) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.clientAuthorityPath = clientAuthorityPath
    }
}

/// A network: every address that begins with the same bits.
public struct Network: Sendable, Hashable, CustomStringConvertible {
    /// Its first address; the bits behind `prefixBits` are zero.
    public let base: IPAddress
    /// How many bits its addresses share.
    public let prefixBits: Int

    /// Why a text is not one.
    public enum Mistake: Error, Equatable {
        /// Neither an address nor an address and a length.
        case unreadable
        /// The address has bits behind its length; the network that it lies in.
        case bitsBehindLength(Network)
    }

    private init(base: IPAddress, prefixBits: Int) {
        self.base = base
        self.prefixBits = prefixBits
    }

    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    public init(_ text: String) throws(Mistake) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { throw .unreadable }
        guard parts.count == 2 else {
            self.init(base: address, prefixBits: address.bits)
            return
        }
        let digits = parts[1].utf8.allSatisfy { (48...57).contains($0) }
        // An IPv4 network in the clothes of IPv6 has another length than it says.
        let isDisguised = address.bits == 32 && parts[0].contains(":")
        guard digits, parts[1].utf8.count <= 3, !isDisguised, let length = Int(parts[1]), length <= address.bits else {
            throw .unreadable
        }
        let first = Self.first(of: address, length)
        guard first == address else { throw .bitsBehindLength(Network(base: first, prefixBits: length)) }
        self.init(base: address, prefixBits: length)
    }

    /// True when the address lies in the network. An IPv4 address never lies in an IPv6 network.
    public func contains(_ address: IPAddress) -> Bool {
        guard address.bits == base.bits else { return false }
        let whole = prefixBits / 8
        guard address.bytes.prefix(whole) == base.bytes.prefix(whole) else { return false }
        let rest = prefixBits % 8
        return rest == 0 || (address.bytes[whole] ^ base.bytes[whole]) >> UInt8(8 - rest) == 0
    }

    /// `10.0.0.0/8`
    public var description: String { "\(base)/\(prefixBits)" }

    private static func first(of address: IPAddress, _ length: Int) -> IPAddress {
        var bytes = address.bytes
        for place in bytes.indices {
            let kept = min(max(length - place * 8, 0), 8)
            bytes[place] &= kept == 0 ? 0 : UInt8.max << UInt8(8 - kept)
        }
        return IPAddress(bytes: bytes) ?? address
    }
}
