// Reading nodes as what they should be. Each function answers the value, or reports what is wrong and answers nil; the
// caller goes on either way, so that all mistakes of a file are found in one pass.

import Yams

extension ProblemList {
    func report(_ node: Node, _ message: String, remedy: String) {
        report(line: node.mark?.line ?? 1, column: node.mark?.column ?? 1, message, remedy: remedy)
    }

    /// The node's text; `what` names it in messages.
    func text(_ node: Node, _ what: String) -> String? {
        guard case .scalar(let scalar) = node else {
            report(node, "\(what) must be a single value, not \(kind(of: node))", remedy: "Write one value after the colon")
            return nil
        }
        guard !isEmpty(node) else {
            report(node, "\(what) has no value", remedy: "Write one after the colon, or remove the line")
            return nil
        }
        return scalar.string
    }

    /// A whole number in a range.
    func integer(_ node: Node, _ what: String, in range: ClosedRange<Int>) -> Int? {
        guard let text = text(node, what) else { return nil }
        let digits = text.filter { $0 != "_" }
        guard let number = Int(digits) else {
            report(node, "\(what) must be a whole number, not '\(shown(text))'", remedy: rangeRemedy(range))
            return nil
        }
        guard range.contains(number) else {
            report(node, "\(what) is \(number)", remedy: rangeRemedy(range))
            return nil
        }
        return number
    }

    /// One of an enumeration's raw values.
    func choice<Choice: CaseIterable & RawRepresentable<String>>(_ node: Node, _ what: String, of _: Choice.Type) -> Choice? {
        guard let text = text(node, what) else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        report(
            node, "\(what) cannot be '\(shown(text))'", remedy: Spelling.remedy(for: text, among: Choice.allCases.map(\.rawValue))
        )
        return nil
    }

    /// The elements of a list; `least` says whether it may be empty.
    func list(_ node: Node, _ what: String, least: Int = 0, most: Int) -> [Node]? {
        guard case .sequence(let sequence) = node else {
            report(
                node, "\(what) must be a list, not \(kind(of: node))", remedy: "Begin each entry with '- ', or write [one, two]")
            return nil
        }
        guard sequence.count >= least else {
            report(node, "\(what) is empty", remedy: "Give at least \(least)")
            return nil
        }
        guard sequence.count <= most else {
            report(node, "\(what) has \(sequence.count) entries", remedy: "The most is \(most)")
            return nil
        }
        return Array(sequence)
    }

    /// The pairs of a mapping whose keys are free names.
    func pairs(_ node: Node, _ what: String) -> [(key: Node, name: String, value: Node)]? {
        guard case .mapping(let mapping) = node else {
            report(
                node, "\(what) must be names with values, not \(kind(of: node))", remedy: "Write 'name: value' lines below it")
            return nil
        }
        return mapping.compactMap { key, value in
            guard let name = text(key, "a name in \(what)"), !YAMLDocument.isMasked(name) else { return nil }
            return (key, name, value)
        }
    }

    func kind(of node: Node) -> String {
        switch node {
        case .mapping: "names with values"
        case .sequence: "a list"
        case .alias: "an alias"
        case .scalar(let scalar): isEmpty(node) ? "nothing" : "'\(shown(scalar.string))'"
        }
    }

    private func isEmpty(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node else { return false }
        return scalar.string.isEmpty || scalar.style == .plain && ["~", "null"].contains(scalar.string)
    }

    private func rangeRemedy(_ range: ClosedRange<Int>) -> String {
        "Use a number from \(range.lowerBound) to \(range.upperBound)"
    }
}

/// A mapping whose keys are known beforehand.
struct Fields {
    let what: String
    let node: Node
    private let problems: ProblemList
    private var values: [String: Node] = [:]

    /// Reads the keys, reporting those that are not known; nil when the node is not a mapping.
    init?(_ node: Node, _ what: String, known: [String], _ problems: ProblemList) {
        self.what = what
        self.node = node
        self.problems = problems
        guard let pairs = problems.pairs(node, what) else { return nil }
        for (key, name, value) in pairs {
            if known.contains(name) {
                values[name] = value
            } else {
                problems.report(
                    key, "'\(shown(name))' is not known in \(what)", remedy: Spelling.remedy(for: name, among: known))
            }
        }
    }

    /// The value of a key, nil when it is absent.
    subscript(key: String) -> Node? { values[key] }

    /// The value of a key that must be there.
    func required(_ key: String, example: String) -> Node? {
        if let value = values[key] { return value }
        problems.report(node, "\(what) lacks '\(key)'", remedy: "Add '\(key): \(example)'")
        return nil
    }
}

/// Finds values that occur twice and should not.
struct Unique<Value: Hashable> {
    private var firsts: [Value: Int] = [:]

    /// Reports when the value was there before; `what` names it.
    mutating func insert(_ value: Value, _ what: String, at node: Node, remedy: String, _ problems: ProblemList) {
        if let line = firsts[value] {
            problems.report(node, "\(what) is taken on line \(line)", remedy: remedy)
        } else {
            firsts[value] = node.mark?.line ?? 1
        }
    }
}
