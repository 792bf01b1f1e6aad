// The admin endpoint's HTTP, by libevent's evhttp: cold, small, read-only. evhttp itself accepts without limit, and keeps who is silent
// or slow as long as a byte comes now and then; so its connections are counted here, and the longest-standing one goes for a newer one.
//
//     accepted ─▶ kept ─── evhttp is done with it ───────────▶ ended ─▶ forgotten: its descriptor is closed
//                  └── older than the newest `connectionsMax`: shut down, which evhttp takes for the client's doing

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
    /// Connections that stay.
    public static let connectionsMax = 16
    /// Open files at most: connections that stay, those that are ending, and what is accepted meanwhile.
    public static let filesMax = 2 * connectionsMax
    /// How long nobody is accepted when there are so many.
    static let pauseMicroseconds: UInt64 = 10_000

    private let loop: Loop
    private let bound: BoundSocket
    private let server: OpaquePointer
    /// Invariant: set once `init` has succeeded; freed with the server.
    private var listener: OpaquePointer?
    /// Invariant: as `listener`.
    private var pauseTimer: OpaquePointer?
    private let respond: (Request) -> Response
    /// evhttp's connections, the oldest first, some of them ended. Invariant: each has a reference of ours, and closes its descriptor only
    /// with the last one: nobody else's file has its number before it is forgotten here.
    private var connections: [OpaquePointer] = []

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
        evhttp_set_bevcb(
            server,
            { base, context in
                guard let base, let context else { return nil }
                return Unmanaged<HTTPService>.fromOpaque(context).takeUnretainedValue().connect(base)
            }, Unmanaged.passUnretained(self).toOpaque())
        try bound.listen()
        let flags = LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE
        listener = evconnlistener_new(loop.base, nil, nil, flags, 0, bound.descriptor)
        guard let listener else { throw SocketError(action: "serve HTTP on", subject: bound.name, code: ENOMEM) }
        guard evhttp_bind_listener(server, listener) != nil else {
            evconnlistener_free(listener)
            throw SocketError(action: "serve HTTP on", subject: bound.name, code: ENOMEM)
        }
        pauseTimer = event_new(
            loop.base, -1, 0,
            { _, _, context in
                guard let context else { return }
                Unmanaged<HTTPService>.fromOpaque(context).takeUnretainedValue().keepHouse()
            }, Unmanaged.passUnretained(self).toOpaque())
        evconnlistener_set_error_cb(listener) { listener, _ in
            LibraryLog.note("the admin endpoint accepts nobody for a moment: \(SystemError.text(errno))")
            // It would be tried again without a pause.
            evconnlistener_disable(listener)
        }
    }

    deinit {
        if let pauseTimer { event_free(pauseTimer) }
        evhttp_free(server)  // closes the listening descriptor too
        for connection in connections { bufferevent_decref(connection) }
        if let path = bound.path { unlink(path) }
    }

    /// Those that it has, and those that are ending.
    var connectionCount: Int { connections.count }

    /// Time passes: accepts again where that had to stop.
    public func keepHouse() {
        forgetEnded()
        if connections.count < Self.filesMax { evconnlistener_enable(listener) }
    }

    /// evhttp has accepted somebody, and asks for what it is to talk through.
    private func connect(_ base: OpaquePointer) -> OpaquePointer? {
        guard let connection = bufferevent_socket_new(base, -1, Int32(BEV_OPT_CLOSE_ON_FREE.rawValue)) else { return nil }
        bufferevent_incref(connection)
        forgetEnded()
        connections.append(connection)
        if connections.count > Self.connectionsMax {
            // Those before it have had that already.
            let eldest = connections[connections.count - 1 - Self.connectionsMax]
            shutdown(bufferevent_getfd(eldest), Int32(SHUT_RDWR))
        }
        if connections.count >= Self.filesMax {
            evconnlistener_disable(listener)
            if let pauseTimer { meridian_timer_add(pauseTimer, Self.pauseMicroseconds) }
        }
        return connection
    }

    /// What evhttp has freed calls nobody back any more. It may still be watched, until the last reference goes.
    private func forgetEnded() {
        connections.removeAll { connection in
            var owner: UnsafeMutableRawPointer?
            bufferevent_getcb(connection, nil, nil, nil, &owner)
            if owner == nil { bufferevent_decref(connection) }
            return owner == nil
        }
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
