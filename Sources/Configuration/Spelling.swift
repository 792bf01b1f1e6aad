/// Guesses what was meant by a name that is not known.
enum Spelling {
    /// Longest name that guesses are made for; nothing known is near a longer one.
    private static let nameCharactersMax = 64

    /// The known name nearest to what was written, if it is near enough to have been meant.
    static func nearest(to written: String, among known: [String]) -> String? {
        guard written.count <= nameCharactersMax else { return nil }
        let plain = simplified(written)
        let ranked = known.map { (name: $0, distance: distance(plain, simplified($0))) }
        guard let best = ranked.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
        return best.distance <= max(1, plain.count / 3) ? best.name : nil
    }

    /// What to do about an unknown name: the guess, else the list.
    static func remedy(for written: String, among known: [String]) -> String {
        if let guess = nearest(to: written, among: known) { return "Did you mean '\(guess)'?" }
        return known.isEmpty ? "Remove it" : "Known here: \(known.joined(separator: ", "))"
    }

    /// Case, hyphens and underscores are what people get wrong first.
    private static func simplified(_ name: String) -> [Character] {
        name.lowercased().map { $0 == "_" || $0 == " " ? "-" : $0 }
    }

    /// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
    private static func distance(_ a: [Character], _ b: [Character]) -> Int {
        if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
        var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { rows[i][0] = i }
        for j in 0...b.count { rows[0][j] = j }
        for i in 1...a.count {
            for j in 1...b.count {
                let replaced = rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, replaced)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
                }
            }
        }
        return rows[a.count][b.count]
    }
}
