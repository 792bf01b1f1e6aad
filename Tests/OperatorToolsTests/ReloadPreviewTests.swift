import Configuration
import OperatorTools
import Testing

/// What SIGHUP would do, told before it is sent.
@Suite struct ReloadPreviewTests {
    private func preview(_ change: (inout Site) -> Void) -> ReloadPreview {
        var site = Sample.site
        change(&site)
        return ReloadPreview(running: (Sample.federation, Sample.site), written: (Sample.federation, site))
    }

    @Test func `what changes is listed below each proxy that would take it`() {
        let same = preview { _ in }
        #expect(same.isTaken && same.lines.allSatisfy { $0.hasSuffix("would change nothing at SIGHUP") })
        let preview = preview { $0.flush = .deny }
        #expect(preview.isTaken)
        #expect(preview.lines.prefix(2) == ["n1 would take all of it at SIGHUP:", "  flush from=local to=deny"])
    }

    @Test func `one setting that takes a restart holds up the others, and is told with its remedy`() {
        let preview = preview {
            $0.flush = .deny
            $0.durability = .disk
        }
        #expect(!preview.isTaken)
        #expect(
            preview.lines.prefix(4) == [
                "n1 would refuse all of it at SIGHUP: this cannot change while it runs",
                "  durability from=memory to=disk. Restart all proxies of the site, one after the other",
                "  and this could, by itself", "  flush from=local to=deny",
            ])
    }
}
