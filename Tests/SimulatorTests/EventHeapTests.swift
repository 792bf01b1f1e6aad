import Kernel
import Testing

@testable import Simulator

@Suite struct EventHeapTests {
    @Test func eventsComeByTimeAndThenInTheOrderOfPlanning() {
        var heap = EventHeap<Int>()
        var random = SeededRandom(seed: 9)
        var planned: [(time: UInt64, number: Int)] = []
        for number in 0..<500 {
            let time = UInt64(random.below(20))
            heap.insert(number, at: time)
            planned.append((time, number))
        }
        planned.sort { $0.time != $1.time ? $0.time < $1.time : $0.number < $1.number }
        var come: [Int] = []
        while let next = heap.popFirst() { come.append(next.element) }
        #expect(come == planned.map(\.number))
        #expect(heap.nextTime == nil)
    }
}
