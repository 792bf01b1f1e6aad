// The operations of the binary protocol (memcached's protocol_binary.h): what an opcode wants done, and how it is answered.

/// What a packet wants done.
enum BinaryOperation: UInt8, Sendable {
    case get, set, add, replace, append, prepend, delete, increment, decrement, touch, getAndTouch
    case flush, noop, version, stat, quit

    /// True where memcached takes what stands behind the key for the next packet.
    var endsWithKey: Bool { self == .touch || self == .getAndTouch || self == .stat }

    /// True for those that bring a value.
    var isStore: Bool { rawValue >= Self.set.rawValue && rawValue <= Self.prepend.rawValue }
}

/// An opcode, understood.
struct BinaryOpcode: Sendable {
    /// As it was sent, and is echoed.
    let raw: UInt8
    let operation: BinaryOperation
    /// The expected reply is not wanted: a miss of a retrieval, success of anything else.
    let isQuiet: Bool
    /// The key comes back with the reply.
    let returnsKey: Bool

    /// Nil for what memcached does not know.
    init?(_ raw: UInt8) {
        self.raw = raw
        switch raw {
        case 0x00, 0x09, 0x0c, 0x0d: operation = .get
        case 0x01, 0x11: operation = .set
        case 0x02, 0x12: operation = .add
        case 0x03, 0x13: operation = .replace
        case 0x04, 0x14: operation = .delete
        case 0x05, 0x15: operation = .increment
        case 0x06, 0x16: operation = .decrement
        case 0x07, 0x17: operation = .quit
        case 0x08, 0x18: operation = .flush
        case 0x0a: operation = .noop
        case 0x0b: operation = .version
        case 0x0e, 0x19: operation = .append
        case 0x0f, 0x1a: operation = .prepend
        case 0x10: operation = .stat
        case 0x1c: operation = .touch
        case 0x1d, 0x1e, 0x23, 0x24: operation = .getAndTouch
        default: return nil
        }
        switch raw {
        case 0x09, 0x0d, 0x11...0x1a, 0x1e, 0x24: isQuiet = true
        default: isQuiet = false
        }
        returnsKey = raw == 0x0c || raw == 0x0d || raw == 0x23 || raw == 0x24
    }
}

/// The status of a reply.
enum BinaryStatus: UInt16, Sendable {
    case success = 0x00
    case notFound = 0x01
    case exists = 0x02
    case tooLarge = 0x03
    case invalid = 0x04
    case notStored = 0x05
    case notANumber = 0x06
    case authenticationFailed = 0x20
    case authenticationContinues = 0x21
    case unknownCommand = 0x81
    case outOfMemory = 0x82
    case internalError = 0x84
    case temporaryFailure = 0x86

    /// What memcached says with it.
    var text: StaticString {
        switch self {
        case .success, .authenticationContinues: ""
        case .notFound: "Not found"
        case .exists: "Data exists for key."
        case .tooLarge: "Too large."
        case .invalid: "Invalid arguments"
        case .notStored: "Not stored."
        case .notANumber: "Non-numeric server-side value for incr or decr"
        case .authenticationFailed: "Auth failure."
        case .unknownCommand: "Unknown command"
        case .outOfMemory: "Out of memory"
        case .internalError: "Internal error"
        case .temporaryFailure: "Temporary failure"
        }
    }
}
