// Addresses as the system has them: read from numbers at once, or looked up by name on a thread of its own, because a
// name server may take seconds and a loop must not.

import CEvent
import Kernel

/// One address of a TCP or unix socket.
public struct SocketAddress: Sendable, CustomStringConvertible {
    var raw: meridian_address

    /// Most addresses of one name that are tried.
    public static let perNameMax = 8

    init(raw: meridian_address) { self.raw = raw }

    /// A numeric IPv4 or IPv6 address; nil when the host is a name.
    public init?(numericHost host: String, port: UInt16) {
        guard !host.isEmpty, let first = try? Self.resolve(host: host, port: port, numeric: true, passive: false).first else {
            return nil
        }
        self = first
    }

    /// A unix socket's path.
    public init(path: String) throws(SocketError) {
        raw = meridian_address()
        guard meridian_unix_address(path, &raw) == 0 else {
            throw SocketError(
                action: "use", subject: "unix:\(path)", code: ENAMETOOLONG, reason: "the path is longer than 107 bytes",
                remedy: "choose a shorter path")
        }
    }

    /// True for 127.0.0.0/8, ::1 and unix sockets.
    public var isLoopback: Bool { withUnsafePointer(to: raw) { meridian_address_is_loopback($0) != 0 } }

    /// The address without its port; nil for a unix socket.
    public var ip: IPAddress? {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = withUnsafePointer(to: raw) { meridian_address_bytes($0, &bytes) }
        return IPAddress(bytes: Array(bytes.prefix(Int(count))))
    }

    /// `127.0.0.1:11211`, `[::1]:11211` or `unix`
    public var description: String {
        var text = [CChar](repeating: 0, count: 64)
        withUnsafePointer(to: raw) { meridian_address_text($0, &text, text.count) }
        return SystemError.string(text)
    }

    /// All addresses of a host. May wait for a name server unless `numeric`.
    public static func resolve(
        host: String, port: UInt16, numeric: Bool = false, passive: Bool = false
    ) throws(SocketError) -> [SocketAddress] {
        var found = [meridian_address](repeating: meridian_address(), count: perNameMax)
        let count = meridian_resolve(host, port, numeric ? 1 : 0, passive ? 1 : 0, &found, Int32(perNameMax))
        guard count > 0 else {
            let reason = count == 0 ? "the name has no address" : String(cString: gai_strerror(count))
            throw SocketError(
                action: "look up", subject: host, code: 0, reason: reason, remedy: "check the name, or use the address itself")
        }
        return found.prefix(Int(count)).map(SocketAddress.init(raw:))
    }
}

/// Looks names up on a thread of its own, one after the other.
public final class Resolver: Sendable {
    /// What a look-up found.
    public typealias Answer = Result<[SocketAddress], SocketError>

    private struct Question: Sendable {
        var host: String
        var port: UInt16
        var reply: @Sendable (Answer) -> Void
    }

    private struct State: Sendable {
        var questions: [Question] = []
        /// Asked when there is nothing else to ask.
        var leisurely: [Question] = []
        var running = false
    }

    /// Most look-ups that may wait; further ones fail at once.
    public static let waitingMax = 1_024

    private let state = Guarded(State())

    /// A resolver; its thread lives only while there are questions.
    public init() {}

    /// Looks a name up; `reply` is called on the resolver's thread. Nobody waits for what is looked up `atLeisure`.
    public func resolve(host: String, port: UInt16, atLeisure: Bool = false, reply: @escaping @Sendable (Answer) -> Void) {
        let question = Question(host: host, port: port, reply: reply)
        let (accepted, start) = state.withLock { state in
            guard (atLeisure ? state.leisurely : state.questions).count < Self.waitingMax else { return (false, false) }
            if atLeisure { state.leisurely.append(question) } else { state.questions.append(question) }
            defer { state.running = true }
            return (true, !state.running)
        }
        guard accepted else {
            reply(
                .failure(
                    SocketError(
                        action: "look up", subject: host, code: 0, reason: "\(Self.waitingMax) look-ups are waiting already",
                        remedy: "check the name server")))
            return
        }
        if start {
            do {
                try WorkerThread.start(name: "resolver") { [self] in work() }.detach()
            } catch {
                let left = state.withLock { state in
                    defer { state = State() }
                    return state.questions + state.leisurely
                }
                for question in left { question.reply(.failure(error)) }
            }
        }
    }

    private func work() {
        while let question = nextQuestion() {
            do throws(SocketError) {
                question.reply(.success(try SocketAddress.resolve(host: question.host, port: question.port)))
            } catch {
                question.reply(.failure(error))
            }
        }
    }

    private func nextQuestion() -> Question? {
        state.withLock { state in
            if !state.questions.isEmpty { return state.questions.removeFirst() }
            if !state.leisurely.isEmpty { return state.leisurely.removeFirst() }
            state.running = false
            return nil
        }
    }
}
