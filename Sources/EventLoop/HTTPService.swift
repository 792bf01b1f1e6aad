// The admin endpoint's HTTP, by libevent's evhttp: cold, small, read-only.

import CEvent
import Glibc

/// Answers HTTP requests on one bound socket. It lives on one loop; the answers are made inside that loop's wait.
public final class HTTPService {
    /// What was asked.
    public struct Request: Sendable {
        /// Such as `GET`; `other` for methods that nobody needs here.
        public var method: String
        /// The path, decoded, without the query.
        public var path: String

        /// Makes a request of its parts.
        public init(method: String, path: String) {
            self.method = method
            self.path = path
        }
    }

    /// What is answered.
    public struct Response: Sendable {
        /// Such as 200.
        public var status: Int32
        /// Such as `application/json`.
        public var contentType: String
        /// The body.
        public var body: [UInt8]
        /// Further headers.
        public var headers: [(name: String, value: String)]

        /// A response of text.
        public init(
            status: Int32, contentType: String = "text/plain; charset=utf-8", text: String,
            headers: [(name: String, value: String)] = []
        ) {
            self.init(status: status, contentType: contentType, body: Array(text.utf8), headers: headers)
        }

        /// A response of bytes.
        public init(status: Int32, contentType: String, body: [UInt8], headers: [(name: String, value: String)] = []) {
            self.status = status
            self.contentType = contentType
            self.body = body
            self.headers = headers
        }
    }

    /// Longest request line and headers.
    public static let headerBytesMax = 8 * 1024
    /// Longest request body; none is used.
    public static let bodyBytesMax = 8 * 1024
    /// How long a client may take with its request.
    public static let timeoutSeconds: Int32 = 10

    private let loop: Loop
    private let bound: BoundSocket
    private let server: OpaquePointer
    private let respond: (Request) -> Response

    /// Listens on a bound socket and answers with `respond`.
    public init(_ loop: Loop, _ bound: BoundSocket, respond: @escaping (Request) -> Response) throws(SocketError) {
        guard let server = evhttp_new(loop.base) else {
            throw SocketError(action: "serve HTTP on", subject: bound.name, code: ENOMEM)
        }
        self.loop = loop
        self.bound = bound
        self.server = server
        self.respond = respond
        evhttp_set_max_headers_size(server, Self.headerBytesMax)
        evhttp_set_max_body_size(server, Self.bodyBytesMax)
        evhttp_set_timeout(server, Self.timeoutSeconds)
        evhttp_set_allowed_methods(server, UInt16.max)
        // Unretained: the server is freed in deinit, so no request can outlive this object.
        evhttp_set_gencb(
            server,
            { request, context in
                guard let request, let context else { return }
                Unmanaged<HTTPService>.fromOpaque(context).takeUnretainedValue().answer(request)
            }, Unmanaged.passUnretained(self).toOpaque())
        try bound.listen()
        guard evhttp_accept_socket(server, bound.descriptor) == 0 else {
            throw SocketError(action: "serve HTTP on", subject: bound.name, code: errno)
        }
    }

    deinit {
        evhttp_free(server)  // closes the listening descriptor too
        if let path = bound.path { unlink(path) }
    }

    private func answer(_ request: OpaquePointer) {
        let method: String
        switch evhttp_request_get_command(request) {
        case EVHTTP_REQ_GET: method = "GET"
        case EVHTTP_REQ_HEAD: method = "HEAD"
        case EVHTTP_REQ_POST: method = "POST"
        case EVHTTP_REQ_PUT: method = "PUT"
        case EVHTTP_REQ_DELETE: method = "DELETE"
        default: method = "other"
        }
        let parsed = evhttp_request_get_evhttp_uri(request).flatMap { evhttp_uri_get_path($0) }
        let response = respond(Request(method: method, path: parsed.map { String(cString: $0) } ?? "/"))
        let headers = evhttp_request_get_output_headers(request)
        evhttp_add_header(headers, "Content-Type", response.contentType)
        evhttp_add_header(headers, "Cache-Control", "no-store")
        for header in response.headers { evhttp_add_header(headers, header.name, header.value) }
        let buffer = evbuffer_new()
        _ = response.body.withUnsafeBytes { evbuffer_add(buffer, $0.baseAddress, $0.count) }
        evhttp_send_reply(request, response.status, nil, buffer)
        evbuffer_free(buffer)
    }
}
