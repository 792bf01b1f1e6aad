// `noreply` and `q`: which replies a client is not to see.

/// The silence that a client asked for.
///
/// Classic `noreply` silences everything, errors too. `q` silences the one reply that is expected: a miss of `mg`, success of
/// `ms`, `md` and `ma`. (What memcached refuses before it looks at `noreply` is in the parser's replies.)
public struct Silence: Sendable {
    let verb: Verb

    /// True when the client is not to see such a reply.
    public func covers(_ reply: ReplyKind) -> Bool {
        switch verb {
        case .mg: reply == .en
        case .ms, .md: reply == .hd
        case .ma: reply == .hd || reply == .va
        case .mn, .me: false
        default: true
        }
    }
}
