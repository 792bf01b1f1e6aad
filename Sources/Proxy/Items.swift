// Items as memcached takes and gives them: expiries between absolute microseconds and exptimes, post-images.

import Kernel
import Memcache
import WriteLog

/// What a read-back said of an item.
struct PostImage {
    var clientFlags: UInt32
    /// Absolute expiry in microseconds of wall time; 0 never.
    var expiry: UInt64
    var value: ItemValue
    /// The item is marked stale: to other sites that is an invalidation.
    var isStale = false
    /// The value is larger than the federation's items may be: memcached's own limit is above `item-size-max`.
    var isTooLarge = false
}

extension LaneNode {
    /// True when an absolute expiry has passed.
    func expired(_ expiry: UInt64) -> Bool { expiry != 0 && expiry <= now.wallMicroseconds }

    /// An absolute expiry, in microseconds, of a client's exptime.
    func absoluteExpiry(_ exptime: Int64) -> UInt64 {
        let seconds = Exptime.absolute(exptime, nowSeconds: now.wallMicroseconds / 1_000_000)
        guard exptime > 0, exptime <= Exptime.relativeSecondsMax else { return seconds * 1_000_000 }
        return now.wallMicroseconds + UInt64(exptime) * 1_000_000
    }

    /// The exptime to send for an absolute expiry that has not passed: what remains, rounded up to whole seconds.
    func exptime(until expiry: UInt64) -> Int64 {
        guard expiry != 0 else { return 0 }
        let left = expiry - min(now.wallMicroseconds, expiry)
        let seconds = max(1, (left + 999_999) / 1_000_000)
        let nowSeconds = now.wallMicroseconds / 1_000_000
        return Exptime.wire(endsAtSeconds: nowSeconds + seconds, nowSeconds: nowSeconds)
    }

    /// Appends the command that makes an item what a record says: a store, a delete, or a touch.
    func writeItem(
        _ key: [UInt8], content: Content, clientFlags: UInt32, expiry: UInt64, value: ItemValue, mode: StoreMode = .set,
        into queue: ByteQueue
    ) {
        key.withUnsafeBytes { key in
            switch content {
            case .value where !expired(expiry):
                let exptime = exptime(until: expiry)
                switch value {
                case .own(let value):
                    value.withUnsafeBytes {
                        Command.store(key: key, flags: clientFlags, exptime: exptime, mode: mode, value: $0, into: queue)
                    }
                case .shared(let block):
                    Command.storeLine(
                        key: key, flags: clientFlags, exptime: exptime, mode: mode, valueBytes: value.count, into: queue)
                    queue.append(block)
                }
            case .touch where !expired(expiry): Command.touch(key: key, exptime: exptime(until: expiry), into: queue)
            case .value, .touch, .tombstone: Command.delete(key: key, into: queue)
            case .none: preconditionFailure("an item without content is written")
            }
        }
    }

    /// The item in a reply to a read-back; nil for a miss. A large value has been taken off the bytes.
    func postImage(_ reply: Reply, in bytes: UnsafeRawBufferPointer, _ value: LargeValue?) -> PostImage? {
        guard reply.kind == .va else { return nil }
        let expiry = reply.ttl < 0 ? 0 : now.wallMicroseconds + UInt64(min(reply.ttl, Int64(UInt32.max))) * 1_000_000
        return PostImage(
            clientFlags: reply.flags, expiry: expiry,
            value: value.map { .shared($0.block) } ?? .own(Array(reply.value.of(bytes))),
            isStale: reply.isStale,
            isTooLarge: reply.value.count > configuration.federation.itemBytesMax)
    }
}
