/// Aligned columns of text, as wide as they must be and no wider.
public struct Table {
    /// How a column's texts stand.
    public enum Alignment: Sendable {
        /// Words.
        case left
        /// Numbers.
        case right
    }

    private let heads: [(text: String, alignment: Alignment)]
    private var rows: [[String]] = []

    /// An empty table with its column heads.
    public init(_ heads: [(text: String, alignment: Alignment)]) {
        self.heads = heads.map { (Self.printable($0.text), $0.alignment) }
    }

    /// True when there is no row.
    public var isEmpty: Bool { rows.isEmpty }

    /// Adds a row: one text for each column.
    public mutating func add(_ row: [String]) {
        precondition(row.count == heads.count, "a row of \(row.count) texts in a table of \(heads.count) columns")
        rows.append(row.map(Self.printable))
    }

    /// The lines, heads first, without spaces at their ends.
    public var lines: [String] {
        let all = [heads.map(\.text)] + rows
        let widths = heads.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = heads.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - row[column].count)
                return heads[column].alignment == .left ? row[column] + space : space + row[column]
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }

    /// What comes from a peer or a file must not move the terminal's cursor.
    static func printable(_ text: String) -> String {
        String(
            text.map { character in
                character.unicodeScalars.allSatisfy { $0.value >= 32 && !(127..<160).contains($0.value) } ? character : "?"
            })
    }
}
