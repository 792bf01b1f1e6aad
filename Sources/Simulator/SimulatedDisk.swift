import Kernel

// One lane's log on a disk that may be full, slow, or lose power. What is written is in the kernel at once and survives
// the process; what was synced survives everything; of the rest, each sector survives a power failure or not.
//
//     segment   | synced ………… | written, in the kernel ………… | zeros, preallocated … |
//                              └ sectors of 512 bytes, kept or lost one by one

/// The segment files of one lane.
struct SimulatedDisk {
    /// What a disk writes as one.
    static let sectorBytes = 512

    /// One preallocated file.
    struct Segment {
        let number: UInt64
        /// As the process sees it, up to what was written; zeros follow.
        var bytes: [UInt8] = []
        /// How many of the bytes are certain to survive.
        var synced = 0
    }

    let segmentBytes: Int
    /// In rising order.
    private(set) var segments: [Segment] = []

    /// The files that exist, in rising order.
    var numbers: [UInt64] { segments.map(\.number) }

    mutating func create(_ number: UInt64) {
        guard !segments.contains(where: { $0.number == number }) else { return }
        segments.append(Segment(number: number))
        segments.sort { $0.number < $1.number }
    }

    /// False where there was no such file.
    mutating func delete(_ number: UInt64) -> Bool {
        guard let index = segments.firstIndex(where: { $0.number == number }) else { return false }
        segments.remove(at: index)
        return true
    }

    /// Writes at a log offset, over as many segments as it takes; false where a segment's file does not exist, or a gap
    /// would be left.
    mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        var done = 0
        while done < bytes.count {
            let place = offset + UInt64(done)
            let number = place / UInt64(segmentBytes)
            let within = Int(place % UInt64(segmentBytes))
            let count = min(bytes.count - done, segmentBytes - within)
            guard let index = segments.lastIndex(where: { $0.number == number }) else { return false }
            if segments[index].bytes.count < within {
                segments[index].bytes.append(contentsOf: repeatElement(0, count: within - segments[index].bytes.count))
            }
            segments[index].bytes.replaceSubrange(
                within..<min(within + count, segments[index].bytes.count),
                with: UnsafeRawBufferPointer(rebasing: bytes[done..<done + count]))
            segments[index].synced = min(segments[index].synced, within)
            done += count
        }
        return true
    }

    /// Everything below the offset is on the disk.
    mutating func sync(upTo offset: UInt64) {
        for index in segments.indices {
            let base = segments[index].number * UInt64(segmentBytes)
            guard offset > base else { continue }
            segments[index].synced = max(segments[index].synced, min(segments[index].bytes.count, Int(offset - base)))
        }
    }

    /// Bytes of one segment; fewer than asked for only at the end of what was written.
    func read(at offset: UInt64, count: Int) -> [UInt8] {
        let number = offset / UInt64(segmentBytes)
        let within = Int(offset % UInt64(segmentBytes))
        guard let segment = segments.first(where: { $0.number == number }), within < segment.bytes.count else { return [] }
        return Array(segment.bytes[within..<min(within + count, segment.bytes.count)])
    }

    /// A segment's whole file, zeros included.
    func file(_ number: UInt64) -> [UInt8] {
        guard let segment = segments.first(where: { $0.number == number }) else { return [] }
        return segment.bytes + [UInt8](repeating: 0, count: segmentBytes - segment.bytes.count)
    }

    /// The power fails: unsynced sectors survive or become zeros again, one in eight survives in part. Returns the bytes lost.
    mutating func loseUnsynced(_ random: inout SeededRandom) -> Int {
        var lost = 0
        for index in segments.indices {
            let written = segments[index].bytes.count
            var start = segments[index].synced
            while start < written {
                let end = min(written, (start / Self.sectorBytes + 1) * Self.sectorBytes)
                let draw = random.below(8)
                let kept = draw < 4 ? end - start : draw == 4 ? random.below(end - start) : 0
                for place in start + kept..<end { segments[index].bytes[place] = 0 }
                lost += end - start - kept
                start = end
            }
            segments[index].synced = segments[index].bytes.count
        }
        return lost
    }

    /// Recovery found the log's end here: what follows is never read again.
    mutating func truncate(at offset: UInt64) {
        for index in segments.indices {
            let base = segments[index].number * UInt64(segmentBytes)
            let kept = offset > base ? min(segments[index].bytes.count, Int(offset - base)) : 0
            segments[index].bytes.removeSubrange(kept...)
            segments[index].synced = min(segments[index].synced, kept)
        }
    }
}
