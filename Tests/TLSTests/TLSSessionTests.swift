import Foundation
import Kernel
import Testing

@testable import TLS

/// Two sessions with a wire of two byte queues between them.
private final class Wire {
    let dialing: TLSSession
    let accepting: TLSSession
    let eastbound = ByteQueue()
    let westbound = ByteQueue()
    let atDialing = ByteQueue()
    let atAccepting = ByteQueue()
    var dialingError: TLSError?
    var acceptingError: TLSError?

    init(_ dialing: TLSContext, _ accepting: TLSContext) throws {
        self.dialing = try TLSSession(dialing, role: .dialing)
        self.accepting = try TLSSession(accepting, role: .accepting)
        try self.dialing.begin(into: eastbound)
    }

    /// Carries bytes until nothing moves any more.
    func settle(chunk: Int = .max) {
        while !eastbound.isEmpty || !westbound.isEmpty {
            carry(eastbound, to: accepting, into: atAccepting, answers: westbound, chunk, &acceptingError)
            carry(westbound, to: dialing, into: atDialing, answers: eastbound, chunk, &dialingError)
        }
    }

    private func carry(
        _ wire: ByteQueue, to session: TLSSession, into plain: ByteQueue, answers: ByteQueue, _ chunk: Int,
        _ error: inout TLSError?
    ) {
        let piece = ByteQueue()
        let count = min(chunk, wire.count)
        piece.append(Array(wire.readable.prefix(count)))
        wire.consume(count)
        guard error == nil else { return }
        do throws(TLSError) {
            try session.receive(from: piece, into: plain, answering: answers)
        } catch let thrown {
            error = thrown
        }
    }
}

@Suite struct TLSSessionTests {
    let workshop: CertificateWorkshop
    let north: TLSContext

    init() throws {
        workshop = try CertificateWorkshop()
        north = try TLSContext(try workshop.issue(site: "north", proxy: "n1"))
    }

    @Test func twoProxiesOfOneAuthorityLearnEachOthersNamesAndTalk() throws {
        let south = try TLSContext(try workshop.issue(site: "south", proxy: "s1"))
        let wire = try Wire(north, south)
        wire.settle()
        #expect(wire.dialingError == nil && wire.acceptingError == nil)
        #expect(wire.dialing.peer == CertificateNames(federation: "shop", site: "south", proxy: "s1"))
        #expect(wire.accepting.peer == CertificateNames(federation: "shop", site: "north", proxy: "n1"))

        let question = ByteQueue()
        question.append("hello south")
        try wire.dialing.send(from: question, into: wire.eastbound)
        #expect(question.isEmpty)
        #expect(!Array(wire.eastbound.readable).contains(sequence: Array("hello".utf8)), "the wire must not carry plaintext")
        wire.settle()
        #expect(Array(wire.atAccepting.readable) == Array("hello south".utf8))
    }

    @Test func aLongTransferInTinyPiecesArrivesWholeAndInOrder() throws {
        let south = try TLSContext(try workshop.issue(site: "south", proxy: "s1"))
        let wire = try Wire(north, south)
        wire.settle(chunk: 7)
        var random = SeededRandom(seed: 7)
        let sent = (0..<300_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let plain = ByteQueue()
        plain.append(sent)
        while !plain.isEmpty {
            try wire.accepting.send(from: plain, into: wire.westbound)
            #expect(wire.westbound.count <= 2 * TLSSession.waitingBytesMax)
            wire.settle(chunk: 1_009)
        }
        #expect(Array(wire.atDialing.readable) == sent)
    }

    @Test func partOfARecordIsSeenWhereverItEnds() throws {
        let south = try TLSContext(try workshop.issue(site: "south", proxy: "s1"))
        let wire = try Wire(north, south)
        wire.settle()
        #expect(!wire.accepting.isHalfway)
        let answers = ByteQueue()
        for end in [1, 4, 5, 6, 20] {
            let plain = ByteQueue()
            plain.append("hello")
            try wire.dialing.send(from: plain, into: wire.eastbound)
            let record = Array(wire.eastbound.readable)
            wire.eastbound.removeAll()
            let piece = ByteQueue()
            piece.append(record)
            piece.truncate(to: end)
            try wire.accepting.receive(from: piece, into: wire.atAccepting, answering: answers)
            #expect(wire.accepting.isHalfway && wire.atAccepting.isEmpty, "\(end) of \(record.count) bytes")
            piece.append(record.suffix(from: end))
            try wire.accepting.receive(from: piece, into: wire.atAccepting, answering: answers)
            #expect(!wire.accepting.isHalfway)
            #expect(Array(wire.atAccepting.readable) == Array("hello".utf8))
            wire.atAccepting.removeAll()
        }
    }

    @Test func whatIsGivenBackInBetweenIsNotMissed() throws {
        let south = try TLSContext(try workshop.issue(site: "south", proxy: "s1"))
        let wire = try Wire(north, south)
        wire.accepting.giveBack()  // before the handshake there is nothing to give
        wire.settle()
        for count in [60_000, 120_000, 180_000] {
            let question = ByteQueue()
            question.append(zeros: count)
            try wire.dialing.send(from: question, into: wire.eastbound)
            #expect(question.isEmpty)
            // In the middle of a record, too.
            let half = ByteQueue()
            half.append(Array(wire.eastbound.readable.prefix(50_000)))
            wire.eastbound.consume(50_000)
            try wire.accepting.receive(from: half, into: wire.atAccepting, answering: wire.westbound)
            #expect(wire.accepting.isHalfway)
            wire.accepting.giveBack()
            #expect(wire.accepting.isHalfway)
            wire.settle()
            #expect(wire.atAccepting.count == count)
            try wire.accepting.send(from: wire.atAccepting, into: wire.westbound)
            wire.accepting.giveBack()
            wire.dialing.giveBack()
            wire.settle()
            #expect(wire.atDialing.count == count)
            wire.atDialing.removeAll()
        }
        #expect(wire.acceptingError == nil && wire.dialingError == nil)
    }

    @Test func endingIsToldApartFromACutWire() throws {
        let south = try TLSContext(try workshop.issue(site: "south", proxy: "s1"))
        let wire = try Wire(north, south)
        wire.settle()
        wire.dialing.end(into: wire.eastbound)
        wire.settle()
        #expect(wire.accepting.hasEnded)
        #expect(!wire.dialing.hasEnded)
    }

    @Test func aCertificateOfAnotherAuthorityIsRefusedAndTheOtherSideHearsWhy() throws {
        try workshop.makeAuthority("other")
        let stranger = try TLSContext(try workshop.issue(site: "south", proxy: "s1", authority: "other"))
        let wire = try Wire(stranger, north)
        wire.settle()
        #expect(wire.acceptingError?.reason.contains("signed by another authority (/CN=other)") == true)
        #expect(wire.accepting.peer == nil)
        #expect(wire.dialingError?.reason.contains("it knows another authority") == true)

        let other = try Wire(north, stranger)
        other.settle()
        #expect(other.dialingError?.reason.contains("signed by another authority") == true, "the dialling side checks as well")
    }

    @Test func anAuthorityWithTheSameNameButAnotherKeyIsAnotherAuthority() throws {
        let forged = try CertificateWorkshop()
        var files = try forged.issue(site: "south", proxy: "s1")
        files.authority = workshop.path("ca.pem")
        let wire = try Wire(try TLSContext(files), north)
        wire.settle()
        #expect(wire.acceptingError?.reason.contains("another authority") == true)
    }

    @Test func anExpiredCertificateIsRefusedWithItsDate() throws {
        let files = try workshop.issue(site: "south", proxy: "s1", days: -1)
        let expired = try TLSContext(files)
        let now = Int64(Date().timeIntervalSince1970)
        #expect(expired.expiryWarning(atWallSeconds: now)?.contains("expired on 20") == true)
        #expect(north.expiryWarning(atWallSeconds: now) == nil)
        #expect(north.expiryWarning(atWallSeconds: now + 20 * 86_400)?.contains("expires on 20") == true)
        let wire = try Wire(expired, north)
        wire.settle()
        #expect(wire.acceptingError?.reason.contains("the peer's certificate expired on 20") == true)
        #expect(wire.dialingError?.reason.contains("it has expired") == true)
    }

    @Test func aCertificateWithoutOrWithSeveralNamesIsRefused() throws {
        #expect(throws: TLSError.self) { try CertificateNames.only(in: ["https://example.com"]) }
        let none = try workshop.issue("none", san: "DNS:n1.example")
        let several = try workshop.issue("several", san: "URI:meridian://shop/north/n1,URI:meridian://shop/south/s1")
        for (files, words) in [(none, "names no proxy"), (several, "names 2 proxies")] {
            do {
                _ = try TLSContext(files)
                Issue.record("\(files.certificate) was accepted")
            } catch {
                #expect("\(error)".contains(words))
            }
        }
    }

    @Test func aPeerWithoutACertificateIsRefused() throws {
        let reply = try refusal(of: [])
        #expect(reply?.reason == "the peer presented no certificate")
    }

    @Test func aPeerThatSpeaksOnlyTLS12IsRefused() throws {
        let files = try workshop.issue(site: "south", proxy: "s9")
        let reply = try refusal(of: ["-tls1_2", "-cert", files.certificate, "-key", files.key])
        #expect(reply?.reason == "the peer does not speak TLS 1.3")
    }

    @Test func garbageIsRefusedWithoutTrouble() throws {
        var random = SeededRandom(seed: 1)
        var refused = 0
        for round in 0..<200 {
            let session = try TLSSession(north, role: .accepting)
            let input = ByteQueue()
            let garbage = (0..<random.below(2_000) + 6).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if round == 0 { input.append("GET / HTTP/1.1\r\nHost: here\r\n\r\n") } else { input.append(garbage) }
            let plain = ByteQueue()
            do throws(TLSError) {
                try session.receive(from: input, into: plain, answering: ByteQueue())
            } catch {
                refused += 1
                if round == 0 { #expect(error.reason.contains("does not speak TLS")) }
            }
            #expect(plain.isEmpty && session.peer == nil)
        }
        #expect(refused > 180, "a few look like the beginning of a record, of which the rest is waited for")
    }

    @Test func aMutatedHandshakeNeverPassesAndNeverTraps() throws {
        let south = try TLSContext(try workshop.issue(site: "south", proxy: "s1"))
        var random = SeededRandom(seed: 2)
        for _ in 0..<100 {
            let wire = try Wire(north, south)
            let place = 5 + random.below(wire.eastbound.count - 5)  // the record's own version bytes are ignored by RFC 8446
            let flipped = wire.eastbound[place] ^ UInt8(1 + random.below(255))
            wire.eastbound.overwrite(littleEndian: flipped, at: place)
            wire.settle()
            #expect(wire.accepting.peer == nil, "a changed byte at \(place) was accepted")
        }
    }

    /// Has `openssl s_client` dial a session of ours over a pipe-free loopback port and returns what we refused it with.
    private func refusal(of arguments: [String]) throws -> TLSError? {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                _ = bind(listener, name, length)
                _ = listen(listener, 1)
                _ = getsockname(listener, name, &length)
            }
        }
        let client = Process()
        client.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        client.arguments = ["openssl", "s_client", "-connect", "127.0.0.1:\(UInt16(bigEndian: address.sin_port))"] + arguments
        client.standardInput = FileHandle.nullDevice
        client.standardOutput = FileHandle.nullDevice
        client.standardError = FileHandle.nullDevice
        try client.run()
        defer { client.waitUntilExit() }
        let connection = accept(listener, nil, nil)
        defer { close(connection) }
        let session = try TLSSession(north, role: .accepting)
        let incoming = ByteQueue()
        let outgoing = ByteQueue()
        while true {
            let room = incoming.reserve(4_096)
            let count = read(connection, room.baseAddress, 4_096)
            guard count > 0 else { return nil }
            incoming.commit(count)
            do throws(TLSError) {
                try session.receive(from: incoming, into: ByteQueue(), answering: outgoing)
            } catch {
                return error
            }
            _ = write(connection, outgoing.readable.baseAddress, outgoing.count)
            outgoing.removeAll()
        }
    }
}

extension Array where Element == UInt8 {
    fileprivate func contains(sequence: [UInt8]) -> Bool {
        indices.contains { self[$0...].starts(with: sequence) }
    }
}
