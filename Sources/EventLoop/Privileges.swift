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

    /// Becomes a user with this group, and nobody else ever again; with the further groups of the user by this name, or with none.
    /// Only root may.
    public static func become(user: uid_t, group: gid_t, named name: String?) throws(SocketError) {
        let failure = meridian_become(user, group, name)
        let subject = name ?? "user \(user)"
        guard failure == 0 else { throw SocketError(action: "run as", subject: subject, code: failure) }
        let isBack = user != 0 && meridian_can_regain() != 0
        guard !isBack, getuid() == user, geteuid() == user, getgid() == group, getegid() == group else {
            throw SocketError(
                action: "run as", subject: subject, code: EPERM, reason: "root's rights could be had back",
                remedy: "start it without kept capabilities (see: capsh, securebits), or as \(subject) at once")
        }
    }
}
