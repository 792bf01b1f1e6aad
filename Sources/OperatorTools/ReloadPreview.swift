// What a proxy would make of a changed site file at SIGHUP, in words, before anybody sends it.

import Configuration

/// What the proxies of a site would do with another reading of their files.
public struct ReloadPreview: Sendable {
    /// One line for each proxy, and one for each setting below it.
    public let lines: [String]
    /// True when every proxy would take everything.
    public let isTaken: Bool

    /// Compares what runs with what was written, for every proxy of the site that runs.
    public init(
        running: (federation: Federation, site: Site), written: (federation: Federation, site: Site)
    ) {
        var lines: [String] = []
        var isTaken = true
        for proxy in running.site.proxies {
            let change = SiteChange(from: running, to: written, proxy: proxy.name)
            if !change.needingRestart.isEmpty {
                isTaken = false
                lines.append("\(proxy.name) would refuse all of it at SIGHUP: this cannot change while it runs")
                lines += change.needingRestart.map { "  \($0). \($0.remedy)" }
                if !change.live.isEmpty { lines.append("  and this could, by itself") }
            } else {
                let what = change.live.isEmpty ? "would change nothing" : "would take all of it"
                lines.append("\(proxy.name) \(what) at SIGHUP\(change.live.isEmpty ? "" : ":")")
            }
            lines += change.live.map { "  \($0)" }
        }
        self.lines = lines
        self.isTaken = isTaken
    }
}
