// The text command for each binary operation. Meta commands carry any key, and return flags and CAS value in one line.

import Kernel

extension BinaryTranslator {
    /// Appends the text command that means the same as a packet; of a store whose value is apart only the line.
    static func encode(
        _ operation: BinaryOperation, _ header: BinaryHeader, extras: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer,
        value: UnsafeRawBufferPointer, isApart: Bool, into text: ByteQueue
    ) {
        switch operation {
        case .get: meta("mg", key, " v f c", text)
        case .getAndTouch:
            meta("mg", key, " v f c", text)
            number(" T", exptime(extras, 0), text)
        case .touch:
            meta("mg", key, " f c", text)
            number(" T", exptime(extras, 0), text)
        case .set, .add, .replace, .append, .prepend: return store(operation, header, extras, key, value, isApart, text)
        case .delete:
            meta("md", key, "", text)
            condition(header, text)
        case .increment, .decrement: arithmetic(operation, header, extras, key, text)
        case .flush:
            text.append("flush_all")
            if !extras.isEmpty { number(" ", exptime(extras, 0), text) }
        case .noop: text.append("mn")
        case .version: text.append("version")
        case .quit: text.append("quit")
        case .stat:
            text.append("stats ")
            // No name of a statistic has a control character, and none must end the line.
            if key.contains(where: { $0 < 32 }) { text.append("?") } else { text.append(key) }
        }
        text.append("\r\n")
    }

    private static func store(
        _ operation: BinaryOperation, _ header: BinaryHeader, _ extras: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer, _ isApart: Bool, _ text: ByteQueue
    ) {
        meta("ms", key, "", text, valueBytes: value.count)
        text.append(" c")
        if !extras.isEmpty {
            number(" F", Int64(BinaryHeader.number(extras, 0, UInt32.self)), text)
            number(" T", exptime(extras, 4), text)
        }
        switch operation {
        // A CAS value makes a comparison of any of the three.
        case .add where header.cas == 0: text.append(" ME")
        case .replace where header.cas == 0: text.append(" MR")
        case .append: text.append(" MA")
        case .prepend: text.append(" MP")
        default: break
        }
        condition(header, text)
        text.append("\r\n")
        if isApart { return }
        text.append(value)
        text.append("\r\n")
    }

    private static func arithmetic(
        _ operation: BinaryOperation, _ header: BinaryHeader, _ extras: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer,
        _ text: ByteQueue
    ) {
        meta("ma", key, " v c D", text)
        text.append(decimal: BinaryHeader.number(extras, 0, UInt64.self))
        if operation == .decrement { text.append(" MD") }
        // All ones: what is not there is not made.
        if BinaryHeader.number(extras, 16, UInt32.self) != .max {
            number(" N", exptime(extras, 16), text)
            text.append(" J")
            text.append(decimal: BinaryHeader.number(extras, 8, UInt64.self))
        }
        condition(header, text)
    }

    private static func meta(
        _ verb: StaticString, _ key: UnsafeRawBufferPointer, _ flags: StaticString, _ text: ByteQueue, valueBytes: Int? = nil
    ) {
        text.append(verb)
        text.append(32)
        var isEncoded = false
        if case .text = KeyRules.carriage(of: key) {
            text.append(key)
        } else {
            isEncoded = true
            Base64.encode(key) { text.append($0) }
        }
        if let valueBytes { number(" ", Int64(valueBytes), text) }
        if isEncoded { text.append(" b") }
        text.append(flags)
    }

    private static func condition(_ header: BinaryHeader, _ text: ByteQueue) {
        if header.cas == 0 { return }
        text.append(" C")
        text.append(decimal: header.cas)
    }

    private static func number(_ prefix: StaticString, _ value: Int64, _ text: ByteQueue) {
        text.append(prefix)
        text.append(decimal: value)
    }

    /// An exptime has no sign here; text takes none beyond 2038, which is as good as never to both.
    private static func exptime(_ extras: UnsafeRawBufferPointer, _ at: Int) -> Int64 {
        Int64(min(BinaryHeader.number(extras, at, UInt32.self), UInt32(Int32.max)))
    }
}
