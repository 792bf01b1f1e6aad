// What is understood of a client's packets, in a form that can be compared.

import Kernel
import Memcache

/// What a translator said, in a form that can be compared.
package enum BinaryOutcome: Equatable {
    case text(String)
    case refused(reply: String, swallow: Int)
    case refusedStore(text: String, reply: String, swallow: Int)
    case closed(reply: String)

    /// Everything that is understood of a stream whose bytes arrive in steps; the same wherever values of so many bytes stay apart.
    package static func all(
        in stream: UnsafeRawBufferPointer, arriving: [Int], itemBytesMax: Int = 10_000, apartBytesMin: Int = .max
    ) -> [BinaryOutcome] {
        var translator = BinaryTranslator(itemBytesMax: itemBytesMax, apartBytesMin: apartBytesMin)
        let text = ByteQueue()
        var outcomes: [BinaryOutcome] = []
        var at = 0
        var swallow = 0
        for available in arriving {
            while at < available {
                let swallowed = min(swallow, available - at)
                at += swallowed
                swallow -= swallowed
                if at == available { break }
                let bytes = UnsafeRawBufferPointer(rebasing: stream[at..<available])
                let outcome = translator.next(in: bytes, text: text)
                let consumed: Int
                let said = String(decoding: text.readable, as: UTF8.self)
                switch outcome {
                case .incomplete: consumed = 0
                case .request(let request):
                    consumed = translator.packetBytes
                    var whole = Array(text.readable)
                    if translator.isValueApart {
                        precondition(request.value.start == text.count && consumed <= bytes.count, "a value apart is misplaced")
                        whole += bytes[consumed - request.value.count..<consumed] + [13, 10]
                    }
                    precondition(request.bytes == whole.count, "a packet became more than one command")
                    outcomes.append(.text(String(decoding: whole, as: UTF8.self)))
                case .refused(let reply, let consume, let more, let close):
                    if close { return outcomes + [.closed(reply: "\(reply)")] }
                    outcomes.append(.refused(reply: "\(reply)", swallow: more))
                    (consumed, swallow) = (consume, more)
                case .authentication: preconditionFailure("nobody was asked who he is")
                case .refusedStore(_, let reply, let consume, let more):
                    outcomes.append(.refusedStore(text: said, reply: "\(reply)", swallow: more))
                    (consumed, swallow) = (consume, more)
                }
                if consumed == 0 { break }
                precondition(consumed <= bytes.count, "consumes \(consumed) of \(bytes.count)")
                at += consumed
            }
        }
        return outcomes
    }
}
