// What all TLS sessions with the clients of one listener have in common: the certificate that clients are shown, its key, and
// the authority of their own certificates where they must have some. Nothing of it concerns peers.

import COpenSSL

/// Where a listener's files are, all PEM.
public struct ListenerFiles: Sendable, Hashable {
    /// The certificate that clients are shown, with any intermediate ones behind it.
    public var certificate: String
    /// Its private key, without a passphrase.
    public var key: String
    /// The authority whose certificates clients must show; nil when none is asked for.
    public var clientAuthority: String?

    /// Names the files.
    public init(certificate: String, key: String, clientAuthority: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.clientAuthority = clientAuthority
    }
}

/// A listener's certificate, key and authority, loaded and found to fit together.
///
/// Unchecked because it holds a C pointer; it holds for the same reason as for `TLSContext`: an SSL_CTX is not changed after
/// `init`, and sessions may be made from it in several threads.
public final class ListenerContext: @unchecked Sendable {
    let context: OpaquePointer
    /// When the certificate expires, in seconds since 1970.
    public let notAfterSeconds: Int64

    /// Loads and checks the files.
    public init(_ files: ListenerFiles) throws(TLSError) {
        guard let context = meridian_tls_listener_context_new() else {
            throw TLSError(reason: "OpenSSL could not make a TLS context")
        }
        do throws(TLSError) {
            let own = try TLSContext.loadPair(
                into: context, certificate: files.certificate, key: files.key, whose: "the listener's")
            notAfterSeconds = meridian_certificate_not_after(own)
            if let authority = files.clientAuthority, meridian_tls_listener_demand(context, authority) != 1 {
                throw TLSContext.unusable(
                    "the client authority's certificate", authority,
                    "tls.client-authority must name a readable PEM file with a certificate")
            }
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        self.context = context
    }

    deinit { SSL_CTX_free(context) }

    /// What the operator should hear about the certificate's age, at this many seconds since 1970.
    public func expiryWarning(atWallSeconds now: Int64) -> String? {
        if notAfterSeconds <= now {
            return "this listener's certificate expired on \(Text.date(notAfterSeconds)); clients refuse it; renew it"
        }
        if notAfterSeconds - now < TLSContext.expiryWarningDays * 86_400 {
            return "this listener's certificate expires on \(Text.date(notAfterSeconds)); renew it"
        }
        return nil
    }
}
