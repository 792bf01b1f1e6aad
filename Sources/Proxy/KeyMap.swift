// Values by key, on the data path. An array's own hash takes its bytes one by one, which for the keys of a cache costs more than
// everything else that is done with them; here the hasher takes them in one piece. It is Swift's, seeded anew in every
// process, so that no client can choose keys that collide.

/// A dictionary whose keys are the bytes of memcached's keys.
struct KeyMap<Value>: Sequence {
    private struct Key: Hashable {
        let bytes: [UInt8]

        func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }
    }

    typealias Element = (key: [UInt8], value: Value)

    private var table: [Key: Value] = [:]

    var count: Int { table.count }
    var isEmpty: Bool { table.isEmpty }
    /// In no order.
    var keys: some Sequence<[UInt8]> { table.keys.lazy.map(\.bytes) }
    /// In no order.
    var values: some Sequence<Value> { table.values }

    subscript(key: [UInt8]) -> Value? {
        get { table[Key(bytes: key)] }
        _modify { yield &table[Key(bytes: key)] }
    }

    subscript(key: [UInt8], default absent: @autoclosure () -> Value) -> Value {
        get { table[Key(bytes: key)] ?? absent() }
        _modify { yield &table[Key(bytes: key), default: absent()] }
    }

    mutating func removeAll() { table.removeAll() }

    /// Keeps only some.
    mutating func keep(where isWanted: (Value) -> Bool) { table = table.filter { isWanted($0.value) } }

    /// Elements in no order.
    func makeIterator() -> some IteratorProtocol<Element> {
        table.lazy.map { (key: $0.key.bytes, value: $0.value) }.makeIterator()
    }
}

extension KeyMap: Sendable where Value: Sendable {}
