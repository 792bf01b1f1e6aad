import Testing
import WriteLog

@testable import Configuration

/// Limits of the log that the files' readers repeat, since `Configuration` does not know the log.
@Suite struct SharedLimitsTests {
    @Test("A server's name is never longer than the key of the record that tells of it")
    func serverNames() {
        #expect(MagentFlags.serverBytesMax == LogFormat.keyBytesMax)
    }

    @Test("A site file may ask for any segment that the log can make, and for no larger one")
    func segments() {
        #expect(SiteFile.segmentBytes.upperBound == LogFormat.segmentBytesMax)
        #expect(SiteFile.segmentBytes.lowerBound >= LogFormat.segmentBytesMin)
    }
}
