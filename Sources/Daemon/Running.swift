// What a proxy runs on: its files as they were read last. A value that every loop has for itself; SIGHUP gives all of them another
// one, each between two turns.

import Configuration

/// A proxy's configuration, with what its listeners need from the disk.
struct Running: Sendable {
    private(set) var federation: Federation
    private(set) var site: Site
    /// The proxy's own part of the site file.
    private(set) var proxy: SiteProxy
    /// Every listener that there is or was, by its number: clients of one that is gone may still be here. A listener is known by its
    /// address, and keeps its number for as long as it is open.
    private(set) var listeners: [Int: ClientListener]
    /// The numbers of those that are open, in the order of the file.
    private(set) var open: [Int]
    /// Their certificates, names and passwords.
    var doors: ClientDoors

    /// What a proxy starts with: a listener's number is its place in the file.
    init(federation: Federation, site: Site, proxy: SiteProxy, doors: ClientDoors) {
        self.federation = federation
        self.site = site
        self.proxy = proxy
        self.doors = doors
        listeners = Dictionary(uniqueKeysWithValues: proxy.clients.enumerated().map { ($0.offset, $0.element) })
        open = Array(proxy.clients.indices)
    }

    /// The same with another reading of the files. The doors are still the old ones.
    func taking(federation: Federation, site: Site, proxy: SiteProxy) -> Running {
        var next = self
        next.federation = federation
        next.site = site
        next.proxy = proxy
        next.open = []
        let numbers = Dictionary(uniqueKeysWithValues: openListeners.map { ($0.value.address, $0.key) })
        var fresh = (listeners.keys.max() ?? -1) + 1
        for listener in proxy.clients {
            let number = numbers[listener.address] ?? fresh
            if number == fresh { fresh += 1 }
            next.open.append(number)
            next.listeners[number] = listener
        }
        return next
    }

    /// The listeners that are open, by number.
    var openListeners: [Int: ClientListener] { listeners.filter { open.contains($0.key) } }

    /// The numbers of those that are open there and not here.
    func added(in next: Running) -> [Int] { next.open.filter { !open.contains($0) } }
}
