// Leaving the terminal, for programs that are started by hand or by an old init script. The process splits before it has
// threads; the part that the shell waits for stays until the other one serves, or has failed, so that a busy port is still
// an error on the terminal and an exit code, and a script that goes on may connect.
//
//     shell ─▶ parent ── waits ───────────────────────────▶ ends with 0, or with the child's exit code
//                └─▶ child ─ binds, recovers … ─▶ serving ┘ ──▶ goes on alone

import CEvent
import Glibc

/// The part of a process that goes on in the background.
public struct Background: Sendable {
    /// One byte here, and the parent ends well.
    private let teller: Int32

    /// Splits the process; returns in the child only. To be called before there is any other thread.
    public static func enter() throws(SocketError) -> Background {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw failure("a pipe") }
        let child = meridian_fork()
        guard child >= 0 else { throw failure("a process in the background") }
        guard child == 0 else {
            close(ends[1])
            endWithWord(of: child, from: ends[0])
        }
        close(ends[0])
        setsid()
        // The folder that it was started in may be unmounted.
        chdir("/")
        mute([STDIN_FILENO, STDOUT_FILENO])
        return Background(teller: ends[1])
    }

    /// Tells the parent that all is well and lets the terminal go. Log lines go on only to a file.
    public func serving() {
        if meridian_is_file(STDERR_FILENO) == 0 { Self.mute([STDERR_FILENO]) }
        var word: UInt8 = 1
        _ = write(teller, &word, 1)
        close(teller)
    }

    private static func endWithWord(of child: pid_t, from descriptor: Int32) -> Never {
        var word: UInt8 = 0
        while true {
            let count = read(descriptor, &word, 1)
            if count == 1 { _exit(0) }
            if count == 0 || errno != EINTR { break }
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        _exit(meridian_exit_code(status))
    }

    private static func mute(_ descriptors: [Int32]) {
        let nowhere = open("/dev/null", O_RDWR)
        guard nowhere >= 0 else { return }
        for descriptor in descriptors { dup2(nowhere, descriptor) }
        if nowhere > STDERR_FILENO { close(nowhere) }
    }

    private static func failure(_ subject: String) -> SocketError {
        SocketError(
            action: "start", subject: subject, code: errno, remedy: "raise the limits on processes and open files (ulimit)")
    }
}
