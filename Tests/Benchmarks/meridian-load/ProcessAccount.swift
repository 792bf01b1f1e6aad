// What a process has used, from the kernel's own account of it, so that the load generator's CPU is not in it:
// /proc/PID/task/*/schedstat has the exact time on a CPU of every thread, in nanoseconds, and /proc/PID/stat says how much of it was
// spent in the system, in clock ticks. proc(5) describes both.

import Foundation

/// CPU time of a process with all its threads, in microseconds.
struct ProcessAccount: Codable, Sendable {
    /// In the program itself.
    var user: Double
    /// In system calls and interrupts on its behalf.
    var system: Double
    /// Both, measured to the nanosecond; `user` and `system` add up to it.
    var total: Double

    /// The account now; throws when there is no such process.
    static func of(_ pid: Int32) throws(LoadFailure) -> ProcessAccount {
        let stat = try text("/proc/\(pid)/stat")
        // The name stands in parentheses and may hold spaces: fields are counted from behind it. utime and stime are 14 and 15.
        let fields = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
            throw LoadFailure(description: "/proc/\(pid)/stat is not as proc(5) says")
        }
        let tick = 1_000_000 / Double(sysconf(Int32(_SC_CLK_TCK)))
        return ProcessAccount(user: user * tick, system: system * tick, total: try onCPU(pid))
    }

    /// What was used since an earlier account. The split is the ticks', the sum the scheduler's.
    func since(_ earlier: ProcessAccount) -> ProcessAccount {
        let total = total - earlier.total
        let ticks = (user - earlier.user) + (system - earlier.system)
        let share = ticks > 0 ? (system - earlier.system) / ticks : 0
        return ProcessAccount(user: total * (1 - share), system: total * share, total: total)
    }

    private static func onCPU(_ pid: Int32) throws(LoadFailure) -> Double {
        let folder = "/proc/\(pid)/task"
        guard let threads = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            throw LoadFailure(description: "there is no process \(pid)")
        }
        var nanoseconds = 0.0
        // A thread that ends in between takes its time with it; the processes measured here keep theirs.
        for thread in threads {
            guard let words = try? text("\(folder)/\(thread)/schedstat").split(separator: " ") else { continue }
            nanoseconds += words.first.flatMap { Double($0) } ?? 0
        }
        return nanoseconds / 1_000
    }

    private static func text(_ path: String) throws(LoadFailure) -> String {
        // Files of /proc have no size: they are read to their end.
        guard let file = FileHandle(forReadingAtPath: path), let bytes = try? file.readToEnd() else {
            throw LoadFailure(description: "cannot read \(path)")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
