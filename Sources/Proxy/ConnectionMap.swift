// What a lane knows about its connections, found by their ids at every event: an array, since the connection table gives out
// small numbers and uses them again.

import Kernel

/// A dictionary by connection. An id of an earlier use of the same place finds nothing.
struct ConnectionMap<Value>: Sequence {
    private var entries: [(generation: UInt32, value: Value)?] = []
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    /// In the order of the connections' places.
    var values: [Value] { entries.compactMap { $0?.value } }

    /// How many places there are, taken or not.
    var places: Int { entries.count }

    /// What is at a place.
    func value(at place: Int) -> Value? { entries[place]?.value }

    subscript(id: ConnectionID) -> Value? {
        get {
            let index = Int(id.index)
            guard index < entries.count, let entry = entries[index], entry.generation == id.generation else { return nil }
            return entry.value
        }
        set {
            guard let value = newValue else {
                removeValue(forKey: id)
                return
            }
            let index = Int(id.index)
            while entries.count <= index { entries.append(nil) }
            if entries[index] == nil { count += 1 }
            entries[index] = (id.generation, value)
        }
    }

    @discardableResult
    mutating func removeValue(forKey id: ConnectionID) -> Value? {
        guard let value = self[id] else { return nil }
        entries[Int(id.index)] = nil
        count -= 1
        return value
    }

    /// Values in the order of the connections' places.
    func makeIterator() -> some IteratorProtocol<Value> { values.makeIterator() }
}
