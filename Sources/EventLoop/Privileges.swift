// From root to nobody in particular: once, before there are threads, and for good. Whether it worked is not taken on trust.

import CEvent
import Glibc

/// The users and groups that the machine knows. Safe to ask from any thread.
public enum KnownAccounts {
    /// A user by name: its id and its group's.
    public static func user(_ name: String) -> (user: uid_t, group: gid_t)? {
        var account = meridian_account()
        return meridian_user(name, 0, &account) == 0 ? (account.user, account.group) : nil
    }

    /// The group of a user by number.
    public static func group(ofUser number: uid_t) -> gid_t? {
        var account = meridian_account()
        return meridian_user(nil, number, &account) == 0 ? account.group : nil
    }

    /// A group by name.
    public static func group(_ name: String) -> gid_t? {
        var group: gid_t = 0
        return meridian_group(name, &group) == 0 ? group : nil
    }
}

/// Who this process is.
public enum Privileges {
    /// True when the process is root.
    public static var isRoot: Bool { geteuid() == 0 }

    /// Gives a file that root made to the user that is about to take over.
    public static func give(_ path: String, to user: String) {
        var account = meridian_account()
        if isRoot, meridian_account_named(user, "", &account) == 0 { chown(path, account.user, gid_t.max) }
    }

    /// Becomes a user, and a group (nil: the user's own), and nobody else ever again. A process that is that user already
    /// stays so; one that is neither root nor that user is refused.
    public static func become(user: String, group: String?) throws(SocketError) {
        var account = meridian_account()
        let unknown = meridian_account_named(user, group ?? "", &account)
        guard unknown == 0 else {
            let reason =
                switch unknown {
                case ENOENT: "there is no such user"
                case ESRCH: "there is no group \(group ?? "")"
                default: SystemError.text(unknown)
                }
            throw SocketError(
                action: "run as", subject: user, code: unknown, reason: reason,
                remedy: "make it (adduser --system --group \(user)), or correct 'user' and 'group'")
        }
        guard account.user != 0 else {
            throw SocketError(
                action: "run as", subject: user, code: EINVAL, reason: "that is root", remedy: "name a user of its own")
        }
        if !isRoot {
            guard geteuid() == account.user else {
                throw SocketError(
                    action: "run as", subject: user, code: EPERM, reason: "only root can become another user",
                    remedy: "start as root or as \(user), or leave 'user' out")
            }
            return
        }
        let failure = meridian_become(user, &account)
        guard failure == 0 else { throw SocketError(action: "run as", subject: user, code: failure) }
        guard meridian_can_regain() == 0, geteuid() == account.user, getegid() == account.group else {
            throw SocketError(
                action: "run as", subject: user, code: EPERM, reason: "root's rights could be had back",
                remedy: "start it without kept capabilities (see: capsh, securebits), or as \(user) at once")
        }
    }
}
