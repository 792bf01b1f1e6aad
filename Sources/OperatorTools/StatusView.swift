// What `meridian status` prints: for each proxy who it is, what its lanes do, and what is not as it should be.

import Status

/// Shows the reports of proxies.
public struct StatusView {
    private let status: ProxyStatus

    /// A view of one proxy's report.
    public init(_ status: ProxyStatus) { self.status = status }

    /// A heading, a table of lanes, one of servers, one of siblings; with `all` every counter and gauge too.
    public func lines(all: Bool) -> [String] {
        let uptime = Amount.seconds(status.uptimeSeconds)
        var lines = [
            Table.printable(
                "\(status.site)/\(status.proxy) of \(status.federation): meridiand \(status.version), pid \(status.pid), up \(uptime)"
            )
        ]
        lines += indented(laneTable.lines)
        for table in [backendTable, siblingTable] where !table.isEmpty {
            lines.append("")
            lines += indented(table.lines)
        }
        let problems = self.problems
        if !problems.isEmpty {
            lines.append("")
            lines += indented(problems.map(Table.printable))
        }
        if all {
            lines.append("")
            lines += indented(numberTable.lines)
        }
        return lines
    }

    private var laneTable: Table {
        var table = Table([
            ("LANE", .left), ("STATE", .left), ("SLOTS", .right), ("CLIENTS", .right), ("COMMITTED", .right), ("LOG", .right),
            ("UNSYNCED", .right),
            ("SEGMENTS", .right),
        ])
        for lane in status.lanes {
            let log = lane.log
            table.add([
                lane.lane, lane.state, lane.gauges["slots_owned"].map(Self.gauge) ?? "-",
                lane.gauges["client_connections"].map(Self.gauge) ?? "-",
                Amount.count(log.committedPosition), Amount.bytes(log.tailBytes),
                Amount.bytes(log.tailBytes >= log.syncedBytes ? log.tailBytes - log.syncedBytes : 0),
                log.lastSegment >= log.firstSegment ? Amount.count(log.lastSegment - log.firstSegment + 1) : "-",
            ])
        }
        return table
    }

    /// One row for each server: all lanes see the same server, so lanes are told only where they differ.
    private var backendTable: Table {
        var table = Table([("SERVER", .left), ("ROLE", .left), ("ADDRESS", .left), ("STATE", .left), ("MISSED KEYS", .right)])
        var names: [String] = []
        for backend in status.lanes.flatMap(\.backends) where !names.contains(backend.name) { names.append(backend.name) }
        for name in names {
            let seen = status.lanes.flatMap { lane in lane.backends.filter { $0.name == name }.map { (lane.lane, $0) } }
            guard let first = seen.first?.1 else { continue }
            let alike = seen.allSatisfy { $0.1.state == first.state }
            let state = alike ? first.state : seen.map { "\($0.0) \($0.1.state)" }.joined(separator: ", ")
            let missed = seen.reduce(0) { $0 &+ $1.1.missedKeys }
            table.add([name, first.role, first.address, state, Amount.count(UInt64(max(0, missed)))])
        }
        return table
    }

    private var siblingTable: Table {
        var table = Table([("LANE", .left), ("SIBLING", .left), ("STATE", .left), ("HEARD", .left)])
        for lane in status.lanes {
            for sibling in lane.siblings {
                let heard = sibling.lastHeardSeconds.map { "\(Amount.seconds($0)) ago" } ?? "never"
                table.add([lane.lane, sibling.lane, sibling.state, heard])
            }
        }
        return table
    }

    /// What somebody should do something about.
    private var problems: [String] {
        var lines: [String] = []
        for lane in status.lanes {
            if let change = lane.ringChange { lines.append("\(lane.lane): ring change \(change)") }
            if !lane.log.message.isEmpty { lines.append("\(lane.lane): writes are refused: \(lane.log.message)") }
            for backend in lane.backends where !backend.message.isEmpty {
                lines.append("\(lane.lane): server \(backend.name) (\(backend.address)): \(backend.message)")
            }
            for destination in lane.destinations where !destination.message.isEmpty {
                lines.append("\(lane.lane): site \(destination.site) is \(destination.state): \(destination.message)")
            }
        }
        return lines
    }

    private var numberTable: Table {
        let lanes = status.lanes
        var table = Table([("METRIC", .left)] + lanes.map { ($0.lane, Table.Alignment.right) })
        for name in Set(lanes.flatMap { Array($0.counters.keys) }).sorted() {
            table.add([name] + lanes.map { $0.counters[name].map(Amount.count) ?? "-" })
        }
        for name in Set(lanes.flatMap { Array($0.gauges.keys) }).sorted() {
            table.add([name] + lanes.map { $0.gauges[name].map(Self.gauge) ?? "-" })
        }
        return table
    }

    private static func gauge(_ number: Double) -> String {
        number >= 0 && number < 1e15 && number == number.rounded() ? Amount.count(UInt64(number)) : "\(number)"
    }

    private func indented(_ lines: [String]) -> [String] { lines.map { $0.isEmpty ? $0 : "  \($0)" } }
}
