// Who a certificate speaks for: one subject alternative name of type URI,
//
//     meridian://FEDERATION/SITE/PROXY
//
// and nothing else in the certificate counts. Host names do not: an address may change hands, a proxy's name may not.

/// The names in a proxy's certificate.
public struct CertificateNames: Sendable, Hashable, CustomStringConvertible {
    /// The federation's name.
    public var federation: String
    /// The site's name.
    public var site: String
    /// The proxy's name.
    public var proxy: String

    /// Begins every name that means something here.
    public static let scheme = "meridian://"

    /// Makes the names of their parts.
    public init(federation: String, site: String, proxy: String) {
        self.federation = federation
        self.site = site
        self.proxy = proxy
    }

    /// Reads one URI; nil unless it has the scheme and three parts that are not empty.
    public init?(uri: String) {
        guard uri.hasPrefix(Self.scheme) else { return nil }
        let parts = uri.dropFirst(Self.scheme.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(Self.isNameByte) }) else { return nil }
        self.init(federation: String(parts[0]), site: String(parts[1]), proxy: String(parts[2]))
    }

    /// The URI that a certificate carries.
    public var uri: String { "\(Self.scheme)\(federation)/\(site)/\(proxy)" }

    /// `north/n1 of shop`
    public var description: String { "\(site)/\(proxy) of \(federation)" }

    /// The one identity among a certificate's URIs; others' schemes are none of our business.
    static func only(in uris: [String]) throws(TLSError) -> CertificateNames {
        let ours = uris.filter { $0.hasPrefix(scheme) }
        guard let uri = ours.first else {
            throw TLSError(
                reason: "the certificate names no proxy (no URI \(scheme)FEDERATION/SITE/PROXY in its subjectAltName)",
                remedy: "issue it with that name")
        }
        guard ours.count == 1 else {
            throw TLSError(
                reason: "the certificate names \(ours.count) proxies: \(ours.joined(separator: ", "))",
                remedy: "issue one certificate for each proxy")
        }
        guard let names = CertificateNames(uri: uri) else {
            throw TLSError(
                reason: "the certificate's name \(uri) is not of the form \(scheme)FEDERATION/SITE/PROXY",
                remedy: "issue it with a name of that form")
        }
        return names
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
