// What all TLS sessions of a proxy have in common: its authority, its certificate and its key, checked when they are
// loaded and not when the first peer calls. A reload makes a new context; sessions keep the one they began with.

import COpenSSL

/// Where the three files are, all PEM.
public struct TLSFiles: Sendable, Hashable {
    /// The authority whose certificates are accepted.
    public var authority: String
    /// This proxy's certificate, with any intermediate ones behind it.
    public var certificate: String
    /// The certificate's private key, without a passphrase.
    public var key: String

    /// Names the three files.
    public init(authority: String, certificate: String, key: String) {
        self.authority = authority
        self.certificate = certificate
        self.key = key
    }
}

/// Authority, certificate and key, loaded and found to fit together.
///
/// Unchecked because it holds a C pointer; it holds: an SSL_CTX is not changed after `init`, and making sessions from one
/// context in several threads is what OpenSSL allows (ssl(7): reference counts are atomic).
public final class TLSContext: @unchecked Sendable {
    let context: OpaquePointer
    /// Whom our own certificate names.
    public let names: CertificateNames
    /// When our own certificate expires, in seconds since 1970.
    public let notAfterSeconds: Int64

    /// Days before expiry from which on a warning is due.
    public static let expiryWarningDays: Int64 = 14

    /// Loads and checks the three files.
    public init(_ files: TLSFiles) throws(TLSError) {
        guard let context = meridian_tls_context_new() else { throw TLSError(reason: "OpenSSL could not make a TLS 1.3 context") }
        do throws(TLSError) {
            if SSL_CTX_load_verify_file(context, files.authority) != 1 {
                throw Self.unusable(
                    "the authority's certificate", files.authority,
                    "tls.authority must name a readable PEM file with a certificate")
            }
            let own = try Self.loadPair(into: context, certificate: files.certificate, key: files.key, whose: "the proxy's")
            notAfterSeconds = meridian_certificate_not_after(own)
            do throws(TLSError) {
                names = try CertificateNames.only(in: Self.uris(own))
            } catch {
                throw TLSError(reason: "\(files.certificate): \(error.reason)", remedy: error.remedy)
            }
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        self.context = context
    }

    deinit { SSL_CTX_free(context) }

    /// What the operator should hear about our own certificate's age, at this many seconds since 1970.
    public func expiryWarning(atWallSeconds now: Int64) -> String? {
        if notAfterSeconds <= now {
            return "this proxy's certificate expired on \(Text.date(notAfterSeconds)); peers refuse it; renew it"
        }
        if notAfterSeconds - now < Self.expiryWarningDays * 86_400 {
            return "this proxy's certificate expires on \(Text.date(notAfterSeconds)); renew it"
        }
        return nil
    }

    /// Loads a certificate and its key, and sees that they fit together; returns the certificate, which the context keeps.
    static func loadPair(
        into context: OpaquePointer, certificate: String, key: String, whose: String
    ) throws(TLSError) -> OpaquePointer {
        if SSL_CTX_use_certificate_chain_file(context, certificate) != 1 {
            throw unusable(
                "\(whose) certificate", certificate, "tls.certificate must name a readable PEM file with a certificate")
        }
        if SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 { throw unusableKey(certificate, key) }
        if SSL_CTX_check_private_key(context) != 1 { throw mismatch(certificate, key) }
        guard let own = SSL_CTX_get0_certificate(context) else {
            throw TLSError(reason: "\(certificate) holds no certificate", remedy: "check the file")
        }
        return own
    }

    /// Reads the URIs in a certificate's subject alternative name.
    static func uris(_ certificate: OpaquePointer) -> [String] {
        var text = [CChar](repeating: 0, count: 4_096)
        let count = meridian_certificate_uris(certificate, &text, text.count)
        guard count > 0 else { return [] }
        return Text.inArray(text).split(separator: "\n").map(String.init)
    }

    private static func firstReason() -> (code: Int32, words: String) {
        var words = [CChar](repeating: 0, count: 256)
        let code = meridian_tls_first_reason(&words, words.count)
        return (code, Text.inArray(words))
    }

    static func unusable(_ what: String, _ path: String, _ remedy: String) -> TLSError {
        TLSError(reason: "cannot load \(what) \(path): \(firstReason().words)", remedy: remedy)
    }

    private static func unusableKey(_ certificate: String, _ key: String) -> TLSError {
        let reason = firstReason()
        if reason.code == X509_R_KEY_VALUES_MISMATCH || reason.code == X509_R_KEY_TYPE_MISMATCH {
            return mismatch(certificate, key)
        }
        return TLSError(
            reason: "cannot load the private key \(key): \(reason.words)",
            remedy: "tls.key must name a PEM file without a passphrase that this user may read")
    }

    private static func mismatch(_ certificate: String, _ key: String) -> TLSError {
        _ = firstReason()
        return TLSError(
            reason: "the private key \(key) does not belong to the certificate \(certificate)",
            remedy: "use the pair that was issued together")
    }
}
