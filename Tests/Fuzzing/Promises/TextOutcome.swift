// What is understood of a client's text, in a form that can be compared.

import Kernel
import Memcache

/// What a parser said, in a form that can be compared.
package enum TextOutcome: Equatable {
    case request(verb: Verb, bytes: Int, key: [UInt8], value: [UInt8], encoded: [UInt8])
    case refused(reply: String, swallow: Int)
    case refusedStore(key: [UInt8], reply: String, swallow: Int)
    case closed(reply: String)

    /// Everything that is understood of a stream whose bytes arrive in steps: `arriving` says how many are there in all at
    /// each step. In many steps the parser is asked only when there is as much as it wanted.
    package static func all(
        in stream: UnsafeRawBufferPointer, arriving: [Int], itemBytesMax: Int = 10_000, _ refusedBlock: RefusedBlock = .swallowed
    ) -> [TextOutcome] {
        var parser = RequestParser(itemBytesMax: itemBytesMax, refusedBlock: refusedBlock)
        let isPatient = arriving.count > 2
        var outcomes: [TextOutcome] = []
        var at = 0
        var swallow = 0
        for available in arriving {
            while at < available {
                if isPatient, swallow == 0, available - at < parser.bytesWanted { break }
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
                    precondition(
                        parser.bytesWanted <= max(bytes.count + 1, MemcacheLimits.lineBytesMax + itemBytesMax + 2),
                        "\(parser.bytesWanted) bytes are to be kept for one request")
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
                case .authentication: preconditionFailure("a text connection cannot speak SASL")
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

    private static func describe(_ request: Request, _ bytes: UnsafeRawBufferPointer) -> TextOutcome {
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
