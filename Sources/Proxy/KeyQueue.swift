import DequeModule

/// Keys in the order in which they came, each once.
struct KeyQueue {
    private var order: Deque<[UInt8]> = []
    private var members: Set<[UInt8]> = []

    var isEmpty: Bool { order.isEmpty }

    mutating func append(_ key: [UInt8]) {
        if members.insert(key).inserted { order.append(key) }
    }

    mutating func popFirst() -> [UInt8]? {
        guard let key = order.popFirst() else { return nil }
        members.remove(key)
        return key
    }
}
