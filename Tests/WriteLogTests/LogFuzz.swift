// What a fuzzer may hand to the log's readers: any bytes at all. Each function returns if its promises hold and traps if not;
// they need nothing of the tests, so that a libFuzzer target can call them with what it makes up.

import Kernel
import WriteLog

enum LogFuzz {
    static let segmentBytes = LogFormat.segmentBytesMin

    /// Any bytes, at any offset: a record, nothing, or damage; never beyond the bytes.
    static func record(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            for offset in 0...bytes.count {
                guard let found = try? LogRecord.decode(bytes, at: offset) else { continue }
                precondition(found.bytes >= LogFormat.headBytes && offset + found.bytes <= bytes.count)
                precondition(LogFormat.headBytes + found.record.key.count + found.record.payload.count <= found.bytes)
            }
        }
    }

    /// Any bytes as segments, the first with the number in the first byte: a tail within them, or damage that names one of them.
    static func log(_ bytes: [UInt8]) {
        guard let first = bytes.first.map(UInt64.init) else { return }
        var scanner = LogScanner(lane: LaneID(raw: 1), federation: "f", segmentBytes: segmentBytes)
        var last = LogOffset(startOf: first, segmentBytes: segmentBytes)
        let start = last
        var segments: [[UInt8]] = []
        var rest = bytes.dropFirst()
        while !rest.isEmpty && segments.count < 4 {
            segments.append(rest.prefix(segmentBytes) + [UInt8](repeating: 0, count: max(0, segmentBytes - rest.count)))
            rest = rest.dropFirst(segmentBytes)
        }
        for (index, segment) in segments.enumerated() {
            do {
                try segment.withUnsafeBytes { bytes in
                    try scanner.scan(segment: first + UInt64(index), bytes: bytes) { record, offset in
                        precondition(offset > last, "records in order")
                        precondition(record.kind != .pad && record.kind != .segmentHeader)
                        last = offset
                    }
                }
            } catch let damage as LogDamage {
                precondition(damage.segment.map { $0 >= first && $0 < first + UInt64(segments.count) } == true)
                return
            } catch {
                preconditionFailure("\(error)")
            }
        }
        let outcome = scanner.finish()
        precondition(segments.isEmpty || outcome.tail >= start && outcome.tail >= last)
        precondition(outcome.tail <= start + segments.count * segmentBytes || segments.isEmpty)
        precondition(outcome.tail.raw % 8 == 0)
    }

    /// Any bytes read back in chunks whose sizes the bytes give too.
    static func cursor(_ bytes: [UInt8]) {
        var cursor = LogCursor(from: .zero, to: LogOffset(UInt64(bytes.count)), segmentBytes: segmentBytes)
        do {
            var before = LogOffset.zero
            while true {
                while let (offset, _) = try cursor.next() {
                    precondition(offset >= before && offset < cursor.end)
                    before = offset
                }
                guard let (offset, count) = cursor.wanted else { break }
                let from = Int(offset.raw)
                try cursor.feed(offset, Array(bytes[from..<(from + min(count, 1 + Int(bytes[from]) * 8))]))
            }
        } catch {
            // Damage is an answer.
        }
    }
}
