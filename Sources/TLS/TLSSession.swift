// One TLS connection as a filter between byte queues. It owns no socket:
//
//     socket ──▶ ciphertext in ──receive──▶ plaintext in ──▶ core
//     socket ◀── ciphertext out ◀──send── plaintext out ◀── core
//
// The handshake's own bytes, and alerts, go straight to ciphertext out.

import COpenSSL
import Kernel

/// One side of a TLS connection: with a peer, both sides with certificates that name proxies, or with a client.
public final class TLSSession {
    /// Who began.
    public enum Role: Sendable {
        /// We dialled.
        case dialing
        /// We accepted.
        case accepting
    }

    /// Most bytes of ciphertext that `send` lets wait; the rest stays plaintext until these are written.
    public static let waitingBytesMax = 256 * 1024
    /// Room offered to each read: one TLS record's longest plaintext.
    private static let recordBytesMax = 16 * 1024

    private let ssl: OpaquePointer
    /// Lives as long as the session that was made from it.
    private let context: AnyObject & Sendable
    /// The other side is a proxy, and its certificate must say which.
    private let isPeer: Bool
    /// Where the verification notes why it refused; lives exactly as long as `ssl`.
    private let refusal: UnsafeMutablePointer<meridian_tls_refusal>

    /// Whom the peer's certificate names; nil until the handshake is done, and for clients.
    public private(set) var peer: CertificateNames?
    /// True once the peer has said that it will send no more.
    public private(set) var hasEnded = false

    /// True once the handshake is done and the other side's certificate, where one is asked for, was accepted.
    public private(set) var isEstablished = false

    /// A session that has not begun: dial with `begin`, or `receive` what the dialling side sent.
    public convenience init(_ context: TLSContext, role: Role) throws(TLSError) {
        try self.init(context.context, of: context, isPeer: true, role: role)
    }

    /// A session with a client that has connected: `receive` what it sent.
    public convenience init(_ context: ListenerContext) throws(TLSError) {
        try self.init(context.context, of: context, isPeer: false, role: .accepting)
    }

    private init(_ pointer: OpaquePointer, of context: AnyObject & Sendable, isPeer: Bool, role: Role) throws(TLSError) {
        refusal = .allocate(capacity: 1)
        refusal.initialize(to: meridian_tls_refusal())
        guard let ssl = meridian_tls_session_new(pointer, role == .accepting ? 1 : 0, refusal) else {
            refusal.deallocate()
            throw TLSError(reason: "OpenSSL could not make a session")
        }
        self.ssl = ssl
        self.context = context
        self.isPeer = isPeer
    }

    deinit {
        SSL_free(ssl)
        refusal.deallocate()
    }

    /// The dialling side's first words.
    public func begin(into ciphertext: ByteQueue) throws(TLSError) {
        try shakeHands(answering: ciphertext)
    }

    /// Takes in what arrived. Plaintext is appended to `plaintext`; what the protocol itself has to answer is appended to
    /// `outgoing`, also when this throws: then it is the alert that tells the peer, to be sent before closing.
    public func receive(from ciphertext: ByteQueue, into plaintext: ByteQueue, answering outgoing: ByteQueue) throws(TLSError) {
        if !ciphertext.isEmpty {
            let bytes = ciphertext.readable
            guard meridian_tls_feed(ssl, bytes.baseAddress, Int32(bytes.count)) != 0 else {
                throw TLSError(reason: "OpenSSL found no memory for \(bytes.count) bytes")
            }
            ciphertext.removeAll()
        }
        if !isEstablished { try shakeHands(answering: outgoing) }
        guard isEstablished else { return }
        while true {
            let room = plaintext.reserve(Self.recordBytesMax)
            var done = 0
            let outcome = meridian_tls_read(ssl, room.baseAddress, room.count, &done)
            if outcome == SSL_ERROR_NONE {
                plaintext.commit(done)
                continue
            }
            let failure = outcome == SSL_ERROR_SSL ? connectionError() : nil
            fetch(into: outgoing)
            switch outcome {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
            case SSL_ERROR_ZERO_RETURN:
                hasEnded = true
                return
            default: throw failure ?? TLSError(reason: "TLS failed: OpenSSL's error \(outcome)")
            }
        }
    }

    /// True while a record has arrived in part: nothing of it can be decrypted before the rest is there.
    public var isHalfway: Bool { meridian_tls_is_halfway(ssl) != 0 }

    /// Encrypts what waits in `plaintext`, as far as `waitingBytesMax` allows.
    public func send(from plaintext: ByteQueue, into ciphertext: ByteQueue) throws(TLSError) {
        precondition(isEstablished, "sending before the handshake is done")
        while !plaintext.isEmpty && ciphertext.count < Self.waitingBytesMax {
            let bytes = plaintext.readable
            var done = 0
            let outcome = meridian_tls_write(ssl, bytes.baseAddress, min(bytes.count, Self.waitingBytesMax), &done)
            let failure = outcome == SSL_ERROR_NONE ? nil : connectionError()
            fetch(into: ciphertext)
            if let failure { throw failure }
            plaintext.consume(done)
        }
    }

    /// Says goodbye: nothing more will be sent.
    public func end(into ciphertext: ByteQueue) {
        guard isEstablished else { return }
        SSL_shutdown(ssl)
        ERR_clear_error()
        fetch(into: ciphertext)
    }

    /// Gives back what ciphertext took on its way, for a connection that will not be used soon.
    public func giveBack() {
        if isEstablished { meridian_tls_give_back(ssl) }
    }

    private func shakeHands(answering outgoing: ByteQueue) throws(TLSError) {
        let outcome = meridian_tls_handshake(ssl)
        let failure = outcome == SSL_ERROR_SSL ? connectionError() : nil
        fetch(into: outgoing)
        switch outcome {
        case SSL_ERROR_NONE:
            if isPeer { peer = try peerNames() }
            isEstablished = true
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
        default: throw failure ?? TLSError(reason: "TLS failed: OpenSSL's error \(outcome)")
        }
    }

    private func peerNames() throws(TLSError) -> CertificateNames {
        guard let certificate = SSL_get0_peer_certificate(ssl) else {
            throw TLSError(reason: "the peer presented no certificate")
        }
        return try CertificateNames.only(in: TLSContext.uris(certificate))
    }

    private func connectionError() -> TLSError {
        var words = [CChar](repeating: 0, count: 256)
        let reason = meridian_tls_last_reason(&words, words.count)
        if refusal.pointee.code != 0 {
            return isPeer ? TLSError.refusal(refusal.pointee) : TLSError.refusalOfClient(refusal.pointee)
        }
        let told = Text.inArray(words)
        return isPeer ? TLSError.connection(reason: reason, words: told) : TLSError.client(reason: reason, words: told)
    }

    private func fetch(into queue: ByteQueue) {
        let waiting = Int(meridian_tls_waiting(ssl))
        guard waiting > 0 else { return }
        let room = queue.reserve(waiting)
        let done = meridian_tls_fetch(ssl, room.baseAddress, Int32(waiting))
        if done > 0 { queue.commit(Int(done)) }
    }
}
