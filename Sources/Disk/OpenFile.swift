// The system calls that this room needs, each in a loop that finishes what it began, each failure typed.

import Glibc

/// An open file, closed when nobody uses it any more.
final class OpenFile: Sendable {
    let descriptor: Int32
    let path: String

    init(_ path: String, flags: Int32, mode: mode_t = 0o600, doing: String = "opening") throws(DiskError) {
        self.path = path
        descriptor = try Posix.retry(doing, path) { Glibc.open(path, flags | O_CLOEXEC, mode) }
    }

    deinit { close(descriptor) }

    func size() throws(DiskError) -> Int {
        var status = stat()
        try Posix.retry("inspecting", path) { fstat(descriptor, &status) }
        return Int(status.st_size)
    }

    /// Reads `count` bytes from `offset`, fewer only at the file's end.
    func read(_ count: Int, at offset: Int) throws(DiskError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = try read(into: &bytes, at: offset)
        bytes.removeLast(count - got)
        return bytes
    }

    /// Fills `buffer` from `offset`, and says how far: less than wholly only at the file's end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DiskError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let got = try Posix.retry("reading", path) { pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done)) }
            if got == 0 { break }
            done += got
        }
        return done
    }

    /// Fills an array from `offset`, and says how far.
    func read(into bytes: inout [UInt8], at offset: Int) throws(DiskError) -> Int {
        let result = bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(DiskError) in try read(into: buffer, at: offset) }
        }
        return try result.get()
    }

    /// Writes an array's first bytes at `offset`.
    func write(_ bytes: [UInt8], count: Int, at offset: Int) throws(DiskError) {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(DiskError) in try write(UnsafeRawBufferPointer(rebasing: buffer[..<count]), at: offset) }
        }
        try result.get()
    }

    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(DiskError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += try Posix.retry("writing", path) { pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + done)) }
        }
    }

    /// The file's bytes are on the disk, with what is needed to find them.
    func syncData() throws(DiskError) { try Posix.retry("syncing", path) { fdatasync(descriptor) } }

    /// The file's bytes and all it is are on the disk.
    func sync() throws(DiskError) { try Posix.retry("syncing", path) { fsync(descriptor) } }

    /// Gives the file `bytes` bytes that a later write cannot run out of.
    func allocate(_ bytes: Int) throws(DiskError) {
        var code: Int32
        repeat { code = posix_fallocate(descriptor, 0, off_t(bytes)) } while code == EINTR
        if code != 0 { throw DiskError(doing: "allocating \(bytes) bytes for", path: path, code: code) }
    }
}

enum Posix {
    /// Calls until not interrupted; a negative result is an error.
    @discardableResult
    static func retry<Result: FixedWidthInteger>(_ doing: String, _ path: String, _ call: () -> Result) throws(DiskError)
        -> Result
    {
        while true {
            let result = call()
            if result >= 0 { return result }
            let code = errno
            if code != EINTR { throw DiskError(doing: doing, path: path, code: code) }
        }
    }

    /// The folder's entries are on the disk.
    static func syncFolder(_ path: String) throws(DiskError) {
        try OpenFile(path, flags: O_RDONLY | O_DIRECTORY).sync()
    }

    /// Makes a folder, and those above it, where they are missing; only its owner may enter.
    static func makeFolder(_ path: String) throws(DiskError) {
        var code = try makeLastFolder(path)
        if code == ENOENT, path.contains("/"), parent(of: path) != path {
            try makeFolder(parent(of: path))
            code = try makeLastFolder(path)
        }
        // Some file systems (/proc) deny a folder whose parent is there with the same error.
        if code != 0 { throw DiskError(doing: "making the folder", path: path, code: code) }
    }

    /// Makes a folder whose parent is there; 0, or why it could not.
    private static func makeLastFolder(_ path: String) throws(DiskError) -> Int32 {
        if mkdir(path, 0o700) == 0 {
            try syncFolder(parent(of: path))
            return 0
        }
        guard errno == EEXIST else { return errno }
        _ = try OpenFile(path, flags: O_RDONLY | O_DIRECTORY)
        return 0
    }

    /// Names in a folder.
    static func list(_ path: String) throws(DiskError) -> [String] {
        guard let folder = opendir(path) else { throw DiskError(doing: "listing", path: path, code: errno) }
        defer { closedir(folder) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(folder) {
            // The name is a NUL-terminated C array inside the entry, which lives until the next readdir.
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    name.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
                })
            errno = 0
        }
        if errno != 0 { throw DiskError(doing: "listing", path: path, code: errno) }
        return names
    }

    /// Removes a file; one that is gone already is no error.
    static func remove(_ path: String) throws(DiskError) {
        if unlink(path) != 0 && errno != ENOENT { throw DiskError(doing: "deleting", path: path, code: errno) }
    }

    /// Bytes that may still be written in the folder's file system; nil if it does not say.
    static func freeBytes(_ path: String) -> UInt64? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    private static func parent(of path: String) -> String {
        var trimmed = Substring(path)
        while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }
}
