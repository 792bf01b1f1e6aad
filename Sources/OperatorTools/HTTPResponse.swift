// The part of HTTP/1.1 (RFC 9112) that a GET of one document needs, bytes in, response out; the socket is elsewhere.

/// A response to a GET.
public struct HTTPResponse: Sendable, Equatable {
    /// Such as 200.
    public var status: Int
    /// The document.
    public var body: [UInt8]

    /// Makes a response of its parts.
    public init(status: Int, body: [UInt8]) {
        self.status = status
        self.body = body
    }

    /// Most bytes of status line and headers.
    public static let headBytesMax = 64 * 1024
    /// Most bytes of a document: a proxy with many lanes reports some hundred KiB.
    public static let bodyBytesMax = 16 * 1024 * 1024

    /// Why bytes are not a response.
    public enum Failure: Error, Sendable, Hashable, CustomStringConvertible {
        /// The first line is not HTTP's.
        case notHTTP
        /// Headers longer than `headBytesMax`.
        case headTooLong
        /// A document longer than `bodyBytesMax`.
        case bodyTooLong
        /// A length or chunk that is not a number, or a chunk without its end.
        case malformed
        /// The connection ended before the document did.
        case cutShort

        /// For people.
        public var description: String {
            switch self {
            case .notHTTP: "the answer is not HTTP; is this the proxy's admin endpoint, or a port for clients?"
            case .headTooLong: "the answer's headers are longer than \(HTTPResponse.headBytesMax) bytes"
            case .bodyTooLong: "the answer is longer than \(HTTPResponse.bodyBytesMax) bytes"
            case .malformed: "the answer is not well-formed HTTP"
            case .cutShort: "the connection ended in the middle of the answer"
            }
        }
    }

    /// Reads what has arrived so far. Nil while more is needed; `ended` says that no more will come.
    public static func read(_ bytes: [UInt8], ended: Bool) throws(Failure) -> HTTPResponse? {
        let magic = Array("HTTP/1.".utf8)
        guard bytes.prefix(magic.count).elementsEqual(magic.prefix(bytes.count)) else { throw .notHTTP }
        guard let headEnd = endOfHead(bytes) else {
            if bytes.count > headBytesMax { throw .headTooLong }
            if ended { throw .cutShort }
            return nil
        }
        guard headEnd <= headBytesMax else { throw .headTooLong }
        let lines = bytes[..<headEnd].split(separator: 10).map { String(decoding: $0, as: UTF8.self).trimmed }
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count >= 2, let status = Int(words[1]), (100...999).contains(status) else { throw .notHTTP }
        let headers = Headers(lines.dropFirst())
        let rest = bytes[headEnd...]
        guard let body = try body(rest, headers, ended: ended) else { return nil }
        return HTTPResponse(status: status, body: body)
    }

    private struct Headers {
        private var values: [String: String] = [:]

        init(_ lines: some Sequence<String>) {
            for line in lines {
                guard let colon = line.firstIndex(of: ":") else { continue }
                values[line[..<colon].lowercased()] = String(line[line.index(after: colon)...]).trimmed
            }
        }

        subscript(name: String) -> String? { values[name] }
    }

    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        var index = 0
        while let newline = bytes[index...].firstIndex(of: 10) {
            index = newline + 1
            if index < bytes.count, bytes[index] == 10 { return index + 1 }
            if index + 1 < bytes.count, bytes[index] == 13, bytes[index + 1] == 10 { return index + 2 }
        }
        return nil
    }

    private static func body(_ rest: ArraySlice<UInt8>, _ headers: Headers, ended: Bool) throws(Failure) -> [UInt8]? {
        if headers["transfer-encoding"]?.lowercased() == "chunked" { return try chunks(rest, ended: ended) }
        guard let text = headers["content-length"] else {
            guard rest.count <= bodyBytesMax else { throw .bodyTooLong }
            return ended ? Array(rest) : nil
        }
        guard let length = Int(text), length >= 0 else { throw .malformed }
        guard length <= bodyBytesMax else { throw .bodyTooLong }
        if rest.count >= length { return Array(rest.prefix(length)) }
        if ended { throw .cutShort }
        return nil
    }

    /// RFC 9112 section 7.1; extensions and trailers are skipped.
    private static func chunks(_ bytes: ArraySlice<UInt8>, ended: Bool) throws(Failure) -> [UInt8]? {
        let lineBytesMax = 1_024
        var body: [UInt8] = []
        var rest = bytes
        while true {
            guard let newline = rest.firstIndex(of: 10) else {
                if rest.count > lineBytesMax { throw .malformed }
                if ended { throw .cutShort }
                return nil
            }
            let line = String(decoding: rest[rest.startIndex..<newline], as: UTF8.self)
            guard let length = Int(line.prefix { $0 != ";" }.description.trimmed, radix: 16), length >= 0 else {
                throw .malformed
            }
            rest = rest[(newline + 1)...]
            if length == 0 { return body }
            guard length <= bodyBytesMax - body.count else { throw .bodyTooLong }
            guard rest.count >= length + 2 else {
                if ended { throw .cutShort }
                return nil
            }
            body += rest.prefix(length)
            rest = rest.dropFirst(length)
            guard rest.prefix(2).elementsEqual([13, 10]) else { throw .malformed }
            rest = rest.dropFirst(2)
        }
    }
}

extension String {
    /// Without spaces, tabs and line ends at both ends.
    fileprivate var trimmed: String {
        let blank: (Character) -> Bool = { $0.isWhitespace }
        return String(drop(while: blank).reversed().drop(while: blank).reversed())
    }
}
