import Foundation
import Testing

@testable import TLS

@Suite struct TLSContextTests {
    let workshop: CertificateWorkshop

    init() throws { workshop = try CertificateWorkshop() }

    private func complaint(_ files: TLSFiles) -> String {
        do {
            _ = try TLSContext(files)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test func eachMissingFileIsNamedWithItsRemedy() throws {
        let good = try workshop.issue(site: "north", proxy: "n1")
        #expect(complaint(good) == "accepted")
        let nowhere = workshop.path("nowhere.pem")
        var files = good
        files.authority = nowhere
        #expect(complaint(files).contains("authority's certificate \(nowhere): No such file or directory; tls.authority"))
        files = good
        files.certificate = nowhere
        #expect(complaint(files).contains("proxy's certificate \(nowhere): No such file or directory; tls.certificate"))
        files = good
        files.key = nowhere
        #expect(complaint(files).contains("private key \(nowhere): No such file or directory; tls.key"))
    }

    @Test func aFileThatIsNoCertificateIsNamed() throws {
        var files = try workshop.issue(site: "north", proxy: "n1")
        files.certificate = workshop.path("note.txt")
        try "just a note".write(toFile: files.certificate, atomically: true, encoding: .utf8)
        #expect(complaint(files).contains("note.txt: no start line"))
    }

    @Test func aKeyOfAnotherCertificateIsRefused() throws {
        var files = try workshop.issue(site: "north", proxy: "n1")
        files.key = try workshop.issue(site: "north", proxy: "n2").key
        #expect(complaint(files).contains("does not belong to the certificate"))
    }

    @Test func aKeyWithAPassphraseIsRefusedInsteadOfAskedFor() throws {
        var files = try workshop.issue(site: "north", proxy: "n1")
        let locked = workshop.path("locked.key")
        try workshop.openssl("ec", "-in", files.key, "-aes256", "-passout", "pass:secret", "-out", locked)
        files.key = locked
        #expect(complaint(files).contains("without a passphrase"))
    }

    @Test func namesAreReadFromTheCertificate() throws {
        let context = try TLSContext(try workshop.issue(site: "north", proxy: "n1"))
        #expect(context.names == CertificateNames(federation: "shop", site: "north", proxy: "n1"))
        #expect(context.names.description == "north/n1 of shop")
    }

    @Test(arguments: [
        "meridian://shop/north", "meridian://shop/north/n1/x", "meridian:///north/n1", "meridian://shop/no rth/n1",
        "https://shop/a/b",
        "meridian://shop/north/", "meridian://shop//n1",
    ])
    func malformedNamesAreNotNames(uri: String) {
        #expect(CertificateNames(uri: uri) == nil)
    }

    @Test func aNameSurvivesTheRoundTrip() {
        let names = CertificateNames(federation: "shop-1", site: "north_x", proxy: "n1.a")
        #expect(CertificateNames(uri: names.uri) == names)
    }
}
