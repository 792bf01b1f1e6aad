import Foundation
import Kernel
import Testing

@testable import TLS

/// The certificates of listeners: they are clients' business, so no proxy's name is asked of them.
@Suite struct ListenerContextTests {
    @Test func `any certificate with its key will do`() throws {
        let workshop = try CertificateWorkshop()
        let files = try workshop.issue("listener", san: "DNS:cache.example.net")
        let context = try ListenerContext(ListenerFiles(certificate: files.certificate, key: files.key))
        #expect(context.expiryWarning(atWallSeconds: context.notAfterSeconds - 60 * 86_400) == nil)
        #expect(context.expiryWarning(atWallSeconds: context.notAfterSeconds - 86_400)?.contains("expires on") == true)
        #expect(context.expiryWarning(atWallSeconds: context.notAfterSeconds + 1)?.contains("expired on") == true)
    }

    @Test func `files that are missing, mixed up or empty are told by name`() throws {
        let workshop = try CertificateWorkshop()
        let one = try workshop.issue("one", san: nil)
        let two = try workshop.issue("two", san: nil)
        try "".write(toFile: workshop.path("empty.pem"), atomically: true, encoding: .utf8)
        func refusal(_ certificate: String, _ key: String, _ authority: String? = nil) -> String {
            do {
                _ = try ListenerContext(ListenerFiles(certificate: certificate, key: key, clientAuthority: authority))
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        #expect(refusal(workshop.path("none.pem"), one.key).contains("none.pem: No such file"))
        #expect(refusal(one.certificate, workshop.path("none.key")).contains("none.key: No such file"))
        #expect(refusal(one.certificate, two.key).contains("does not belong to the certificate"))
        #expect(refusal(one.certificate, one.key, workshop.path("none.pem")).contains("client authority's certificate"))
        #expect(refusal(one.certificate, one.key, workshop.path("empty.pem")).contains("empty.pem"))
        #expect(refusal(one.certificate, one.key, workshop.path("ca.pem")) == "accepted")
    }

    @Test func `what does not speak TLS is refused in words about a client`() throws {
        let workshop = try CertificateWorkshop()
        let files = try workshop.issue("listener", san: nil)
        let session = try TLSSession(ListenerContext(ListenerFiles(certificate: files.certificate, key: files.key)))
        let (incoming, plain, outgoing) = (ByteQueue(), ByteQueue(), ByteQueue())
        incoming.append("get a key that is not there\r\n")
        do {
            try session.receive(from: incoming, into: plain, answering: outgoing)
            Issue.record("text was taken for TLS")
        } catch {
            #expect("\(error)".contains("the client does not speak TLS"))
        }
        #expect(plain.isEmpty && !session.isEstablished)
    }

    /// A peer's context asks for certificates and offers TLS 1.3 alone: against a listener it stands for a client with papers.
    @Test func `a client's certificate is demanded by a listener that names an authority, and by no other`() throws {
        let workshop = try CertificateWorkshop()
        try workshop.makeAuthority("other")
        let listener = try workshop.issue("listener", san: "URI:meridian://shop/north/n1")
        let papers = try TLSContext(try workshop.issue(site: "north", proxy: "n2"))
        func shake(_ authority: String?) throws -> TLSSession {
            let accepting = try TLSSession(
                ListenerContext(ListenerFiles(certificate: listener.certificate, key: listener.key, clientAuthority: authority)))
            let dialing = try TLSSession(papers, role: .dialing)
            let (there, back, plain) = (ByteQueue(), ByteQueue(), ByteQueue())
            try dialing.begin(into: there)
            for _ in 0..<4 {
                try accepting.receive(from: there, into: plain, answering: back)
                try dialing.receive(from: back, into: plain, answering: there)
            }
            return accepting
        }
        #expect(try shake(nil).isEstablished)
        let known = try shake(workshop.path("ca.pem"))
        #expect(known.isEstablished && known.peer == nil)
        #expect(throws: TLSError.self) { try shake(workshop.path("other.pem")) }
    }
}
