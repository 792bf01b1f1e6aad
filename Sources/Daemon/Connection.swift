// One connection of a lane as the shell sees it: a socket, perhaps TLS between it and the core's queues, and how far it is.
//
//     resolving ──▶ connecting ──▶ handshaking ──▶ open ──▶ closing ──▶ (released)
//         └──────────────┴───────────────┴───────────┴────▶ lost  ──▶ (released)
//
// Local and backend connections skip the handshake; accepted ones begin at handshaking (peers, and clients that speak TLS) or open.

import Configuration
import EventLoop
import Kernel
import Proxy
import TLS

/// A host that was dialled by name.
final class DialledName {
    let address: HostPort
    /// What the name meant.
    var meaning: IPAddress?
    /// Somebody is looking it up once more.
    var isLookedUp = false

    init(_ address: HostPort) { self.address = address }
}

/// One connection of one lane.
final class Connection {
    enum Phase {
        /// Its host name is being looked up.
        case resolving
        /// The socket is being connected.
        case connecting
        /// TLS is being agreed on.
        case handshaking
        /// Bytes flow.
        case open
        /// The core is done with it; what is queued is still being sent.
        case closing
        /// Broken; the core is about to be told.
        case lost
    }

    enum Purpose {
        /// A memcached client from this address, and the place of the listener where it came in.
        case client(address: String, listener: Int)
        case backend
        /// To a memcached, too, that lists its keys.
        case listing
        /// A lane of another process, dialled: whom its certificate must name, and the lane.
        case dialledPeer(PeerIdentity, lane: UInt8)
        /// A lane of another process that dialled us, from this address.
        case acceptedPeer(address: String)
        /// A lane of this process.
        case local
    }

    let id: ConnectionID
    let purpose: Purpose
    var phase: Phase
    var socket: Socket?
    var tls: Encryption?
    /// Further addresses of the host, should this one fail.
    var addresses: ArraySlice<SocketAddress> = []
    /// Where it goes, for messages.
    var target = ""
    /// The name that it was dialled by, if that is not an address.
    var name: DialledName?
    /// The core does not want to hear from it.
    var isPaused = false
    /// A peer that has yet to show its certificate.
    var isStranger = false
    /// The last write left something over.
    var hasBacklog = false
    /// The client has closed its sending side, and may still be owed replies.
    var isHalfClosed = false
    /// Since when its replies have been kept back for those behind them, in monotonic microseconds (`Patience.swift`).
    var patientSince: UInt64 = 0
    /// When it is given up, in monotonic microseconds; nil when it has all the time in the world.
    var deadline: UInt64?
    /// True while the lane's list of deadlines names it.
    var isTimed = false

    init(_ id: ConnectionID, _ purpose: Purpose, _ phase: Phase) {
        self.id = id
        self.purpose = purpose
        self.phase = phase
    }

    var isClient: Bool { if case .client = purpose { true } else { false } }

    /// A memcached is at its other end.
    var isToMemcached: Bool {
        switch purpose {
        case .backend, .listing: true
        case .client, .dialledPeer, .acceptedPeer, .local: false
        }
    }

    /// The socket should report what can be read.
    var wantsToRead: Bool {
        switch phase {
        case .handshaking: true
        case .open: !isPaused && !isHalfClosed
        case .resolving, .connecting, .closing, .lost: false
        }
    }
}

/// TLS between a socket and the core's queues.
final class Encryption {
    let session: TLSSession
    /// Ciphertext that arrived.
    let incoming = ByteQueue()
    /// Ciphertext on its way out.
    let outgoing = ByteQueue()
    /// The core was told that a record has arrived in part.
    var isHalfway = false

    init(_ session: TLSSession) { self.session = session }

    /// Gives back what is allocated and holds nothing.
    func giveBack() {
        _ = incoming.giveBack()
        _ = outgoing.giveBack()
        session.giveBack()
    }
}
