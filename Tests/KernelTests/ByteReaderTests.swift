import Kernel
import Testing

/// Fields read in order, and never past the end.
@Suite struct ByteReaderTests {
    @Test("Integers are read least significant byte first, wherever they stand")
    func integers() {
        let bytes: [UInt8] = [0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0a, 0x0b, 0x80]
        bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            #expect(reader.remaining == 12)
            #expect(reader.integer(UInt8.self) == 0xff)
            #expect(reader.integer(UInt64.self) == 0x0807_0605_0403_0201)
            #expect(reader.integer(UInt16.self) == 0x0b0a)
            #expect(reader.integer(Int8.self) == -128)
            #expect(reader.remaining == 0)
        }
    }

    @Test("What is not there is nil, and nothing is skipped on the way to it")
    func short() {
        let bytes: [UInt8] = [1, 2, 3]
        bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            #expect(reader.integer(UInt32.self) == nil)
            #expect(reader.array(4) == nil)
            #expect(reader.array(-1) == nil)
            #expect(reader.array(.max) == nil)
            #expect(reader.remaining == 3)
            #expect(reader.integer(UInt16.self) == 0x0201)
            #expect(reader.array(1) == [3])
            #expect(reader.array(0) == [])
            #expect(reader.integer(UInt8.self) == nil)
        }
    }

    @Test("Nothing at all can be read from nothing at all")
    func empty() {
        var reader = ByteReader(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(reader.remaining == 0)
        #expect(reader.integer(UInt8.self) == nil)
        #expect(reader.array(0) == [])
        #expect(reader.array(1) == nil)
    }

    @Test("Whatever is read in whatever order, it is what a slice of the array would give", arguments: 0..<40)
    func againstArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let bytes = (0..<random.below(200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        bytes.withUnsafeBytes { raw in
            var reader = ByteReader(raw)
            var rest = bytes[...]
            for _ in 0..<60 {
                switch random.below(3) {
                case 0:
                    let count = random.below(30)
                    let fits = count <= rest.count
                    #expect(reader.array(count) == (fits ? Array(rest.prefix(count)) : nil))
                    if fits { rest = rest.dropFirst(count) }
                case 1: expect(reader.integer(UInt32.self).map(UInt64.init), 4, &rest)
                default: expect(reader.integer(UInt64.self), 8, &rest)
                }
                #expect(reader.remaining == rest.count)
            }
        }
    }

    private func expect(_ number: UInt64?, _ size: Int, _ rest: inout ArraySlice<UInt8>) {
        guard rest.count >= size else {
            #expect(number == nil)
            return
        }
        #expect(number == rest.prefix(size).reversed().reduce(0) { $0 << 8 | UInt64($1) })
        rest = rest.dropFirst(size)
    }
}
