// The operator's command. Each subcommand reads its arguments here and leaves the work to OperatorTools.

import ArgumentParser
import Status

@main
struct Meridian: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meridian",
        abstract: "Look at a federation of replicated memcached sites.",
        discussion: """
            The daemon is meridiand; this command asks its admin endpoints and checks its files.

            Is everything well?
              meridian status --config north.yaml
            How far behind is the south?
              meridian lag --config north.yaml --watch
            The same as a monitoring plugin:
              meridian lag --config north.yaml --warn 1s --crit 5s
            Which keys are read most?
              meridian hot --config north.yaml
            Where does a key live?
              meridian ring user:1234 --config north.yaml south.yaml
            What would another ring move?
              meridian ring diff north.yaml north-new.yaml
            Are my files right?
              meridian check-config north.yaml south.yaml
            A local proxy with magent's flags:
              meridian magent -k -s 10.0.0.1 -s 10.0.0.2 -b 10.0.0.9

            Admin endpoints are reached only from their own machine: run this beside the proxies, or forward a port \
            (ssh -L 11400:127.0.0.1:11400 proxyhost) and use --admin 127.0.0.1:11400.

            EXIT CODES
              0   all is well
              1   a proxy did not answer, or a file has mistakes
              64  the command line is wrong
            With --warn or --crit, lag exits as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown. magent exits as \
            meridiand does.
            """,
        version: MeridianVersion.text,
        subcommands: [
            StatusCommand.self, LagCommand.self, HotCommand.self, RingCommand.self, CheckConfigCommand.self, MagentCommand.self,
        ])
}
