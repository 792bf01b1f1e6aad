// The binary protocol on its way out: the text reply to what a packet became, made a packet again.

import Kernel

/// Makes packets of replies.
public enum BinaryReply {
    /// What a client that has not said who it is gets for anything else.
    static var unauthenticated: StaticString { "CLIENT_ERROR unauthenticated\r\n" }

    /// Appends the packet, or packets, for a whole text reply; nothing where a quiet operation expects none.
    public static func encode(_ text: UnsafeRawBufferPointer, for exchange: BinaryExchange, into queue: ByteQueue) {
        guard let operation = exchange.operation else {
            if starts(text, unauthenticated) { return refuse(.authenticationFailed, exchange, queue) }
            return refuse(starts(text, "CLIENT_ERROR") ? .invalid : .unknownCommand, exchange, queue)
        }
        if operation == .stat { return encodeStats(text, exchange, queue) }
        // Text of a sibling that makes no sense, and what a server says although nobody asked for it.
        guard case .reply(let reply) = ReplyScanner.scan(text, expecting: shape(of: operation)) else {
            return refuse(.internalError, exchange, queue)
        }
        switch reply.kind {
        case .va, .hd, .mn, .ok, .version: succeed(operation, reply, text, exchange, queue)
        case .en, .nf:
            if exchange.isQuiet, operation == .get || operation == .getAndTouch { return }
            if exchange.key.isEmpty { return refuse(.notFound, exchange, queue) }
            packet(.notFound, exchange, keyBytes: exchange.key.count, bodyBytes: exchange.key.count, queue)
            queue.append(exchange.key)
        case .ex: refuse(.exists, exchange, queue)
        case .ns: refuse(operation == .add ? .exists : operation == .replace ? .notFound : .notStored, exchange, queue)
        case .error: refuse(.unknownCommand, exchange, queue)
        case .clientError:
            let isArithmetic = operation == .increment || operation == .decrement
            refuse(isArithmetic && starts(text, "CLIENT_ERROR cannot") ? .notANumber : .invalid, exchange, queue)
        case .serverError: refuseAtServer(text, reply, exchange, queue)
        default: refuse(.internalError, exchange, queue)
        }
    }

    private static func shape(of operation: BinaryOperation) -> ReplyShape {
        switch operation {
        case .flush, .version, .quit: .line
        default: .meta
        }
    }

    private static func succeed(
        _ operation: BinaryOperation, _ reply: Reply, _ text: UnsafeRawBufferPointer, _ exchange: BinaryExchange,
        _ queue: ByteQueue
    ) {
        let value = reply.value.of(text)
        switch operation {
        case .get, .getAndTouch:
            encodeFront(flags: reply.flags, cas: reply.cas, valueBytes: value.count, for: exchange, into: queue)
            queue.append(value)
        case .touch: encodeFront(flags: reply.flags, cas: reply.cas, valueBytes: 0, for: exchange, into: queue)
        case _ where exchange.isQuiet: break
        case .increment, .decrement:
            packet(.success, exchange, bodyBytes: 8, cas: reply.cas, queue)
            queue.append(bigEndian: Numbers.digits(value) ?? 0)
        case .version:
            packet(.success, exchange, bodyBytes: value.count, queue)
            queue.append(value)
        default: packet(.success, exchange, bodyBytes: 0, cas: reply.cas, queue)
        }
    }

    /// Appends the packet of a value that was found, up to the value itself.
    public static func encodeFront(
        flags: UInt32, cas: UInt64, valueBytes: Int, for exchange: BinaryExchange, into queue: ByteQueue
    ) {
        packet(
            .success, exchange, keyBytes: exchange.key.count, extrasBytes: 4, bodyBytes: 4 + exchange.key.count + valueBytes,
            cas: cas, queue)
        queue.append(bigEndian: flags)
        queue.append(exchange.key)
    }

    /// Appends one statistic, whatever is in it, and the packet that ends the answer.
    public static func encodeStat(
        _ name: StaticString, _ value: UnsafeRawBufferPointer, for exchange: BinaryExchange, into queue: ByteQueue
    ) {
        let keyBytes = name.utf8CodeUnitCount
        packet(.success, exchange, keyBytes: keyBytes, bodyBytes: keyBytes + value.count, queue)
        queue.append(name)
        queue.append(value)
        packet(.success, exchange, bodyBytes: 0, queue)
    }

    /// One packet for each line, and an empty one behind them.
    private static func encodeStats(_ text: UnsafeRawBufferPointer, _ exchange: BinaryExchange, _ queue: ByteQueue) {
        guard case .reply(let reply) = ReplyScanner.scan(text, expecting: .stats), !reply.kind.isError else {
            return refuse(.notFound, exchange, queue)
        }
        var lines = StatCursor(reply, in: text)
        while let (name, value) = lines.next() {
            packet(.success, exchange, keyBytes: name.count, bodyBytes: name.count + value.count, queue)
            queue.append(name.of(text))
            queue.append(value.of(text))
        }
        packet(.success, exchange, bodyBytes: 0, queue)
    }

    private static func refuseAtServer(
        _ text: UnsafeRawBufferPointer, _ reply: Reply, _ exchange: BinaryExchange, _ queue: ByteQueue
    ) {
        if starts(text, "SERVER_ERROR object too large for cache") { return refuse(.tooLarge, exchange, queue) }
        if starts(text, "SERVER_ERROR out of memory") { return refuse(.outOfMemory, exchange, queue) }
        // What a proxy alone can say: its own words say more than the status.
        let words = UnsafeRawBufferPointer(rebasing: reply.value.of(text).dropFirst("SERVER_ERROR ".utf8.count))
        packet(.temporaryFailure, exchange, bodyBytes: words.count, queue)
        queue.append(words)
    }

    private static func refuse(_ status: BinaryStatus, _ exchange: BinaryExchange, _ queue: ByteQueue) {
        let words = status.text
        packet(status, exchange, bodyBytes: words.utf8CodeUnitCount, queue)
        queue.append(words)
    }

    private static func packet(
        _ status: BinaryStatus, _ exchange: BinaryExchange, keyBytes: Int = 0, extrasBytes: Int = 0, bodyBytes: Int,
        cas: UInt64 = 0, _ queue: ByteQueue
    ) {
        BinaryHeader.appendReply(
            opcode: exchange.opcode, status: status, keyBytes: keyBytes, extrasBytes: extrasBytes, bodyBytes: bodyBytes,
            opaque: exchange.opaque, cas: cas, to: queue)
    }

    private static func starts(_ text: UnsafeRawBufferPointer, _ words: StaticString) -> Bool {
        let count = words.utf8CodeUnitCount
        return text.count >= count && Word.isEqual(UnsafeRawBufferPointer(rebasing: text[0..<count]), words)
    }
}
