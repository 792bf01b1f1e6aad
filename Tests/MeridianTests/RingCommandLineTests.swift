import ArgumentParser
import Testing

@testable import meridian

// What people type, up to where the work begins.
@Suite struct RingCommandLineTests {
    private func parse(_ words: String...) throws -> any ParsableCommand { try Meridian.parseAsRoot(words) }

    @Test func `keys are looked up with and without the word`() throws {
        for words in [["ring", "user:1", "k2"], ["ring", "where", "user:1", "k2"]] {
            let command = try #require(try Meridian.parseAsRoot(words + ["--config", "n.yaml", "s.yaml"]) as? RingWhereCommand)
            #expect(command.keys == ["user:1", "k2"])
            #expect(command.config == ["n.yaml", "s.yaml"])
        }
        let diff = try #require(try parse("ring", "where", "diff", "--config", "n.yaml") as? RingWhereCommand)
        #expect(diff.keys == ["diff"])
    }

    @Test func `two rings are compared`() throws {
        let command = try #require(try parse("ring", "diff", "north.yaml", "ketama:a,b*2", "--keys", "10") as? RingDiffCommand)
        #expect(command.first == "north.yaml" && command.second == "ketama:a,b*2" && command.keys == 10)
    }

    @Test func `a hash that nobody knows is no file that cannot be read`() {
        #expect {
            try Meridian.parseAsRoot(["ring", "diff", "foo:a,b", "ketama:a"])
        } throws: {
            Meridian.fullMessage(for: $0).contains("foo:a,b does not begin with ketama:")
        }
    }

    @Test func `a monitor is told which file cannot be read`() throws {
        let command = try #require(try parse("lag", "--config", "/nowhere/n.yaml", "--warn", "1s") as? LagCommand)
        #expect {
            _ = try command.targets.readEndpoints()
        } throws: {
            ($0 as? UnreadableSite)?.description.contains("/nowhere/n.yaml cannot be read") == true
        }
    }

    @Test(arguments: [
        ["a.yaml"], ["ketama:a", "ketama:a,a"], ["ketama:a", "b.yaml", "--keys", "0"],
        ["ketama:a", "b.yaml", "--keys", "5", "--keys-file", "f"], ["ketama:a", "kettama:a"], ["foo:a,b", "ketama:a"],
    ])
    func `what is wrong with the line is wrong usage`(words: [String]) {
        #expect {
            try Meridian.parseAsRoot(["ring", "diff"] + words)
        } throws: {
            Meridian.exitCode(for: $0).rawValue == 64
        }
    }
}
