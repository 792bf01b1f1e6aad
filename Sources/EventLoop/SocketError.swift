// What can go wrong with sockets, told so that an operator can act on it (style 6).

import CEvent

/// A socket operation that the world refused.
public struct SocketError: Error, Sendable, CustomStringConvertible {
    /// What was being done, such as `listen`.
    public var action: String
    /// To what: an address or a path.
    public var subject: String
    /// The system's error number; 0 when the system was not asked.
    public var code: Int32
    /// Why, in the system's words or ours.
    public var reason: String
    /// What to do about it; empty when there is nothing to say.
    public var remedy: String

    /// An error in the system's words.
    public init(action: String, subject: String, code: Int32, remedy: String = "") {
        self.init(action: action, subject: subject, code: code, reason: SystemError.text(code), remedy: remedy)
    }

    /// An error in our words.
    public init(action: String, subject: String, code: Int32, reason: String, remedy: String) {
        self.action = action
        self.subject = subject
        self.code = code
        self.reason = reason
        self.remedy = remedy
    }

    /// `cannot listen on 127.0.0.1:11211: Address already in use; …`
    public var description: String {
        "cannot \(action) \(subject): \(reason)" + (remedy.isEmpty ? "" : "; \(remedy)")
    }
}

/// The system's error numbers in words.
public enum SystemError {
    /// `Connection refused` for ECONNREFUSED.
    public static func text(_ code: Int32) -> String {
        var text = [CChar](repeating: 0, count: 128)
        meridian_error_text(code, &text, text.count)
        return string(text)
    }

    /// A C string in a fixed array, up to its zero byte.
    static func string(_ text: [CChar]) -> String {
        String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
