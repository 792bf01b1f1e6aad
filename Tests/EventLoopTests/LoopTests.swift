import Foundation
import Kernel
import Testing

@testable import EventLoop

private let role: UInt32 = 7

@Suite struct LoopTests {
    @Test func aDeadlineEndsAWaitThatNothingElseEnds() throws {
        let loop = try Loop()
        let begun = Clock.monotonicMicroseconds()
        loop.wait(until: begun + 30_000)
        #expect(Clock.monotonicMicroseconds() >= begun + 25_000)
        #expect(loop.readyCount == 0)
        loop.wait(until: begun)  // long past: does not wait at all
        #expect(Clock.monotonicMicroseconds() < begun + Loop.waitMicrosecondsMax)
    }

    @Test func aLaterDeadlineAfterAnEarlierOneIsStillKept() throws {
        let loop = try Loop()
        let begun = Clock.monotonicMicroseconds()
        loop.wait(until: begun + 5_000)
        let deadline = begun + 40_000
        while Clock.monotonicMicroseconds() < deadline { loop.wait(until: deadline) }
        #expect(Clock.monotonicMicroseconds() < deadline + 500_000)
    }

    @Test func manyShortWaitsAllEnd() throws {
        // The timer goes off by a coarse clock, at times before the deadline by ours; no later wait may depend on it then.
        let loop = try Loop()
        var random = SeededRandom(seed: 3)
        let begun = Clock.monotonicMicroseconds()
        for _ in 0..<400 {
            let now = Clock.monotonicMicroseconds()
            loop.wait(until: now + 500 + UInt64(random.below(1_500)))
            loop.wait(until: now + 2_000)
        }
        #expect(Clock.monotonicMicroseconds() - begun < 60_000_000)
    }

    @Test func readinessComesWithTheOwnersNumbersUntilItIsRead() throws {
        let loop = try Loop()
        let pair = try SocketPair()
        defer { Descriptor.close(pair.far) }
        let socket = Socket(loop, descriptor: pair.near, role: role, token: 1 << 40 | 5)
        socket.isReading = true
        Descriptor.writeOnce(pair.far, "ping")
        for _ in 0..<2 {  // level-triggered: reported again as long as it is unread
            loop.wait(until: Clock.monotonicMicroseconds() + 1_000_000)
            #expect(loop.readyCount == 1)
            #expect(loop.ready(0).role == role && loop.ready(0).token == 1 << 40 | 5 && !loop.ready(0).writable)
        }
        loop.wait(until: 0)
        #expect(loop.readyCount == 1, "a wait that may not wait looks once, however much stays unread")
        let queue = ByteQueue()
        #expect(socket.read(into: queue) == .bytes(4), "4 bytes were sent")
        #expect(socket.read(into: queue) == .nothing, "only 4 bytes were sent")
        #expect(Array(queue.readable) == Array("ping".utf8))
        socket.isReading = false
        Descriptor.writeOnce(pair.far, "pong")
        loop.wait(until: Clock.monotonicMicroseconds() + 10_000)
        #expect(loop.readyCount == 0, "a paused socket is not reported")
    }

    @Test func aShortWriteIsFinishedWhenThereIsRoomAgain() throws {
        let loop = try Loop()
        let pair = try SocketPair()
        let sender = Socket(loop, descriptor: pair.near, role: role, token: 1)
        let receiver = Socket(loop, descriptor: pair.far, role: role, token: 2)
        receiver.isReading = true
        let sent = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let outgoing = ByteQueue()
        outgoing.append(sent)
        let incoming = ByteQueue()
        #expect(sender.write(from: outgoing) == .some, "two megabytes do not fit a socket")
        #expect(sender.isWriting)
        var turns = 0
        while incoming.count < sent.count && turns < 10_000 {
            turns += 1
            loop.wait(until: Clock.monotonicMicroseconds() + 1_000_000)
            for index in 0..<loop.readyCount {
                let ready = loop.ready(index)
                if ready.writable { _ = sender.write(from: outgoing) } else { _ = receiver.read(into: incoming) }
            }
        }
        #expect(Array(incoming.readable) == sent)
        #expect(!sender.isWriting, "an empty queue does not wait for room")
    }

    @Test func oneReadIsBoundedHoweverMuchWaits() throws {
        let loop = try Loop()
        let pair = try SocketPair()
        defer { Descriptor.close(pair.far) }
        let socket = Socket(loop, descriptor: pair.near, role: role, token: 1)
        let queue = ByteQueue(capacity: 1 << 20)
        for _ in 0..<200 { Descriptor.writeOnce(pair.far, String(repeating: "x", count: 1_000)) }
        #expect(socket.read(into: queue) == .bytes(Socket.readBytesMin), "the first read takes the least")
        let before = queue.count
        _ = socket.read(into: queue)
        #expect(queue.count - before > Socket.readBytesMin && queue.count - before <= Socket.readBytesMax)
        #expect(socket.read(into: queue, limit: 8) == .bytes(8), "a limit is kept")
    }

    @Test func aClosedPeerIsAnEndAndABrokenOneAnError() throws {
        Signals.ignoreBrokenPipes()
        let loop = try Loop()
        let pair = try SocketPair()
        let socket = Socket(loop, descriptor: pair.near, role: role, token: 1)
        Descriptor.close(pair.far)
        let queue = ByteQueue()
        #expect(socket.read(into: queue) == .end, "the peer closed")
        queue.append("too late")
        #expect(socket.write(from: queue) == .failed(EPIPE), "nobody listens any more")
    }

    @Test func aConnectionIsMadeOrFailsWithTheSystemsReason() throws {
        let loop = try Loop()
        let bound = try #require(try BoundSocket.tcp(host: "127.0.0.1", port: 0).first?.first)
        let address = try #require(SocketAddress(numericHost: "127.0.0.1", port: bound.port))
        let refused = try Socket.connect(loop, to: address, role: role, token: 1)
        loop.wait(until: nil)
        #expect(refused.connectFailure() == ECONNREFUSED, "bound but not listening")
        refused.close()
        let listener = try Listener(loop, bound, role: role + 1, token: 0)
        defer { listener.close() }
        let socket = try Socket.connect(loop, to: address, role: role, token: 2)
        var accepted: [Listener.Accepted] = []
        var connected = false
        for _ in 0..<10 where !connected || accepted.isEmpty {
            loop.wait(until: Clock.monotonicMicroseconds() + 1_000_000)
            for index in 0..<loop.readyCount {
                if loop.ready(index).role == role {
                    connected = socket.connectFailure() == nil
                } else {
                    listener.accept { accepted.append($0) }
                }
            }
        }
        #expect(connected && accepted.count == 1)
        #expect(accepted.first?.peer.description.hasPrefix("127.0.0.1:") == true)
        for each in accepted { Descriptor.close(each.descriptor) }
    }
}

@Suite struct MailboxTests {
    @Test func messagesOfManyThreadsArriveOnceAndInEachThreadsOrder() throws {
        let loop = try Loop()
        let mailbox = try Mailbox<Int>()
        let watch = mailbox.watch(in: loop, role: role)
        defer { watch.cancel() }
        let threads = 4
        let each = 20_000
        let running = try (0..<threads).map { thread in
            try WorkerThread.start(name: "poster") { for number in 0..<each { mailbox.post(thread << 32 | number) } }
        }
        var next = [Int](repeating: 0, count: threads)
        while next.reduce(0, +) < threads * each {
            loop.wait(until: nil)
            for index in 0..<loop.readyCount {
                #expect(loop.ready(index).role == role)
                for message in mailbox.take() {
                    #expect(message & 0xffff_ffff == next[message >> 32])
                    next[message >> 32] += 1
                }
            }
        }
        for thread in running { thread.join() }
        #expect(mailbox.take().isEmpty)
    }
}

@Suite struct ResolverTests {
    @Test func namesAreLookedUpElsewhereAndFailuresAreTold() throws {
        let mailbox = try Mailbox<Resolver.Answer>()
        let loop = try Loop()
        let watch = mailbox.watch(in: loop, role: role)
        defer { watch.cancel() }
        let resolver = Resolver()
        resolver.resolve(host: "localhost", port: 11211) { mailbox.post($0) }
        resolver.resolve(host: "no such host!", port: 1) { mailbox.post($0) }
        var answers: [Resolver.Answer] = []
        while answers.count < 2 {
            loop.wait(until: nil)
            answers += mailbox.take()
        }
        #expect(try answers[0].get().contains { $0.isLoopback })
        #expect(throws: SocketError.self) { try answers[1].get() }
    }

    @Test func numbersNeedNoLookUp() {
        #expect(SocketAddress(numericHost: "::1", port: 5)?.description == "[::1]:5")
        #expect(SocketAddress(numericHost: "10.0.0.1", port: 5)?.isLoopback == false)
        #expect(SocketAddress(numericHost: "localhost", port: 5) == nil)
    }
}
