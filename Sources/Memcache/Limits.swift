/// Every limit of the text protocol in one place, each with its unit last in the name.
///
/// The values are memcached 1.6.18's; where it has none of its own, the comment says whose it is.
public enum MemcacheLimits {
    /// The longest key, as sent (a base64 key counts encoded).
    public static let keyBytesMax = 250
    /// The longest command line, its newline included, of any command but a multi-key retrieval.
    public static let lineBytesMax = 2_049
    /// The longest line of a multi-key retrieval, its newline included. memcached has no such limit; a proxy must have one.
    public static let retrievalLineBytesMax = 65_536
    /// How many spaces may precede a retrieval whose line is longer than `lineBytesMax`.
    public static let leadingSpacesMax = 100
    /// How many tokens of a line are looked at; what follows matters only to a multi-key retrieval.
    public static let tokensMax = 23
    /// How many tokens a meta command may have.
    public static let metaTokensMax = 19
    /// The longest opaque token, its `O` included.
    public static let opaqueBytesMax = 32
    /// The largest item unless the server was started with `-I`.
    public static let itemBytesDefault = 1_048_576
    /// The longest line of a file of names and passwords, without its end.
    public static let credentialsLineBytesMax = 255
    /// How many names and passwords such a file may hold.
    public static let credentialsMax = 8
    /// The longest line of a text connection that has not yet said who it is.
    public static let authenticationLineBytesMax = 2_048
    /// The longest block or message with a name and a password that is looked at. memcached has no such limit.
    public static let authenticationBlockBytesMax = 2_048
    /// The longest name of a SASL mechanism.
    public static let mechanismBytesMax = 32
    /// The longest reply line that a backend may send, its newline included; memcached's own are below 1,100.
    public static let replyLineBytesMax = 2_048
    /// The largest value that a backend may send; `-I` allows no more.
    public static let replyValueBytesMax = 1_073_741_824
    /// The longest answer to `stats` that a backend may send.
    public static let statsBytesMax = 1_048_576
}
