import Memcache

// Small numbers for what travels between lanes of one group; both ends run the same protocol version.

extension ReplyShape {
    private static let inOrder: [ReplyShape] = [.line, .retrieval, .meta, .stats, .values]

    var wireCode: UInt8 { UInt8(Self.inOrder.firstIndex(of: self)!) }  // all shapes are listed

    init?(wireCode: UInt8) {
        guard Int(wireCode) < Self.inOrder.count else { return nil }
        self = Self.inOrder[Int(wireCode)]
    }
}

extension ReplyKind {
    private static let inOrder: [ReplyKind] = [
        .stored, .notStored, .exists, .notFound, .deleted, .touched, .ok, .number, .value, .end, .hd, .en, .ns, .nf, .ex, .va,
        .mn,
        .me, .error, .clientError, .serverError, .version, .reset,
    ]

    /// The kind alone: a number's value travels in the reply's text.
    var wireCode: UInt8 { UInt8(Self.inOrder.firstIndex(of: self)!) }  // all kinds are listed

    init?(wireCode: UInt8) {
        guard Int(wireCode) < Self.inOrder.count else { return nil }
        self = Self.inOrder[Int(wireCode)]
    }
}
