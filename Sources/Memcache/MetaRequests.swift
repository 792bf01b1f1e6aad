// The rules of the meta commands (memcached's doc/protocol.txt, "Meta Commands"), with 1.6.18's errors.

extension RequestParser {
    private static var badFormat: StaticString { "CLIENT_ERROR bad command line format\r\n" }
    private static var badToken: StaticString { "CLIENT_ERROR bad token in command line format\r\n" }

    /// Reads the flag tokens from index `start` on into the request; an error in memcached's words if one is wrong.
    ///
    /// An unknown or repeated flag ends the reading; other mistakes are remembered, and the last one is reported.
    private func readFlags(_ request: inout Request, from start: Int, _ line: CommandLine, _ bytes: UnsafeRawBufferPointer)
        -> StaticString?
    {
        var mistake: StaticString?
        request.meta.tokens = line.tail(from: start)
        for index in start..<max(line.count, start) {
            let token = line[index].of(bytes)
            let letter = token[0]
            if letter >= 127 { return "CLIENT_ERROR duplicate flag\r\n" }
            if letter >= 64 {
                let bit = UInt64(1) << (UInt64(letter) & 63)
                if request.meta.letters & bit != 0 { return "CLIENT_ERROR duplicate flag\r\n" }
                request.meta.letters |= bit
            }
            let argument = UnsafeRawBufferPointer(rebasing: token[1...])
            switch letter {
            case UInt8(ascii: "b"):
                request.base64Key = true
                if !Self.decodes(request.key.of(bytes)) { mistake = "CLIENT_ERROR error decoding key\r\n" }
            case UInt8(ascii: "T"), UInt8(ascii: "N"), UInt8(ascii: "R"):
                guard let exptime = Numbers.signed32(argument, &request.isPlain) else {
                    mistake = Self.badToken
                    continue
                }
                switch letter {
                case UInt8(ascii: "T"): request.exptimeSeconds = exptime
                case UInt8(ascii: "N"): request.meta.vivifySeconds = exptime
                default: request.meta.recacheSeconds = exptime
                }
            case UInt8(ascii: "F"):
                guard let flags = Numbers.unsigned32(argument, &request.isPlain) else {
                    mistake = mistake ?? Self.badFormat
                    continue
                }
                request.flags = flags
            case UInt8(ascii: "C"):
                guard let cas = Numbers.unsigned64(argument, &request.isPlain) else {
                    mistake = Self.badToken
                    continue
                }
                request.cas = cas
            case UInt8(ascii: "M"):
                if token.count == 2 {
                    request.meta.mode = token[1]
                } else {
                    mistake = "CLIENT_ERROR incorrect length for M token\r\n"
                }
            case UInt8(ascii: "J"):
                guard let initial = Numbers.unsigned64(argument, &request.isPlain) else {
                    mistake = "CLIENT_ERROR invalid numeric initial value\r\n"
                    continue
                }
                request.meta.initial = initial
            case UInt8(ascii: "D"):
                guard let delta = Numbers.unsigned64(argument, &request.isPlain) else {
                    mistake = "CLIENT_ERROR invalid numeric delta value\r\n"
                    continue
                }
                request.delta = delta
            case UInt8(ascii: "O"):
                request.meta.opaque = line[index].span
            case UInt8(ascii: "q"):
                request.noreply = true
            case UInt8(ascii: "I"), UInt8(ascii: "L"), UInt8(ascii: "P"), UInt8(ascii: "c"), UInt8(ascii: "f"), UInt8(ascii: "h"),
                UInt8(ascii: "k"), UInt8(ascii: "l"), UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "u"), UInt8(ascii: "v"):
                break
            default:
                return "CLIENT_ERROR invalid flag\r\n"
            }
        }
        return mistake
    }

    private static func decodes(_ text: UnsafeRawBufferPointer) -> Bool { decodedCount(text) > 0 }

    /// The length of a base64 key when decoded, 0 when it cannot be.
    private static func decodedCount(_ text: UnsafeRawBufferPointer) -> Int {
        withUnsafeTemporaryAllocation(byteCount: max(text.count, 1), alignment: 1) { Base64.decode(text, into: $0) ?? 0 }
    }

    private static var opaqueTooLong: StaticString { "CLIENT_ERROR opaque token too long\r\n" }

    /// `mg k flag…`
    func metaGet(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count < 2 { return Self.error(line) }
        if line[1].count > MemcacheLimits.keyBytesMax { return Self.refuse(Self.badFormat, line) }
        if line.count > MemcacheLimits.metaTokensMax { return Self.refuse("CLIENT_ERROR options flags are too long\r\n", line) }
        var request = Self.request(.mg, line)
        if let mistake = readFlags(&request, from: 2, line, bytes) { return Self.refuse(mistake, line) }
        if request.meta.opaque.count > MemcacheLimits.opaqueBytesMax { return Self.refuse(Self.opaqueTooLong, line) }
        return .request(request)
    }

    private static func request(_ verb: Verb, _ line: CommandLine) -> Request {
        var request = Request(verb: verb, lineBytes: line.bytes)
        request.isPlain = line.isPlain
        request.key = line[1].span
        request.keysNamed = 1
        return request
    }

    /// `md k flag…`, `ma k flag…`
    func metaChange(_ verb: Verb, _ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count < 2 { return Self.error(line) }
        if line[1].count > MemcacheLimits.keyBytesMax { return Self.refuse(Self.badFormat, line) }
        if line.count > MemcacheLimits.metaTokensMax { return Self.refuse("CLIENT_ERROR options flags too long\r\n", line) }
        var request = Self.request(verb, line)
        request.delta = 1
        // Whatever was wrong, these two have one sentence for it.
        if readFlags(&request, from: 2, line, bytes) != nil {
            return Self.refuse("CLIENT_ERROR invalid or duplicate flag\r\n", line)
        }
        if verb == .ma {
            switch request.meta.mode {
            case 0, UInt8(ascii: "I"), UInt8(ascii: "+"), UInt8(ascii: "D"), UInt8(ascii: "-"): break
            default: return Self.refuse("CLIENT_ERROR invalid mode for ma M token\r\n", line)
            }
        }
        if request.meta.opaque.count > MemcacheLimits.opaqueBytesMax { return Self.refuse(Self.opaqueTooLong, line) }
        return .request(request)
    }

    /// `ms k bytes flag…`
    func metaSet(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count < 2 { return Self.error(line) }
        if line[1].count > MemcacheLimits.keyBytesMax {
            var ignored = true
            let length = line.count > 2 ? Numbers.signed32(line[2].of(bytes), &ignored) : nil
            return Self.refuse(Self.badFormat, line, swallow: refusedBlock == .swallowed ? Self.blockBytes(length) : 0)
        }
        if line.count == 2 { return Self.refuse(Self.badFormat, line) }
        if line.count > MemcacheLimits.metaTokensMax { return Self.refuse("CLIENT_ERROR options flags too long\r\n", line) }
        var request = Self.request(.ms, line)
        let block = Self.blockBytes(Numbers.signed32(line[2].of(bytes), &request.isPlain))
        if block == 0 { return Self.refuse(Self.badFormat, line) }
        if let mistake = readFlags(&request, from: 3, line, bytes) { return Self.refuse(mistake, line, swallow: block) }
        switch request.meta.mode {
        case 0, UInt8(ascii: "E"), UInt8(ascii: "A"), UInt8(ascii: "P"), UInt8(ascii: "R"), UInt8(ascii: "S"): break
        default: return Self.refuse("CLIENT_ERROR invalid mode for ms M token\r\n", line, swallow: block)
        }
        if request.meta.opaque.count > MemcacheLimits.opaqueBytesMax {
            return Self.refuse(Self.opaqueTooLong, line, swallow: block)
        }
        let keyBytes = request.base64Key ? Self.decodedCount(request.key.of(bytes)) : request.key.count
        if KeyRules.itemBytes(keyBytes: keyBytes, flags: request.flags, valueBytes: block - 2) > itemBytesMax {
            return .refusedStore(
                request, reply: "SERVER_ERROR object too large for cache\r\n", consume: line.bytes, swallow: block)
        }
        request.value = Span(start: line.bytes, count: block - 2)
        request.bytes = line.bytes + block
        return .request(request)
    }

    /// `me k [b]`
    func metaDebug(_ line: CommandLine, _ bytes: UnsafeRawBufferPointer) -> ParseOutcome {
        if line.count < 2 || line[1].count > MemcacheLimits.keyBytesMax { return Self.refuse(Self.badFormat, line) }
        var request = Self.request(.me, line)
        if line.count >= 3, Word.of(line[2], in: bytes) == Word.b {
            request.base64Key = true
            if !Self.decodes(request.key.of(bytes)) { return Self.refuse(Self.badFormat, line) }
        }
        return .request(request)
    }
}
