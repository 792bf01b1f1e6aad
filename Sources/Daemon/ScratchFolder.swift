// A folder for the log of a proxy that starts with nothing and leaves nothing: under /tmp, for us alone, removed at the end. What a
// process that was killed left there is removed by the next one, which knows by the lock that its owner is gone.

import EventLoop
import Foundation
import Glibc

/// A private folder that lives as long as the process.
public final class ScratchFolder: Sendable {
    /// Where it is.
    public let path: String
    private let lock: Int32

    /// What the folders' names begin with.
    private static let prefix = "meridian-magent."
    /// The file whose lock says that the folder is in use.
    private static let lockName = "in-use"
    /// A younger folder may be one that is just being made.
    public static let strayAgeSecondsMin = 10.0

    /// Makes a folder that only its owner may look into.
    public init(under parent: String, owner: Account?) throws(DaemonFailure) {
        var template = "\(parent)/\(Self.prefix)XXXXXX".utf8CString.map { $0 }
        guard mkdtemp(&template) != nil else { throw Self.failure("make a folder under \(parent)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        lock = open("\(path)/\(Self.lockName)", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else { throw Self.failure("lock \(path)") }
        // The folder itself becomes the account's with everything else (`Account.become`).
        if let owner, fchown(lock, owner.user, owner.group) != 0 { throw Self.failure("give \(path) to user \(owner.user)") }
    }

    /// Removes it with all that is in it.
    public func remove() {
        try? FileManager.default.removeItem(atPath: path)
        close(lock)
    }

    /// Removes this user's folders whose processes are gone.
    public static func sweep(under parent: String, olderThanSeconds age: Double = strayAgeSecondsMin) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? [] where name.hasPrefix(prefix) {
            let path = "\(parent)/\(name)"
            guard isStray(path, age: age) else { continue }
            let lock = open("\(path)/\(lockName)", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard lock >= 0 else { continue }
            if flock(lock, LOCK_EX | LOCK_NB) == 0 { try? FileManager.default.removeItem(atPath: path) }
            close(lock)
        }
    }

    /// A folder of ours, not a link to one, and not brand-new.
    private static func isStray(_ path: String, age: Double) -> Bool {
        var found = stat()
        guard lstat(path, &found) == 0, found.st_mode & S_IFMT == S_IFDIR, found.st_uid == geteuid() else { return false }
        return Date().timeIntervalSince1970 - Double(found.st_ctim.tv_sec) >= age
    }

    private static func failure(_ doing: String) -> DaemonFailure {
        DaemonFailure(.system, "cannot \(doing): \(SystemError.text(errno)); choose another with TMPDIR or --folder")
    }
}
