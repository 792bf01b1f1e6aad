// Giving up root's rights: a proxy may need them for a port below 1024, and for nothing after that.

import Configuration
import EventLoop
import Glibc

/// A user and a group that a process can become.
public struct Account: Sendable, Hashable {
    /// User id.
    public var user: uid_t
    /// Group id; the only one the process keeps.
    public var group: gid_t

    /// Makes an account of its parts.
    public init(user: uid_t, group: gid_t) {
        self.user = user
        self.group = group
    }

    /// Looks an account up: names or numbers. A user without a group gets its own; a group without a user changes only that.
    public init(user: String?, group: String?) throws(DaemonFailure) {
        var id = getuid()
        var ownGroup: gid_t? = user == nil ? getgid() : nil
        if let user {
            let known = KnownAccounts.user(user)
            guard let found = known?.user ?? UInt32(user) else {
                throw DaemonFailure(.usage, "there is no user '\(user)'; add it (adduser --system), or give a number")
            }
            id = found
            ownGroup = known?.group ?? KnownAccounts.group(ofUser: found)
        }
        if let group {
            guard let found = KnownAccounts.group(group) ?? UInt32(group) else {
                throw DaemonFailure(.usage, "there is no group '\(group)'; add it (addgroup --system), or give a number")
            }
            ownGroup = found
        }
        guard let ownGroup else {
            throw DaemonFailure(
                .usage, "user \(id) has no group of its own, as nobody by that number is known; say which with -g")
        }
        self.init(user: id, group: ownGroup)
    }

    /// True when this process is that account already.
    public var isOurs: Bool { getuid() == user && geteuid() == user && getgid() == group && getegid() == group }

    /// Becomes the account, for good, and makes sure that it is for good; the files are the account's from then on. To be called
    /// before there are other threads.
    func become(owning paths: [String]) throws(DaemonFailure) {
        guard !isOurs else { return }
        guard geteuid() == 0 else {
            throw DaemonFailure(
                .system,
                "cannot become user \(user), group \(group): only root may; start it as root, or as that user without -u and -g")
        }
        for path in paths {
            guard lchown(path, user, group) == 0 else {
                throw DaemonFailure(.system, "cannot give \(path) to user \(user): \(SystemError.text(errno))")
            }
        }
        var groups = [group]
        guard setgroups(1, &groups) == 0, setgid(group) == 0, setuid(user) == 0 else {
            throw DaemonFailure(.system, "cannot become user \(user), group \(group): \(SystemError.text(errno))")
        }
        let isBack = user != 0 && (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 && group != 0)
        guard isOurs, getgroups(0, nil) == 1, !isBack else {
            throw DaemonFailure(.system, "became user \(user), group \(group), but root's rights were not given up for good")
        }
    }
}

extension ListenAddress {
    /// The path of a unix socket.
    var unixPath: String? { if case .unix(let path) = self { path } else { nil } }
}
