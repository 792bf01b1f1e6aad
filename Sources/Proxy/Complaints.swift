/// Lets one line out of many through: who guesses passwords, or refuses what it is given, must not fill the disk with our log.
struct Complaints {
    private var nextAt: UInt64 = 0
    private var kept = 0

    /// When this line may be told: what is to stand behind it, which is how many were kept back since the last one.
    mutating func permit(at monotonic: UInt64) -> String? {
        guard monotonic >= nextAt else {
            kept += 1
            return nil
        }
        nextAt = monotonic + Limits.complaintMicroseconds
        defer { kept = 0 }
        return kept == 0 ? "" : " (\(kept) more since the last such line)"
    }
}
