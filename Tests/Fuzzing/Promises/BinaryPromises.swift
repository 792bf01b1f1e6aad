// The binary protocol: what clients send, and the packets that are made of text replies.

import Kernel
import Memcache

extension Promise {
    package static let binaryRequests = Promise(
        "binary-requests", "a client's packets: each becomes one text command, however they are cut", bytesMax: 4_096,
        seeds: BinaryPackets.conversations
    ) { bytes in
        let whole = BinaryOutcome.all(in: bytes, arriving: [bytes.count])
        for way in Arrivals.ways(bytes) {
            let apart = BinaryOutcome.all(in: bytes, arriving: way, apartBytesMin: 4)
            precondition(apart == whole, "the outcome depends on where a value stays")
            precondition(BinaryOutcome.all(in: bytes, arriving: way) == whole, "the outcome depends on how the bytes arrive")
        }
    }

    package static let binaryReplies = Promise(
        "binary-replies", "any text as the reply to any opcode, the first byte: whole packets that name it, and no others",
        bytesMax: 2_048,
        seeds: [
            "\u{0}VA 3 f5 c9\r\nabc\r\n", "\u{0c}EN\r\n", "\u{01}HD c77\r\n", "\u{01}NS c0\r\n", "\u{05}VA 2 c9\r\n42\r\n",
            "\u{10}STAT pid 3\r\nSTAT x \r\nEND\r\n", "\u{0b}VERSION 1.6.18\r\n", "\u{0a}MN\r\n",
            "\u{01}SERVER_ERROR cache1 is unreachable\r\n",
            "\u{05}CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        ].map { Array($0.utf8) },
        words: ["VA ", "HD", "EN", "NS", "NF", "EX", "MN", "STAT ", "END\r\n", "\r\n", " c1", " f0", "SERVER_ERROR ", "VERSION "]
    ) { bytes in
        guard let opcode = bytes.first else { return }
        let text = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        let queue = ByteQueue()
        BinaryReply.encode(text, for: BinaryPackets.exchange(opcode: opcode), into: queue)
        checkPackets(queue.readable, opcode: opcode)
        // What is sent grows with what was answered: one header for each line at most, and the words of one refusal.
        precondition(
            queue.count <= 24 * (text.count / 7 + 2) + text.count + 300, "\(queue.count) bytes of packets for \(text.count)")
    }

    private static func checkPackets(_ bytes: UnsafeRawBufferPointer, opcode: UInt8) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let packet = UnsafeRawBufferPointer(rebasing: rest)
            precondition(packet.count >= 24 && packet[0] == 0x81 && packet[1] == opcode, "no reply to opcode \(opcode)")
            let key = Int(UInt16(bigEndian: packet.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
            let body = Int(UInt32(bigEndian: packet.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
            precondition(body <= packet.count - 24, "a packet is longer than what was encoded")
            precondition(key + Int(packet[4]) <= body, "key and extras are longer than the body")
            rest = rest.dropFirst(24 + body)
        }
    }
}

extension BinaryPackets {
    /// What clients send every day, and some of what they should not.
    static let conversations: [[UInt8]] = {
        let flagsAndTime: [UInt8] = [0, 0, 0, 5, 0, 0, 0, 60]
        let counter = [UInt8](repeating: 0, count: 7) + [1] + [UInt8](repeating: 0, count: 12)
        let stored = request(0x01, key: "k", extras: flagsAndTime, value: "hello") + request(0x0c, key: "k")
        let quiet =
            request(0x11, key: "k", extras: flagsAndTime, value: "v", cas: 7) + request(0x0d, key: "a b") + request(0x0a)
        let counted = request(0x05, key: "n", extras: counter) + request(0x06, key: "n", extras: counter, cas: 9)
        let others =
            request(0x1c, key: "k", extras: [0, 0, 0, 9]) + request(0x04, key: "k") + request(0x0e, key: "k", value: "x")
            + request(0x10, key: "settings") + request(0x08, extras: [0, 0, 0, 1]) + request(0x0b) + request(0x07)
        let strange = [
            request(0x01, key: "k", extras: flagsAndTime, bodyBytes: 20_000), request(0x20),
            request(0x21, key: "PLAIN", value: "u"),
            request(0x00, key: "k", keyBytes: 300), request(0x00, key: "k", extrasBytes: 4), request(0x77, key: "k"),
        ]
        return [stored, quiet, counted, others] + strange
    }()
}
