// What memcached servers last said in their `stats`. It stands for those that cannot be asked: a sum that falls when a server is lost, and
// jumps back with it, looks to whoever counts like one that was reset, and a name that is missing like a program that is broken. Both
// would happen exactly while somebody looks.

/// The last answer of each server, by what it was asked.
public struct StatAnswers: Sendable {
    private struct Asked: Hashable {
        var server: String
        var what: GatheredStats
    }

    private struct Answer {
        var rows: [(String, String)]
        /// When it came, in monotonic microseconds.
        var at: UInt64
    }

    private var latest: [Asked: Answer] = [:]

    /// Nobody has said anything yet.
    public init() {}

    /// Takes in an answer of a server.
    mutating func note(_ rows: [(String, String)], of server: String, to what: GatheredStats, at monotonic: UInt64) {
        latest[Asked(server: server, what: what)] = Answer(rows: rows, at: monotonic)
    }

    /// What a server last said; nil if it never did. Nobody may have asked it for its settings while it could be asked; how much memory it
    /// has it said when it was met.
    func rows(of server: String, to what: GatheredStats) -> [(String, String)]? {
        if let answer = latest[Asked(server: server, what: what)] { return answer.rows }
        guard what == .settings, let met = latest[Asked(server: server, what: .general)] else { return nil }
        return met.rows.first { $0.0 == "limit_maxbytes" }.map { [("maxbytes", $0.1)] }
    }

    /// Takes in what another loop of the process was told: the later answer counts.
    public mutating func merge(_ other: StatAnswers) {
        latest.merge(other.latest) { $0.at < $1.at ? $1 : $0 }
    }
}

extension GatheredStats {
    /// What is said as long as no server has ever answered: the names that memcached 1.6.18 always has, beyond those that the proxy
    /// answers for itself.
    var rowsOfNobody: [(String, String)] {
        switch self {
        case .general: Self.generalNames.map { ($0, "0") }
        case .settings: [("maxbytes", "0"), ("evictions", "on")]
        case .items, .slabs: []
        }
    }

    private static let generalNames = [
        "response_obj_oom", "response_obj_count", "response_obj_bytes", "read_buf_count", "read_buf_bytes", "read_buf_bytes_free",
        "read_buf_oom", "reserved_fds", "get_expired", "get_flushed", "store_too_large", "store_no_memory", "limit_maxbytes",
        "time_in_listen_disabled_us", "conn_yields", "hash_power_level", "hash_bytes", "hash_is_expanding",
        "slab_reassign_rescues", "slab_reassign_chunk_rescues", "slab_reassign_evictions_nomem", "slab_reassign_inline_reclaim",
        "slab_reassign_busy_items", "slab_reassign_busy_deletes", "slab_reassign_running", "slabs_moved", "lru_crawler_running",
        "lru_crawler_starts", "lru_maintainer_juggles", "malloc_fails", "log_worker_dropped", "log_worker_written",
        "log_watcher_skipped", "log_watcher_sent", "log_watchers", "unexpected_napi_ids", "round_robin_fallback", "bytes",
        "curr_items", "total_items", "slab_global_page_pool", "expired_unfetched", "evicted_unfetched", "evicted_active",
        "evictions", "reclaimed", "crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked", "moves_to_cold",
        "moves_to_warm", "moves_within_lru", "direct_reclaims", "lru_bumps_dropped",
    ]
}
