// Why a certificate, a key file or a peer was refused, in words that an operator can act on.

import COpenSSL

/// A refusal: ours of a peer or a file, or a peer's of us.
public struct TLSError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong.
    public var reason: String
    /// What to do about it; empty when there is nothing to say.
    public var remedy: String

    /// Makes a refusal of its parts.
    public init(reason: String, remedy: String = "") {
        self.reason = reason
        self.remedy = remedy
    }

    /// `reason; remedy`
    public var description: String { remedy.isEmpty ? reason : "\(reason); \(remedy)" }

    /// What our verification found wrong with the peer's certificate.
    static func refusal(_ refusal: meridian_tls_refusal) -> TLSError {
        let subject = Text.inTuple(refusal.subject)
        let issuer = Text.inTuple(refusal.issuer)
        let whose = refusal.depth == 0 ? "the peer's certificate" : "the authority's certificate \(subject)"
        switch refusal.code {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return TLSError(reason: "\(whose) expired on \(Text.date(refusal.not_after))", remedy: "renew it")
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return TLSError(
                reason: "\(whose) is valid only from \(Text.date(refusal.not_before))", remedy: "compare the machines' clocks")
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_SIGNATURE_FAILURE,
            X509_V_ERR_AKID_SKID_MISMATCH, X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
            return TLSError(
                reason: "the peer's certificate is signed by another authority (\(issuer))",
                remedy: "all proxies of a federation need certificates of one authority")
        case X509_V_ERR_INVALID_PURPOSE:
            return TLSError(
                reason: "\(whose) may not be used for both sides of a connection",
                remedy: "issue it with extendedKeyUsage serverAuth,clientAuth")
        default:
            let words = String(cString: X509_verify_cert_error_string(Int(refusal.code)))
            return TLSError(reason: "\(whose) was refused: \(words)")
        }
    }

    /// What our verification found wrong with a client's certificate.
    static func refusalOfClient(_ refusal: meridian_tls_refusal) -> TLSError {
        let told = Self.refusal(refusal).reason.replacing("the peer's", with: "the client's")
        return TLSError(reason: told, remedy: "give it one of the listener's client-authority")
    }

    /// What OpenSSL's last error means for a client's connection.
    static func client(reason: Int32, words: String) -> TLSError {
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            TLSError(reason: "the client presented no certificate", remedy: "give it one of the listener's client-authority")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW: TLSError(reason: "the client speaks nothing newer than TLS 1.1")
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_PACKET_LENGTH_TOO_LONG,
            SSL_R_BAD_RECORD_TYPE, SSL_R_UNEXPECTED_MESSAGE:
            TLSError(reason: "the client does not speak TLS (\(words))", remedy: "this listener serves nothing else")
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA, SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
            SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
            TLSError(
                reason: "the client refused our certificate (\(words))", remedy: "compare its authority with the certificate's")
        default: TLSError(reason: "TLS failed: \(words)")
        }
    }

    /// What OpenSSL's last error means for a connection.
    static func connection(reason: Int32, words: String) -> TLSError {
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            TLSError(reason: "the peer presented no certificate")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
            TLSError(reason: "the peer does not speak TLS 1.3")
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_PACKET_LENGTH_TOO_LONG,
            SSL_R_BAD_RECORD_TYPE, SSL_R_UNEXPECTED_MESSAGE:
            TLSError(
                reason: "the peer does not speak TLS (\(words))", remedy: "check that its address is a proxy's replication port")
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
            TLSError(
                reason: "the peer refused our certificate: it knows another authority",
                remedy: "all proxies of a federation need certificates of one authority")
        case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
            TLSError(reason: "the peer refused our certificate: it has expired", remedy: "renew it")
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
            SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
            TLSError(reason: "the peer refused our certificate (\(words))", remedy: "the peer's log says why")
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
            TLSError(reason: "the peer demands a certificate")
        default:
            TLSError(reason: "TLS failed: \(words)")
        }
    }
}

/// C texts as strings.
enum Text {
    /// A text in a fixed C array, up to its zero byte.
    static func inTuple<Tuple>(_ tuple: Tuple) -> String {
        withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// A text in an array, up to its zero byte.
    static func inArray(_ text: [CChar]) -> String {
        String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `2026-11-22 11:31 UTC`
    static func date(_ seconds: Int64) -> String {
        var text = [CChar](repeating: 0, count: 40)
        meridian_date_text(seconds, &text, text.count)
        return inArray(text)
    }
}
