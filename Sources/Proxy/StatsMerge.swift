// What several memcached servers say in their `stats`, made one.

/// What is asked of the servers.
enum GatheredStats: String {
    case general = ""
    case settings, items, slabs
}

/// Rows of several servers, in the order in which they first came.
struct StatsMerge {
    private var order: [String] = []
    private var values: [String: String] = [:]

    /// Names, without a slab class in front, of which the largest is meant and not the sum.
    private static let largest: Set<String> = [
        "age", "age_hot", "age_warm", "evicted_time", "chunk_size", "chunks_per_page", "active_slabs", "hash_power_level",
        "hash_is_expanding", "slab_reassign_running", "lru_crawler_running",
    ]

    /// All rows.
    var rows: [(String, String)] { order.map { ($0, values[$0] ?? "") } }

    /// Takes in one row of one server.
    mutating func add(_ name: String, _ value: String, of what: GatheredStats) {
        guard let known = values[name] else {
            order.append(name)
            values[name] = value
            return
        }
        guard let one = UInt64(known), let other = UInt64(value) else { return }
        if what == .settings && name != "maxbytes" { return }
        let isLargest = Self.largest.contains(name.split(separator: ":").last.map(String.init) ?? name)
        values[name] = "\(isLargest ? max(one, other) : one &+ other)"
    }
}

/// An answer to `stats`, line by line; of two rows with one name the first counts.
struct StatLines {
    private var names: Set<String> = []
    private var lines = ""

    /// The whole answer.
    var text: String { lines + "END\r\n" }

    /// Adds rows.
    mutating func add(_ rows: [(String, String)]) {
        for (name, value) in rows where names.insert(name).inserted { lines += "STAT \(name) \(value)\r\n" }
    }
}
