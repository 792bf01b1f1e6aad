// What is wrong with a site's files. A mistake is told once, where it stands, with what to do about it; and all mistakes
// are told together, so that an operator mends a file in one go.

/// One mistake in a file.
public struct ConfigurationProblem: Sendable, Hashable, CustomStringConvertible {
    /// The file, as it was named by the operator or by the file that refers to it.
    public var file: String
    /// Line, from 1.
    public var line: Int
    /// Column in characters, from 1.
    public var column: Int
    /// What is wrong.
    public var message: String
    /// What to do about it.
    public var remedy: String

    /// Makes a problem of its parts.
    public init(file: String, line: Int, column: Int, message: String, remedy: String) {
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.remedy = remedy
    }

    /// `north.yaml:12:5: what is wrong. What to do.`, in the form that editors jump to.
    public var description: String { "\(file):\(line):\(column): \(message). \(remedy)\(remedy.hasSuffix("?") ? "" : ".")" }
}

/// All mistakes in a site's files.
public struct ConfigurationProblems: Error, Sendable, Hashable, CustomStringConvertible {
    /// The mistakes, in the order of files and lines.
    public var problems: [ConfigurationProblem]

    /// Wraps mistakes; there is at least one.
    public init(_ problems: [ConfigurationProblem]) {
        precondition(!problems.isEmpty, "an error without a problem")
        self.problems = problems
    }

    /// One line for each mistake.
    public var description: String { problems.map(\.description).joined(separator: "\n") }
}

/// Collects the mistakes of one file while it is being read.
final class ProblemList {
    let file: String
    private(set) var problems: [ConfigurationProblem] = []

    /// A file full of nonsense is not told line by line.
    static let problemsMax = 100

    init(file: String) { self.file = file }

    func report(line: Int, column: Int, _ message: String, remedy: String) {
        guard problems.count < Self.problemsMax else { return }
        let problem = ConfigurationProblem(file: file, line: line, column: column, message: message, remedy: remedy)
        if !problems.contains(problem) { problems.append(problem) }
    }

    /// In the order of lines, however they were found.
    var sorted: [ConfigurationProblem] {
        problems.enumerated()
            .sorted { a, b in
                (a.element.line, a.element.column, a.offset) < (b.element.line, b.element.column, b.offset)
            }
            .map(\.element)
    }
}
