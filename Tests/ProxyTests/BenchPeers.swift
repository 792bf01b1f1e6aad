// The bench's other lanes: what a test says in their name, and what it hears.

import Kernel
import Proxy
import Replication
import Ring
import Testing

extension Bench {
    static let identityOfN2 = PeerIdentity(federation: "shop", site: "north", proxy: "n2")
    static let identityOfS1 = PeerIdentity(federation: "shop", site: "south", proxy: "s1")

    /// A greeting that this lane has no reason to refuse.
    func hello(_ purpose: LinkPurpose, from lane: LaneID, resume: UInt64 = 0) -> Hello {
        let federation = plan.federation
        return Hello(
            purpose: purpose, lane: lane, loops: 1, stamp: 0, wall: now.wallMicroseconds, resume: Position(resume),
            federation: federation.name,
            ring: RingFingerprint(flavour: federation.flavour, servers: federation.servers, slotCount: federation.slotCount)
                .encode())
    }

    /// Messages arrive.
    func tell(_ id: ConnectionID, _ messages: Message...) {
        let queue = ByteQueue()
        for message in messages { FrameCodec.encode(message, into: queue) }
        receive(id, [UInt8](queue.readable))
    }

    /// The messages that the lane has sent since it was last asked.
    func messages(_ id: ConnectionID) throws -> [Message] {
        let queue = ByteQueue()
        queue.append(sent(id))
        var found: [Message] = []
        while let message = try FrameCodec.decode(from: queue, valueBytesMax: plan.itemBytesMax) { found.append(message) }
        #expect(queue.isEmpty)
        return found
    }

    /// The messages without signs of life and promises.
    func words(_ id: ConnectionID) throws -> [Message] {
        try messages(id).filter {
            switch $0 {
            case .heartbeat, .promise: false
            default: true
            }
        }
    }

    /// The south's lane has opened its stream to here, and goes on behind `resume`.
    func openStream(resume: UInt64 = 1) throws -> ConnectionID {
        let id = accept(.peer(Self.identityOfS1))
        tell(id, .hello(hello(.stream, from: Self.s1, resume: resume)))
        guard case .hello = try messages(id).first else { throw BenchError.notGreeted }
        return id
    }

    /// n2 answers the call of this lane, and serves.
    func linkSibling(stable: UInt64 = 0, handsOver: Bool = true) throws -> ConnectionID {
        let id = try dialledSibling()
        step(.connected(id))
        settle()
        tell(
            id, .hello(hello(.group, from: Self.n2)), .dumped(sequence: 0),
            .heartbeat(stamp: 1, state: .serving, floor: 0, groupFloor: 0, stable: stable, sentAt: 0, echo: .max))
        for case .dumped(let sequence) in try messages(id) { tell(id, .mirrored(sequence: sequence)) }
        advance(milliseconds: 100)
        if handsOver { try handOver(id) }
        return id
    }

    /// n2, having nothing under way, hands over what this lane has asked it for; what else it was told can still be looked at.
    func handOver(_ id: ConnectionID) throws {
        let told = try messages(id)
        var rest: [Message] = []
        for message in told {
            if case .handOver(let request) = message {
                tell(id, .handedOver(request: request, stamp: 0))
            } else {
                rest.append(message)
            }
        }
        let later = try messages(id)
        putBack(id, rest + later)
    }

    /// The connection to n2 that this lane is making.
    func dialledSibling() throws -> ConnectionID {
        let isN2: (Endpoint) -> Bool = { if case .peer(Self.identityOfN2, _, _) = $0 { true } else { false } }
        for _ in 0..<60 where dialled(isN2) == nil { advance(milliseconds: 50) }
        guard let id = dialled(isN2) else { throw BenchError.notDialled }
        return id
    }

    /// A key that a lane owns while both of the north's serve.
    static func key(ownedBy lane: LaneID, _ number: Int = 0) -> String {
        let slots = BenchPlan().federation.slotCount
        var found = (0...).lazy.map { "key\($0)" }
            .filter { Rendezvous.owner(of: Slots.slot(of: $0, count: slots), among: [n1, n2]) == lane }.makeIterator()
        for _ in 0..<number { _ = found.next() }
        return found.next()!
    }

    /// A record of the south's, so many seconds younger than the bench's beginning.
    static func record(_ key: String, _ value: String, position: UInt64, seconds: UInt64 = 0) -> ReplicatedRecord {
        ReplicatedRecord(
            content: .value,
            version: Version(stamp: HybridClock.stamp(atWall: (1_800_000_000 + seconds) * 1_000_000), origin: s1),
            position: Position(position), clientFlags: 0, expiry: 0, key: Array(key.utf8), value: Array(value.utf8))
    }
}

extension Message {
    /// A server that lacks what it lost, and no more.
    static func backend(server: UInt16, cutOff: Bool, emptied: UInt64) -> Message {
        .backend(server: server, cutOff: cutOff, emptied: emptied, lacking: emptied)
    }
}

enum BenchError: Error {
    case notGreeted
    case notDialled
}
