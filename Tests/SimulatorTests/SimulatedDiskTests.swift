import Kernel
import Testing

@testable import Simulator

// The simulated disk keeps what it must and loses what it may.

@Suite struct SimulatedDiskTests {
    private func write(_ disk: inout SimulatedDisk, _ bytes: [UInt8], at offset: UInt64) -> Bool {
        bytes.withUnsafeBytes { disk.write($0, at: offset) }
    }

    @Test func writesNeedTheirFile() {
        var disk = SimulatedDisk(segmentBytes: 4_096)
        let found1 = write(&disk, [1, 2, 3], at: 0)
        #expect(!found1, "no segment was prepared")
        disk.create(0)
        let found2 = write(&disk, [1, 2, 3], at: 0)
        #expect(found2)
        #expect(disk.read(at: 1, count: 10) == [2, 3])
        #expect(disk.file(0).count == 4_096, "a file has its full size, zeros behind what was written")
    }

    @Test func aWriteCrossesSegments() {
        var disk = SimulatedDisk(segmentBytes: 4_096)
        disk.create(0)
        disk.create(1)
        let found3 = write(&disk, [UInt8](repeating: 7, count: 5_000), at: 0)
        #expect(found3)
        #expect(disk.read(at: 4_096, count: 5_000).count == 904)
    }

    @Test func whatWasSyncedSurvivesAPowerFailure() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<50 {
            var disk = SimulatedDisk(segmentBytes: 4_096)
            disk.create(0)
            _ = write(&disk, [UInt8](repeating: 7, count: 3_000), at: 0)
            disk.sync(upTo: 1_300)
            _ = disk.loseUnsynced(&random)
            #expect(disk.read(at: 0, count: 1_300).allSatisfy { $0 == 7 })
        }
    }

    @Test func whatWasNotSyncedIsLostAtTimes() {
        var random = SeededRandom(seed: 4)
        var lost = 0
        var torn = 0
        for _ in 0..<50 {
            var disk = SimulatedDisk(segmentBytes: 4_096)
            disk.create(0)
            _ = write(&disk, [UInt8](repeating: 7, count: 2_048), at: 0)
            let gone = disk.loseUnsynced(&random)
            lost += gone
            if gone % SimulatedDisk.sectorBytes != 0 { torn += 1 }
        }
        #expect(lost > 0 && lost < 50 * 2_048, "sectors survive or not")
        #expect(torn > 0, "some are torn")
    }
}
