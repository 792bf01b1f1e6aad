// Numbers in command lines, read as memcached reads them: by C's strtol family, in 64 bits, then cut to the size wanted.
// So `4294967297` is the exptime 1, `+5` is 5 and `5<tab>x` is 5. Replies are read strictly.

/// Reads numbers in place.
package enum Numbers {
    /// What C's `strtoul` finds at the start of a token.
    private struct Scan {
        var magnitude: UInt64 = 0
        var negative = false
        var plain = true
        /// False when there is no digit, when 64 bits do not hold it, or when neither a blank nor the end follows.
        var valid = false
    }

    @inline(__always)
    private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (byte >= 9 && byte <= 13) }

    @inline(__always)
    private static func scan(_ token: UnsafeRawBufferPointer) -> Scan {
        var scan = Scan()
        var at = 0
        while at < token.count, isBlank(token[at]) {
            at += 1
            scan.plain = false
        }
        if at < token.count, token[at] == UInt8(ascii: "-") || token[at] == UInt8(ascii: "+") {
            scan.negative = token[at] == UInt8(ascii: "-")
            scan.plain = false
            at += 1
        }
        let firstDigit = at
        while at < token.count {
            let digit = UInt64(token[at] &- 48)
            if digit > 9 { break }
            let (times, high) = scan.magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carry) = times.addingReportingOverflow(digit)
            if high || carry { return scan }
            scan.magnitude = sum
            at += 1
        }
        if at == firstDigit { return scan }
        if at < token.count {
            scan.plain = false
            if !isBlank(token[at]) { return scan }
        } else if at - firstDigit > 1, token[firstDigit] == 48 {
            scan.plain = false
        }
        scan.valid = true
        return scan
    }

    /// An unsigned number of 64 bits; nil where memcached refuses it. `plain` falls when it is oddly written.
    @inline(__always)
    package static func unsigned64(_ token: UnsafeRawBufferPointer, _ plain: inout Bool) -> UInt64? {
        let scan = scan(token)
        guard scan.valid else { return nil }
        if !scan.plain { plain = false }
        let number = scan.negative ? 0 &- scan.magnitude : scan.magnitude
        // A huge number is refused when there is a minus anywhere in its token.
        if number >> 63 == 1, !scan.plain, token.contains(UInt8(ascii: "-")) { return nil }
        return number
    }

    /// The low 32 bits of an unsigned number of 64 bits; nil where memcached refuses it.
    @inline(__always)
    static func unsigned32(_ token: UnsafeRawBufferPointer, _ plain: inout Bool) -> UInt32? {
        guard let number = unsigned64(token, &plain) else { return nil }
        if number >> 32 != 0 { plain = false }
        return UInt32(truncatingIfNeeded: number)
    }

    /// The low 32 bits of a signed number of 64 bits; nil where memcached refuses it.
    @inline(__always)
    static func signed32(_ token: UnsafeRawBufferPointer, _ plain: inout Bool) -> Int32? {
        let scan = scan(token)
        guard scan.valid, scan.magnitude <= (scan.negative ? 1 << 63 : 1 << 63 - 1) else { return nil }
        let number = scan.negative ? 0 &- scan.magnitude : scan.magnitude
        let cut = Int32(truncatingIfNeeded: number)
        if !scan.plain || Int64(cut) != Int64(bitPattern: number) { plain = false }
        return cut
    }

    /// The number that begins at `at`, of nine digits at most; `at` is moved behind it. Nil where there is none, or a longer one.
    @inline(__always)
    static func shortDigits(_ text: UnsafeRawBufferPointer, _ at: inout Int) -> UInt64? {
        let start = at
        var number: UInt64 = 0
        while at < text.count, case let digit = UInt64(text[at] &- 48), digit <= 9 {
            number = number &* 10 &+ digit
            at += 1
        }
        return at > start && at - start <= 9 ? number : nil
    }

    /// A number of digits only, as replies carry it; nil for anything else, and when 64 bits do not hold it.
    @inline(__always)
    static func digits(_ token: UnsafeRawBufferPointer) -> UInt64? {
        if token.isEmpty || token.count > 20 { return nil }
        var number: UInt64 = 0
        for byte in token {
            let digit = UInt64(byte &- 48)
            if digit > 9 { return nil }
            let (times, high) = number.multipliedReportingOverflow(by: 10)
            let (sum, carry) = times.addingReportingOverflow(digit)
            if high || carry { return nil }
            number = sum
        }
        return number
    }
}
