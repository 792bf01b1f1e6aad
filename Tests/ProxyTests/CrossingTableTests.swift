import Configuration
import Testing

@testable import Proxy

/// Which keys cross to other sites.
@Suite struct CrossingTableTests {
    private let table = CrossingTable([
        CrossingRule(prefix: "memc.sess.key.lock.", suffix: "", policy: .none),
        CrossingRule(prefix: "", suffix: ".lock", policy: .none),
        CrossingRule(prefix: "page.", suffix: ".html", policy: .invalidate),
        CrossingRule(prefix: "page.", suffix: "", policy: .none),
    ])

    @Test(
        "The first rule whose ends both match decides; without one the value crosses",
        arguments: [
            ("memc.sess.key.lock.1", .none), ("memc.sess.key.1", .value), ("a.lock", .none), (".lock", .none), ("lock", .value),
            ("page.1.html", .invalidate), ("page.html", .none), ("page.1", .none), ("page.1.lock", .none), ("xpage.1", .value),
            ("", .value),
        ] as [(String, CrossingRule.Policy)])
    func decides(key: String, policy: CrossingRule.Policy) {
        #expect(table.policy(for: Array(key.utf8)) == policy)
    }

    @Test("The two ends of a pattern do not share bytes")
    func noOverlap() {
        let table = CrossingTable([CrossingRule(prefix: "aba", suffix: "ab", policy: .none)])
        #expect(table.policy(for: Array("abab".utf8)) == .value)
        #expect(table.policy(for: Array("abaab".utf8)) == .none)
    }

    @Test("An empty pattern matches every key")
    func everything() {
        let table = CrossingTable([CrossingRule(prefix: "", suffix: "", policy: .invalidate)])
        #expect(table.policy(for: [0, 255]) == .invalidate)
        #expect(CrossingTable([]).policy(for: [1]) == .value)
    }
}
