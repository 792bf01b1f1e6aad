// Commands that the proxy sends of its own accord: refills, records from other sites, assertions, read-backs, probes.
//
// Those about a key are meta commands, since they carry any key (base64 where text cannot) and return what is needed in
// one line. Their replies have the shape `.meta`.

import Kernel

/// When `Command.store` stores.
public enum StoreMode: Sendable {
    /// Whatever is there.
    case set
    /// Only when nothing is there.
    case add
    /// Only when something is there.
    case replace
}

/// Builds commands.
public enum Command {
    private static func key(_ verb: StaticString, _ key: UnsafeRawBufferPointer, _ queue: ByteQueue) -> Bool {
        queue.append(verb)
        switch KeyRules.carriage(of: key) {
        case .text:
            queue.append(key)
            return false
        case .base64:
            Base64.encode(key) { queue.append($0) }
            return true
        case .none:
            preconditionFailure("a key of \(key.count) bytes that no command can carry reached the encoder")
        }
    }

    /// `ms`: stores a value; answered by `HD`, `NS`, or an error. `exptime` in memcached's terms (`Exptime`).
    /// `KeyRules.carriage(of:)` must not be `.none`.
    public static func store(
        key: UnsafeRawBufferPointer, flags: UInt32, exptime: Int64, mode: StoreMode = .set, value: UnsafeRawBufferPointer,
        into queue: ByteQueue
    ) {
        storeLine(key: key, flags: flags, exptime: exptime, mode: mode, valueBytes: value.count, into: queue)
        queue.append(value)
        queue.append("\r\n")
    }

    /// The line of `store`, behind which the value must follow with a CRLF.
    public static func storeLine(
        key: UnsafeRawBufferPointer, flags: UInt32, exptime: Int64, mode: StoreMode = .set, valueBytes: Int, into queue: ByteQueue
    ) {
        let encoded = self.key("ms ", key, queue)
        queue.append(32)
        queue.append(decimal: UInt64(valueBytes))
        if encoded { queue.append(" b") }
        if flags != 0 {
            queue.append(" F")
            queue.append(decimal: UInt64(flags))
        }
        if exptime != 0 {
            queue.append(" T")
            queue.append(decimal: exptime)
        }
        switch mode {
        case .set: break
        case .add: queue.append(" ME")
        case .replace: queue.append(" MR")
        }
        queue.append("\r\n")
    }

    /// `md`: deletes; answered by `HD` or `NF`.
    public static func delete(key: UnsafeRawBufferPointer, into queue: ByteQueue) {
        let encoded = self.key("md ", key, queue)
        queue.append(encoded ? " b\r\n" : "\r\n")
    }

    /// `md` with `I`: marks an item stale, so that the next client to read it may refresh it; answered by `HD` or `NF`.
    public static func markStale(key: UnsafeRawBufferPointer, into queue: ByteQueue) {
        let encoded = self.key("md ", key, queue)
        queue.append(encoded ? " b I\r\n" : " I\r\n")
    }

    /// `mg` with `T`: sets the exptime; answered by `HD` or `EN`.
    public static func touch(key: UnsafeRawBufferPointer, exptime: Int64, into queue: ByteQueue) {
        let encoded = self.key("mg ", key, queue)
        queue.append(encoded ? " b T" : " T")
        queue.append(decimal: exptime)
        queue.append("\r\n")
    }

    /// `mg` for everything that a record needs, without counting as a use of the item; answered by `VA` with size, flags,
    /// remaining seconds and CAS value, or by `EN`. (On an item that is marked stale it takes the win, as any `mg` does.)
    public static func readBack(key: UnsafeRawBufferPointer, into queue: ByteQueue) {
        let encoded = self.key("mg ", key, queue)
        queue.append(encoded ? " b u s v f t c\r\n" : " u s v f t c\r\n")
    }

    /// Asks whether an item is there, without counting as a use of it; answered by `ME` or `HD`, or by `EN`.
    public static func look(key: UnsafeRawBufferPointer, into queue: ByteQueue) {
        // `me` changes nothing at all, but memcached 1.6.18 does not take it with a key in base64.
        if case .text = KeyRules.carriage(of: key) {
            queue.append("me ")
            queue.append(key)
            queue.append("\r\n")
        } else {
            _ = self.key("mg ", key, queue)
            queue.append(" b u\r\n")
        }
    }

    /// Asks for an item's size, and whether it is marked as stale, without counting as a use of it.
    public static func measure(key: UnsafeRawBufferPointer, into queue: ByteQueue) {
        let encoded = self.key("mg ", key, queue)
        queue.append(encoded ? " b u s\r\n" : " u s\r\n")
    }

    /// Asks for the keys of all items; the answer is read with ``KeyListing``.
    public static func listKeys(into queue: ByteQueue) { queue.append("lru_crawler metadump all\r\n") }

    /// `get k` or `gets k`, for one key of a client's retrieval, as the client sent it; the reply has the shape `.retrieval`.
    public static func get(key: UnsafeRawBufferPointer, withCAS: Bool, into queue: ByteQueue) {
        queue.append(withCAS ? "gets " : "get ")
        queue.append(key)
        queue.append("\r\n")
    }

    /// `gat exptime k` or `gats exptime k`, for one key; the reply has the shape `.retrieval`.
    public static func getAndTouch(key: UnsafeRawBufferPointer, exptime: Int64, withCAS: Bool, into queue: ByteQueue) {
        queue.append(withCAS ? "gats " : "gat ")
        queue.append(decimal: exptime)
        queue.append(32)
        queue.append(key)
        queue.append("\r\n")
    }

    /// `stats`, or one of its subcommands; the reply has the shape `.stats`.
    public static func stats(_ what: String = "", into queue: ByteQueue) {
        queue.append(text: what.isEmpty ? "stats\r\n" : "stats \(what)\r\n")
    }

    /// `flush_all`, now; the reply has the shape `.line`.
    public static func flushAll(into queue: ByteQueue) { queue.append("flush_all\r\n") }

    /// `version`; the reply has the shape `.line`.
    public static func version(into queue: ByteQueue) { queue.append("version\r\n") }

    /// `mn`, a no-op that shows that everything before it is done; answered by `MN`.
    public static func noop(into queue: ByteQueue) { queue.append("mn\r\n") }
}

/// An exptime in memcached's terms, from and to the absolute time at which an item ends.
public enum Exptime {
    /// Seconds up to which an exptime counts from now: 30 days.
    public static let relativeSecondsMax: Int64 = 2_592_000

    /// The second since 1970 at which an item with this exptime ends: 0 for never, and 1 for one that is over already.
    public static func absolute(_ exptime: Int64, nowSeconds: UInt64) -> UInt64 {
        if exptime == 0 { return 0 }
        if exptime < 0 { return 1 }
        return exptime <= relativeSecondsMax ? nowSeconds + UInt64(exptime) : UInt64(exptime)
    }

    /// The exptime to send for an item that ends at this second since 1970 (0 for never): what remains, so that the clocks
    /// of proxy and server need not agree; an absolute time only above 30 days; negative when it is over.
    public static func wire(endsAtSeconds: UInt64, nowSeconds: UInt64) -> Int64 {
        if endsAtSeconds == 0 { return 0 }
        if endsAtSeconds <= nowSeconds { return -1 }
        let left = endsAtSeconds - nowSeconds
        if left <= UInt64(relativeSecondsMax) { return Int64(left) }
        // memcached reads 32 bits with a sign, so 2038 is as late as can be said.
        return Int64(min(endsAtSeconds, UInt64(Int32.max)))
    }
}
