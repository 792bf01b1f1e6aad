import Kernel

/// All connections of one lane, by id, each with its two byte queues. The shell fills `incoming` and empties `outgoing`;
/// the core does the reverse. Only the shell releases an id, once the socket is closed.
public final class ConnectionTable {
    private struct Entry {
        var generation: UInt32 = 0
        var open = false
        var incoming = ByteQueue()
        var outgoing = ByteQueue()
        var urgency = Urgency.none
    }

    /// Whether the shell has been told that there is something to write.
    private enum Urgency {
        case none, patient, dirty
    }

    private var entries: [Entry] = []
    private var free: [UInt32] = []

    /// An empty table.
    public init() {}

    /// Number of open connections.
    public var count: Int { entries.count - free.count }

    /// Takes an id for a new connection, accepted or about to be made.
    public func open() -> ConnectionID {
        let index: UInt32
        if let reused = free.popLast() {
            index = reused
        } else {
            index = UInt32(entries.count)
            entries.append(Entry())
        }
        entries[Int(index)].generation &+= 1
        entries[Int(index)].open = true
        return ConnectionID(index: index, generation: entries[Int(index)].generation)
    }

    /// True while the connection has not been released; false for a late id.
    public func isOpen(_ id: ConnectionID) -> Bool {
        Int(id.index) < entries.count && entries[Int(id.index)].open && entries[Int(id.index)].generation == id.generation
    }

    /// What has arrived and is not yet understood.
    public func incoming(_ id: ConnectionID) -> ByteQueue {
        precondition(isOpen(id), "connection \(id) is not open")
        return entries[Int(id.index)].incoming
    }

    /// What is to be sent.
    public func outgoing(_ id: ConnectionID) -> ByteQueue {
        precondition(isOpen(id), "connection \(id) is not open")
        return entries[Int(id.index)].outgoing
    }

    /// What is to be sent, for the shell that sends it now: whatever is queued later is news.
    public func beginWriting(_ id: ConnectionID) -> ByteQueue {
        let queue = outgoing(id)
        entries[Int(id.index)].urgency = .none
        return queue
    }

    /// Something is to be sent; true when the shell does not know that yet.
    func noteDirty(_ id: ConnectionID) -> Bool {
        if entries[Int(id.index)].urgency == .dirty { return false }
        entries[Int(id.index)].urgency = .dirty
        return true
    }

    /// Something is to be sent, and more will follow soon; true when the shell does not know yet of anything.
    func notePatient(_ id: ConnectionID) -> Bool {
        guard entries[Int(id.index)].urgency == .none else { return false }
        entries[Int(id.index)].urgency = .patient
        return true
    }

    /// Forgets a connection, and what was queued for it.
    public func release(_ id: ConnectionID) {
        precondition(isOpen(id), "connection \(id) is released twice")
        entries[Int(id.index)].open = false
        entries[Int(id.index)].incoming = ByteQueue()
        entries[Int(id.index)].outgoing = ByteQueue()
        entries[Int(id.index)].urgency = .none
        free.append(id.index)
    }
}
