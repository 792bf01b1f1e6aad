import Configuration
import Foundation
import Kernel
import Testing

@testable import Proxy

/// `stats` and discovery, as exporters and auto-discovering clients read them.
@Suite struct StatsTests {
    private func rows(_ text: String) -> [String: String] {
        var rows: [String: String] = [:]
        for line in text.split(separator: "\r\n") where line.hasPrefix("STAT ") {
            let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            rows[String(words[1])] = words.count > 2 ? String(words[2]) : ""
        }
        return rows
    }

    @Test("Plain stats: the pool's items summed, the proxy's own counts, each name once")
    func general() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a b\r\nset a 0 0 1\r\nx\r\n")
        bench.answer("cache1", "END\r\n")
        bench.answer("cache1", "STORED\r\n")
        bench.answer("backup1", "STORED\r\n")
        _ = bench.heard(client)
        _ = bench.commands("cache1") + bench.commands("backup1")
        bench.ask(client, "stats\r\n")
        #expect(bench.commands("cache1") == "stats\r\n")
        bench.answer("cache1", "STAT pid 7\r\nSTAT curr_items 3\r\nSTAT hash_power_level 16\r\nSTAT cmd_get 99\r\nEND\r\n")
        bench.answer("backup1", "STAT pid 8\r\nSTAT curr_items 4\r\nSTAT hash_power_level 17\r\nSTAT evictions 2\r\nEND\r\n")
        let text = bench.heard(client)
        let found = rows(text)
        #expect(found["curr_items"] == "7" && found["evictions"] == "2" && found["hash_power_level"] == "17")
        #expect(found["cmd_get"] == "2" && found["get_misses"] == "2" && found["get_hits"] == "0" && found["cmd_set"] == "1")
        #expect(found["version"] == Meridian.protocolVersion)
        #expect(
            text.split(separator: "\r\n").filter { $0.hasPrefix("STAT pid ") }.count == 1, "the proxy's own, not the servers'")
        #expect(text.hasSuffix("END\r\n"))
    }

    @Test("Hits, misses and refusals are told apart as memcached does, also of meta commands")
    func tallies() {
        var plan = BenchPlan()
        plan.hasBackup = false
        let bench = Bench.serving(plan)
        let client = bench.client()
        for (command, answer) in [
            ("delete k\r\n", "NOT_FOUND\r\n"), ("md k\r\n", "HD\r\n"), ("cas k 0 0 1 9\r\nx\r\n", "EXISTS\r\n"),
            ("touch k 9\r\n", "TOUCHED\r\n"), ("incr n 1\r\n", "NOT_FOUND\r\nEN\r\n"), ("mg k v\r\n", "VA 1\r\nx\r\n"),
            ("ma n MD\r\n", "NF\r\nEN\r\n"),
        ] {
            bench.ask(client, command)
            bench.answer("cache1", answer)
        }
        _ = bench.heard(client)
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "END\r\n")
        let found = rows(bench.heard(client))
        #expect(found["delete_misses"] == "1" && found["delete_hits"] == "1" && found["cas_badval"] == "1")
        #expect(found["touch_hits"] == "1" && found["incr_misses"] == "1" && found["decr_misses"] == "1")
        #expect(found["get_hits"] == "1" && found["cmd_meta"] == "3")
    }

    @Test("A reset begins the clients' counts anew; what /metrics shows goes on rising; the other loops are told")
    func reset() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "get a\r\n")
        bench.answer("cache1", "END\r\n")
        _ = bench.heard(client)
        #expect(bench.ask(client, "stats reset\r\n") == "RESET\r\n")
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "END\r\n")
        bench.answer("backup1", "END\r\n")
        #expect(rows(bench.heard(client))["cmd_get"] == "0")
        #expect(bench.node.counters.commandsGet == 1)
        #expect(bench.resets == 1)
    }

    @Test("A server that is down is still counted with what it last said, so that no sum falls and jumps back")
    func serverDown() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "STAT pid 1\r\nSTAT evictions 7\r\nSTAT limit_maxbytes 100\r\nEND\r\n")
        bench.answer("backup1", "STAT pid 1\r\nSTAT evictions 5\r\nSTAT limit_maxbytes 100\r\nEND\r\n")
        #expect(rows(bench.heard(client))["evictions"] == "12")
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "STAT evictions 8\r\nSTAT limit_maxbytes 100\r\nEND\r\n")
        bench.lose(bench.backend("backup1"))
        #expect(rows(bench.heard(client))["evictions"] == "13", "it broke while it was asked")
        bench.lose(bench.backend("cache1"))
        let found = rows(bench.ask(client, "stats\r\n"))
        #expect(found["evictions"] == "13" && found["limit_maxbytes"] == "200", "nobody is left to be asked")
    }

    @Test("What another loop of the process was told later counts")
    func otherLoopWasToldLater() {
        let bench = Bench.serving()
        let client = bench.client()
        var earlier = StatAnswers()
        earlier.note([("evictions", "3")], of: "cache1", to: .general, at: 0)
        bench.node.process.otherAnswers = earlier
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "STAT evictions 7\r\nEND\r\n")
        bench.answer("backup1", "END\r\n")
        #expect(rows(bench.heard(client))["evictions"] == "7")
        bench.lose(bench.backend("cache1"))
        bench.node.process.otherAnswers.note([("evictions", "9")], of: "cache1", to: .general, at: .max)
        bench.ask(client, "stats\r\n")
        bench.answer("backup1", "END\r\n")
        #expect(rows(bench.heard(client))["evictions"] == "9")
    }

    @Test("The memory of a server that was never asked for its settings is what it said when it was met")
    func settingsOfLost() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "STAT limit_maxbytes 100\r\nEND\r\n")
        bench.answer("backup1", "STAT limit_maxbytes 50\r\nEND\r\n")
        _ = bench.heard(client)
        bench.lose(bench.backend("cache1"))
        bench.ask(client, "stats settings\r\n")
        bench.answer("backup1", "STAT maxbytes 50\r\nEND\r\n")
        #expect(rows(bench.heard(client))["maxbytes"] == "150")
    }

    @Test("A proxy that has never met a server has memcached's names all the same, and zeros")
    func nobodyMet() {
        let bench = Bench()
        for name in ["cache1", "backup1"] { bench.lose(bench.backend(name), "connection refused") }
        let client = bench.client()
        let found = rows(bench.ask(client, "stats\r\n"))
        for name in ["curr_items", "total_items", "bytes", "limit_maxbytes", "evictions", "reclaimed"] {
            #expect(found[name] == "0", "\(name)")
        }
        #expect(rows(bench.ask(client, "stats settings\r\n"))["maxbytes"] == "0")
    }

    @Test("Slabs and items are merged class by class: counts are summed, sizes and ages are not")
    func slabs() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "stats slabs\r\n")
        #expect(bench.commands("cache1") == "stats slabs\r\n")
        bench.answer("cache1", "STAT 1:chunk_size 96\r\nSTAT 1:used_chunks 5\r\nSTAT active_slabs 1\r\nEND\r\n")
        bench.answer(
            "backup1", "STAT 1:chunk_size 96\r\nSTAT 1:used_chunks 6\r\nSTAT 2:chunk_size 120\r\nSTAT active_slabs 2\r\nEND\r\n")
        #expect(
            bench.heard(client)
                == "STAT 1:chunk_size 96\r\nSTAT 1:used_chunks 11\r\nSTAT active_slabs 2\r\nSTAT 2:chunk_size 120\r\nEND\r\n")
    }

    @Test("Settings are the servers' with the proxy's own on top; memory is summed")
    func settings() {
        let bench = Bench.serving()
        let client = bench.client()
        bench.ask(client, "stats settings\r\n")
        bench.answer("cache1", "STAT maxbytes 100\r\nSTAT maxconns 5\r\nSTAT growth_factor 1.25\r\nEND\r\n")
        bench.answer("backup1", "STAT maxbytes 50\r\nSTAT maxconns 5\r\nSTAT growth_factor 1.08\r\nEND\r\n")
        let found = rows(bench.heard(client))
        #expect(found["maxbytes"] == "150" && found["growth_factor"] == "1.25")
        #expect(found["maxconns"] != "5" && found["binding_protocol"] == "auto-negotiate")
    }

    @Test("What the proxy alone knows: its clients, its servers, its lag; the rest is refused as memcached does")
    func own() throws {
        var plan = BenchPlan()
        plan.elsewhere = ["south"]
        let bench = Bench.serving(plan)
        let client = bench.client()
        let servers = rows(bench.ask(client, "stats servers\r\n"))
        #expect(servers["cache1:state"] == "up" && servers["backup1:role"] == "backup")
        let replication = rows(bench.ask(client, "stats replication\r\n"))
        #expect(replication["south:lag_records"] == "0" && replication["south:last_heard_seconds"] == "never")
        #expect(rows(bench.ask(client, "stats proxy\r\n"))["state"] == "serving")
        #expect(bench.ask(client, "stats nonsense\r\n") == "ERROR\r\n")
    }

    @Test("With several loops figures are the process's: lag and counts summed, the worst state shown, every client counted")
    func otherLoops() throws {
        var plan = BenchPlan()
        plan.elsewhere = ["south"]
        let bench = Bench.serving(plan)
        let client = bench.client()
        var other = bench.node.status(at: bench.now)
        other.lane = "s1p1l1"
        other.state = "joining"
        other.counters["commands_get"] = 5
        other.gauges["index_entries"] = 4
        other.gauges["stable_age_seconds"] = 1e6
        other.destinations[0].lagRecords = 7
        other.destinations[0].lagSeconds = 2
        other.destinations[0].state = "refused"
        other.destinations[0].message = "another ring"
        other.backends[0].state = "down"
        other.backends[0].message = "connection refused"
        other.backends[0].missedKeys = 3
        bench.node.process.otherLanes = [other]
        bench.node.process.clientsElsewhere = 5
        let replication = rows(bench.ask(client, "stats replication\r\n"))
        #expect(replication["south:lag_records"] == "7" && replication["south:lag_seconds"] == "2")
        #expect(replication["south:state"] == "refused" && replication["south:message"] == "another ring")
        let servers = rows(bench.ask(client, "stats servers\r\n"))
        #expect(servers["cache1:state"] == "down" && servers["cache1:missed_keys"] == "3")
        #expect(servers["cache1:message"] == "connection refused" && servers["backup1:state"] == "up")
        let proxy = rows(bench.ask(client, "stats proxy\r\n"))
        #expect(proxy["lanes"] == "s1p1l0,s1p1l1" && proxy["state"] == "s1p1l0=serving,s1p1l1=joining")
        #expect(proxy["commands_get"] == "5" && proxy["index_entries"] == "4" && proxy["stable_age_seconds"] == "1000000")
        bench.ask(client, "stats\r\n")
        bench.answer("cache1", "END\r\n")
        bench.answer("backup1", "END\r\n")
        #expect(rows(bench.heard(client))["curr_connections"] == "6", "of this loop who is there now, the asker among them")
    }

    @Test("Prefixes are counted by nobody: a dump is empty, and ends; other words are memcached's usage error")
    func detail() {
        let bench = Bench.serving()
        let client = bench.client()
        for what in ["on", "off", "on more"] { #expect(bench.ask(client, "stats detail \(what)\r\n") == "OK\r\n") }
        #expect(bench.ask(client, "stats detail dump\r\n") == "END\r\n")
        for what in ["", " nonsense"] {
            #expect(bench.ask(client, "stats detail\(what)\r\n") == "CLIENT_ERROR usage: stats detail on|off|dump\r\n")
        }
    }

    @Test("Keys are not listed, and the settings say so")
    func dump() {
        let bench = Bench.serving()
        let client = bench.client()
        #expect(bench.ask(client, "stats cachedump 1 0\r\n") == "CLIENT_ERROR stats cachedump not allowed\r\n")
        bench.ask(client, "stats settings\r\n")
        bench.answer("cache1", "STAT dump_enabled yes\r\nEND\r\n")
        bench.answer("backup1", "STAT dump_enabled yes\r\nEND\r\n")
        #expect(rows(bench.heard(client))["dump_enabled"] == "no")
    }

    @Test("Connections are named as memcached names them, with the address that each has reached")
    func connections() {
        var plan = BenchPlan()
        plan.listeners = [.tcp(HostPort(host: "0.0.0.0", port: 11_211)), .unix(path: "/run/n1.sock")]
        let bench = Bench.serving(plan)
        _ = bench.accept(.client(from: "[fd00::9]:55", at: HostPort(host: "fd00::1", port: 11_211)))
        _ = bench.accept(.client(from: "unix", listener: 1))
        let client = bench.accept(.client(from: "10.0.0.9:7", at: HostPort(host: "10.0.0.1", port: 11_211)))
        let text = bench.ask(client, "stats conns\r\n")
        #expect(text.contains(":addr tcp:10.0.0.9:7\r\nSTAT \(client.index):listen_addr tcp:10.0.0.1:11211\r\n"))
        #expect(text.contains(":addr tcp6:[fd00::9]:55\r\n") && text.contains(":listen_addr tcp6:[fd00::1]:11211\r\n"))
        #expect(text.contains(":addr ?:<AF 0>\r\n") && text.contains(":listen_addr unix:/run/n1.sock\r\n"))
    }
}
