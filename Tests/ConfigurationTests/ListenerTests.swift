import Configuration
import Kernel
import Testing

@Suite struct NetworkTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("10.0.0.0/8", "9.255.255.255", false),
        ("192.168.1.7", "192.168.1.7", true), ("192.168.1.7", "192.168.1.6", false), ("192.168.1.6/31", "192.168.1.7", true),
        ("192.168.1.6/31", "192.168.1.8", false), ("172.16.0.0/12", "172.31.255.255", true),
        ("172.16.0.0/12", "172.32.0.0", false), ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "::1", false),
        ("::/0", "fd00::1", true), ("::/0", "10.0.0.1", false), ("::1", "::1", true), ("::1", "::2", false),
        ("fc00::/7", "fdff::1", true), ("fc00::/7", "fe00::", false), ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false), ("10.0.0.0/8", "::ffff:10.1.2.3", true),
    ])
    func `an address lies in a network, or it does not`(network: String, address: String, expected: Bool) throws {
        #expect(try Network(network).contains(try #require(IPAddress(address))) == expected)
    }

    @Test func `a network agrees with counting bits one by one`() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<2_000 {
            let size = random.below(2) == 0 ? 4 : 16
            let base = try #require(IPAddress(bytes: (0..<size).map { _ in UInt8(random.below(256)) }))
            let length = random.below(base.bits + 1)
            var near = base.bytes
            near[random.below(near.count)] ^= UInt8(1 << random.below(8))
            let other = try #require(IPAddress(bytes: near))
            let network: Network
            do throws(Network.Mistake) {
                network = try Network("\(base)/\(length)")
            } catch {
                guard case .bitsBehindLength(let meant) = error else { continue }
                network = meant
            }
            let bits = { (address: IPAddress) in address.bytes.flatMap { byte in (0..<8).map { byte >> UInt8(7 - $0) & 1 } } }
            #expect(network.contains(base))
            #expect(network.contains(other) == (bits(other).prefix(length) == bits(base).prefix(length)), "\(network) \(other)")
        }
    }

    @Test func `a listener without networks lets everybody in, and a unix socket knows none`() throws {
        let open = ClientListener.tcp(HostPort(host: "0.0.0.0", port: 1))
        #expect(open.admits(IPAddress("203.0.113.9")) && open.admits(nil))
        let closed = ClientListener(.tcp(HostPort(host: "0.0.0.0", port: 1)), allowed: [try Network("10.0.0.0/8")])
        #expect(closed.admits(IPAddress("10.2.3.4")))
        #expect(!closed.admits(IPAddress("203.0.113.9")) && !closed.admits(IPAddress("::1")))
    }
}

@Suite struct ListenerTests {
    private static let plain = "clients: [0.0.0.0:11211]"

    private func listeners(_ text: String) throws -> [ClientListener] {
        try Sample.read(site: Sample.spoiled(Sample.site, Self.plain, "clients: \(text)")).site.proxies[0].clients
    }

    @Test func `a listener is an address, or an address with what it asks for`() throws {
        let found = try listeners(
            """
            ["127.0.0.1:11211", {address: "0.0.0.0:11213", tls: {certificate: c.pem, key: /k.key, client-authority: ca.pem}, \
            authentication: users.txt, allow: [10.0.0.0/8, "fd00::/8", 192.168.1.7]}, {address: "unix:/run/n1", authentication: u}]
            """)
        #expect(
            found == [
                .tcp(HostPort(host: "127.0.0.1", port: 11_211)),
                ClientListener(
                    .tcp(HostPort(host: "0.0.0.0", port: 11_213)),
                    tls: ListenerTLS(
                        certificatePath: "/etc/meridian/c.pem", keyPath: "/k.key", clientAuthorityPath: "/etc/meridian/ca.pem"),
                    authenticationPath: "/etc/meridian/users.txt",
                    allowed: [try Network("10.0.0.0/8"), try Network("fd00::/8"), try Network("192.168.1.7")]),
                ClientListener(.unix(path: "/run/n1"), authenticationPath: "/etc/meridian/u"),
            ])
        #expect(try listeners("{address: \"[::]:11213\", allow: \"::1\"}").first?.allowed == [try Network("::1")])
        #expect(try listeners("127.0.0.1:7").map(\.description) == ["127.0.0.1:7"])
    }

    @Test(arguments: [
        ("[{adress: \"0.0.0.0:1\"}]", "north.yaml:9:16: 'adress' is not known in a listener. Did you mean 'address'?"),
        ("[{allow: [10.0.0.0/8]}]", "north.yaml:9:15: a listener lacks 'address'. Add 'address: 0.0.0.0:11212'."),
        (
            "[{address: here}]",
            "north.yaml:9:25: address must be host:port or unix:path, not 'here'. Write it like 0.0.0.0:11211, [::]:11211 or unix:/run/meridian/clients.sock, port 1 to 65535."
        ),
        (
            "[{address: \"0.0.0.0:1\", tls: yes}]",
            "north.yaml:9:43: tls must be names with values, not 'yes'. Write 'name: value' lines below it."
        ),
        (
            "[{address: \"0.0.0.0:1\", tls: {key: k}}]",
            "north.yaml:9:43: tls lacks 'certificate'. Add 'certificate: clients.pem'."
        ),
        (
            "[{address: \"0.0.0.0:1\", tls: {certificate: c}}]",
            "north.yaml:9:43: tls lacks 'key'. Add 'key: clients.key'."
        ),
        (
            "[{address: \"0.0.0.0:1\", tls: {certificate: c, key: k, authority: a}}]",
            "north.yaml:9:68: 'authority' is not known in tls. Known here: certificate, key, client-authority."
        ),
        (
            "[{address: \"0.0.0.0:1\", authentication: [a]}]",
            "north.yaml:9:54: authentication must be a single value, not a list. Write one value after the colon."
        ),
        ("[{address: \"0.0.0.0:1\", allow: []}]", "north.yaml:9:45: allow is empty. Give at least 1."),
        (
            "[{address: \"0.0.0.0:1\", allow: [10.0.0.0/33]}]",
            "north.yaml:9:46: allow must be a network, not '10.0.0.0/33'. Write it like 10.0.0.0/8, 192.168.1.7, \"fd00::/8\" or \"::1\"."
        ),
        (
            "[{address: \"0.0.0.0:1\", allow: [10.1.2.3/8]}]",
            "north.yaml:9:46: allow has 10.1.2.3/8, an address with bits behind the network's length. Write \"10.0.0.0/8\", or the address alone."
        ),
        (
            "[{address: \"0.0.0.0:1\", allow: [office.example.net]}]",
            "north.yaml:9:46: allow must be a network, not 'office.example.net'. Write it like 10.0.0.0/8, 192.168.1.7, \"fd00::/8\" or \"::1\"."
        ),
        (
            "[{address: \"unix:/run/n1\", allow: [10.0.0.0/8]}]",
            "north.yaml:9:48: 'allow' means nothing at a unix socket, which only this machine reaches. Remove it; the socket's folder says who may connect."
        ),
        (
            "[{address: \"unix:/run/n1\", tls: {certificate: c, key: k}}]",
            "north.yaml:9:46: 'tls' means nothing at a unix socket, which only this machine reaches. Remove it; the socket's folder says who may connect."
        ),
        (
            "[{address: \"0.0.0.0:11211\"}, \"0.0.0.0:11211\"]",
            "north.yaml:8:5: proxy n1: the address 0.0.0.0:11211 on this machine is taken on line 8. Give each listener its own port or path."
        ),
    ])
    func `a mistake in a listener is named with place and remedy`(text: String, expected: String) {
        let found = Sample.mistakes(site: Sample.spoiled(Sample.site, Self.plain, "clients: \(text)"))
        #expect(found.contains(expected), "found \(found)")
    }

    @Test func `spoiled listeners never trap`() {
        let pieces = Array("{}[]:,\"'/.0123456789abcdf tlsallowaddress\n-")
        for seed in 0..<FuzzTests.seeds {
            var random = SeededRandom(seed: seed)
            var text = Array("[{address: \"0.0.0.0:1\", tls: {certificate: c, key: k}, allow: [10.0.0.0/8, \"::/0\"]}]")
            for _ in 0...random.below(6) { text[random.below(text.count)] = pieces[random.below(pieces.count)] }
            _ = Sample.mistakes(site: Sample.spoiled(Sample.site, Self.plain, "clients: \(String(text))"))
        }
    }
}
