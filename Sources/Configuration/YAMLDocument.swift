// From a file's text to Yams' tree of nodes, each with its line and column. What Yams would make expensive, lenient or
// fatal is refused before: size, depth, anchors and aliases (an alias to an alias to an alias is a bomb, and nobody
// needs one in a file of thirty lines).

import Yams

/// Limits of a site's files and how their text becomes nodes.
enum YAMLDocument {
    /// Longest file.
    static let fileBytesMax = 1024 * 1024
    /// Deepest nesting: the files need five.
    static let nestingMax = 24
    /// Duplicated keys that are told before reading stops.
    private static let duplicatesMax = 16
    /// First scalar of the private use area: stands in for the first letter of a key that occurs twice.
    private static let maskBase: UInt32 = 0xe000

    /// The file's root, or nil with a problem reported.
    static func root(of text: String, into problems: ProblemList) -> Node? {
        guard text.utf8.count <= fileBytesMax else {
            problems.report(
                line: 1, column: 1, "the file has \(text.utf8.count) bytes, more than \(fileBytesMax)",
                remedy: "Is this the right file?")
            return nil
        }
        guard refuseAnchors(in: text, into: problems) else { return nil }
        guard let node = compose(text, into: problems) else { return nil }
        return refuseDepth(of: node, into: problems) ? node : nil
    }

    /// True when a key is one that `mask` has put out of the way.
    static func isMasked(_ key: String) -> Bool {
        guard let first = key.unicodeScalars.first else { return false }
        return (maskBase..<maskBase + UInt32(duplicatesMax)).contains(first.value)
    }

    /// Yams stops at a key that occurs twice. It is reported, its first letter is masked, and reading goes on, so that the
    /// file's other mistakes are told as well.
    private static func compose(_ text: String, into problems: ProblemList) -> Node? {
        var text = text
        for attempt in 0..<duplicatesMax {
            do {
                if let node = try Yams.compose(yaml: text, .basic, .default, .utf8) { return node }
                problems.report(line: 1, column: 1, "the file is empty", remedy: "Start from Sites/templates")
                return nil
            } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
                let key = keys.first ?? "?"
                problems.report(
                    line: context.mark.line, column: context.mark.column, "'\(shown(key))' is given more than once",
                    remedy: "Keep one of them")
                guard let masked = mask(text, at: context.mark, with: maskBase + UInt32(attempt)) else { return nil }
                text = masked
            } catch {
                report(error, into: problems)
                return nil
            }
        }
        return nil
    }

    /// The text with the first letter of the key at `mark` replaced.
    private static func mask(_ text: String, at mark: Mark, with value: UInt32) -> String? {
        var scalars = Array(text.unicodeScalars)
        var line = 1
        var index = 0
        while line < mark.line, index < scalars.count {
            if scalars[index] == "\n" || scalars[index] == "\r" && !(index + 1 < scalars.count && scalars[index + 1] == "\n") {
                line += 1
            }
            index += 1
        }
        index += mark.column - 1
        if index < scalars.count, scalars[index] == "\"" || scalars[index] == "'" { index += 1 }
        guard line == mark.line, index < scalars.count, scalars[index].properties.isAlphabetic,
            let stand = Unicode.Scalar(value)
        else { return nil }
        scalars[index] = stand
        var masked = String.UnicodeScalarView()
        masked.append(contentsOf: scalars)
        return String(masked)
    }

    private static func report(_ error: any Error, into problems: ProblemList) {
        switch error {
        case YamlError.scanner(_, let problem, let mark, _) where problem.contains("alphabetic or numeric"):
            problems.report(
                line: mark.line, column: mark.column, "text that begins with '*' is an alias to YAML",
                remedy: "Put the text in quotes, such as \"*.lock\"")
        case YamlError.scanner(_, let problem, let mark, _), YamlError.parser(_, let problem, let mark, _):
            problems.report(
                line: mark.line, column: mark.column, "this is not YAML: \(problem)",
                remedy: "Check quotes, colons, brackets and indentation on this line and the one before")
        case YamlError.composer(_, let problem, let mark, _) where problem.contains("alias"):
            problems.report(
                line: mark.line, column: mark.column, "text that begins with '*' is an alias to YAML, and aliases are not read",
                remedy: "Put the text in quotes")
        case YamlError.composer(_, let problem, let mark, _):
            problems.report(
                line: mark.line, column: mark.column, "this is not one YAML document: \(problem)",
                remedy: "Keep one document in a file, without '---' between")
        case YamlError.reader(let problem, _, _, _):
            problems.report(
                line: 1, column: 1, "the file holds characters that YAML does not allow: \(problem)",
                remedy: "Save it as UTF-8 text without control characters")
        default:
            problems.report(line: 1, column: 1, "the file cannot be read as YAML: \(error)", remedy: "Check its syntax")
        }
    }

    /// Reports every anchor. An anchor is an `&` with a name where a value may begin; without anchors there are no aliases.
    private static func refuseAnchors(in text: String, into problems: ProblemList) -> Bool {
        var fine = true
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let bytes = Array(line.utf8)
            guard bytes.contains(UInt8(ascii: "&")), bytes.first(where: { $0 != 32 && $0 != 9 }) != UInt8(ascii: "#") else {
                continue
            }
            for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "&") && beginsAnchor(bytes, at: index) {
                problems.report(
                    line: number + 1, column: index + 1, "'&' begins a YAML anchor, and anchors are not read",
                    remedy: "Write the value out; text with '&' after a space is not supported")
                fine = false
            }
        }
        return fine
    }

    private static func beginsAnchor(_ bytes: [UInt8], at index: Int) -> Bool {
        let before = index == 0 ? 32 : bytes[index - 1]
        guard index + 1 < bytes.count, [32, 9].contains(before) || "[{,:-?&".utf8.contains(before) || before >= 0x80 else {
            return false
        }
        let after = bytes[index + 1]
        return after != 32 && after != 9
    }

    /// Iterative on purpose: the depth is what is being checked.
    private static func refuseDepth(of root: Node, into problems: ProblemList) -> Bool {
        var waiting: [(node: Node, depth: Int)] = [(root, 1)]
        while let (node, depth) = waiting.popLast() {
            if depth > nestingMax {
                problems.report(
                    line: node.mark?.line ?? 1, column: node.mark?.column ?? 1, "nested more than \(nestingMax) levels deep",
                    remedy: "The files of a site need five levels")
                return false
            }
            switch node {
            case .mapping(let mapping): for pair in mapping { waiting += [(pair.key, depth + 1), (pair.value, depth + 1)] }
            case .sequence(let sequence): for element in sequence { waiting.append((element, depth + 1)) }
            case .scalar, .alias: break
            }
        }
        return true
    }
}

/// Text from a file as a message shows it: short, without line breaks.
func shown(_ text: String) -> String {
    let charactersMax = 60
    let flat = String(text.map { $0.isNewline || $0 == "\t" ? " " : $0 })
    // Counted in scalars: what is one character to a reader may be of any length.
    let scalars = flat.unicodeScalars
    return scalars.count > charactersMax ? String(String.UnicodeScalarView(scalars.prefix(charactersMax))) + "…" : flat
}
