// The load generator's command line. `Tests/Benchmarks/run` drives it; it can be used by hand against anything that speaks the
// memcached text protocol.

import ArgumentParser
import EventLoop
import Foundation

@main
struct MeridianLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meridian-load",
        abstract: "Loads a memcached server or proxy, checks every reply to the last byte, and prints figures as JSON.",
        discussion: """
            One thread. Keys are bench:00000000 and up; a value begins with its key's number, so that another key's value is
            noticed. All times are microseconds unless their name says otherwise.

            EXAMPLES
              meridian-load fill --address 127.0.0.1:11211 --keys 10000 --value-bytes 1024
              meridian-load run  --address 127.0.0.1:11211 --keys 10000 --value-bytes 1024 --sets 1 --gets 10 \\
                                 --connections 50 --pipeline 16 --seconds 10 --account proxy=4711
              meridian-load run  … --rate 20000          20,000 requests per second, however fast they are answered
              meridian-load idle --address 127.0.0.1:11211 --connections 10000

            EXIT STATUS
              0 done, even if replies were wrong (the JSON says how many); 1 the load could not be run; 64 wrong usage.
            """,
        subcommands: [RunCommand.self, FillCommand.self, IdleCommand.self])
}

/// Where a load goes, and what it is about.
struct Target: ParsableArguments {
    @Option(help: "Server or proxy, as HOST:PORT; the host is a numeric address.")
    var address: String

    @Option(help: "Connections.")
    var connections = 50

    @Option(help: "Requests that each connection has on their way.")
    var pipeline = 1

    @Option(help: "Keys.")
    var keys = 10_000

    @Option(help: "Bytes of each value, at least \(Texts.digits).")
    var valueBytes = 32

    func validate() throws {
        guard (1...60_000).contains(connections) else { throw ValidationError("--connections is 1 to 60000.") }
        guard (1...10_000).contains(pipeline) else { throw ValidationError("--pipeline is 1 to 10000.") }
        guard (1...Texts.keysMax).contains(keys) else { throw ValidationError("--keys is 1 to \(Texts.keysMax).") }
        guard (Texts.digits...1_048_576).contains(valueBytes) else {
            throw ValidationError("--value-bytes is \(Texts.digits) to 1048576.")
        }
    }

    var texts: Texts { Texts(keys: keys, valueBytes: valueBytes) }

    /// All connections, open.
    func crowd(_ texts: Texts) throws -> Crowd {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]),
            let found = SocketAddress(numericHost: String(address[..<colon]), port: port)
        else { throw ValidationError("--address is HOST:PORT with a numeric host, not '\(address)'.") }
        return try Crowd(try Loop(), to: found, count: connections, texts: texts, depth: pipeline)
    }
}

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Runs a load and prints what it came to.")

    @OptionGroup var target: Target

    @Option(help: "Sets in every (sets + gets) requests.")
    var sets = 0

    @Option(help: "Gets in every (sets + gets) requests.")
    var gets = 1

    @Option(help: "Keys of each get.")
    var keysPerGet = 1

    @Option(help: "Seconds to measure.")
    var seconds = 5.0

    @Option(help: "Requests after which measuring ends, if that is earlier.")
    var requests: UInt64 = .max

    @Option(help: "Seconds of load before measuring.")
    var warmUp = 1.0

    @Option(help: "Requests per second; without it, as fast as replies come.")
    var rate: Double?

    @Option(help: "NAME=PID: a process whose CPU is accounted while it is measured. Repeat for more.")
    var account: [String] = []

    func validate() throws {
        guard sets >= 0, gets >= 0, sets + gets > 0 else { throw ValidationError("--sets or --gets must be more than 0.") }
        guard (1...min(LoadConnection.keysPerGetMax, target.keys)).contains(keysPerGet) else {
            throw ValidationError("--keys-per-get is 1 to \(LoadConnection.keysPerGetMax), and at most --keys.")
        }
        guard seconds > 0, seconds < 1e6, warmUp >= 0, warmUp < 1e6 else {
            throw ValidationError("Times are 0 to a million seconds.")
        }
        guard rate.map({ $0 > 0 }) ?? true else { throw ValidationError("--rate is more than 0.") }
        _ = try processes()
    }

    private func processes() throws -> [String: Int32] {
        var found: [String: Int32] = [:]
        for entry in account {
            let parts = entry.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let pid = Int32(parts[1]) else {
                throw ValidationError("--account is NAME=PID, not '\(entry)'.")
            }
            found[String(parts[0])] = pid
        }
        return found
    }

    func run() throws {
        let texts = target.texts
        let plan = LoadPlan(
            writeShare: Double(sets) / Double(sets + gets), keysPerGet: keysPerGet, measureMicroseconds: UInt64(seconds * 1e6),
            requestsMax: requests, warmUpMicroseconds: UInt64(warmUp * 1e6), rate: rate, processes: try processes())
        let report = try Load(try target.crowd(texts), texts, plan).run()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
}

struct FillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "fill", abstract: "Stores every key once.")

    @OptionGroup var target: Target

    func run() throws {
        let texts = target.texts
        let (wrong, example) = try store(texts, over: try target.crowd(texts))
        guard wrong == 0 else { throw LoadFailure(description: "\(wrong) of \(texts.keys) keys were not stored: \(example)") }
    }
}

struct IdleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle",
        abstract: "Opens connections, uses each once, prints 'idle', and keeps them until standard input ends.")

    @OptionGroup var target: Target

    func run() throws {
        let texts = Texts(keys: max(target.keys, target.connections), valueBytes: target.valueBytes)
        let crowd = try target.crowd(texts)
        let (wrong, example) = try store(texts, over: crowd)
        guard wrong == 0 else { throw LoadFailure(description: "\(wrong) keys were not stored: \(example)") }
        print("idle")
        fflush(nil)
        while readLine() != nil {}
    }
}
