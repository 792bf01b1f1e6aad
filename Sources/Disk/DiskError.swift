// What the operating system refused, to whom it happened, and what an operator can do about it.

import Glibc
import WriteLog

/// A system call on the log's files failed.
public struct DiskError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was being done, such as `writing`.
    public var doing: String
    /// The file or folder.
    public var path: String
    /// The system's error number; 0 if the cause is not the system's.
    public var code: Int32
    /// Why, in words.
    public var cause: String
    /// What to do about it.
    public var remedy: String

    /// Names a failure that the system reported by number.
    public init(doing: String, path: String, code: Int32, remedy: String? = nil) {
        self.init(
            doing: doing, path: path, code: code, cause: DiskError.text(of: code), remedy: remedy ?? DiskError.remedy(for: code))
    }

    /// Names a failure in words.
    public init(doing: String, path: String, code: Int32 = 0, cause: String, remedy: String) {
        self.doing = doing
        self.path = path
        self.code = code
        self.cause = cause
        self.remedy = remedy
    }

    /// `writing /var/lib/…: Input/output error; check the disk …`
    public var description: String { "\(doing) \(path): \(cause); \(remedy)" }

    /// The system's words for an error number.
    static func text(of code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        // glibc's strerror_r (GNU) may return a constant instead of filling the buffer; Swift sees the XSI one, which fills it.
        guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func remedy(for code: Int32) -> String {
        switch code {
        case EACCES, EPERM: "give the user that runs this proxy the folder (chown)"
        case ENOSPC, EDQUOT: "free space on this file system"
        case EROFS: "mount the file system for writing"
        case ENOENT: "name a folder that can be made; if a file of it was removed by something else, restart the proxy"
        case ENOTDIR, EEXIST, EISDIR: "name a folder; a file is in the way"
        case ELOOP, ENAMETOOLONG: "name the folder by a shorter, plain path"
        case EMFILE, ENFILE: "raise the limit of open files"
        default: "check the disk and the kernel's log (dmesg); the proxy recovers its log when it is started again"
        }
    }
}

/// Why a lane's log could not be opened.
public enum LogFolderError: Error, Sendable, CustomStringConvertible {
    /// The system refused something, or the folder is not usable as it is.
    case disk(DiskError)
    /// The log is damaged, or is another lane's; `folder` says where.
    case damage(LogDamage, folder: String)

    /// For the operator.
    public var description: String {
        switch self {
        case .disk(let error): error.description
        case .damage(let damage, let folder): "the log in \(folder) cannot be used: \(damage)"
        }
    }
}
