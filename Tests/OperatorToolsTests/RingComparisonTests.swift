import Configuration
import OperatorTools
import Ring
import Testing

@Suite struct RingComparisonTests {
    private func side(_ spelling: String) throws -> RingSide { RingSide(label: spelling, spelling: try RingSpelling(spelling)) }

    private func compared(_ a: RingSide, _ b: RingSide, keys: Int = 20_000) -> RingComparison {
        var comparison = RingComparison(a, b)
        for key in SampledKeys(count: keys) { comparison.add(key) }
        return comparison
    }

    private func compared(_ a: String, _ b: String) throws -> RingComparison.Report {
        compared(try side(a), try side(b)).report
    }

    @Test(arguments: ["ketama:", "magent-ketama:"])
    func `the order of the list moves nothing on a ketama ring`(flavour: String) throws {
        let report = try compared("\(flavour)c1,c2,c3", "\(flavour)c3,c1,c2")
        #expect(report.moved == 0)
        #expect(report.moves.isEmpty)
        #expect(report.servers.reduce(0) { $0 + $1.stay } == 20_000)
    }

    @Test func `the order of the list moves keys under the modulo rule`() throws {
        let report = try compared("magent-modulo:c1,c2", "magent-modulo:c2,c1")
        #expect(report.moved == 20_000)
        #expect(report.servers.map(\.stay) == [0, 0])
    }

    @Test func `a new server takes keys, and each is counted once`() throws {
        let report = try compared("ketama:c1,c2", "ketama:c1,c2,c3")
        let new = try #require(report.servers.last)
        #expect(new.server == "c3")
        #expect(new.keysInA == 0)
        #expect(new.keysInB > 4_000 && new.keysInB < 9_000)
        #expect(report.servers.reduce(0) { $0 + $1.keysInA } == report.keys)
        #expect(report.servers.reduce(0) { $0 + $1.keysInB } == report.keys)
        #expect(report.servers.reduce(0) { $0 + $1.stay } == report.keys - report.moved)
        #expect(report.moves.reduce(0) { $0 + $1.keys } == report.moved)
        #expect(report.moves.map(\.keys) == report.moves.map(\.keys).sorted(by: >))
    }

    @Test func `magent's ring beside libmemcached's: the servers are the same, most keys are not where they were`() throws {
        let report = try compared("magent-ketama:10.0.0.1,10.0.0.2:11212", "ketama:10.0.0.1,10.0.0.2:11212")
        #expect(report.comparedBy == "address")
        #expect(report.servers.map(\.server) == ["10.0.0.1:11211 = 10.0.0.1", "10.0.0.2:11212"])
        #expect(report.moved > 8_000 && report.moved < 12_000)
    }

    @Test func `a site's servers are known by their addresses to a ring of addresses`() throws {
        let site = RingSide(label: "north.yaml", federation: Sample.federation, site: Sample.site)
        let report = compared(site, try side("ketama:10.0.0.1,10.0.0.2")).report
        #expect(report.servers.map(\.server) == ["cache1 = 10.0.0.1", "cache2 = 10.0.0.2"])
        #expect(report.comparedBy == "address")
    }

    @Test func `two sites hold one ring at different addresses: nothing moves`() {
        var south = Sample.site
        south.name = "south"
        for index in south.primaries.indices { south.primaries[index].address.host = "10.9.0.\(index)" }
        let report = compared(
            RingSide(label: "north.yaml", federation: Sample.federation, site: Sample.site),
            RingSide(label: "south.yaml", federation: Sample.federation, site: south)
        ).report
        #expect(report.comparedBy == "name")
        #expect(report.moved == 0)
    }

    @Test func `a server of one site that changed its address is another memcached, whatever its name`() {
        var new = Sample.site
        new.primaries[0].address.host = "10.0.0.7"
        let report = compared(
            RingSide(label: "old.yaml", federation: Sample.federation, site: Sample.site),
            RingSide(label: "new.yaml", federation: Sample.federation, site: new)
        ).report
        #expect(report.comparedBy == "address")
        #expect(report.servers.map(\.server) == ["cache1", "cache2", "cache1 (at 10.0.0.7:11211)"])
        #expect(report.moves.count == 1)
        #expect(report.moved == report.servers[0].keysInA)
    }

    @Test func `a site file and its shared file are one ring, by name`() {
        let report = compared(
            RingSide(label: "north.yaml", federation: Sample.federation, site: Sample.site),
            RingSide(label: "federation.yaml", federation: Sample.federation)
        ).report
        #expect(report.comparedBy == "name")
        #expect(report.moved == 0)
    }

    @Test func `what people read`() throws {
        let comparison = compared(try side("ketama:c1,c2"), try side("ketama:c1,c2,c3"), keys: 1_000)
        #expect(
            comparison.lines(source: "sampled") == [
                "A: ketama, 2 servers, ketama:c1,c2",
                "B: ketama, 3 servers, ketama:c1,c2,c3",
                "1,000 sampled keys; servers are told apart by name.",
                "",
                "33.5 % of the keys move: 335.",
                "",
                "SERVER    IN A    IN B    STAY   LEAVE  ARRIVE",
                "c1      54.9 %  38.5 %  38.5 %  16.4 %     0 %",
                "c2      45.1 %  28.0 %  28.0 %  17.1 %     0 %",
                "c3         0 %  33.5 %     0 %     0 %  33.5 %",
                "",
                "FROM  TO  KEYS   SHARE",
                "c2    c3   171  17.1 %",
                "c1    c3   164  16.4 %",
            ])
    }

    @Test func `nothing moves, said in words`() throws {
        let lines = compared(try side("ketama:c1"), try side("ketama:c1"), keys: 1).lines(source: "own")
        #expect(lines[2] == "1 own key; servers are told apart by name.")
        #expect(
            lines[4...] == [
                "No key moves.", "", "SERVER     IN A     IN B     STAY  LEAVE  ARRIVE",
                "c1      100.0 %  100.0 %  100.0 %    0 %     0 %",
            ])
    }

    @Test func `a long list of pairs is cut, and the rest is counted`() throws {
        let many = (1...9).map { "c\($0)" }.joined(separator: ",")
        let comparison = compared(try side("magent-modulo:\(many)"), try side("magent-ketama:\(many)"))
        let last = try #require(comparison.lines(source: "sampled").last)
        #expect(last.hasSuffix("keys between 32 more pairs"), "\(last)")
    }
}

@Suite struct KeySourceTests {
    @Test func `the sampled keys are the same in every run`() {
        let keys = Array(SampledKeys(count: 9)).map { String(decoding: $0, as: UTF8.self) }
        #expect(keys.count == 9)
        #expect(keys[..<3] == ["user:1", "product/2wircf5hfn887/price", "memc.sess.key.3s3353x14slsu1q9yr651a5ogb"])
        #expect(Set(SampledKeys(count: 30_000)).count == 30_000)
    }

    @Test func `keys of a file are its lines, of any bytes`() {
        var lines = KeyLines(Array("a\r\n\nb c".utf8))
        #expect(lines.next() == Array("a".utf8))
        #expect(lines.next() == nil)
        #expect(lines.complaint == "line 3 is not a key: it has 3 bytes, or spaces; put one key on each line")
        var bytes = KeyLines([0xff, 0xc3, 10] + Array("end".utf8))
        #expect(bytes.next() == [0xff, 0xc3])
        #expect(bytes.next() == Array("end".utf8))
        #expect(bytes.next() == nil && bytes.complaint == nil)
        var long = KeyLines([UInt8](repeating: 97, count: 251))
        #expect(long.next() == nil && long.complaint?.contains("251 bytes") == true)
    }
}
