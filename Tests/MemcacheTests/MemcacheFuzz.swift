// What must hold for any bytes whatever. An input that breaks one of the preconditions below traps, which is what a fuzzer
// looks for.

import Kernel
import Memcache

/// One entry for each kind of bytes that come from outside.
public enum MemcacheFuzz {
    /// Parses the bytes as a client's whole stream, once at a time and once in two pieces, and encodes what was understood.
    public static func requests(_ bytes: UnsafeRawBufferPointer) {
        let whole = Outcome.all(in: bytes, arriving: [bytes.count])
        let halves = Outcome.all(in: bytes, arriving: [bytes.count / 2, bytes.count])
        precondition(whole == halves, "the outcome depends on how the bytes arrived")
    }

    /// Scans the bytes as a backend's whole stream, in every shape.
    public static func replies(_ bytes: UnsafeRawBufferPointer) {
        for shape in [ReplyShape.line, .retrieval, .meta, .stats] {
            var at = 0
            scanning: while at < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
                switch ReplyScanner.scan(rest, expecting: shape, valueBytesMax: 1_000_000) {
                case .incomplete(let wanted):
                    precondition(wanted > rest.count, "more is wanted than nothing")
                    break scanning
                case .malformed: break scanning
                case .reply(let reply):
                    precondition(reply.bytes > 0 && reply.bytes <= rest.count, "a reply of \(reply.bytes) in \(rest.count) bytes")
                    for span in [reply.key, reply.value, reply.opaque, reply.casDigits] { precondition(span.end <= reply.bytes) }
                    precondition(reply.headBytes <= reply.bytes)
                    at += reply.bytes
                }
            }
        }
    }

    /// Translates the bytes as a client's whole binary stream, once at a time and once in two pieces.
    public static func packets(_ bytes: UnsafeRawBufferPointer) {
        let whole = BinaryOutcome.all(in: bytes, arriving: [bytes.count])
        let halves = BinaryOutcome.all(in: bytes, arriving: [bytes.count / 2, bytes.count])
        precondition(whole == halves, "the outcome depends on how the bytes arrived")
    }

    /// Makes packets of a reply that consists of these bytes, for every opcode; each must be whole.
    public static func packetReplies(_ bytes: UnsafeRawBufferPointer) {
        for opcode: UInt8 in 0...0x26 {
            let queue = ByteQueue()
            BinaryReply.encode(bytes, for: BinaryPackets.exchange(opcode: opcode), into: queue)
            var rest = queue.readable[...]
            while !rest.isEmpty {
                let packet = UnsafeRawBufferPointer(rebasing: rest)
                precondition(packet.count >= 24 && packet[0] == 0x81 && packet[1] == opcode, "no reply to opcode \(opcode)")
                let body = Int(UInt32(bigEndian: packet.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
                precondition(body <= packet.count - 24, "a packet is longer than what was encoded")
                rest = rest.dropFirst(24 + body)
            }
        }
    }

    /// What a parser said, in a form that can be compared.
    enum Outcome: Equatable {
        case request(verb: Verb, bytes: Int, key: [UInt8], value: [UInt8], encoded: [UInt8])
        case refused(reply: String, swallow: Int)
        case refusedStore(key: [UInt8], reply: String, swallow: Int)
        case closed(reply: String)

        /// Everything that is understood of a stream whose bytes arrive in steps: `arriving` says how many are there in all at
        /// each step.
        static func all(in stream: UnsafeRawBufferPointer, arriving: [Int], itemBytesMax: Int = 10_000) -> [Outcome] {
            var parser = RequestParser(itemBytesMax: itemBytesMax)
            var outcomes: [Outcome] = []
            var at = 0
            var swallow = 0
            for available in arriving {
                while at < available {
                    if swallow > 0 {
                        let bytes = min(swallow, available - at)
                        at += bytes
                        swallow -= bytes
                        continue
                    }
                    let bytes = UnsafeRawBufferPointer(rebasing: stream[at..<available])
                    let outcome = parser.next(in: bytes)
                    if case .incomplete = outcome {
                        precondition(parser.bytesWanted > bytes.count, "nothing more is wanted, yet nothing was understood")
                        break
                    }
                    let consumed: Int
                    switch outcome {
                    case .incomplete: preconditionFailure("handled above")
                    case .request(let request):
                        outcomes.append(describe(request, bytes))
                        consumed = request.bytes
                    case .refused(let reply, let consume, let more, let close):
                        if close { return outcomes + [.closed(reply: "\(reply)")] }
                        outcomes.append(.refused(reply: "\(reply)", swallow: more))
                        (consumed, swallow) = (consume, more)
                    case .refusedStore(let request, let reply, let consume, let more):
                        let key = request.withKey(in: bytes) { [UInt8]($0) }
                        outcomes.append(.refusedStore(key: key, reply: "\(reply)", swallow: more))
                        (consumed, swallow) = (consume, more)
                    }
                    precondition(consumed > 0 && consumed <= bytes.count, "consumes \(consumed) of \(bytes.count)")
                    at += consumed
                }
            }
            return outcomes
        }

        private static func describe(_ request: Request, _ bytes: UnsafeRawBufferPointer) -> Outcome {
            let queue = ByteQueue()
            if request.verb != .shutdown && request.verb != .configGetCluster {
                request.encode(from: bytes, into: queue)
                check(queue, speaks: request, bytes)
            }
            if request.isMeta { request.encodeMetaReply("EN", from: bytes, into: ByteQueue()) }
            var keys = 0
            var cursor = KeyCursor(request, in: bytes)
            while cursor.next() != nil { keys += 1 }
            if request.replyShape == .retrieval {
                precondition(keys == request.keyCount, "\(keys) keys, not \(request.keyCount)")
            }
            return .request(
                verb: request.verb, bytes: request.bytes, key: request.withKey(in: bytes) { [UInt8]($0) },
                value: [UInt8](request.value.of(bytes)), encoded: [UInt8](queue.readable))
        }

        /// What is sent to a backend must be one request, and the very one that the client sent, without its silence.
        private static func check(_ queue: ByteQueue, speaks request: Request, _ bytes: UnsafeRawBufferPointer) {
            var parser = RequestParser(itemBytesMax: .max)
            guard case .request(let again) = parser.next(in: queue.readable) else {
                preconditionFailure("an encoded \(request.verb) is not understood")
            }
            precondition(again.bytes == queue.count, "an encoded \(request.verb) is more than one request")
            precondition(again.verb == request.verb && !again.noreply, "\(request.verb) became \(again.verb)")
            precondition(again.flags == request.flags && again.exptime == request.exptime && again.cas == request.cas)
            precondition(again.delta == request.delta && again.keyCount == request.keyCount)
            precondition(again.value.of(queue.readable).elementsEqual(request.value.of(bytes)))
            precondition(again.key.of(queue.readable).elementsEqual(request.key.of(bytes)))
        }
    }
}
