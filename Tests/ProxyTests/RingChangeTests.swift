import Configuration
import Kernel
import Memcache
import Replication
import Testing
import WriteLog

@testable import Proxy

/// Servers that come and go while a lane runs: the group agrees, drains, and takes them together.
@Suite struct RingChangeTests {
    private static func plan(_ proxies: [String] = ["n1"], backup: Bool = false) -> BenchPlan {
        var plan = BenchPlan()
        plan.proxies = proxies
        plan.hasBackup = backup
        return plan
    }

    private static func with(_ primaries: Int, _ plan: BenchPlan) -> BenchPlan {
        var plan = plan
        plan.primaries = primaries
        return plan
    }

    private static func digest(_ plan: BenchPlan) -> UInt64 { SiteRings(plan.federation, plan.site).digest }

    /// The files are read, and say this.
    private static func hangUp(_ bench: Bench, _ plan: BenchPlan) {
        bench.step(.reconfigured(plan.federation, plan.site, listeners: bench.configuration.numberedListeners))
        bench.settle()
    }

    /// A server that is new is flushed; returns what else it is sent.
    @discardableResult
    private static func bringUpNew(_ bench: Bench, _ name: String) -> String {
        bench.bringUp(name)
        let sent = bench.commands(name)
        #expect(sent.hasPrefix("flush_all\r\n"))
        bench.answer(name, "OK\r\n")
        return sent
    }

    private static func rings(_ messages: [Message]) -> [Message] {
        messages.filter { if case .ring = $0 { true } else { false } }
    }

    // MARK: Alone

    @Test("A lane by itself takes new servers when nothing is under way, and lets its clients go on when they have been tried")
    func alone() {
        let bench = Bench.serving(Self.plan())
        let (writer, reader) = (bench.client(), bench.client())
        bench.ask(writer, "set a 0 0 1\r\nx\r\n")
        #expect(bench.commands("cache1") == "set a 0 0 1\r\nx\r\n")
        Self.hangUp(bench, Self.with(2, Self.plan()))
        let here = Self.keys(of: "cache1", in: Self.with(2, Self.plan()))[0]
        #expect(bench.ask(reader, "get \(here)\r\nset \(here) 0 0 1\r\ny\r\n") == "")
        #expect(bench.commands("cache1") == "", "the clients wait")
        #expect(bench.dialled { $0 == .backend(HostPort(host: "cache2", port: 11211)) } == nil)
        bench.answer("cache1", "STORED\r\n")
        #expect(bench.heard(writer) == "STORED\r\n")
        #expect(bench.commands("cache1") == "", "they wait for the new server")
        Self.bringUpNew(bench, "cache2")
        #expect(bench.commands("cache1") == "get \(here)\r\nset \(here) 0 0 1\r\ny\r\n")
        #expect(bench.node.servers.map(\.definition.name) == ["cache1", "cache2"])
        #expect(bench.lines.contains { $0.hasPrefix("ring changed servers=cache1,cache2 ") })
    }

    private static func keys(of name: String, in plan: BenchPlan) -> [String] {
        let rings = SiteRings(plan.federation, plan.site)
        return (0..<200).map { "key\($0)" }.filter { rings.primaries.servers[rings.primaries.server(for: $0)].name == name }
    }

    @Test("A new server that cannot be reached keeps the clients waiting no longer than it takes to find that out")
    func unreachable() {
        let bench = Bench.serving(Self.plan())
        Self.hangUp(bench, Self.with(2, Self.plan()))
        let key = Self.keys(of: "cache1", in: Self.with(2, Self.plan()))[0]
        bench.ask(bench.client(), "get \(key)\r\n")
        #expect(bench.commands("cache1") == "")
        bench.lose(bench.backend("cache2"), "connection refused", .absent)
        #expect(bench.commands("cache1") == "get \(key)\r\n")
    }

    @Test("A server that is removed is left, and what it has not answered is not waited for")
    func removed() {
        let bench = Bench.serving(Self.with(2, Self.plan()))
        let gone = bench.backend("cache2")
        Self.hangUp(bench, Self.plan())
        #expect(bench.closed.contains(gone))
        #expect(bench.node.servers.map(\.definition.name) == ["cache1"])
        let key = Self.keys(of: "cache2", in: Self.with(2, Self.plan()))[0]
        bench.ask(bench.client(), "get \(key)\r\n")
        #expect(bench.commands("cache1") == "get \(key)\r\n")
    }

    @Test("Files that say what is in effect change nothing; and take back an offer that waits")
    func takenBack() throws {
        let plan = Self.plan(["n1", "n2"])
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        Self.hangUp(bench, plan)
        #expect(Self.rings(try bench.messages(link)).isEmpty)
        Self.hangUp(bench, Self.with(2, plan))
        #expect(
            Self.rings(try bench.messages(link)) == [
                .ring(inEffect: Self.digest(plan), next: Self.digest(Self.with(2, plan)), progress: .offered)
            ])
        Self.hangUp(bench, plan)
        #expect(Self.rings(try bench.messages(link)) == [.ring(inEffect: Self.digest(plan), next: 0, progress: .offered)])
    }

    // MARK: Two of them

    /// A lane with a sibling; both place keys by one primary, and this one has been told of two.
    private func offered(backup: Bool = false) throws -> (
        bench: Bench, link: ConnectionID, old: UInt64, new: UInt64, after: BenchPlan
    ) {
        let plan = Self.plan(["n1", "n2"], backup: backup)
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        let after = Self.with(2, plan)
        let (old, new) = (Self.digest(plan), Self.digest(after))
        bench.tell(link, .ring(inEffect: old, next: 0, progress: .offered))
        Self.hangUp(bench, after)
        _ = try bench.messages(link)
        return (bench, link, old, new, after)
    }

    @Test("Nothing waits before every lane knows that all have the same offer; nothing is taken before every lane has drained")
    func together() throws {
        let (bench, link, old, new, after) = try offered()
        let client = bench.client()
        let ours = Bench.key(ownedBy: Bench.n1)
        #expect(bench.ask(client, "get a\r\n") == "")
        #expect(bench.commands("cache1") == "get a\r\n")
        bench.tell(link, .ring(inEffect: old, next: new, progress: .offered))
        #expect(Self.rings(try bench.messages(link)) == [.ring(inEffect: old, next: new, progress: .agreed)])
        #expect(!bench.node.isHolding, "the sibling may not know yet that everybody has the same offer")
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        #expect(Self.rings(try bench.messages(link)).isEmpty, "a read is under way")
        bench.ask(client, "set \(ours) 0 0 1\r\nx\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "END\r\n")
        #expect(Self.rings(try bench.messages(link)) == [.ring(inEffect: old, next: new, progress: .drained)])
        // What the sibling passes on waits, too, and so do records of other sites.
        let command = Array("set \(ours) 0 0 1\r\ny\r\n".utf8)
        let write = Write(effect: .store, shape: .line, key: Array(ours.utf8), command: command).forwarded
        bench.tell(link, .forward(request: 7, hops: 1, stamp: 1, write: write))
        #expect(bench.commands("cache1") == "")
        #expect(bench.node.servers.count == 1)
        bench.tell(link, .ring(inEffect: old, next: new, progress: .drained))
        #expect(bench.node.servers.count == 2)
        #expect(Self.rings(try bench.messages(link)) == [.ring(inEffect: new, next: 0, progress: .offered)])
        Self.bringUpNew(bench, "cache2")
        let there = Self.keys(of: "cache1", in: after).contains(ours) ? "cache1" : "cache2"
        let sent = bench.commands(there)
        #expect(sent.contains("set \(ours) 0 0 1\r\nx\r\n") && sent.contains("set \(ours) 0 0 1\r\ny\r\n"), "each once: \(sent)")
        #expect(sent.components(separatedBy: "set ").count == 3)
    }

    @Test("What a sibling says of servers counts again when it has taken them, too; it is then told all")
    func serversByNumber() throws {
        let (bench, link, old, new, _) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .drained))
        Self.bringUpNew(bench, "cache2")
        _ = try bench.messages(link)
        bench.tell(link, .backend(server: 1, cutOff: true, emptied: 1 << 50))
        #expect(bench.node.servers[1].cutOffAt.isEmpty, "it may mean another server")
        bench.tell(link, .ring(inEffect: new, next: 0, progress: .offered))
        let told = try bench.messages(link).compactMap { if case .backend(let server, _, _, _) = $0 { server } else { nil } }
        #expect(told == [0, 1])
        bench.tell(link, .backend(server: 1, cutOff: true, emptied: 0))
        #expect(bench.node.servers[1].cutOffAt == [Bench.n2])
    }

    @Test("A sibling that has read other files after all puts the change off, and the clients go on")
    func putOff() throws {
        let (bench, link, old, new, _) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        let client = bench.client()
        bench.ask(client, "get a\r\n")
        #expect(bench.commands("cache1") == "")
        bench.tell(link, .ring(inEffect: old, next: 0, progress: .offered))
        #expect(bench.commands("cache1") == "get a\r\n")
        #expect(Self.rings(try bench.messages(link)).last == .ring(inEffect: old, next: new, progress: .offered))
        bench.answer("cache1", "END\r\n")
        bench.tell(link, .ring(inEffect: old, next: new, progress: .drained))
        #expect(bench.node.servers.count == 2)
    }

    @Test("A lane that has drained goes forward without a sibling that is gone, but not before that is sure")
    func sibling() throws {
        let (bench, link, old, new, _) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        bench.lose(link)
        #expect(bench.node.servers.count == 1, "it may still write under the old rings")
        bench.advance(milliseconds: 2_500)
        #expect(bench.node.servers.count == 2)
    }

    @Test("A sibling that is lost before it has agreed holds nobody up (seed 402868)")
    func lostBeforeItAgreed() throws {
        let (bench, link, old, new, _) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .offered))
        bench.advance(milliseconds: 30_000)
        #expect(!bench.node.isHolding && bench.node.servers.count == 1, "it may be cut off, and serve by the old rings")
        bench.advance(milliseconds: 40_000)
        #expect(bench.node.servers.count == 2)
    }

    @Test("A sibling that does not agree any more, having lost another, puts the change off")
    func agreesNoMore() throws {
        let (bench, link, old, new, _) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        #expect(Self.rings(try bench.messages(link)).last == .ring(inEffect: old, next: new, progress: .drained))
        bench.tell(link, .ring(inEffect: old, next: new, progress: .offered))
        #expect(!bench.node.isHolding)
        #expect(Self.rings(try bench.messages(link)).last == .ring(inEffect: old, next: new, progress: .agreed))
        #expect(bench.lines.contains("ring change put off: n2/0 does not agree, or not any more"))
    }

    @Test(
        "Files that are read while clients wait: what listeners ask holds at once, what is said of servers once the change is put off"
    )
    func readWhileClientsWait() throws {
        let (bench, link, old, new, _) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        #expect(bench.node.isHolding && !bench.node.asksWho(0))
        var asking = try #require(bench.configuration.numberedListeners[0])
        asking.authenticationPath = "/users"
        bench.step(.reconfigured(bench.plan.federation, bench.plan.site, listeners: [0: asking]))
        bench.settle()
        #expect(bench.node.isHolding, "nobody knows yet whether the sibling has gone on")
        #expect(bench.node.asksWho(0))
        #expect(bench.node.asksWho(5), "who comes in nobody knows where is not let in")
        bench.tell(link, .ring(inEffect: old, next: 0, progress: .offered))
        #expect(!bench.node.isHolding && bench.node.asksWho(0))
        #expect(bench.lines.contains("ring change dropped: the files say what is in effect"))
        #expect(bench.node.ringChangeText == nil)
    }

    @Test("The time that clients wait for new rings is not held against them")
    func waitingIsNotIdling() throws {
        let (bench, link, old, new, _) = try offered()
        bench.node.configuration.site.times.clientIdleMilliseconds = 300
        bench.node.configuration.site.times.clientRequestMilliseconds = 300
        let half = bench.client()
        bench.ask(half, "set k 0 0 2\r\n")
        let whole = bench.client()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        bench.ask(whole, "get k\r\n")
        let long = "get\(String(repeating: " k", count: 40))\r\n"
        let third = bench.client()
        bench.ask(third, long)
        bench.advance(milliseconds: 900)
        #expect(bench.node.isHolding)
        bench.tell(link, .ring(inEffect: old, next: new, progress: .offered))
        #expect(!bench.node.isHolding && bench.closed.isDisjoint(with: [half, whole, third]))
        #expect(bench.commands("cache1") == "get k\r\nget\(String(repeating: " k", count: 32))\r\n")
        bench.ask(half, "ab\r\n")
        #expect(bench.commands("cache1").hasPrefix("set k "))
    }

    @Test("A retrieval in parts goes on after a change, and does not hold it up")
    func retrievalInParts() throws {
        let (bench, link, old, new, _) = try offered()
        let client = bench.client()
        bench.ask(client, "get\(String(repeating: " k", count: 40))\r\n")
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        #expect(bench.node.isHolding)
        #expect(bench.commands("cache1") == "get\(String(repeating: " k", count: 32))\r\n")
        bench.answer("cache1", "VALUE k 0 1\r\n1\r\nEND\r\n")
        #expect(bench.commands("cache1") == "")
        #expect(Self.rings(try bench.messages(link)).last == .ring(inEffect: old, next: new, progress: .drained))
        bench.tell(link, .ring(inEffect: old, next: new, progress: .offered))
        #expect(bench.commands("cache1") == "get\(String(repeating: " k", count: 8))\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.heard(client) == "VALUE k 0 1\r\n1\r\nEND\r\n")
    }

    /// A lane that is to leave cache2 out, with a sibling.
    private func shrinking() throws -> (bench: Bench, link: ConnectionID, old: UInt64, after: BenchPlan) {
        let plan = Self.with(2, Self.plan(["n1", "n2"]))
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        let after = Self.with(1, plan)
        bench.tell(link, .ring(inEffect: Self.digest(plan), next: 0, progress: .offered))
        Self.hangUp(bench, after)
        return (bench, link, Self.digest(plan), after)
    }

    @Test(
        "A lane that went on while its siblings took the new rings flushes what has gained keys (seed 402868); not for one that has just started",
        arguments: [false, true])
    func late(hasJustStarted: Bool) throws {
        let plan = Self.with(2, Self.plan(["n1", "n2"]))
        let (bench, after) = (Bench.serving(plan), Self.with(1, plan))
        bench.lose(try bench.linkSibling())
        if hasJustStarted { bench.lose(try bench.dialledSibling(), "connection refused", .absent) }
        bench.advance(milliseconds: 1_500)
        let call = try bench.dialledSibling()
        bench.step(.connected(call))
        bench.settle()
        var hello = bench.hello(.group, from: Bench.n2)
        hello.ring = SiteRings(after.federation, after.site).fingerprint.encode()
        bench.tell(call, .hello(hello))
        #expect(!bench.node.isHolding)
        Self.hangUp(bench, after)
        #expect(bench.node.servers.count == 1, "it follows at once")
        #expect(bench.node.servers[0].missedTooMany == !hasJustStarted)
    }

    @Test("A lane that has gone back, and is overtaken, is late, too")
    func lateAfterGoingBack() throws {
        for goesBack in [true, false] {
            let (bench, link, old, after) = try shrinking()
            bench.tell(link, .ring(inEffect: old, next: Self.digest(after), progress: .agreed))
            if goesBack {
                bench.tell(link, .ring(inEffect: old, next: Self.digest(after), progress: .offered))
                #expect(!bench.node.isHolding)
            }
            bench.tell(link, .ring(inEffect: Self.digest(after), next: 0, progress: .offered))
            #expect(bench.node.servers.count == 1)
            #expect(bench.node.servers[0].missedTooMany == goesBack)
        }
    }

    @Test("Of a change of both pools, what the siblings have taken first is taken first (seed 504247)")
    func followsTheirOrder() throws {
        let plan = Self.plan(["n1", "n2"], backup: true)
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        let both = Self.with(2, plan)
        var (backups, all) = (plan.site, both.site)
        let backup = Backend(name: "backup2", weight: 1, address: HostPort(host: "backup2", port: 11211))
        backups.backups.append(backup)
        all.backups.append(backup)
        bench.step(.reconfigured(both.federation, all, listeners: bench.configuration.numberedListeners))
        bench.settle()
        _ = try bench.messages(link)
        let theirs = SiteRings(plan.federation, backups).digest
        let next = SiteRings(both.federation, all).digest
        bench.tell(link, .ring(inEffect: theirs, next: next, progress: .offered))
        #expect(!bench.closed.contains(link))
        let told = Self.rings(try bench.messages(link))
        #expect(told.first == .ring(inEffect: Self.digest(plan), next: theirs, progress: .offered))
        #expect(told.last == .ring(inEffect: theirs, next: 0, progress: .offered))
        Self.bringUpNew(bench, "backup2")
        bench.advance(milliseconds: 10_000)
        #expect(bench.node.ringChange.target?.rings.digest == next)
    }

    @Test("A silent sibling may only be cut off: it is waited for a minute before anybody waits for the change")
    func silent() throws {
        let (bench, link, _, _, _) = try offered()
        bench.lose(link)
        bench.advance(milliseconds: 55_000)
        #expect(bench.node.servers.count == 1)
        #expect(bench.lines.contains { $0.hasPrefix("ring change waits seconds=") && $0.contains("for=n2/0") })
        let client = bench.client()
        bench.ask(client, "get a\r\n")
        #expect(bench.commands("cache1") == "get a\r\n")
        bench.answer("cache1", "END\r\n")
        bench.advance(milliseconds: 10_000)
        #expect(bench.node.servers.count == 2)
    }

    @Test("A sibling that is not running is not waited for")
    func absent() throws {
        let plan = Self.plan(["n1", "n2"])
        let bench = Bench.serving(plan)
        bench.lose(try bench.dialledSibling(), "connection refused", .absent)
        Self.hangUp(bench, Self.with(2, plan))
        #expect(bench.node.servers.count == 2)
    }

    @Test("A sibling with other backups is refused")
    func otherBackups() throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        bench.tell(link, .ring(inEffect: 77, next: 0, progress: .offered))
        #expect(try bench.messages(link).contains { if case .refuse(let why) = $0 { why.contains("backups") } else { false } })
        #expect(bench.closed.contains(link))
    }

    @Test("A second reading of the files that comes while nobody can turn back is taken afterwards")
    func secondReading() throws {
        let (bench, link, old, new, after) = try offered()
        bench.tell(link, .ring(inEffect: old, next: new, progress: .agreed))
        Self.hangUp(bench, Self.with(3, after))
        bench.tell(link, .ring(inEffect: old, next: new, progress: .drained))
        Self.bringUpNew(bench, "cache2")
        #expect(bench.node.servers.count == 2)
        #expect(
            Self.rings(try bench.messages(link)).last
                == .ring(inEffect: new, next: Self.digest(Self.with(3, after)), progress: .offered))
    }

    // MARK: What moves

    @Test("A primary that gains keys lacks them: a miss there is asked of the backup")
    func gains() {
        let plan = Self.plan(backup: true)
        let bench = Bench.serving(Self.with(2, plan))
        let moved = bench.key(at: "cache2")
        Self.hangUp(bench, plan)
        let client = bench.client()
        bench.ask(client, "get \(moved)\r\n")
        #expect(bench.commands("cache1") == "get \(moved)\r\n")
        bench.answer("cache1", "END\r\n")
        #expect(bench.commands("backup1").hasPrefix("get \(moved)\r\n"))
        bench.answer("backup1", "VALUE \(moved) 0 1\r\nx\r\nEND\r\n")
        #expect(bench.heard(client) == "VALUE \(moved) 0 1\r\nx\r\nEND\r\n")
    }

    @Test("A server that gets keys back which it may still hold is flushed, unless it was cleared of them; the log remembers")
    func back() {
        let plan = Self.plan(backup: true)
        let bench = Bench.serving(plan)
        Self.hangUp(bench, Self.with(2, plan))
        Self.bringUpNew(bench, "cache2")
        #expect(bench.node.servers[0].holdsMoved)
        let later = Bench(Self.with(2, plan), after: bench)
        for name in ["cache1", "cache2", "backup1"] { later.bringUp(name) }
        #expect(later.node.servers[0].holdsMoved)
        let before = later.backend("cache1")
        Self.hangUp(later, plan)
        #expect(later.closed.contains(before))
        later.bringUp("cache1")
        #expect(later.commands("cache1").hasPrefix("flush_all\r\n"))
    }

    @Test("Where both pools change, the backups wait until the primaries have what they gained")
    func bothPools() {
        var plan = Self.plan(backup: true)
        plan.refillKeysPerSecond = 1_000
        let bench = Bench.serving(plan)
        var site = Self.with(2, plan).site
        site.backups.append(Backend(name: "backup2", weight: 1, address: HostPort(host: "backup2", port: 11211)))
        bench.step(.reconfigured(Self.with(2, plan).federation, site, listeners: bench.configuration.numberedListeners))
        bench.settle()
        bench.bringUp("cache2")
        #expect(bench.node.servers.map(\.definition.name) == ["cache1", "cache2", "backup1"])
        #expect(bench.commands("cache2").hasPrefix("flush_all\r\n"))
        bench.answer("cache2", "OK\r\n")
        bench.advance(milliseconds: 200)
        // The list of the backup's keys is empty.
        let list = bench.backend("backup1")
        bench.step(.connected(list))
        bench.settle()
        #expect(bench.heard(list).hasPrefix("lru_crawler metadump"))
        #expect(bench.node.servers.count == 3, "the new primary is being refilled")
        bench.receive(list, Array("END\r\n".utf8))
        bench.advance(milliseconds: 400)
        #expect(bench.node.servers.map(\.definition.name) == ["cache1", "cache2", "backup1", "backup2"])
    }

    // MARK: Restarts

    @Test("A lane that starts with other servers flushes those that are new, and lets its clients in when it knows its siblings")
    func restart() throws {
        let plan = Self.plan(["n1", "n2"])
        let before = Bench.serving(plan)
        _ = try before.linkSibling()
        let bench = Bench(Self.with(2, plan), after: before)
        for name in ["cache1", "cache2"] { bench.bringUp(name) }
        let client = bench.client()
        bench.ask(client, "get a\r\n")
        #expect(bench.commands("cache1") + bench.commands("cache2") == "", "a sibling may place keys by other servers")
        bench.lose(try bench.dialledSibling(), "connection refused", .absent)
        #expect(bench.commands("cache1") == "")
        let sent = Self.bringUpNew(bench, "cache2")
        #expect((bench.commands("cache1") + sent).contains("get a\r\n"))
    }

    @Test("A lane that starts late does not flush what a sibling uses already (seed 370992)")
    func restartLate() throws {
        let plan = Self.plan(["n1", "n2"])
        let before = Bench.serving(plan)
        _ = try before.linkSibling()
        let bench = Bench(Self.with(2, plan), after: before)
        for name in ["cache1", "cache2"] { bench.bringUp(name) }
        let client = bench.client()
        bench.ask(client, "get a\r\n")
        let link = try bench.linkSibling()
        bench.tell(link, .ring(inEffect: Self.digest(Self.with(2, plan)), next: 0, progress: .offered))
        let sent = bench.commands("cache1") + bench.commands("cache2")
        #expect(sent.contains("get a\r\n") && !sent.contains("flush_all"))
    }

    @Test("A lane that starts with other servers than its siblings waits until they have taken them, and tells them its own")
    func restartAmongOthers() throws {
        let plan = Self.plan(["n1", "n2"])
        let bench = Bench(Self.with(2, plan))
        let call = try bench.dialledSibling()
        bench.step(.connected(call))
        bench.settle()
        var hello = bench.hello(.group, from: Bench.n2)
        hello.ring = SiteRings(plan.federation, plan.site).fingerprint.encode()
        bench.tell(call, .hello(hello))
        #expect(bench.closed.contains(call))
        bench.bringUp("cache1")
        bench.bringUp("cache2")
        let client = bench.client()
        bench.ask(client, "get a\r\n")
        bench.advance(milliseconds: 500)
        #expect(!(bench.commands("cache1") + bench.commands("cache2")).contains("get a"))
        #expect(bench.node.state == .joining)
        let again = try bench.linkSibling()
        bench.tell(again, .ring(inEffect: Self.digest(Self.with(2, plan)), next: 0, progress: .offered))
        #expect((bench.commands("cache1") + bench.commands("cache2")).contains("get a\r\n"))
    }

    @Test("What the log says of the rings is read back; anything else is nothing")
    func encoded() {
        let rings = SiteRings(Self.with(3, Self.plan(backup: true)).federation, Self.with(3, Self.plan(backup: true)).site)
        let bytes = rings.encode()
        #expect(SiteRings(encoded: bytes)?.places(as: rings) == true)
        for count in 0..<bytes.count { #expect(SiteRings(encoded: Array(bytes.prefix(count))) == nil) }
        #expect(SiteRings(encoded: bytes + [0]) == nil)
    }

    // MARK: Clearing

    @Test("What lives elsewhere is deleted where it lived, and nothing else; then everybody is told")
    func clears() throws {
        var plan = Self.plan()
        plan.refillKeysPerSecond = 1_000
        let bench = Bench.serving(plan)
        Self.hangUp(bench, Self.with(2, plan))
        Self.bringUpNew(bench, "cache2")
        bench.advance(milliseconds: 2_500)
        let list = bench.backend("cache1")
        let main = try #require(bench.node.servers[0].connection)
        #expect(list != main)
        bench.step(.connected(list))
        bench.settle()
        let (stays, moved) = (Self.keys(of: "cache1", in: Self.with(2, plan)), Self.keys(of: "cache2", in: Self.with(2, plan)))
        _ = bench.heard(main)
        for round in 0..<3 {
            #expect(bench.heard(list).hasPrefix("lru_crawler metadump"))
            let keys = round == 0 ? [stays[0], moved[0], stays[1], moved[1]] : [stays[0], stays[1]]
            let lines = keys.map { "key=\($0) exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n" }.joined()
            bench.receive(list, Array("\(lines)END\r\n".utf8))
            bench.advance(milliseconds: 100)
            let deletes = bench.heard(main).replacing("mn\r\n", with: "")
            #expect(deletes == (round == 0 ? "md \(moved[0])\r\nmd \(moved[1])\r\n" : ""))
            if round == 0 { bench.receive(main, Array("HD\r\nHD\r\n".utf8)) }
            if !bench.node.servers[0].holdsMoved { break }
        }
        #expect(!bench.node.servers[0].holdsMoved)
        #expect(bench.closed.contains(list))
    }

    @Test("When keys left a server, and that it was cleared, are known whoever says it first")
    func movedStamps() throws {
        let bench = Bench.serving(Self.plan(["n1", "n2"]))
        let link = try bench.linkSibling()
        bench.tell(link, .moved(server: 0, at: 10, clearedTo: 0))
        #expect(bench.node.servers[0].holdsMoved)
        bench.tell(link, .moved(server: 0, at: 9, clearedTo: 12))
        #expect(!bench.node.servers[0].holdsMoved)
        bench.tell(link, .moved(server: 0, at: 11, clearedTo: 0))
        #expect(!bench.node.servers[0].holdsMoved)
        bench.tell(link, .moved(server: 9, at: 11, clearedTo: 0))
        #expect(bench.closed.contains(link))
    }

    // MARK: What the simulator found

    @Test("A server that is new is flushed although the lane was killed before it met it (seed 373199)")
    func killedBeforeFlush() {
        let plan = Self.plan()
        let before = Bench.serving(plan)
        Self.hangUp(before, Self.with(2, plan))
        let bench = Bench(Self.with(2, plan), after: before)
        bench.bringUp("cache1")
        Self.bringUpNew(bench, "cache2")
    }

    @Test("A lane that was paused does not take its siblings for gone because it could not hear them (seed 360982)")
    func paused() throws {
        let (bench, link, _, _, _) = try offered()
        bench.pause(milliseconds: 5_000)
        bench.advance(milliseconds: 50)
        #expect(bench.closed.contains(link))
        #expect(bench.node.servers.count == 1)
        bench.advance(milliseconds: 5_000)
        #expect(bench.node.servers.count == 1, "it may only be cut off, and serve (seed 370497)")
        bench.lose(try bench.dialledSibling(), "connection refused", .absent)
        #expect(bench.node.servers.count == 2)
    }

    @Test(
        "Two lanes that start with other servers than a third wait for it both: neither is an example to the other (seed 360297)")
    func noExample() throws {
        let plan = Self.plan(["n1", "n2", "n3"])
        let bench = Bench(Self.with(2, plan))
        let n3 = PeerIdentity(federation: "shop", site: "north", proxy: "n3")
        let twin = try bench.dialledSibling()
        let calledN3 = bench.dialled { if case .peer(n3, _, _) = $0 { true } else { false } }
        let third = try #require(calledN3)
        for call in [twin, third] {
            bench.step(.connected(call))
            bench.settle()
        }
        var hello = bench.hello(.group, from: LaneID(site: SiteID(1), proxy: 3, lane: 0))
        hello.ring = SiteRings(plan.federation, plan.site).fingerprint.encode()
        bench.tell(third, .hello(hello))
        let mine = Self.digest(Self.with(2, plan))
        let alive = Message.heartbeat(stamp: 1, state: .joining, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max)
        bench.tell(
            twin, .hello(bench.hello(.group, from: Bench.n2)), .ring(inEffect: mine, next: 0, progress: .offered),
            .dumped(sequence: 0))
        bench.tell(twin, .mirrored(sequence: 0), alive)
        bench.bringUp("cache1")
        bench.bringUp("cache2")
        bench.advance(milliseconds: 500)
        #expect(bench.node.state == .joining)
        bench.tell(twin, .heartbeat(stamp: 1, state: .serving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        bench.advance(milliseconds: 100)
        #expect(!bench.node.learnsRings, "one that serves is an example")
    }

    @Test("A server that gains keys still has what it had: who lacks that goes on taking it from there (seed 361342)")
    func stillGives() {
        let plan = Self.plan(backup: true)
        let bench = Bench.serving(Self.with(2, plan))
        bench.lose(bench.backend("backup1"))
        bench.advance(milliseconds: 500)
        bench.bringUp("backup1", pid: 2, startedAt: 2_000)
        #expect(bench.node.servers[2].recoveringFrom == [0, 1])
        Self.hangUp(bench, plan)
        #expect(bench.node.servers.map(\.definition.name) == ["cache1", "backup1"])
        #expect(bench.node.servers[1].recoveringFrom == [0], "by its new number")
        #expect(bench.node.servers[0].recoveringFrom == [1])
    }

    @Test(
        "That a server has restarted does not say that it holds nothing of what has moved: it may have been written since (seed 351310)"
    )
    func restartedServer() {
        let plan = Self.plan(backup: true)
        let bench = Bench.serving(plan)
        Self.hangUp(bench, Self.with(2, plan))
        Self.bringUpNew(bench, "cache2")
        #expect(bench.node.servers[0].holdsMoved)
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 500)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.node.servers[0].holdsMoved)
    }

    @Test("What a sibling deleted while it could not hear of copies is deleted again (seed 511061)", arguments: [true, false])
    func copiedUntold(isTombstone: Bool) throws {
        let plan = Self.plan(["n1", "n2"], backup: true)
        let bench = Bench.serving(plan)
        bench.lose(try bench.linkSibling())
        bench.advance(milliseconds: 2_000)
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 500)
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        let ours = Bench.key(ownedBy: Bench.n1)
        _ = (bench.commands("cache1"), bench.commands("backup1"))
        let client = bench.client()
        bench.ask(client, "get \(ours)\r\n")
        bench.answer("cache1", "END\r\n")
        bench.answer("backup1", "VALUE \(ours) 0 1\r\nx\r\nEND\r\n")
        #expect(bench.commands("backup1").contains("mg \(ours) "), "it is copied")
        bench.answer("backup1", "VA 1 s1 f0 t-1 c4\r\nx\r\n")
        bench.answer("cache1", "HD\r\n")
        _ = (bench.commands("cache1"), bench.commands("backup1"))
        let version = Version(stamp: HybridClock.stamp(atWall: bench.now.wallMicroseconds), origin: Bench.n2)
        let call = try bench.dialledSibling()
        bench.step(.connected(call))
        bench.settle()
        let tops = KeyTops(
            key: Array(ours.utf8), version: version, content: isTombstone ? .tombstone : .value, touch: .zero, touchExpiry: 0,
            holder: Bench.n2)
        bench.tell(call, .hello(bench.hello(.group, from: Bench.n2)), .mirror(sequence: 0, tops: tops))
        #expect(bench.commands("cache1").contains("md \(ours)\r\n") == isTombstone)
    }

    @Test("A copy that is made before anything is stable is told in words that a sibling understands (seed 360297)")
    func copyBeforeStable() throws {
        let plan = Self.plan(["n1", "n2"], backup: true)
        let bench = Bench.serving(plan)
        let link = try bench.linkSibling()
        bench.lose(bench.backend("cache1"))
        bench.advance(milliseconds: 500)
        bench.tell(link, .heartbeat(stamp: 1, state: .serving, floor: 0, groupFloor: 0, stable: 0, sentAt: 0, echo: .max))
        bench.bringUp("cache1", pid: 2, startedAt: 2_000)
        #expect(bench.node.stableFloor == 0)
        let ours = Bench.key(ownedBy: Bench.n1)
        _ = (bench.commands("cache1"), bench.commands("backup1"), try bench.messages(link))
        bench.tell(link, .refill(hops: 1, key: Array(ours.utf8)))
        #expect(bench.commands("backup1").contains("mg \(ours) "))
        bench.answer("backup1", "VA 1 s1 f0 t-1 c4\r\nx\r\n")
        bench.answer("cache1", "HD\r\n")
        let told = try bench.messages(link).compactMap { if case .mirror(_, let tops) = $0 { tops } else { nil } }
        #expect(told.map(\.key) == [Array(ours.utf8)] && told.allSatisfy { $0.version > .zero })
    }
}
