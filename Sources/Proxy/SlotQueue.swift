// First in, first out, for what is waited for on the data path: replies that clients are owed, and replies that servers owe. An
// element is looked at and changed where it stands, since taking a copy of one costs more than everything else that is done with it.
//
//     places  |  vacant  |  first … last  |  vacant  |        a power of two of them, used again and again
//                           0     count-1

/// What may stand in a queue of slots.
protocol Slot {
    /// What stands where nothing is: it keeps nothing alive.
    static var vacant: Self { get }
}

/// A queue over a ring of places.
struct SlotQueue<Element: Slot>: RandomAccessCollection, MutableCollection {
    /// Invariant: a power of two of them, or none; those that are not taken are vacant.
    private var places: [Element] = []
    private var front = 0
    private(set) var count = 0

    /// The fewest places that a queue with anything in it has.
    private static var placesMin: Int { 8 }

    var startIndex: Int { 0 }
    var endIndex: Int { count }
    var isEmpty: Bool { count == 0 }

    @inline(__always)
    private func place(_ index: Int) -> Int {
        precondition(index >= 0 && index < count, "element \(index) of \(count)")
        return (front &+ index) & (places.count &- 1)
    }

    subscript(index: Int) -> Element {
        @inline(__always) get { places[place(index)] }
        @inline(__always) _modify { yield &places[place(index)] }
    }

    @inline(__always)
    mutating func append(_ element: Element) {
        if count == places.count { grow() }
        places[(front &+ count) & (places.count &- 1)] = element
        count += 1
    }

    /// Takes the first element, which must be there.
    @inline(__always)
    mutating func removeFirst() -> Element {
        let place = place(0)
        var taken = Element.vacant
        swap(&taken, &places[place])
        front = (front &+ 1) & (places.count &- 1)
        count -= 1
        return taken
    }

    /// Drops the first element, which must be there.
    @inline(__always)
    mutating func discardFirst() {
        places[place(0)] = .vacant
        front = (front &+ 1) & (places.count &- 1)
        count -= 1
    }

    /// Empties it, and gives its memory back.
    mutating func removeAll() { self = Self() }

    @inline(never)
    private mutating func grow() {
        var grown: [Element] = []
        grown.reserveCapacity(Swift.max(places.count * 2, Self.placesMin))
        for index in 0..<count { grown.append(self[index]) }
        while grown.count < Swift.max(places.count * 2, Self.placesMin) { grown.append(.vacant) }
        places = grown
        front = 0
    }
}
