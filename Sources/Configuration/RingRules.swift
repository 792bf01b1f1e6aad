// What a flavour asks of its servers, on the ring and among the backups alike, wherever the ring was written: in a file, on
// the command line.

import Ring
import Yams

/// What is wrong with one server of a ring.
struct RingObjection {
    /// The server's place in the list, from 0.
    var server: Int
    var message: String
    var remedy: String
}

/// The rules of the flavours.
enum RingRules {
    static func objections(to servers: [RingServer], flavour: RingFlavour) -> [RingObjection] {
        let ring = Continuum(flavour: flavour, servers: servers)
        var found: [RingObjection] = []
        for (index, server) in servers.enumerated() {
            if flavour == .magentKetama, HostPort(server.name) == nil {
                found.append(
                    RingObjection(
                        server: index, message: "server \(server.name): magent-ketama hashes names of the form ip:port",
                        remedy: "Name it as magent knew it, such as 10.0.0.1:11211; where it is at a site is that site's business"
                    ))
            }
            if flavour == .magentModulo, server.weight != 1 {
                found.append(
                    RingObjection(
                        server: index, message: "server \(server.name): magent-modulo knows no weights",
                        remedy: "Remove the weight"))
            }
            if flavour != .magentModulo, ring.pointCounts[index] == 0 {
                found.append(
                    RingObjection(
                        server: index,
                        message:
                            "server \(server.name): weight \(server.weight) is so small beside the others that it would get no key",
                        remedy: "Raise it, or remove the server"))
            }
        }
        return found
    }
}

extension ProblemList {
    /// Reports what is wrong with a ring where its servers stand in the file.
    func check(_ servers: [(server: RingServer, node: Node)], flavour: RingFlavour) {
        for objection in RingRules.objections(to: servers.map(\.server), flavour: flavour) {
            report(servers[objection.server].node, objection.message, remedy: objection.remedy)
        }
    }
}
