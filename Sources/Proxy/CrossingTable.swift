import Configuration

/// The crossing rules with their patterns as bytes.
struct CrossingTable: Sendable {
    private let rules: [(prefix: [UInt8], suffix: [UInt8], policy: CrossingRule.Policy)]

    init(_ rules: [CrossingRule]) {
        self.rules = rules.map { (Array($0.prefix.utf8), Array($0.suffix.utf8), $0.policy) }
    }

    /// What crosses to other sites when this key is written.
    func policy(for key: [UInt8]) -> CrossingRule.Policy {
        // Every site keeps what it has until a barrier says otherwise: one that stayed at home would be a lie.
        if key == allKeys { return .value }
        for rule in rules where key.count >= rule.prefix.count + rule.suffix.count {
            if key.starts(with: rule.prefix) && key.suffix(rule.suffix.count).elementsEqual(rule.suffix) { return rule.policy }
        }
        return .value
    }
}
