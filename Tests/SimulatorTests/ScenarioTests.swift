import Simulator
import Testing

// The histories of `federation.md` section 14, each as a test of its own.

@Suite struct ScenarioTests {
    private func hold(_ number: Int) {
        guard let scenario = Scenario.all.first(where: { $0.number == number }) else {
            Issue.record("there is no scenario \(number)")
            return
        }
        let outcome = scenario.run(told: true)
        guard let violation = outcome.violation else { return }
        Issue.record("\(scenario.title): \(violation)\n\(outcome.story.tail(40).joined(separator: "\n"))")
    }

    @Test func scenario01TwoProxiesWriteOneKey() { hold(1) }
    @Test func scenario02DeleteRacesSetThroughAnotherProxy() { hold(2) }
    @Test func scenario03BackendConnectionDiesAfterIncrement() { hold(3) }
    @Test func scenario04ProxyRestartsWhileOldRecordIsOnItsWay() { hold(4) }
    @Test func scenario05AcknowledgementIsLostAndTheRecordSentAgain() { hold(5) }
    @Test func scenario06TouchOvertakesSetOnAnotherStream() { hold(6) }
    @Test func scenario07ClocksAreApartAndJump() { hold(7) }
    @Test func scenario08LogoutOfAnEvictedSession() { hold(8) }
    @Test func scenario09CutOffPrimaryReturnsWithTheSession() { hold(9) }
    @Test func scenario10PrimaryRestartsEmpty() { hold(10) }
    @Test func scenario11WriteToTheBackupIsLost() { hold(11) }
    @Test func scenario12StreamIsCutForAnHour() { hold(12) }
    @Test func scenario13RecordIsTooLargeForTheOtherSite() { hold(13) }
    @Test func scenario14OwnerIsStoppedForTenSeconds() { hold(14) }
    @Test func scenario15DiskIsFullSlowOrFails() { hold(15) }
    @Test func scenario16OwnerLeaves() { hold(16) }
}
