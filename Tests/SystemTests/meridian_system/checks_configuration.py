"""Mistakes in site files, and the command line: what an operator meets first.

Each mistake is made by one change to files that are right; the answer must name the file, the line where the mistake stands, and
say something about it, and the program must end with the code that its help promises.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from meridian_system import admin
from meridian_system.client import Client, Endpoint
from meridian_system.federation import Federation
from meridian_system.report import Failed, require
from meridian_system.world import World

CONFIGURATION_EXIT = 78


@dataclass(frozen=True)
class Mistake:
    """One change: in which file, what is replaced by what, and words that the answer must contain."""

    name: str
    file: str
    pattern: str
    replacement: str
    words: str
    line_of: str | None = None
    """A pattern for the line that must be named, when it is not the first changed one."""


MISTAKES: tuple[Mistake, ...] = (
    Mistake("no such site", "north.yaml", r"^site: north", "site: nroth", r"nroth"),
    Mistake("a missing server", "north.yaml", r"^  cache2: .*\n", "", r"cache2", line_of=r"^  cache1:|^servers:"),
    Mistake("a server too many", "north.yaml", r"^(servers:\n)", r'\1  cache9: "127.0.0.1:1"' + "\n", r"cache9", line_of=r"cache9"),
    Mistake("an unknown name", "north.yaml", r"^loops: .*$", "lops: 2", r"lops"),
    Mistake("not a number", "north.yaml", r"^loops: .*$", "loops: many", r"loops"),
    Mistake("too many loops", "north.yaml", r"^loops: .*$", "loops: 1000", r"loops"),
    Mistake("unknown durability", "north.yaml", r"^durability: .*$", "durability: paper", r"paper|durability"),
    Mistake("not an address", "north.yaml", r"^  cache1: .*$", '  cache1: "here"', r"here"),
    Mistake("a port too high", "north.yaml", r"^  cache1: .*$", '  cache1: "127.0.0.1:70000"', r"70000"),
    Mistake("the same memcached twice", "north.yaml", r"(?s)cache1: (\S+)\n  cache2: \S+", r"cache1: \1\n  cache2: \1", r"address", line_of=r"cache2:"),
    Mistake("no authority", "north.yaml", r"^authority: .*\n", "", r"authority", line_of=r"."),
    Mistake("an admin endpoint for the world", "north.yaml", r"^    admin: .*$", '    admin: "0.0.0.0:11400"', r"admin"),
    Mistake("a proxy twice", "north.yaml", r"name: n2", "name: n1", r"n1"),
    Mistake("no shared file", "north.yaml", r"^federation: .*$", "federation: nowhere.yaml", r"nowhere\.yaml", line_of=r"."),
    Mistake("not YAML", "north.yaml", r"^servers:", "servers: [", r"."),
    Mistake("a list", "north.yaml", r"(?s)^.*$", "- one\n- two\n", r"names with values|mapping|list"),
    Mistake("a weight of nothing", "federation.yaml", r"cache2, weight: 1", "cache2, weight: 0", r"weight"),
    Mistake("a name twice on the ring", "federation.yaml", r"name: cache2", "name: cache1", r"cache1", line_of=r"weight"),
    Mistake("an unknown hash", "federation.yaml", r"hash: ketama", "hash: kettle", r"kettle"),
    Mistake("magent's hash without magent's names", "federation.yaml", r"hash: ketama", "hash: magent-ketama", r"as magent knew it", line_of=r"name: cache[12], weight"),
    Mistake("a weight for the modulo rule", "federation.yaml", r"(?s)hash: ketama(.*?)weight: 1", r"hash: magent-modulo\1weight: 2", r"knows no weights", line_of=r"weight: 2"),
    Mistake("a site id twice", "federation.yaml", r"  - id: 2", "  - id: 1", r"id"),
    Mistake("a site id too high", "federation.yaml", r"  - id: 2", "  - id: 256", r"256|id"),
    Mistake("a proxy that moved", "federation.yaml", r"name: n2,", "name: n3,", r"n2|n3", line_of=r"."),
    Mistake("an endpoint twice", "federation.yaml", r'(?s)(replication: "[^"]*")(.*?)replication: "[^"]*"', r"\1\2\1", r"replication"),
    Mistake("a tab", "federation.yaml", r"^  hash", "\thash", r"."),
)  # fmt: skip


def check_mistakes(world: World) -> str:
    """Every mistake is found, with file, line and remedy; files without mistakes are accepted."""
    folder = world.folder / "mistakes"
    federation = Federation(folder, world.binaries, world.supervisor, ports=world.ports)
    federation.write_files()
    good = {name: (folder / name).read_text() for name in ("federation.yaml", "north.yaml", "south.yaml")}
    north = str(federation.north.config)
    for program, arguments in (("meridiand", ["--config", north, "--check-config"]), ("meridian", ["check-config", north])):
        ran = admin.run(world.binaries / program, arguments)
        require(ran.code == 0, f"{program} refuses files that are right: {ran.text}")
    wrong: list[str] = []
    for mistake in MISTAKES:
        changed, count = re.subn(mistake.pattern, mistake.replacement, good[mistake.file], count=1, flags=re.MULTILINE)
        require(count == 1, f"'{mistake.name}' changes nothing in {mistake.file}")
        for name, text in good.items():
            (folder / name).write_text(changed if name == mistake.file else text)
        ran = admin.run(world.binaries / "meridiand", ["--config", north, "--check-config"])
        if complaint := _complaint(mistake, changed, good[mistake.file], ran):
            wrong.append(f"'{mistake.name}': {complaint}; it said: {ran.text.strip()[:300]!r}")
        started = admin.run(world.binaries / "meridiand", ["--config", north, "--proxy", "n1"], timeout=5.0)
        if started.code != CONFIGURATION_EXIT:
            wrong.append(f"'{mistake.name}': meridiand starts with it, and ends with {started.code}")
    for name, text in good.items():
        (folder / name).write_text(text)
    absent = admin.run(world.binaries / "meridiand", ["--config", str(folder / "absent.yaml"), "--check-config"])
    require(absent.code == CONFIGURATION_EXIT and "absent.yaml" in absent.text, f"an absent file: {absent}")
    stranger = admin.run(world.binaries / "meridiand", ["--config", north, "--proxy", "n9"], timeout=5.0)
    require(stranger.code == CONFIGURATION_EXIT and "n9" in stranger.text, f"an unknown proxy: {stranger}")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(MISTAKES)} mistakes are not told well\n" + "\n".join(wrong))
    return f"{len(MISTAKES)} mistakes, each told with file and line by --check-config, and not started with"


def _complaint(mistake: Mistake, changed: str, before: str, ran: admin.Ran) -> str:
    """What is wrong with the answer; empty when nothing is."""
    if ran.code != CONFIGURATION_EXIT:
        return f"exit code {ran.code}, not {CONFIGURATION_EXIT}"
    if not re.search(mistake.words, ran.text):
        return f"it does not mention /{mistake.words}/"
    named = {int(number) for number in re.findall(r"\.yaml:(\d+)", ran.text)}
    if not named:
        return "no file and line"
    if mistake.line_of is not None:
        right = {number for number, line in enumerate(changed.splitlines(), 1) if re.search(mistake.line_of, line)}
    else:
        old = before.splitlines()
        right = {number for number, line in enumerate(changed.splitlines(), 1) if number > len(old) or line != old[number - 1]}
    # A YAML mistake is seen where the parser stumbles, which is at or after the change.
    if not named & right and mistake.name not in ("not YAML", "a tab"):
        return f"it names line {sorted(named)}, not {sorted(right)}"
    return ""


def check_command_line(world: World) -> str:
    """meridian status, lag, ring, check-config, and /metrics, on a running federation."""
    with world.federation("command-line") as federation:
        north, south = str(federation.north.config), str(federation.south.config)
        with federation.client(federation.north) as client:
            require(client.set(b"user:1234", b"x") == b"STORED", "set failed")
        federation.wait_quiet()
        looks = 0

        def look(*arguments: str, code: int = 0, words: str = "") -> str:
            nonlocal looks
            looks += 1
            ran = federation.meridian(federation.north, *arguments)
            require(ran.code == code, f"meridian {' '.join(arguments)} ended with {ran.code}, not {code}: {ran.text[:300]}")
            require(
                re.search(words, ran.text) is not None, f"meridian {' '.join(arguments)} does not say /{words}/: {ran.text[:300]}"
            )
            return ran.output

        for command in ("", "status", "lag", "ring", "ring diff", "check-config", "magent"):
            look(*command.split(), "--help", words="USAGE")
        look("status", "--config", north, words="serving")
        status = json.loads(look("status", "--config", north, "--json"))
        require([entry["proxy"] for entry in status] == ["n1", "n2"], f"status --json has {[entry['proxy'] for entry in status]}")
        look("lag", "--config", north, words="south")
        links = json.loads(look("lag", "--config", north, "--json"))["links"]
        require(len(links) == 2 * world.loops, f"lag --json has {len(links)} links, not one for each lane")
        look("lag", "--config", north, "--warn", "1s", "--crit", "5s", words=r"OK.*\|")
        look("lag", "--config", north, "--warn", "5s", "--crit", "1s", code=64)
        placed = look("ring", "user:1234", "--config", north, words="cache[12]")
        holder = next(label for label, server in federation.north.primaries.items() if _holds(server.endpoint, b"user:1234"))
        require(holder in placed, f"ring says {placed!r}; {holder} holds the key")
        look("ring", "diff", north, south, words="No key moves")
        look("ring", "diff", north, "ketama:cache1,cache2,cache3", words=r"\d % of the keys move")
        moved = json.loads(look("ring", "diff", north, "ketama:cache2,cache1", "--keys", "1000", "--json"))
        require(moved["keys"] == 1000 and moved["moved"] == 0, f"ring diff --json: {moved}")
        look("ring", "diff", north, "absent.yaml", code=1, words=r"absent\.yaml")
        look("ring", "diff", north, "kettama:cache1", code=64, words="magent-modulo:")
        look("check-config", north, south)
        look("nonsense", code=64)
        n2 = federation.north.proxies["n2"]
        assert n2.process is not None
        n2.process.terminate()
        look("status", "--config", north, code=1, words="n2")
        look("lag", "--config", north, "--warn", "1s", "--crit", "5s", code=3)
        federation.start_proxy(n2)
        text = admin.fetch(federation.north.proxies["n1"].admin, "/metrics")
        samples = [line for line in text.splitlines() if line and not line.startswith("#")]
        bad = [
            line
            for line in samples
            if not re.match(
                r'^[a-z_:][a-z0-9_:]*(\{([a-z_]+="[^"]*",?)*\})? -?[0-9.e+-]+$|^.* (NaN|[+-]Inf)$', line, re.IGNORECASE
            )
        ]
        require(not bad and len(samples) > 20, f"/metrics: {len(samples)} samples, not understood: {bad[:3]}")
        typed = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
        untyped = {re.split(r"[{ ]", line)[0] for line in samples} - typed
        require(not untyped, f"/metrics: without a type: {sorted(untyped)[:5]}")
        return f"{looks} commands as their help says; /metrics has {len(samples)} samples of {len(typed)} metrics"


def _holds(endpoint: Endpoint, key: bytes) -> bool:
    with Client(endpoint) as client:
        return client.get(key) is not None
