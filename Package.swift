// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 language mode (the tools version's default), warnings are errors.
let house: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    // Exclusive access to stored properties is checked at run time in debug builds, with which all unit tests run; in release
    // builds the checks would cost a third of the CPU for each request (`Docs/performance.md`).
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

/// A room of the pure core or a shell (`Docs/architecture.md`); its dependencies are its walls.
func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: house)
}

/// The tests of one room; `data` names files that tests read but do not compile.
func tests(_ name: String, _ dependencies: [Target.Dependency], data: [String] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies, path: "Tests/\(name)Tests", exclude: data, swiftSettings: house)
}

let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

let package = Package(
    name: "meridian",
    products: [
        .executable(name: "meridiand", targets: ["meridiand"]),
        .executable(name: "meridian", targets: ["meridian"]),
        .executable(name: "meridian-sim", targets: ["meridian-sim"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // The pure rooms: no socket, file, clock, thread or random source of their own.
        .systemLibrary(name: "CMachine"),
        room("Kernel", ["CMachine"]),
        room("Memcache", ["Kernel"]),
        room("Ring", ["Kernel"]),
        room("Status"),
        room("WriteLog", ["Kernel"]),
        room("Replication", ["Kernel", "WriteLog"]),
        room("Configuration", ["Kernel", "Ring", yams]),
        room("Proxy", ["Kernel", "Memcache", "Ring", "WriteLog", "Replication", "Configuration", "Status", deque]),
        // The shells: they obey and report.
        .systemLibrary(name: "CEvent", pkgConfig: "libevent", providers: [.apt(["libevent-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        room("EventLoop", ["Kernel", "CEvent"]),
        room("TLS", ["Kernel", "COpenSSL"]),
        room("Disk", ["Kernel", "WriteLog"]),
        room(
            "Daemon",
            ["Kernel", "Memcache", "WriteLog", "Proxy", "Configuration", "Status", "EventLoop", "TLS", "Disk", logging]),
        // Reads a site's files for the executables.
        room("SiteLoader", ["Configuration"]),
        // What the command line asks proxies and how it shows the answers.
        room("OperatorTools", ["Kernel", "Configuration", "Ring", "Status"]),
        // The simulator: the same core, never a shell.
        room("Simulator", ["Kernel", "Memcache", "Ring", "WriteLog", "Replication", "Configuration", "Proxy", "Status"]),
        .executableTarget(
            name: "meridiand", dependencies: ["Daemon", "Configuration", "SiteLoader", "Status", logging, arguments],
            swiftSettings: house),
        .executableTarget(
            name: "meridian",
            dependencies: [
                "Daemon", "EventLoop", "OperatorTools", "SiteLoader", "Configuration", "Status", logging, arguments,
            ],
            swiftSettings: house),
        .executableTarget(name: "meridian-sim", dependencies: ["Simulator", arguments], swiftSettings: house),
        // The benchmarks' load generator: a tool of the tests, not a product.
        .executableTarget(
            name: "meridian-load", dependencies: ["EventLoop", "Kernel", arguments], path: "Tests/Benchmarks/meridian-load",
            swiftSettings: house),
        // What is promised of every parser: for the unit tests, and for the fuzzer (Tests/Fuzzing/run).
        .target(
            name: "Fuzzing",
            dependencies: [
                "Kernel", "Memcache", "Ring", "Status", "WriteLog", "Replication", "Configuration", "EventLoop", "TLS", "Daemon",
                "OperatorTools",
            ], path: "Tests/Fuzzing/Promises", swiftSettings: house),
        tests("Architecture", []),
        tests("Kernel", ["Kernel"]),
        tests("Memcache", ["Memcache", "Kernel", "Fuzzing"]),
        tests("Ring", ["Ring", "Kernel"], data: ["Vectors"]),
        tests("WriteLog", ["WriteLog", "Kernel", "Fuzzing"]),
        tests("Replication", ["Replication", "WriteLog", "Kernel", "Fuzzing"]),
        tests("Configuration", ["Configuration", "Ring", "Kernel"]),
        tests("SiteLoader", ["SiteLoader", "Configuration"]),
        tests("OperatorTools", ["OperatorTools", "Kernel", "Configuration", "Ring", "Status"]),
        tests("Proxy", ["Proxy", "Kernel", "Memcache", "WriteLog", "Replication", "Configuration", "Ring"]),
        tests("Simulator", ["Simulator", "Kernel", "Memcache", "Proxy"]),
        tests("Disk", ["Disk", "WriteLog", "Kernel"]),
        tests("TLS", ["TLS", "Kernel"]),
        tests("EventLoop", ["EventLoop", "Kernel"]),
        tests("Daemon", ["Daemon", "Proxy", "Configuration", "Ring", "Disk", "EventLoop", "Status", "Kernel"]),
        tests("Meridian", ["meridian", "Configuration"]),
        tests("Fuzzing", ["Fuzzing", "Kernel"]),
    ]
)

// libFuzzer brings the main function, so this program links in a build of Tests/Fuzzing/run alone.
if Context.environment["MERIDIAN_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "meridian-fuzz", dependencies: ["Fuzzing"], path: "Tests/Fuzzing/Fuzzer", swiftSettings: house))
}
