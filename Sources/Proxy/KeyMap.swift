// Values by key, on the data path, where a write looks its key up some ten times. Swift's dictionary would cost more for that than
// everything else that is done with the key: here the hash is worked out in place, and the table is looked through by hashes alone.
//
//     key ──▶ SipHash-1-3 ──▶ hashes:   0  │ h(a) │ h(b) │  0  │ …      the first place that it may be at, and on until a 0
//                             names:    -  │  a   │  b   │  -  │ …      where one is taken out, those behind it close up
//                             contents: -  │  x   │  y   │  -  │ …
//
// The hash is keyed anew in every process, so that no client can choose keys that collide (Aumasson and Bernstein, "SipHash: a fast
// short-input PRF", 2012).

/// A dictionary whose keys are the bytes of memcached's keys.
struct KeyMap<Value>: Sequence {
    typealias Element = (key: [UInt8], value: Value)

    /// Where a key's value is; until the next change of the table.
    struct Place { fileprivate let index: Int }

    /// Invariant: 0 where nothing is; else the hash of the key at the same place. As many as keys and values: a power of two, or none.
    private var hashes: [UInt64] = []
    private var names: [[UInt8]] = []
    private var contents: [Value?] = []
    private(set) var count = 0
    private let hasher = KeyHash()

    /// The fewest places that a table with anything in it has; of all places, at most five in eight are taken.
    private static var placesMin: Int { 16 }
    /// A table of so many places stays as large as it is, however little is in it.
    private static var placesKeptMax: Int { 1_024 }

    var isEmpty: Bool { count == 0 }
    /// How many there are for keys, taken or not.
    var places: Int { hashes.count }
    /// In no order.
    var keys: some Sequence<[UInt8]> { lazy.map { $0.key } }
    /// In no order.
    var values: some Sequence<Value> { lazy.map { $0.value } }

    subscript(key: [UInt8]) -> Value? {
        get { find(key).flatMap { contents[$0.index] } }
        set {
            if let value = newValue { self[key, default: value] = value } else { removeValue(forKey: key) }
        }
    }

    subscript(key: [UInt8], default absent: @autoclosure () -> Value) -> Value {
        get { self[key] ?? absent() }
        _modify {
            let hash = hasher.hash(key)
            let index = index(of: key, hash) ?? insert(key, hash, absent())
            guard contents[index] != nil else { preconditionFailure("a key is at place \(index), and nothing is there") }
            yield &contents[index]!  // the line above
        }
    }

    /// True when the key is there.
    func has(_ key: [UInt8]) -> Bool { find(key) != nil }

    /// The key's value, which is put in if it is not there.
    mutating func value(of key: [UInt8], orInsert absent: @autoclosure () -> Value) -> Value {
        let hash = hasher.hash(key)
        if let index = index(of: key, hash) { return self[Place(index: index)] }
        let value = absent()
        _ = insert(key, hash, value)
        return value
    }

    /// Looks a key up.
    func find(_ key: [UInt8]) -> Place? { count == 0 ? nil : index(of: key, hasher.hash(key)).map(Place.init) }

    subscript(place: Place) -> Value {
        guard let value = contents[place.index] else { preconditionFailure("place \(place.index) of a table has been vacated") }
        return value
    }

    mutating func removeAll() { self = Self() }

    /// Takes a key out, if its value is one that may go.
    mutating func removeValue(forKey key: [UInt8], if mayGo: (Value) -> Bool = { _ in true }) {
        if let place = find(key), mayGo(self[place]) { remove(place) }
    }

    /// Takes out what is there, and closes the gap: nothing may stand behind a 0 that is looked for before it.
    mutating func remove(_ place: Place) {
        var gap = place.index
        var other = next(gap)
        while hashes[other] != 0 {
            // It may stand in the gap if that is not before the first place that it may be at.
            let first = first(for: hashes[other])
            if (other &- first) & (hashes.count &- 1) >= (other &- gap) & (hashes.count &- 1) {
                hashes[gap] = hashes[other]
                names.swapAt(gap, other)
                contents.swapAt(gap, other)
                gap = other
            }
            other = next(other)
        }
        hashes[gap] = 0
        names[gap] = []
        contents[gap] = nil
        count -= 1
        if hashes.count > Self.placesKeptMax, count * 8 < hashes.count { resize(to: hashes.count / 4) }
    }

    /// Keeps only some.
    mutating func keep(where isWanted: (Value) -> Bool) {
        let all = self
        removeAll()
        for (key, value) in all where isWanted(value) { self[key] = value }
    }

    /// Elements in no order.
    struct Iterator: IteratorProtocol {
        fileprivate let table: KeyMap
        fileprivate var index = 0

        mutating func next() -> Element? {
            while index < table.hashes.count {
                defer { index += 1 }
                if table.hashes[index] != 0 { return (table.names[index], table[Place(index: index)]) }
            }
            return nil
        }
    }

    func makeIterator() -> Iterator { Iterator(table: self) }

    // MARK: Places

    @inline(__always)
    private func index(of key: [UInt8], _ hash: UInt64) -> Int? {
        if count == 0 { return nil }
        var index = first(for: hash)
        while hashes[index] != 0 {
            if hashes[index] == hash, KeyHash.isSame(names[index], key) { return index }
            index = next(index)
        }
        return nil
    }

    @inline(__always)
    private func first(for hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 1) & (hashes.count &- 1) }

    @inline(__always)
    private func next(_ index: Int) -> Int { (index &+ 1) & (hashes.count &- 1) }

    /// Puts a key in that is not there.
    private mutating func insert(_ key: [UInt8], _ hash: UInt64, _ value: Value) -> Int {
        if (count + 1) * 8 > hashes.count * 5 { resize(to: Swift.max(hashes.count * 2, Self.placesMin)) }
        let index = vacancy(for: hash)
        hashes[index] = hash
        names[index] = key
        contents[index] = value
        count += 1
        return index
    }

    private func vacancy(for hash: UInt64) -> Int {
        var index = first(for: hash)
        while hashes[index] != 0 { index = next(index) }
        return index
    }

    private mutating func resize(to places: Int) {
        let old = self
        hashes = Array(repeating: 0, count: places)
        names = Array(repeating: [], count: places)
        contents = Array(repeating: nil, count: places)
        for before in old.hashes.indices where old.hashes[before] != 0 {
            let index = vacancy(for: old.hashes[before])
            hashes[index] = old.hashes[before]
            names[index] = old.names[before]
            contents[index] = old.contents[before]
        }
    }
}

extension KeyMap: Sendable where Value: Sendable {}

/// Hashes of keys, as this process makes them.
struct KeyHash: Sendable {
    /// What Swift's own hasher makes of two numbers: it is seeded by the system.
    private static let ownSecret: (UInt64, UInt64) = (seeded(0), seeded(1))

    private let secret: (UInt64, UInt64)

    /// With this process's own secret, or another for tests.
    init(secret: (UInt64, UInt64)? = nil) { self.secret = secret ?? Self.ownSecret }

    private static func seeded(_ number: Int) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(number)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// Never 0.
    @inline(__always)
    func hash(_ key: [UInt8]) -> UInt64 { key.withUnsafeBytes { sip($0) | 1 } }

    @inline(__always)
    static func isSame(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        guard one.count == other.count else { return false }
        return one.withUnsafeBytes { one in
            other.withUnsafeBytes { other in
                var at = 0
                while at + 8 <= one.count {
                    if word(one, at) != word(other, at) { return false }
                    at += 8
                }
                while at < one.count {
                    if one[at] != other[at] { return false }
                    at += 1
                }
                return true
            }
        }
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    func sip(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let (k0, k1) = secret
        var state = (
            k0 ^ 0x736f_6d65_7073_6575, k1 ^ 0x646f_7261_6e64_6f6d, k0 ^ 0x6c79_6765_6e65_7261, k1 ^ 0x7465_6462_7974_6573
        )
        var at = 0
        while at + 8 <= bytes.count {
            let word = Self.word(bytes, at)
            state.3 ^= word
            Self.round(&state)
            state.0 ^= word
            at += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        if at < bytes.count, bytes.count > 8 {
            last |= Self.word(bytes, bytes.count - 8) &>> UInt64(8 * (8 - bytes.count + at))
        } else {
            for place in at..<bytes.count { last |= UInt64(bytes[place]) &<< UInt64(8 * (place - at)) }
        }
        state.3 ^= last
        Self.round(&state)
        state.0 ^= last
        state.2 ^= 0xff
        Self.round(&state)
        Self.round(&state)
        Self.round(&state)
        return state.0 ^ state.1 ^ state.2 ^ state.3
    }

    @inline(__always)
    private static func round(_ v: inout (UInt64, UInt64, UInt64, UInt64)) {
        v.0 = v.0 &+ v.1
        v.1 = turned(v.1, 13) ^ v.0
        v.0 = turned(v.0, 32)
        v.2 = v.2 &+ v.3
        v.3 = turned(v.3, 16) ^ v.2
        v.0 = v.0 &+ v.3
        v.3 = turned(v.3, 21) ^ v.0
        v.2 = v.2 &+ v.1
        v.1 = turned(v.1, 17) ^ v.2
        v.2 = turned(v.2, 32)
    }

    @inline(__always)
    private static func turned(_ word: UInt64, _ by: UInt64) -> UInt64 { word &<< by | word &>> (64 &- by) }
}
