// What the listeners of clients need besides an address: certificates, and names with passwords. Read from the disk at the start
// and again at SIGHUP, all of it or nothing.

import Configuration
import EventLoop
import Foundation
import Memcache
import TLS

/// A proxy's listeners, ready to judge who comes in.
struct ClientDoors: Sendable {
    /// TLS by the listener's number.
    private(set) var contexts: [Int: ListenerContext] = [:]
    /// Names and passwords by the listener's number.
    private(set) var credentials: [Int: Credentials] = [:]
    /// What the operator should hear about the files, though they will do.
    private(set) var warnings: [String] = []

    /// Why they cannot be made: a file, what is wrong with it, and what to do.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// Reads what the listeners of a proxy that starts name.
    init(_ proxy: SiteProxy) throws(Failure) {
        try self.init(Dictionary(uniqueKeysWithValues: proxy.clients.enumerated().map { ($0.offset, $0.element) }))
    }

    /// Reads what listeners name, by their numbers.
    init(_ listeners: [Int: ClientListener]) throws(Failure) {
        for (number, listener) in listeners.sorted(by: { $0.key < $1.key }) {
            if let tls = listener.tls {
                contexts[number] = try Self.context(tls, listener)
                warnIfOpen(tls.keyPath)
            }
            if let path = listener.authenticationPath {
                credentials[number] = try Self.credentials(path)
                warnIfOpen(path)
                if listener.tls == nil, case .tcp(let address) = listener.address, !address.isLoopback {
                    warnings.append("clients at \(listener) send their passwords in clear; add 'tls' to the listener")
                }
            }
        }
    }

    /// What the operator should hear about the certificates' age.
    func expiryWarnings(_ listeners: [Int: ClientListener], atWallSeconds now: Int64) -> [String] {
        contexts.sorted { $0.key < $1.key }.compactMap { number, context in
            guard let path = listeners[number]?.tls?.certificatePath, let text = context.expiryWarning(atWallSeconds: now)
            else {
                return nil
            }
            return "certificate path=\(path) \(text)"
        }
    }

    private static func context(_ tls: ListenerTLS, _ listener: ClientListener) throws(Failure) -> ListenerContext {
        do throws(TLSError) {
            return try ListenerContext(
                ListenerFiles(
                    certificate: tls.certificatePath, key: tls.keyPath, clientAuthority: tls.clientAuthorityPath))
        } catch {
            throw Failure(description: "listener \(listener): \(error)")
        }
    }

    private static func credentials(_ path: String) throws(Failure) -> Credentials {
        let bytes: Data
        do {
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? file.close() }
            bytes = try file.read(upToCount: DaemonLimits.credentialsFileBytesMax + 1) ?? Data()
        } catch {
            throw Failure(description: "cannot read the users' file \(path); create it, or mend its owner and mode")
        }
        guard bytes.count <= DaemonLimits.credentialsFileBytesMax else {
            throw Failure(description: "the users' file \(path) is longer than \(DaemonLimits.credentialsFileBytesMax) bytes")
        }
        do throws(CredentialsMistake) {
            return try Credentials(file: [UInt8](bytes))
        } catch {
            throw Failure(description: "the users' file \(path): \(error)")
        }
    }

    /// A secret that everybody on the machine can read is used all the same: the machine may be nobody else's.
    private mutating func warnIfOpen(_ path: String) {
        let mode = (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? NSNumber
        guard let mode, mode.intValue & 0o004 != 0 else { return }
        let text = "\(path) can be read by everybody on this machine (mode \(String(mode.intValue, radix: 8))); chmod o-r it"
        if !warnings.contains(text) { warnings.append(text) }
    }
}
