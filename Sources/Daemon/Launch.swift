// How a proxy is started, beyond what its files say. meridiand leaves all of it to the service manager; `meridian magent`, which
// takes the flags of a program from before there were any, does it itself.

import Configuration

/// How a proxy is started.
public struct Launch: Sendable {
    /// True for the only proxy of a federation of one: nobody but clients will ever connect to it, so it needs no replication
    /// listener and no certificates.
    public var isAlone = false
    /// Its folder was made by this start, and becomes the account's.
    public var madeFolder = false
    /// Whom the process becomes once its ports are bound; nil to stay who it is.
    public var account: Account?
    /// Reads the site's files anew, or throws what is wrong with them: at SIGHUP. Nil where there are none, and flags instead.
    public var read: (@Sendable () throws -> (federation: Federation, site: Site))?
    /// Called once, on loop 0, when every lane serves.
    public var whenServing: @Sendable () -> Void = {}

    /// A proxy of a federation, started by a service manager.
    public init() {}
}
