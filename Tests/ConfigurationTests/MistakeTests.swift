import Configuration
import Testing

// Every mistake is told with its place and a remedy. The texts are part of the product, so they are written out.
@Suite struct SharedFileMistakeTests {
    @Test(arguments: [
        ("federation: shop", "", "federation.yaml:2:1: the shared file lacks 'federation'. Add 'federation: shop'."),
        (
            "federation: shop", "federation: my shop",
            "federation.yaml:1:13: federation cannot be 'my shop'. Use letters, digits, '.', '_' and '-', at most 63 of them."
        ),
        (
            "federation: shop", "federation:",
            "federation.yaml:1:12: federation has no value. Write one after the colon, or remove the line."
        ),
        (
            "ring:", "slot: 512\nring:", "federation.yaml:2:1: 'slot' is not known in the shared file. Did you mean 'slots'?"
        ),
        ("ring:", "slots: 1000\nring:", "federation.yaml:2:8: slots is 1000, not a power of two. Use 512 or 1024."),
        ("ring:", "slots: 8\nring:", "federation.yaml:2:8: slots is 8. Use a number from 16 to 65536."),
        (
            "ring:", "slots: many\nring:",
            "federation.yaml:2:8: slots must be a whole number, not 'many'. Use a number from 16 to 65536."
        ),
        (
            "ring:", "item-size-max: 1MB\nring:",
            "federation.yaml:2:16: item-size-max must be a size, not '1MB'. Write it like 512KiB, 64MiB or 1GiB."
        ),
        ("ring:", "item-size-max: 4GiB\nring:", "federation.yaml:2:16: item-size-max is 4GiB. Use a size from 1KiB to 128MiB."),
        ("ring:\n", "ring:\n  hash: kettama\n", "federation.yaml:3:9: hash cannot be 'kettama'. Did you mean 'ketama'?"),
        (
            "name: cache2", "name: cache1",
            "federation.yaml:5:7: server name cache1 is taken on line 4. Give each server its own name."
        ),
        ("weight: 2", "weight: 0", "federation.yaml:5:30: weight is 0. Use a number from 1 to 65535."),
        (
            "weight: 2", "weight: 9999",
            "federation.yaml:4:7: server cache1: weight 1 is so small beside the others that it would get no key. Raise it, or remove the server."
        ),
        (
            "id: 2\n", "id: 1\n",
            "federation.yaml:12:9: site id 1 is taken on line 7. Use another; an id is never changed or used again."
        ),
        ("id: 2\n", "id: 256\n", "federation.yaml:12:9: site id is 256. Use a number from 1 to 255."),
        (
            "id: 2, name: n2", "id: 1, name: n2",
            "federation.yaml:11:14: proxy id 1 is taken on line 10. Use another; an id is never changed or used again."
        ),
        ("name: south", "name: north", "federation.yaml:13:11: site name north is taken on line 8. Give each site its own name."),
        (
            "name: s1", "name: n1",
            "federation.yaml:14:29: proxy name n1 is taken on line 10. Give each proxy of the federation its own name."
        ),
        (
            "10.1.0.11:11301", "10.1.0.11:11300",
            "federation.yaml:11:40: replication 10.1.0.11:11300 is taken on line 10. Give each proxy its own address or port."
        ),
        (
            "10.1.0.11:11301", "0.0.0.0:11300",
            "federation.yaml:11:40: replication 0.0.0.0:11300 is not an address that peers can connect to. "
                + "Name the proxy's own address here; the site file's 'replication' says where to listen."
        ),
        (
            "10.1.0.11:11301", "10.1.0.11:70000",
            "federation.yaml:11:40: replication must be host:port, not '10.1.0.11:70000'. "
                + "Write it like 10.0.0.1:11211, cache1.example.net:11211 or [fd00::1]:11211, port 1 to 65535."
        ),
        (
            "proxies: [{id: 1, name: s1, replication: \"10.2.0.11:11300\"}]", "proxies: []",
            "federation.yaml:14:14: proxies of site south is empty. Give at least 1."
        ),
        (
            "proxies: [{id: 1, name: s1, replication: \"10.2.0.11:11300\"}]", "proxies: s1",
            "federation.yaml:14:14: proxies of site south must be a list, not 's1'. Begin each entry with '- ', or write [one, two]."
        ),
        (
            "ring:", "crossing: [{keys: foo, policy: none}]\nring:",
            "federation.yaml:2:19: keys must be a key with one '*', not 'foo'. "
                + "Write it like \"session.*\" or \"*.lock\", without spaces, at most 250 bytes."
        ),
        (
            "ring:", "crossing: [{keys: *.lock, policy: none}]\nring:",
            "federation.yaml:2:20: text that begins with '*' is an alias to YAML. Put the text in quotes, such as \"*.lock\"."
        ),
        (
            "ring:", "crossing: [{keys: \"*.lock\", policy: never}]\nring:",
            "federation.yaml:2:37: policy cannot be 'never'. Known here: value, invalidate, none."
        ),
    ])
    func `a mistake in the shared file is named with place and remedy`(old: String, new: String, expected: String) {
        #expect(Sample.mistakes(federation: Sample.spoiled(Sample.federation, old, new)).first == expected)
    }
}

@Suite struct SiteFileMistakeTests {
    @Test(arguments: [
        ("site: north", "site: nort", "north.yaml:1:7: the federation has no site 'nort'. Did you mean 'north'?"),
        ("site: north\n", "", "north.yaml:1:1: the site file lacks 'site'. Add 'site: north'."),
        (
            "cache2: 10", "cache3: 10",
            "north.yaml:4:3: servers lacks 'cache2', which is on the ring. Add 'cache2: host:port', where it is at this site."
        ),
        (
            "  cache2:", "  cache3: 10.1.0.23:11211\n  cache2:",
            "north.yaml:5:3: the ring has no server 'cache3'. Did you mean 'cache1'?"
        ),
        (
            "10.1.0.22:11211", "10.1.0.21:11211",
            "north.yaml:5:11: the address 10.1.0.21:11211 is taken on line 4. Give each server its own memcached."
        ),
        (
            "10.1.0.22:11211", "0.0.0.0:11211",
            "north.yaml:5:11: the address of cache2 is 0.0.0.0:11211, which cannot be connected to. Name the memcached's own address."
        ),
        (
            "name: n2", "name: n3",
            "north.yaml:8:3: proxies lacks 'n2', which the shared file gives to this site. Add an entry '- name: n2' with its clients, admin, folder, certificate and key."
        ),
        (
            "admin: 127.0.0.1:11400", "admin: 0.0.0.0:11400",
            "north.yaml:10:12: admin 0.0.0.0:11400 can be reached from other machines, and it asks for no password. "
                + "Use 127.0.0.1:11400 or unix:/run/meridian/admin.sock."
        ),
        ("    key: tls/n1.key\n", "", "north.yaml:8:5: a proxy lacks 'key'. Add 'key: n1.key'."),
        ("clients: [0.0.0.0:11211]", "clients: []", "north.yaml:9:14: clients is empty. Give at least 1."),
        (
            "clients: [0.0.0.0:11211]", "clients: [\"unix:/run/a\\0b\"]",
            "north.yaml:9:15: clients must name a socket by a path of 1 to 107 bytes, not '/run/a\0b'. Choose a shorter path, such as unix:/run/meridian/clients.sock."
        ),
        (
            "0.0.0.0:11212", "0.0.0.0:11211",
            "north.yaml:14:5: proxy n2: the address 0.0.0.0:11211 on this machine is taken on line 8. Give each listener its own port or path."
        ),
        (
            "meridian/n2", "meridian/n1",
            "north.yaml:14:5: proxy n2: the folder /var/lib/meridian/n1 on this machine is taken on line 8. Give each proxy its own folder."
        ),
        (
            "site: north", "durability: tape\nsite: north",
            "north.yaml:1:13: durability cannot be 'tape'. Known here: memory, disk."
        ),
        (
            "site: north", "reads: turns\nsite: north",
            "north.yaml:1:8: reads cannot be 'turns'. Known here: primary, hot-in-turn, in-turn, least-outstanding."
        ),
        (
            "site: north", "reads: in-turn\nsite: north",
            "north.yaml:1:8: reads is in-turn, and the site has no backups that could be read from. List its backups, or use primary."
        ),
        (
            "site: north", "flush_all: deny\nsite: north",
            "north.yaml:1:1: 'flush_all' is not known in the site file. Known here: site, federation, servers, backups, proxies, authority, loops, durability, reads, unreachable-reads, flush, refill-keys-per-second, times, log-segment, connections-max, connections-over, memory-max, unix-mode, unix-group, user, group."
        ),
        (
            "site: north", "unreachable_reads: miss\nsite: north",
            "north.yaml:1:1: 'unreachable_reads' is not known in the site file. Did you mean 'unreachable-reads'?"
        ),
        ("site: north", "loops: 0\nsite: north", "north.yaml:1:8: loops is 0. Use a number from 1 to 64."),
        (
            "site: north", "log-segment: 48MiB\nsite: north",
            "north.yaml:1:14: log-segment is not a power of two. Use 16MiB, 32MiB, 64MiB, 128MiB …."
        ),
        (
            "site: north", "log-segment: 2GiB\nsite: north",
            "north.yaml:1:14: log-segment is 2GiB. Use a size from 1MiB to 1GiB."
        ),
        (
            "site: north", "times: {heartbeat: 10min, sibling-timeout: 60min, stream-timeout: 60min}\nsite: north",
            "north.yaml:1:20: heartbeat is 10min. Use a time from 1ms to 10000ms."
        ),
        (
            "site: north", "times: {sync: 60min}\nsite: north", "north.yaml:1:15: sync is 60min. Use a time from 1ms to 60000ms."
        ),
        (
            "site: north", "log-segment: 2MiB\nsite: north",
            "north.yaml:1:14: log-segment is too small for the federation's item-size-max. Use 4MiB or more."
        ),
        (
            "site: north", "times: {heartbeat: 100}\nsite: north",
            "north.yaml:1:20: heartbeat must be a time with its unit, not '100'. Write it like 100ms, 2s or 1min."
        ),
        (
            "site: north", "times: {heartbeat: 500ms}\nsite: north",
            "north.yaml:1:20: sibling-timeout (1000ms) is below 6 heartbeats of 500ms. Raise sibling-timeout or lower heartbeat, or every late packet counts as a death."
        ),
        (
            "site: north", "times: {retry-min: 5s}\nsite: north",
            "north.yaml:1:20: retry-min (5000ms) is above retry-max (2000ms). Lower retry-min or raise retry-max."
        ),
        (
            "site: north", "backups: [{name: b, address: 10.1.0.21:11211}]\nsite: north",
            "north.yaml:1:11: backup b is the same memcached as the primary cache1. Run a memcached of its own as backup, best on another machine."
        ),
        (
            "site: north", "backups: [{name: cache1, address: 10.1.0.29:11211}]\nsite: north",
            "north.yaml:1:11: backup name cache1 is also a server of the ring (10.1.0.21:11211). Give the backup its own name, so that messages tell them apart."
        ),
    ])
    func `a mistake in the site file is named with place and remedy`(old: String, new: String, expected: String) {
        let found = Sample.mistakes(site: Sample.spoiled(Sample.site, old, new))
        #expect(found.contains(expected), "found \(found)")
    }

    @Test func `proxies on several hosts must say how many loops they have`() {
        let spread = Sample.spoiled(Sample.federation, "10.1.0.11:11301", "10.1.0.12:11300")
        #expect(Sample.mistakes(federation: spread).first?.contains("lacks 'loops'") == true)
        #expect(Sample.mistakes(federation: spread, site: Sample.site + "\nloops: 2") == [])
    }

    @Test func `more loops than slots are refused`() {
        let few = Sample.spoiled(Sample.federation, "ring:", "slots: 16\nring:")
        #expect(
            Sample.mistakes(federation: few, site: Sample.site + "\nloops: 9").first?.contains(
                "more than the federation's 16 slots") == true)
    }

    @Test func `a ring by magent's rules wants magent's names`() {
        let magent = Sample.spoiled(Sample.federation, "ring:\n", "ring:\n  hash: magent-ketama\n")
        #expect(
            Sample.mistakes(federation: magent) == [
                "federation.yaml:5:7: server cache1: magent-ketama hashes names of the form ip:port. Name it as magent knew it, such as 10.0.0.1:11211; where it is at a site is that site's business.",
                "federation.yaml:6:7: server cache2: magent-ketama hashes names of the form ip:port. Name it as magent knew it, such as 10.0.0.1:11211; where it is at a site is that site's business.",
            ])
        let modulo = Sample.spoiled(Sample.federation, "ring:\n", "ring:\n  hash: magent-modulo\n")
        #expect(
            Sample.mistakes(federation: modulo) == [
                "federation.yaml:6:7: server cache2: magent-modulo knows no weights. Remove the weight."
            ])
    }
}

@Suite struct AllMistakesTests {
    @Test func `all mistakes of both files are told at once, in the order of the lines`() {
        let federation = Sample.spoiled(
            Sample.spoiled(Sample.federation, "weight: 2", "wieght: 2"), "federation: shop", "federation: shop\nslots: 3")
        let site = Sample.spoiled(
            Sample.spoiled(Sample.site, "10.1.0.21:11211", "10.1.0.21"), "    key: tls/n2.key", "    cert: tls/n2.key")
        let found = Sample.mistakes(federation: federation, site: site)
        #expect(
            found.map { $0.prefix { $0 != " " } } == [
                "federation.yaml:2:8:", "federation.yaml:6:22:", "north.yaml:4:11:", "north.yaml:14:5:", "north.yaml:19:5:",
            ])
    }

    @Test func `a key that is given twice is told, and so is everything else`() {
        let site = Sample.spoiled(
            Sample.site, "authority: tls/authority.pem", "authority: a.pem\nauthority: b.pem\nloops: 1\nloops: -1")
        #expect(
            Sample.mistakes(site: site) == [
                "north.yaml:6:1: 'authority' is given more than once. Keep one of them.",
                "north.yaml:8:1: 'loops' is given more than once. Keep one of them.",
                "north.yaml:9:8: loops is -1. Use a number from 1 to 64.",
            ])
    }

    @Test(arguments: [
        (
            "connections-over: queue",
            "connections-over cannot be 'queue'. Known here: refuse, wait."
        ),
        ("memory-max: 1MiB", "memory-max is 1MiB. Use a size from 8MiB to 1024GiB."),
        ("unix-mode: 0999", "unix-mode must be a file mode, not '0999'. Write it like \"0660\" or \"0666\"."),
        ("unix-mode: +660", "unix-mode must be a file mode, not '+660'. Write it like \"0660\" or \"0666\"."),
        ("unix-mode: 0", "unix-mode must be a file mode, not '0'. Write it like \"0660\" or \"0666\"."),
        ("unix-mode: rw-rw", "unix-mode must be a file mode, not 'rw-rw'. Write it like \"0660\" or \"0666\"."),
        ("group: cache", "'group' is given without 'user'. Add 'user: meridian', or leave both out."),
        (
            "times: {client-request: off}",
            "client-request must be a time with its unit, not 'off'. Write it like 100ms, 2s or 1min."
        ),
    ])
    func `what concerns all clients is told like everything else`(line: String, words: String) {
        let found = Sample.mistakes(site: Sample.site + "\n" + line)
        #expect(found.count == 1 && found.first?.hasSuffix(words) == true, "\(found)")
    }

    @Test func `memory must have room for a few of the largest items on each loop`() {
        let found = Sample.mistakes(
            federation: Sample.federation + "\nitem-size-max: 8MiB", site: Sample.site + "\nmemory-max: 32MiB")
        let words = "memory-max leaves no room for 4 of the largest items on each loop. Use 64MiB or more"
        #expect(found.first?.contains(words) == true)
    }

    @Test func `a key that is given three times is told for each but the last`() {
        let site = Sample.spoiled(Sample.site, "authority:", "loops: 1\n\"loops\": 2\nloops: 3\nauthority:")
        #expect(Sample.mistakes(site: site).map { $0.prefix { $0 != " " } } == ["north.yaml:6:1:", "north.yaml:7:1:"])
    }

    @Test func `anchors and aliases are refused`() {
        #expect(
            Sample.mistakes(site: Sample.spoiled(Sample.site, "10.1.0.21:11211", "&a 10.1.0.21:11211")) == [
                "north.yaml:4:11: '&' begins a YAML anchor, and anchors are not read. "
                    + "Write the value out; text with '&' after a space is not supported."
            ])
        #expect(
            Sample.mistakes(site: Sample.spoiled(Sample.site, "10.1.0.22:11211", "*a")) == [
                "north.yaml:5:11: text that begins with '*' is an alias to YAML, and aliases are not read. Put the text in quotes."
            ])
        // A bomb of aliases costs nothing.
        var bomb = "a0: &a0 [x, x]\n"
        for level in 1..<40 { bomb += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        #expect(Sample.mistakes(site: bomb).count == 40)
        // A comment is free to use the sign.
        #expect(Sample.mistakes(site: "# north & south, R&D, &c\n" + Sample.site) == [])
    }

    @Test func `text that is not YAML is told with its line`() {
        #expect(
            Sample.mistakes(site: Sample.spoiled(Sample.site, "servers:", "servers: [")).first?.hasPrefix("north.yaml:") == true)
        #expect(Sample.mistakes(site: "") == ["north.yaml:1:1: the file is empty. Start from Sites/templates."])
        #expect(Sample.mistakes(site: "just text").first?.contains("must be names with values, not 'just text'") == true)
        #expect(Sample.mistakes(site: Sample.site + "\n---\nmore: 1").first?.contains("not one YAML document") == true)
        #expect(Sample.mistakes(site: "a: \u{1}").first?.contains("characters that YAML does not allow") == true)
    }

    @Test func `deep and long files are refused`() {
        let deep = "a: " + String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect(Sample.mistakes(site: deep).first?.contains("nested more than 24 levels deep") == true)
        let deeper = String(repeating: "[", count: 500_000)
        #expect(!Sample.mistakes(site: deeper).isEmpty)
        let long = String(repeating: "# a comment\n", count: 100_000)
        #expect(Sample.mistakes(site: long).first?.contains("more than 1048576") == true)
    }
}
