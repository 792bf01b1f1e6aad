/// What a lane counts. Every number only rises; the names are those of /metrics.
struct LaneCounters {
    var connectionsAccepted: UInt64 = 0
    var commandsGet: UInt64 = 0
    var commandsSet: UInt64 = 0
    var commandsTouch: UInt64 = 0
    var commandsFlush: UInt64 = 0
    var commandsMeta: UInt64 = 0
    var commandsOther: UInt64 = 0
    var commandsRefused: UInt64 = 0
    var getHits: UInt64 = 0
    var getMisses: UInt64 = 0
    var touchHits: UInt64 = 0
    var touchMisses: UInt64 = 0
    var casHits: UInt64 = 0
    var casMisses: UInt64 = 0
    var casBadValues: UInt64 = 0
    var deleteHits: UInt64 = 0
    var deleteMisses: UInt64 = 0
    var incrementHits: UInt64 = 0
    var incrementMisses: UInt64 = 0
    var decrementHits: UInt64 = 0
    var decrementMisses: UInt64 = 0
    var authentications: UInt64 = 0
    var authenticationsFailed: UInt64 = 0
    var bytesRead: UInt64 = 0
    var bytesWritten: UInt64 = 0
    var backupReads: UInt64 = 0
    var spreadReads: UInt64 = 0
    var refills: UInt64 = 0
    var refillLooks: UInt64 = 0
    var forwarded: UInt64 = 0
    var recordsCommitted: UInt64 = 0
    var recordsAborted: UInt64 = 0
    var recordsApplied: UInt64 = 0
    var recordsSuperseded: UInt64 = 0
    var recordsRefused: UInt64 = 0
    var assertions: UInt64 = 0
    var inDoubt: UInt64 = 0
    var forgotten: UInt64 = 0
    var repairs: UInt64 = 0
    var backendTimeouts: UInt64 = 0
    var clientsClosedSlowRequest: UInt64 = 0
    var clientsClosedIdle: UInt64 = 0
    var clientsClosedMemory: UInt64 = 0
    var clientsClosedStalled: UInt64 = 0
    var memoryTight: UInt64 = 0

    /// All of them by name.
    var named: [String: UInt64] {
        [
            "connections_accepted": connectionsAccepted, "commands_get": commandsGet, "commands_set": commandsSet,
            "commands_touch": commandsTouch, "commands_flush": commandsFlush, "commands_meta": commandsMeta,
            "commands_other": commandsOther, "commands_refused": commandsRefused, "get_hits": getHits, "get_misses": getMisses,
            "touch_hits": touchHits, "touch_misses": touchMisses, "cas_hits": casHits, "cas_misses": casMisses,
            "cas_bad_values": casBadValues, "delete_hits": deleteHits, "delete_misses": deleteMisses,
            "incr_hits": incrementHits, "incr_misses": incrementMisses, "decr_hits": decrementHits,
            "decr_misses": decrementMisses, "authentications": authentications,
            "authentications_failed": authenticationsFailed, "client_bytes_read": bytesRead, "client_bytes_written": bytesWritten,
            "backup_reads": backupReads, "spread_reads": spreadReads, "refills": refills, "refill_looks": refillLooks,
            "writes_forwarded": forwarded,
            "records_committed": recordsCommitted, "records_aborted": recordsAborted, "records_applied": recordsApplied,
            "records_superseded": recordsSuperseded, "records_refused_by_memcached": recordsRefused, "assertions": assertions,
            "in_doubt": inDoubt, "keys_forgotten": forgotten, "repairs": repairs, "backend_timeouts": backendTimeouts,
            "clients_closed_slow_request": clientsClosedSlowRequest, "clients_closed_idle": clientsClosedIdle,
            "clients_closed_memory": clientsClosedMemory, "clients_closed_stalled": clientsClosedStalled,
            "client_memory_tight": memoryTight,
        ]
    }
}
