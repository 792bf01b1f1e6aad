// The simulator's only queue of things to come. Two events at one microsecond happen in the order in which they were
// planned, so a seed always gives the same history.

/// A heap of events, ordered by virtual time and then by the order of planning.
struct EventHeap<Element> {
    private struct Entry {
        var time: UInt64
        var sequence: UInt64
        var element: Element

        static func < (a: Entry, b: Entry) -> Bool { a.time != b.time ? a.time < b.time : a.sequence < b.sequence }
    }

    private var entries: [Entry] = []
    private var planned: UInt64 = 0

    /// Number of events to come.
    var count: Int { entries.count }

    /// Time of the next event.
    var nextTime: UInt64? { entries.first?.time }

    /// Plans an event.
    mutating func insert(_ element: Element, at time: UInt64) {
        planned += 1
        entries.append(Entry(time: time, sequence: planned, element: element))
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child] < entries[parent] else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes the next event.
    mutating func popFirst() -> (time: UInt64, element: Element)? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return (last.time, last.element) }
        entries[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [parent * 2 + 1, parent * 2 + 2] where child < entries.count && entries[child] < entries[least] {
                least = child
            }
            guard least != parent else { break }
            entries.swapAt(parent, least)
            parent = least
        }
        return (first.time, first.element)
    }
}
