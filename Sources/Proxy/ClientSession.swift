// One client connection: its commands in order, its replies in order.
//
//     incoming ─▶ parser ─▶ may it go now? ─▶ read: the key's server    ─┐
//                                          ─▶ write: the key's owner     ├─▶ reply slots, in command order ─▶ outgoing
//                                          ─▶ answered here              ─┘
//
// A command waits for an earlier write of the same connection, and a write for earlier reads of its key, unless both travel the same
// ordered path: this lane's one connection to one server.

import Configuration
import DequeModule
import Kernel
import Memcache

/// One reply that a client waits for, or part of one.
struct ReplySlot: Slot {
    enum Part: UInt8 {
        /// The whole reply.
        case whole
        /// One key of a retrieval: its trailing END is dropped, a miss is nothing.
        case oneOfMany
        /// The END of a retrieval; after an error line there is none.
        case endOfMany
    }

    enum Role {
        /// Of a key in this bucket; nil: of many keys, or none.
        case read(KeyBucket?)
        case write
        /// Answered here; only its place in line mattered.
        case literal
    }

    /// Invariant: nil until the reply has arrived; never non-nil in the front slot.
    var bytes: [UInt8]?
    /// The command, for what silence it asked for; nil where nothing is ever suppressed.
    var silence: Silence?
    /// The packet that is answered; nil for a text command.
    var exchange: BinaryExchange?
    var part: Part
    var role: Role
    /// What it counts as when it is answered.
    var tally = Tally.nothing
    /// What the command takes of the memory until then, as far as it is the client's doing.
    var commandBytes: UInt32 = 0
    /// The reply is an error: it ends a retrieval.
    var failed = false

    @inline(__always)
    static var vacant: ReplySlot { ReplySlot(bytes: nil, silence: nil, exchange: nil, part: .whole, role: .literal) }
}

/// A store whose value is too large, as the parser tells of it.
struct RefusedStore {
    var request: Request
    var reply: StaticString
    var consume: Int
    var swallow: Int
}

final class ClientSession {
    let connection: ConnectionID
    /// Where the client comes from.
    let address: String
    /// The number of the listener where it came in.
    let listener: Int
    /// The address that it has reached; nil over a unix socket.
    let local: HostPort?
    /// When it last sent a command, in monotonic microseconds.
    var lastCommandAt: UInt64
    private var parser: RequestParser
    /// Invariant: set from the first byte on if that says so; a connection never changes its protocol.
    private var translator: BinaryTranslator?
    private var isBegun = false
    /// The latest packet as a text command.
    private let text = ByteQueue()
    private let itemBytesMax: Int
    /// From how many bytes on values are taken off whole.
    private let sharedBytesMin: Int
    var slots = SlotQueue<ReplySlot>()
    /// There have been so many of them that their room is to be given back.
    private(set) var keepsManySlots = false
    /// Number of the front slot; replies are addressed by number.
    var firstReply: UInt64 = 0
    /// Bytes of refused data still to be swallowed.
    var swallow = 0
    var closing = false
    /// How many replies may be outstanding: grows with small replies, shrinks with large ones, so that what a client has
    /// asked for and not yet read stays within bounds whatever it asks for.
    private(set) var window = Limits.clientRepliesFirst
    /// A command that was understood and must wait for earlier ones; its bytes are still the first of the incoming ones, and its
    /// text if it is a packet is still in `text`.
    var waiting: Request?
    /// The same for a store that was refused, and whose key must go in its turn.
    var waitingRefusal: RefusedStore?
    /// The request that is being sent on its way has been taken off the incoming bytes already.
    private var isLifted = false
    /// Where the waiting command's key lives, if somebody has looked.
    private(set) var waitingAt: Place?
    /// The path that it was last refused, with writes under way.
    private var waitingPath: Int?
    /// Of the waiting `gat`, the keys that are not on their way yet; nil when none is.
    var keysLeft: Span?
    /// Its retrievals that are done in parts, in order.
    var longRetrievals: Deque<Gather> = []
    /// How large those parts are.
    var pace = RetrievalPace()
    /// It sends no more.
    var hasEnded = false
    /// It will be pumped at the end of the step.
    var pumpDue = false
    /// It has more commands than a turn takes.
    var nextTurnDue = false
    /// What it holds, and how it behaves.
    var care = ClientCare()
    var paused = false
    /// The retrieval whose parts are going out has ended with an error line: the rest of it is dropped.
    private var retrievalFailed = false
    /// Reads without a reply yet.
    private(set) var reads = OutstandingReads()
    /// Writes without a reply yet, and the path of all of them (-1: several, or one that is not ordered).
    var writes = 0
    var writePath = -1

    /// What it has shown so far; nil where nobody is asked.
    var admission: Admission?
    /// Its first words, which are to say who it is, are still awaited.
    var isLocked: Bool

    init(
        connection: ConnectionID, address: String, local: HostPort? = nil, listener: Int = 0, itemBytesMax: Int,
        sharedBytesMin: Int, admission: Admission? = nil, at monotonic: UInt64
    ) {
        self.connection = connection
        self.address = address
        self.local = local
        self.listener = listener
        lastCommandAt = monotonic
        self.itemBytesMax = itemBytesMax
        self.sharedBytesMin = sharedBytesMin
        self.admission = admission
        isLocked = admission != nil
        parser = RequestParser(itemBytesMax: itemBytesMax)
    }

    /// A command must wait for earlier ones.
    var isWaiting: Bool { waiting != nil || waitingRefusal != nil }

    /// The packet that is being answered; nil on a text connection.
    var exchange: BinaryExchange? { translator?.exchange }

    /// Looks at what the client sent, which must not be empty.
    func next(in bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if !isBegun {
            isBegun = true
            // Who said in text who it is goes on in text.
            if bytes[0] == BinaryTranslator.magic, !(admission?.hasBegun ?? false) {
                translator = BinaryTranslator(
                    itemBytesMax: itemBytesMax, asksWho: admission != nil, apartBytesMin: sharedBytesMin)
            }
        }
        return translator?.next(in: bytes, text: text) ?? parser.next(in: bytes)
    }

    /// Lets a binary client in, or out again.
    func setBinaryAdmission(_ isAdmitted: Bool) {
        admission?.isAdmitted = isAdmitted
        translator?.isLocked = !isAdmitted
    }

    /// It has begun to say in text who it is, and has not finished.
    var isHalfwayIn: Bool { isLocked && (admission?.text.isHalfway ?? false) }

    /// It has yet to say who it is, and gets little until then.
    var isStranger: Bool { admission.map { !$0.isAdmitted } ?? false }

    /// The latest request has been sent on its way: what has arrived of it is not needed any more.
    func finish(_ request: Request, _ incoming: ByteQueue) {
        if !isLifted { incoming.consume(translator?.packetBytes ?? request.bytes) }
        isLifted = false
        text.removeAll()
        forgetPlace()
    }

    /// The command at hand, whose key lives here, may not take this path yet.
    func wait(at place: Place?, on path: Int) {
        waitingAt = place
        waitingPath = path
    }

    /// Keys may live elsewhere now.
    func forgetPlace() {
        waitingAt = nil
        waitingPath = nil
    }

    /// What the waiting command was refused for still stands in its way: it need not be looked at again.
    var waitsOn: Bool {
        guard let waitingPath, writes > 0 else { return false }
        return !mayRead(from: waitingPath)
    }

    /// It has been quiet: room that its busiest time took is given back, as far as nothing is in it. True when that was anything.
    func giveBack() -> Bool {
        if slots.isEmpty { slots.removeAll() }
        reads.giveBack()
        return text.giveBack()
    }

    /// What the latest request's spans point into.
    func source(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer { translator == nil ? bytes : text.readable }

    /// Takes the latest request off the incoming bytes, and makes its large value a block, with a CRLF.
    func liftValue(of request: Request, off incoming: ByteQueue) -> ByteBlock {
        isLifted = true
        guard let translator else { return incoming.lift(request.bytes, behind: request.value.start) }
        precondition(translator.isValueApart, "a value of \(request.value.count) bytes has been copied already")
        return incoming.lift(translator.packetBytes, behind: translator.packetBytes - request.value.count, and: "\r\n")
    }

    /// Nothing of it is held or held back: there is nothing to note once its commands were taken.
    var isUnremarkable: Bool {
        care.heldBytes == 0 && care.commandBytes < Limits.countedReplyBytesMin
            && care.parkedReplyBytes < Limits.countedReplyBytesMin && !paused
            && swallow == 0 && !isLocked && !care.isHalfReceived
    }

    /// One more command may be taken: what it has asked for is within bounds, and so is what waits for it to read.
    func hasRoom(behind outgoing: ByteQueue) -> Bool {
        guard hasRoomForValues(behind: outgoing) else { return false }
        return care.isThrottled ? slots.isEmpty : slots.count < window && care.commandBytes < Limits.clientCommandBytesMax
    }

    /// What waits for it to read is within bounds.
    func hasRoomForValues(behind outgoing: ByteQueue) -> Bool {
        outgoing.count < (care.isThrottled ? Limits.throttledOutgoingBytesMax : outgoingBytesMax)
    }

    /// True when a read of this server may go before the writes under way are answered.
    func mayRead(from path: Int) -> Bool { writes == 0 || (writePath == path && path >= 0) }

    /// True when a write of a key in this bucket (nil: of many keys) may go on this path before what is under way is answered.
    func mayWrite(_ bucket: KeyBucket?, on path: Int) -> Bool {
        mayRead(from: path) && reads.letPass(writeOf: bucket, on: path)
    }

    /// A reply has arrived, or a part of one.
    func noteAnswered(_ role: ReplySlot.Role) {
        switch role {
        case .read(let bucket): reads.end(bucket)
        case .write: writes -= 1
        case .literal: break
        }
    }

    /// Learns from the size of a reply how many may be outstanding.
    func noteReply(bytes: Int) {
        if bytes * window > Limits.clientOutgoingBytesMax {
            window = max(1, Limits.clientOutgoingBytesMax / bytes)
        } else if window < Limits.clientRepliesMax {
            window += 1
        }
    }

    /// Takes the front slot; true when its bytes are to go out.
    func popFirst() -> Bool {
        let (part, failed) = (slots[0].part, slots[0].failed)
        slots.discardFirst()
        firstReply += 1
        if slots.isEmpty && keepsManySlots {
            slots.removeAll()
            keepsManySlots = false
        }
        return goesOut(part, failed: failed)
    }

    /// True when the next part of a reply is to go out.
    func goesOut(_ part: ReplySlot.Part, failed: Bool) -> Bool {
        switch part {
        case .whole: return true
        case .oneOfMany:
            defer { retrievalFailed = retrievalFailed || failed }
            return !retrievalFailed
        case .endOfMany:
            defer { retrievalFailed = false }
            return !retrievalFailed
        }
    }

    /// Adds a slot for the reply to a read of so many bytes, of a key in this bucket (nil: of many keys, or none); returns its number.
    func expectRead(of bucket: KeyBucket? = nil, bytes: Int, path: Int, silence: Silence? = nil, tally: Tally = .nothing)
        -> UInt64
    {
        reads.begin(bucket, on: path)
        return expectReply(silence, .whole, .read(bucket), tally, bytes)
    }

    /// Adds a slot for the reply to a write of so many bytes; returns its number.
    func expectWrite(
        bytes: Int, path: Int, silence: Silence? = nil, part: ReplySlot.Part = .whole, tally: Tally = .nothing
    ) -> UInt64 {
        writePath = writes == 0 || writePath == path ? path : -1
        writes += 1
        return expectReply(silence, part, .write, tally, bytes)
    }

    private func expectReply(
        _ silence: Silence?, _ part: ReplySlot.Part, _ role: ReplySlot.Role, _ tally: Tally, _ bytes: Int
    ) -> UInt64 {
        let commandBytes = bytes + Limits.commandUnderWayBytes
        care.commandBytes += commandBytes
        slots.append(
            ReplySlot(
                bytes: nil, silence: exchange == nil ? silence : nil, exchange: exchange, part: part, role: role, tally: tally,
                commandBytes: UInt32(commandBytes)))
        if slots.count > Limits.slotsKeptMax { keepsManySlots = true }
        return firstReply + UInt64(slots.count - 1)
    }
}
