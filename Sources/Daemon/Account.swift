// Giving up root's rights: a proxy may need them for a port below 1024, and for nothing after that.

import Configuration
import EventLoop
import Glibc

/// A user and a group that a process can become.
public struct Account: Sendable, Hashable {
    /// User id.
    public var user: uid_t
    /// Group id.
    public var group: gid_t
    /// The user by whose name further groups are looked up; nil keeps none.
    public var name: String?

    /// Makes an account of its parts.
    public init(user: uid_t, group: gid_t, name: String? = nil) {
        self.user = user
        self.group = group
        self.name = name
    }

    /// Looks an account up: names or numbers. A user without a group gets its own; a group without a user changes only that.
    ///
    /// - Parameter code: what it is to the process when there is none.
    public init(user: String?, group: String?, otherwise code: DaemonFailure.Code = .usage) throws(DaemonFailure) {
        var id = getuid()
        var ownGroup: gid_t? = user == nil ? getgid() : nil
        let known = user.flatMap { KnownAccounts.user($0) }
        if let user {
            guard let found = known?.user ?? UInt32(user) else {
                throw DaemonFailure(
                    code, "there is no user '\(user)'; add it (adduser --system --group \(user)), or give a number")
            }
            id = found
            ownGroup = known?.group ?? KnownAccounts.group(ofUser: found)
        }
        if let group {
            guard let found = KnownAccounts.group(group) ?? UInt32(group) else {
                throw DaemonFailure(code, "there is no group '\(group)'; add it (addgroup --system \(group)), or give a number")
            }
            ownGroup = found
        }
        guard let ownGroup else {
            throw DaemonFailure(code, "user \(id) has no group of its own, as nobody by that number is known; say which group")
        }
        self.init(user: id, group: ownGroup, name: known == nil ? nil : user)
    }

    /// The account that a site file names: anybody but root.
    init(_ account: SiteAccount) throws(DaemonFailure) {
        try self.init(user: account.user, group: account.group, otherwise: .configuration)
        guard user != 0 else {
            throw DaemonFailure(.configuration, "cannot run as '\(account.user)': that is root; name a user of its own")
        }
    }

    /// True when this process is that account already.
    public var isOurs: Bool { getuid() == user && geteuid() == user && getgid() == group && getegid() == group }

    /// Becomes the account, for good; the files are the account's from then on. To be called before there are other threads.
    ///
    /// - Parameters:
    ///   - paths: files that are to be the account's and its group's.
    ///   - others: files that are to be the account's, and keep their group.
    func become(owning paths: [String], keepingGroup others: [String] = []) throws(DaemonFailure) {
        guard !isOurs else { return }
        guard Privileges.isRoot else {
            throw DaemonFailure(
                .system,
                "cannot become user \(user), group \(group): only root may; start it as root, or as that user and without saying so"
            )
        }
        for path in paths { try give(path, group) }
        for path in others { try give(path, gid_t.max) }
        do throws(SocketError) {
            try Privileges.become(user: user, group: group, named: name)
        } catch {
            throw DaemonFailure(.system, error.description)
        }
    }

    private func give(_ path: String, _ group: gid_t) throws(DaemonFailure) {
        guard lchown(path, user, group) == 0 else {
            throw DaemonFailure(.system, "cannot give \(path) to user \(user): \(SystemError.text(errno))")
        }
    }
}
