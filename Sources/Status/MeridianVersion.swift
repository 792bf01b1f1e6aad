// One version for the daemon and the command line.

/// Meridian's version, digits and dots only.
public enum MeridianVersion {
    /// Such as `0.1.0`.
    public static let text = "0.1.0"
}
