import Configuration
import Ring
import Testing

@Suite struct RingSpellingTests {
    @Test func `names stay as they are for ketama, and have weights`() throws {
        let ring = try RingSpelling("ketama:cache1,10.0.0.2:11212*3")
        #expect(ring.flavour == .ketama)
        #expect(ring.servers == [RingServer(name: "cache1", weight: 1), RingServer(name: "10.0.0.2:11212", weight: 3)])
    }

    @Test(arguments: [RingFlavour.magentKetama, .magentModulo])
    func `magent's names get the port that magent gives them`(flavour: RingFlavour) throws {
        let ring = try RingSpelling("\(flavour.rawValue):10.0.0.2,10.0.0.1:11212,[fd00::1]")
        #expect(ring.flavour == flavour)
        #expect(ring.servers.map(\.name) == ["10.0.0.2:11211", "10.0.0.1:11212", "[fd00::1]:11211"])
    }

    @Test func `a path is not a ring`() {
        for path in ["north.yaml", "/etc/meridian/north.yaml", "ketama", "C:/north.yaml", "./ketama:x"] {
            #expect(!RingSpelling.begins(path), "\(path)")
        }
        for ring in ["ketama:a", "magent-ketama:", "kettama:a", "magent_modulo:a,b"] { #expect(RingSpelling.begins(ring)) }
    }

    @Test func `libmemcached's other name for a server on memcached's port is pointed out`() throws {
        #expect(
            try RingSpelling("ketama:10.0.0.1:11211").caution
                == "10.0.0.1:11211 is hashed as it stands; libmemcached and twemproxy hash a server on port 11211 by its host alone: 10.0.0.1"
        )
        #expect(try RingSpelling("ketama:10.0.0.1,10.0.0.2:11212").caution == nil)
        #expect(try RingSpelling("magent-ketama:10.0.0.1:11211").caution == nil)
    }

    @Test(arguments: [
        (
            "kettama:a",
            "kettama:a does not begin with ketama:, magent-ketama:, magent-modulo:. Write it like ketama:cache1,cache2*3 or magent-ketama:10.0.0.1:11211,10.0.0.2:11211."
        ),
        ("ketama:", "'' is not a server's name. Put commas between names of 1 to 255 letters, without spaces."),
        ("ketama:a,,b", "'' is not a server's name. Put commas between names of 1 to 255 letters, without spaces."),
        ("ketama:a, b", "' b' is not a server's name. Put commas between names of 1 to 255 letters, without spaces."),
        ("ketama:a,a", "ketama:a,a names a twice. Give each server its own name."),
        ("magent-ketama:h,h:11211", "magent-ketama:h,h:11211 names h:11211 twice. Give each server its own name."),
        ("ketama:a*0", "'a*0' has no weight behind the '*'. Write a number from 1 to 65535, such as a*2."),
        ("ketama:a*", "'a*' has no weight behind the '*'. Write a number from 1 to 65535, such as a*2."),
        ("ketama:a*65536", "'a*65536' has no weight behind the '*'. Write a number from 1 to 65535, such as a*2."),
        (
            "ketama:a,b*60000",
            "server a: weight 1 is so small beside the others that it would get no key. Raise it, or remove the server."
        ),
        ("magent-modulo:a,b*2", "server b:11211: magent-modulo knows no weights. Remove the weight."),
        (
            "magent-ketama:a+b",
            "server a+b: magent-ketama hashes names of the form ip:port. Name it as magent knew it, such as 10.0.0.1:11211; where it is at a site is that site's business."
        ),
    ])
    func `a mistake is told with a remedy`(text: String, expected: String) {
        #expect(throws: RingSpelling.Mistake(description: expected)) { try RingSpelling(text) }
    }
}
