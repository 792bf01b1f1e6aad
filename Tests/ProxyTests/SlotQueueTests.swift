import Kernel
import Testing

@testable import Proxy

/// The queue of what is waited for, held against an array.
@Suite struct SlotQueueTests {
    private final class Held {}

    private struct Ticket: Slot {
        var number: Int
        var held: Held?
        static var vacant: Ticket { Ticket(number: -1, held: nil) }
    }

    @Test("First in, first out, however often its places are used again", arguments: 1...10)
    func likeAnArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = SlotQueue<Ticket>()
        var model: [Int] = []
        for step in 0..<3_000 {
            // Now longer and longer, now shorter and shorter.
            if random.below(10) < (step / 500 % 2 == 0 ? 6 : 4) {
                queue.append(Ticket(number: step, held: nil))
                model.append(step)
            } else if !model.isEmpty {
                if random.below(2) == 0 { #expect(queue.removeFirst().number == model[0]) } else { queue.discardFirst() }
                model.removeFirst()
            }
            if !model.isEmpty, step % 5 == 0 {
                let place = random.below(model.count)
                queue[place].number += 10_000
                model[place] += 10_000
            }
            #expect(queue.map(\.number) == model && queue.count == model.count && queue.isEmpty == model.isEmpty)
        }
        queue.removeAll()
        #expect(queue.isEmpty && queue.first == nil)
    }

    @Test("What has left is not kept alive")
    func letsGo() {
        var queue = SlotQueue<Ticket>()
        weak var first: Held?
        weak var second: Held?
        do {
            let (one, two) = (Held(), Held())
            (first, second) = (one, two)
            queue.append(Ticket(number: 1, held: one))
            queue.append(Ticket(number: 2, held: two))
        }
        _ = queue.removeFirst()
        #expect(first == nil && second != nil)
        queue.discardFirst()
        #expect(second == nil)
    }
}
