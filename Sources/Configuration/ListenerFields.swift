// A proxy's `clients`: an address, or an address with what is asked of those who connect.

import Kernel
import Yams

extension SiteFile {
    /// Most networks that one listener lets in.
    static let networksMax = 256

    private static let listenerKeys = ["address", "tls", "authentication", "allow"]
    private static let tlsKeys = ["certificate", "key", "client-authority"]

    /// One listener, or a list of them.
    func readClients(_ node: Node) -> [ClientListener]? {
        let nodes: [Node]
        switch node {
        case .scalar, .mapping: nodes = [node]
        default:
            guard let listed = problems.list(node, "clients", least: 1, most: Self.listenersMax) else { return nil }
            nodes = listed
        }
        let listeners = nodes.compactMap(readListener)
        return listeners.count == nodes.count ? listeners : nil
    }

    private func readListener(_ node: Node) -> ClientListener? {
        guard case .mapping = node else {
            return problems.listenAddress(node, "clients", relativeTo: path).map { ClientListener($0) }
        }
        guard let fields = Fields(node, "a listener", known: Self.listenerKeys, problems) else { return nil }
        let address = fields.required("address", example: "0.0.0.0:11212").flatMap {
            problems.listenAddress($0, "address", relativeTo: path)
        }
        var isWhole = true
        var listener = ClientListener(address ?? .unix(path: ""))
        if let node = fields["tls"] {
            listener.tls = readTLS(node)
            isWhole = listener.tls != nil
        }
        if let node = fields["authentication"] {
            listener.authenticationPath = problems.path(node, "authentication", relativeTo: path)
            isWhole = isWhole && listener.authenticationPath != nil
        }
        if let node = fields["allow"] {
            let networks = readNetworks(node)
            listener.allowed = networks ?? []
            isWhole = isWhole && networks != nil
        }
        guard let address, isWhole else { return nil }
        if case .unix = address { refuseForUnix(fields) }
        return listener
    }

    /// A unix socket is guarded by its folder's mode, and nothing sent through it leaves the machine.
    private func refuseForUnix(_ fields: Fields) {
        for key in ["tls", "allow"] {
            guard let node = fields[key] else { continue }
            problems.report(
                node, "'\(key)' means nothing at a unix socket, which only this machine reaches",
                remedy: "Remove it; the socket's folder says who may connect")
        }
    }

    private func readTLS(_ node: Node) -> ListenerTLS? {
        guard let fields = Fields(node, "tls", known: Self.tlsKeys, problems) else { return nil }
        let certificate = fields.required("certificate", example: "clients.pem").flatMap {
            problems.path($0, "certificate", relativeTo: path)
        }
        let key = fields.required("key", example: "clients.key").flatMap { problems.path($0, "key", relativeTo: path) }
        var authority: String?
        if let node = fields["client-authority"] {
            authority = problems.path(node, "client-authority", relativeTo: path)
            guard authority != nil else { return nil }
        }
        guard let certificate, let key else { return nil }
        return ListenerTLS(certificatePath: certificate, keyPath: key, clientAuthorityPath: authority)
    }

    private func readNetworks(_ node: Node) -> [Network]? {
        let nodes: [Node]
        if case .scalar = node {
            nodes = [node]
        } else {
            guard let listed = problems.list(node, "allow", least: 1, most: Self.networksMax) else { return nil }
            nodes = listed
        }
        let networks = nodes.compactMap(readNetwork)
        return networks.count == nodes.count ? networks : nil
    }

    private func readNetwork(_ node: Node) -> Network? {
        guard let text = problems.text(node, "allow") else { return nil }
        do throws(Network.Mistake) {
            return try Network(text)
        } catch {
            switch error {
            case .unreadable:
                problems.report(
                    node, "allow must be a network, not '\(shown(text))'",
                    remedy: "Write it like 10.0.0.0/8, 192.168.1.7, \"fd00::/8\" or \"::1\"")
            case .bitsBehindLength(let network):
                problems.report(
                    node, "allow has \(shown(text)), an address with bits behind the network's length",
                    remedy: "Write \"\(network)\", or the address alone")
            }
            return nil
        }
    }
}
