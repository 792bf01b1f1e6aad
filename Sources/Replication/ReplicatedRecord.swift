import Kernel
import WriteLog

/// A record on its way between lanes: the outcome of a write, with everything a site needs to apply it.
public struct ReplicatedRecord: Sendable, Equatable {
    /// Value, tombstone or touch.
    public var content: Content
    /// Which history wins.
    public var version: Version
    /// Where it stands in its origin's lane; zero where that does not matter.
    public var position: Position
    /// The client's flags of a value.
    public var clientFlags: UInt32
    /// Absolute expiry in microseconds of wall time; 0 never.
    public var expiry: UInt64
    /// The key's bytes.
    public var key: [UInt8]
    /// The value's bytes; empty for tombstones and touches.
    public var value: [UInt8]

    /// Makes a record of its parts.
    public init(
        content: Content, version: Version, position: Position, clientFlags: UInt32, expiry: UInt64, key: [UInt8], value: [UInt8]
    ) {
        self.content = content
        self.version = version
        self.position = position
        self.clientFlags = clientFlags
        self.expiry = expiry
        self.key = key
        self.value = value
    }

    /// Bytes that it takes in a window, its head included.
    public var windowBytes: Int { Self.windowBytes(keyBytes: key.count, valueBytes: value.count) }

    /// Bytes that a record takes in a window, its head included.
    public static func windowBytes(keyBytes: Int, valueBytes: Int) -> Int { 64 + keyBytes + valueBytes }
}

/// What one lane tells another of a key: the tops that it knows, and whose log holds the value.
public struct KeyTops: Sendable, Equatable {
    /// The key's bytes.
    public var key: [UInt8]
    /// Top of values and tombstones; zero when unknown.
    public var version: Version
    /// What that top is; `none` when unknown.
    public var content: Content
    /// Highest touch; zero when none is known.
    public var touch: Version
    /// That touch's absolute expiry.
    public var touchExpiry: UInt64
    /// The lane whose log holds the value.
    public var holder: LaneID

    /// Makes tops of their parts.
    public init(key: [UInt8], version: Version, content: Content, touch: Version, touchExpiry: UInt64, holder: LaneID) {
        self.key = key
        self.version = version
        self.content = content
        self.touch = touch
        self.touchExpiry = touchExpiry
        self.holder = holder
    }
}
