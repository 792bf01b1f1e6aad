import OperatorTools
import Testing

@Suite struct FormatTests {
    @Test(
        arguments: [
            (0, "0 s"), (0.00004, "0 s"), (0.0004, "0.4 ms"), (0.25, "250 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"),
            (3.21, "3.2 s"),
            (59.96, "1 min 0 s"), (250, "4 min 10 s"), (7_500, "2 h 5 min"), (273_600, "3 d 4 h"), (-1, "?"),
            (.nan, "?"), (.infinity, "?"), (1e300, "53375995583650 d 7 h"),
        ] as [(Double, String)])
    func `durations have a unit and no more digits than mean something`(seconds: Double, text: String) {
        #expect(Amount.seconds(seconds) == text)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1_023, "1023 B"), (3_500, "3.4 KiB"), (64 << 20, "64.0 MiB"), (5 << 30, "5.0 GiB"),
            (.max, "16777216.0 TiB"),
        ] as [(UInt64, String)])
    func `bytes have a unit`(bytes: UInt64, text: String) {
        #expect(Amount.bytes(bytes) == text)
    }

    @Test func `counts and rates`() {
        #expect(Amount.count(999) == "999")
        #expect(Amount.count(1_234_567) == "1,234,567")
        #expect(Amount.rate(0) == "0/s")
        #expect(Amount.rate(0.46) == "0.5/s")
        #expect(Amount.rate(12_500.4) == "12,500/s")
        #expect(Amount.rate(.nan) == "?")
    }

    @Test func `columns are aligned and lines end without spaces`() {
        var table = Table([("NAME", .left), ("COUNT", .right), ("NOTE", .left)])
        table.add(["a", "1", ""])
        table.add(["longer", "12345678", "ok"])
        #expect(table.lines == ["NAME       COUNT  NOTE", "a              1", "longer  12345678  ok"])
    }

    @Test func `what peers send does not move the cursor`() {
        var table = Table([("NAME", .left)])
        table.add(["a\u{1b}[2J\nb\u{9b}"])
        #expect(table.lines[1] == "a?[2J?b?")
    }

    @Test(
        arguments: [
            ("1s", 1), ("500ms", 0.5), ("1.5s", 1.5), ("2min", 120), ("1h", 3_600), ("7", 7), ("s", nil), ("", nil), ("-1s", nil),
            ("1 day", nil), ("1e3s", nil), ("nans", nil), ("1.2.3s", nil),
        ] as [(String, Double?)])
    func `times on the command line`(text: String, seconds: Double?) {
        #expect(readSeconds(text) == seconds)
    }
}
