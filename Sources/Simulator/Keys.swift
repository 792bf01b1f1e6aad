import Configuration
import Kernel

// The keys of a run, and who writes them. Every value names the write that made it, so that whatever is found in a
// memcached, in a reply or in a record can be traced to its command.

/// One key.
struct SimulatedKey {
    enum Kind {
        /// Written by every client of every site.
        case hot
        /// A number that everybody counts up and down.
        case counter
        /// Written by one client alone: what it may hold at the end is known.
        case own(client: Int)
        /// A number that one client alone counts up.
        case ownCounter(client: Int)
        /// No item's: barriers stand under it, in logs and streams.
        case everything
    }

    let index: Int
    let name: String
    let bytes: [UInt8]
    let kind: Kind
    let policy: CrossingRule.Policy
}

/// One write that a client sent.
struct IssuedWrite {
    let key: Int
    let client: Int
}

extension World {
    /// Lays out the keys of the run.
    func makeKeys() {
        func add(_ name: String, _ kind: SimulatedKey.Kind) {
            let policy = federation.crossing.first { name.hasPrefix($0.prefix) && name.hasSuffix($0.suffix) }?.policy ?? .value
            let bytes = Array(name.utf8)
            keyIndexes[bytes] = keys.count
            keys.append(
                SimulatedKey(index: keys.count, name: name, bytes: bytes, kind: kind, policy: policy))
        }
        for index in 0..<options.hotKeys { add("hot\(index)", .hot) }
        add("count0", .counter)
        if options.crossingRules {
            add("session.lock", .hot)
            add("inv.page", .hot)
        }
        sharedKeys = keys.count
        for client in 0..<clientCount {
            add("own\(client)a", .own(client: client))
            add("own\(client)b", .own(client: client))
            add("seq\(client)", .ownCounter(client: client))
        }
        add("", .everything)
    }

    /// The keys that items may have.
    var itemKeys: ArraySlice<SimulatedKey> { keys.dropLast() }

    /// The number of the key that stands for all.
    var everything: Int { keys.count - 1 }

    /// Notes a write about to be sent; the number is in its value.
    func issue(key: Int, client: Int) -> Int {
        writes.append(IssuedWrite(key: key, client: client))
        return writes.count - 1
    }

    /// The numbers of the writes that a value was made of, in the order of its pieces; nil where it is not one of ours.
    static func pieces(of value: some Collection<UInt8>) -> [Int]? {
        var numbers: [Int] = []
        var number: Int?
        for byte in value {
            switch byte {
            case UInt8(ascii: "w"):
                if let number { numbers.append(number) }
                number = 0
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                guard let digits = number else { return nil }
                number = digits * 10 + Int(byte - 48)
            case UInt8(ascii: "."):
                if let ended = number { numbers.append(ended) }
                number = nil
            default: return nil
            }
        }
        if let number { numbers.append(number) }
        return numbers
    }
}
