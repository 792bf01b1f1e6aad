// A write on its way through the owner's lane: the command as memcached gets it, and what its outcome will be.

import Kernel
import Memcache
import Replication
import WriteLog

/// What a write's success means for the log (`commands.md` section 3).
enum WriteEffect: UInt8, Sendable {
    /// An unconditional store: the payload, for certain.
    case store = 1
    /// A conditional store: the payload, if memcached says so.
    case conditionalStore
    /// A change of what is there: the post-image, if memcached says so.
    case derive
    /// An unconditional delete: a tombstone, found or not.
    case delete
    /// A conditional delete, or a mark as stale: a tombstone unless refused.
    case conditionalDelete
    /// A new expiry for what is there.
    case touch
    /// Nothing for other sites, whatever memcached says: a win of `mg N`, and an `add` that is dead on arrival.
    case local

    /// True when the outcome is the payload whatever memcached answers, so that both servers get it at once.
    var isCertain: Bool { self == .store || self == .delete }
    /// True when the post-image must be read back.
    var readsBack: Bool { self == .derive }
}

/// A write of a client, of another lane's client, or of the lane itself. A class, since it is handed on from one stage to the next, and
/// only its owner changes it.
final class Write {
    var effect: WriteEffect
    let shape: ReplyShape
    let key: [UInt8]
    /// The command, its data block included unless that is large.
    let command: [UInt8]
    /// A large value with its CRLF, which follows the command: shared by everybody to whom it goes.
    var block: ByteBlock?
    /// Where the payload is in the command and its block.
    var payloadStart: Int
    var payloadCount: Int
    var clientFlags: UInt32
    /// Absolute expiry in microseconds of wall time; 0 never. Of a client's write, known once it is sent.
    var expiry: UInt64
    /// A client's exptime; it counts from when the write is sent.
    var exptime: Int64?
    /// The command compares a CAS value, which goes to a server without its tag.
    var comparesCAS = false
    /// Where the key lives, once somebody has looked.
    var place: Place?
    /// Answered instead of memcached's reply: a value over the limit deletes what was there and says so.
    var replyInstead: [UInt8]?

    /// Bytes of the command and its data block.
    var commandBytes: Int { command.count + (block?.count ?? 0) }

    /// The value, as it goes on.
    var value: ItemValue {
        if let block { return .shared(block) }
        return .own(Array(command[payloadStart..<payloadStart + payloadCount]))
    }

    /// Appends the command with its data block, as a server gets it.
    func append(to queue: ByteQueue) {
        queue.append(command)
        if let block { queue.append(block) }
    }

    /// The same, with the CAS value that it compares as this server knows it.
    func append(comparing tag: UInt64, to queue: ByteQueue) {
        Token.append(command, tag: tag, into: queue)
        if let block { queue.append(block) }
    }

    func withPayload<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if let block { return body(UnsafeRawBufferPointer(rebasing: block.bytes[..<payloadCount])) }
        return command.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[payloadStart..<payloadStart + payloadCount])) }
    }

    init(
        effect: WriteEffect, shape: ReplyShape, key: [UInt8], command: [UInt8], payloadStart: Int = 0, payloadCount: Int = 0,
        clientFlags: UInt32 = 0, expiry: UInt64 = 0, exptime: Int64? = nil
    ) {
        self.effect = effect
        self.shape = shape
        self.key = key
        self.command = command
        self.payloadStart = payloadStart
        self.payloadCount = payloadCount
        self.clientFlags = clientFlags
        self.expiry = expiry
        self.exptime = exptime
    }

    /// The same with its value in a block of its own.
    private var sharing: Write {
        let line = Array(command[..<payloadStart])
        let write = Write(
            effect: effect, shape: shape, key: key, command: line, payloadStart: payloadStart, payloadCount: payloadCount,
            clientFlags: clientFlags, exptime: exptime)
        write.comparesCAS = comparesCAS
        write.block = command.withUnsafeBytes { ByteBlock(copying: UnsafeRawBufferPointer(rebasing: $0[payloadStart...])) }
        return write
    }

    /// A barrier: everything older is gone, at every site.
    static var barrier: Write { Write(effect: .delete, shape: .line, key: allKeys, command: Array("flush_all\r\n".utf8)) }

    /// As it travels to the owner.
    var forwarded: ForwardedWrite {
        ForwardedWrite(
            effect: effect.rawValue, shape: shape.wireCode, clientFlags: clientFlags, exptime: exptime ?? 0, key: key,
            command: block.map { command + $0.bytes } ?? command,
            payloadStart: UInt32(payloadStart), payloadCount: UInt32(payloadCount))
    }

    /// As it arrived at the owner, who shares values from so many bytes on; nil when a field makes no sense.
    static func arrived(_ forwarded: ForwardedWrite, sharedBytesMin: Int) -> Write? {
        guard let effect = WriteEffect(rawValue: forwarded.effect), let shape = ReplyShape(wireCode: forwarded.shape) else {
            return nil
        }
        if forwarded.key == allKeys { return effect == .delete ? .barrier : nil }
        let write = Write(
            effect: effect, shape: shape, key: forwarded.key, command: forwarded.command,
            payloadStart: Int(forwarded.payloadStart),
            payloadCount: Int(forwarded.payloadCount), clientFlags: forwarded.clientFlags, exptime: forwarded.exptime)
        write.comparesCAS = !effect.isCertain && effect != .touch && Token.isCompared(by: write.command)
        return write.payloadCount >= sharedBytesMin ? write.sharing : write
    }
}

/// Who waits for a write's reply.
enum Completion {
    /// A client of this lane: its session and the reply's number.
    case client(ConnectionID, UInt64)
    /// A client of another lane.
    case forwarded(LaneID, UInt64)
    /// Nobody: the lane wrote for itself.
    case nobody
    /// Nobody any more: a barrier whose time has come. It is tried again until it is done.
    case delayedBarrier
}

/// Who waits for a landing to be done and mirrored.
enum Requester {
    /// A receiver of this lane: the origin's record at this position.
    case receiver(LaneID, Position)
    /// Another lane's request.
    case lane(LaneID, UInt64)
    /// An assertion that this lane asked for.
    case assertion(UInt64)
    /// Whoever asked for a barrier.
    case barrier(Completion)
}
