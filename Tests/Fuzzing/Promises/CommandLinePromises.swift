// What an operator writes on the command line: rings in one word, and magent's flags.

import Configuration
import Ring

extension Promise {
    static let ringSpelling = Promise(
        "ring-spelling", "a ring in one word: a mistake in one line, or a ring that keys can be placed on", bytesMax: 1_024,
        seeds: [
            "ketama:cache1,cache2*3", "magent-ketama:10.0.0.1:11211,10.0.0.2", "magent-modulo:[::1]:1,::1", "ketama:",
            "ketama:a*0",
        ].map { Array($0.utf8) },
        words: ["ketama:", "magent-ketama:", "magent-modulo:", ",", "*", ":", "11211", "4294967296", "[::1]", "10.0.0.1"]
    ) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        _ = RingSpelling.begins(text)
        do throws(RingSpelling.Mistake) {
            let spelling = try RingSpelling(text)
            checkLine(spelling.caution ?? "none")
            let ring = Continuum(flavour: spelling.flavour, servers: spelling.servers)
            for key in ["", "user:1234"] {
                precondition(spelling.servers.indices.contains(ring.server(for: key)), "a key is placed on no server")
            }
        } catch {
            checkLine(error.description)
        }
    }

    static let magentFlags = Promise(
        "magent-flags", "magent's flags, one in each line: mistakes in one line each, or a federation of one proxy",
        bytesMax: 2_048,
        seeds: [
            "s10.0.0.1:11211\ns10.0.0.2\nb10.0.0.3\nl127.0.0.1\np11211\nn100\ni20\n", "s[::1]:1\nf/run/magent.sock\np0\nk\n",
            "s10.0.0.1\nb10.0.0.1\nfrelative\np70000\nn0\n", "sa\nl\np-1\n", "p0\n",
        ].map { Array($0.utf8) },
        words: ["\ns", "\nb", "\nl", "\np", "\nf/", "\nn", "\nk", "\ni", "10.0.0.1", ":11211", "[::1]", "0.0.0.0", "::"]
    ) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        do throws(MagentFlags.Mistakes) {
            let (federation, site) = try flags(text).files()
            precondition(federation.servers.count == site.primaries.count && !site.primaries.isEmpty)
            precondition(site.proxies.count == 1 && !site.proxies[0].clients.isEmpty, "a proxy that nobody can connect to")
            let ring = Continuum(flavour: federation.flavour, servers: federation.servers)
            precondition(federation.servers.indices.contains(ring.server(for: "user:1234")), "a key is placed on no server")
        } catch {
            precondition(!error.mistakes.isEmpty)
            for mistake in error.mistakes { checkLine(mistake) }
        }
    }

    private static func flags(_ text: String) -> MagentFlags {
        var flags = MagentFlags()
        for line in text.split(separator: "\n") {
            let value = String(line.dropFirst())
            switch line.first {
            case "s": flags.primaries.append(value)
            case "b": flags.backups.append(value)
            case "k": flags.isKetama = true
            case "l": flags.host = value
            case "p": flags.port = Int(value) ?? flags.port
            case "f": flags.socketPath = value
            case "n": flags.connectionsMax = Int(value) ?? flags.connectionsMax
            case "i": flags.keepAliveConnections = Int(value) ?? flags.keepAliveConnections
            default: break
            }
        }
        return flags
    }

    /// Something for a person to read: one line, and not as long as what was mistaken.
    private static func checkLine(_ text: String) {
        precondition(!text.isEmpty && !text.contains(where: \.isNewline), "not one line: \(text)")
        precondition(text.utf8.count < 1_024, "a mistake as long as what was written")
    }
}
