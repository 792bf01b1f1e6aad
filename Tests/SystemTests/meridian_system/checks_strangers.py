"""Check 7: who must not be let in, is not, is told why, and disturbs nobody."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from meridian_system.checks_faults import finish_ledgers, no_errors, require_ledger_holds
from meridian_system.client import ConnectionLost
from meridian_system import ledger
from meridian_system.federation import Federation, Proxy, Site
from meridian_system.processes import wait_until
from meridian_system.report import Failed, require
from meridian_system.world import World

_REFUSAL_SECONDS = 8.0


@dataclass(frozen=True)
class _Stranger:
    """A peer with papers that are not in order: what is wrong with them, and the words that the log must find for it."""

    name: str
    certificate: Path | None
    key: Path | None
    words: str


def _papers(federation: Federation, folder: Path) -> list[_Stranger]:
    """Certificates that are wrong in one way each."""
    foreign, expired, elsewhere = folder / "foreign", folder / "expired", folder / "elsewhere"
    federation.certify("authority", str(foreign))
    federation.certify("proxy", str(foreign), federation.name, "south", "s2")
    for copy in (expired, elsewhere):
        copy.mkdir()
        for name in ("authority.pem", "authority.key"):
            (copy / name).write_bytes((federation.certificates / name).read_bytes())
    federation.certify("proxy", str(expired), federation.name, "south", "s2", "--days", "-1")
    federation.certify("proxy", str(elsewhere), federation.name, "east", "s2")
    return [
        _Stranger(
            "another authority", foreign / "s2.pem", foreign / "s2.key", r"another authority|unknown (ca|authority)|issuer"
        ),
        _Stranger("expired", expired / "s2.pem", expired / "s2.key", r"expired"),
        _Stranger("wrong site name", elsewhere / "s2.pem", elsewhere / "s2.key", r"east"),
    ]


PREAMBLE = b"MRDN\x01\x00\x00\x00"
"""What a dialling proxy says in clear before TLS: the protocol's version and the loop that it wants."""


def _knock(federation: Federation, proxy: Proxy, stranger: _Stranger | None, data: bytes) -> None:
    """Connects to a replication port from the south and sends data: in clear, or as a proxy would if there is a stranger with papers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if stranger is not None and stranger.certificate is not None:
        context.load_cert_chain(stranger.certificate, stranger.key)
    endpoint = proxy.replication
    home = federation.south.namespace
    if home is None:
        plain = socket.socket()
    else:
        with home.inside():
            plain = socket.socket()
    plain.settimeout(3.0)
    with plain:
        plain.connect((endpoint.host, endpoint.port))
        try:
            if stranger is None:
                plain.sendall(data)
                while plain.recv(4096):
                    pass
            else:
                plain.sendall(PREAMBLE)
                with context.wrap_socket(plain) as wrapped:
                    wrapped.sendall(data)
                    while wrapped.recv(4096):
                        pass
        except (OSError, ssl.SSLError):
            pass  # To be thrown out is what it came for.


def _expect_words(proxy: Proxy, since: int, words: str, what: str) -> str:
    """Waits for a line of the log that says why; returns it."""

    def line() -> str | None:
        for text in proxy.log_text(since).splitlines():
            if re.search(words, text, re.IGNORECASE):
                return text
        return None

    try:
        wait_until(lambda: line() is not None, "", _REFUSAL_SECONDS)
    except TimeoutError:
        raise Failed(
            f"{what}: the log of {proxy.name} says nothing that matches /{words}/; it says: {proxy.log_text(since)[-600:]!r}"
        ) from None
    return line() or ""


def _knocks(federation: Federation, strangers: list[_Stranger]) -> list[str]:
    """Strangers at the replication port of n1, one after the other."""
    proxy = federation.north.proxies["n1"]
    good = _Stranger("", federation.certificates / "s2.pem", federation.certificates / "s2.key", "")
    anonymous = _Stranger("no certificate", None, None, r"no certificate|did not return a certificate|certificate")
    shown: list[str] = []
    for stranger in [*strangers, anonymous]:
        since = proxy.log_size
        _knock(federation, proxy, stranger, b"")
        shown.append(f"{stranger.name}: {_expect_words(proxy, since, stranger.words, stranger.name).strip()}")
    noise = os.urandom(4096)
    for name, papers, data, words in (
        ("a web browser", None, b"GET / HTTP/1.1\r\n\r\n", r"not a Meridian proxy"),
        ("garbage instead of TLS", None, PREAMBLE + noise, r"not speak TLS|TLS"),
        ("garbage inside TLS", good, noise, r"frame|checksum|magic|protocol|length|poison|large|hello"),
        ("a huge frame inside TLS", good, b"\xff" * 64, r"frame|checksum|magic|protocol|length|poison|large|hello"),
        ("zeros inside TLS", good, bytes(512), r"frame|checksum|magic|protocol|length|poison|short|hello"),
    ):
        since = proxy.log_size
        _knock(federation, proxy, papers, data)
        shown.append(f"{name}: {_expect_words(proxy, since, words, name).strip()}")
    return shown


def _refused_proxy(federation: Federation, config: Path, words: str, what: str) -> str:
    """Starts s2 from other files; it must be refused by its peers, or refuse itself, and say why."""
    proxy = federation.south.proxies["s2"]
    peers = [*federation.north.proxies.values(), federation.south.proxies["s1"], proxy]
    since = {peer.name: peer.log_size for peer in peers}
    federation.start_proxy(proxy, wait=False, config=config)
    process = proxy.process
    assert process is not None

    def found() -> str | None:
        for peer in peers:
            for text in peer.log_text(since[peer.name]).splitlines():
                if re.search(words, text, re.IGNORECASE):
                    return f"{peer.name} says: {text.strip()}"
        return None

    try:
        wait_until(lambda: found() is not None, "", _REFUSAL_SECONDS)
        # Refused stays refused: it must not be streaming a moment later, to anybody.
        time.sleep(1.0)
        try:
            states = [entry.state for entry in proxy.status().destinations]
            require("streaming" not in states, f"{what}: s2 streams nevertheless: {states}")
        except ConnectionLost:
            pass  # It ended, or does not answer: refused as well.
        heard = [entry for peer in federation.north.proxies.values() for entry in peer.status().destinations]
        require(any(entry.state == "streaming" for entry in heard), f"{what}: the north's streams to s1 are disturbed: {heard}")
    except TimeoutError:
        logs = {peer.name: peer.log_text(since[peer.name])[-300:] for peer in peers}
        raise Failed(f"{what}: no log says /{words}/: {logs}") from None
    finally:
        process.kill()
    return f"{what}: {found()}"


def _wrong_s2(
    federation: Federation, folder: Path, name: str, *, papers: _Stranger | None = None, weights: tuple[int, int] | None = None
) -> Path:
    """A site file for s2 with other papers or another ring."""
    site: Site = federation.south
    config = folder / f"{name}.yaml"
    shared = "federation.yaml" if weights is None else f"{name}-federation.yaml"
    text = federation.site_yaml(site, federation_file=str((federation.folder if weights is None else folder) / shared))
    if weights is not None:
        (folder / shared).write_text(federation.federation_yaml(weights))
    if papers is not None:
        proxy = site.proxies["s2"]
        text = text.replace(str(proxy.certificate), str(papers.certificate)).replace(str(proxy.key), str(papers.key))
    config.write_text(text)
    return config


def check_strangers(world: World) -> str:
    """7: wrong certificates, another ring and garbage are refused with a reason, and nothing else is disturbed."""
    with world.federation("check-7") as federation:
        folder = federation.folder / "strangers"
        folder.mkdir()
        strangers = _papers(federation, folder)
        s2 = federation.south.proxies["s2"]
        assert s2.process is not None
        crews = [
            ledger.start_ledger(federation.north.clients, clients=4, seed=world.seed, pace=0.01, label="north"),
            ledger.start_ledger([federation.south.proxies["s1"].clients], clients=4, seed=world.seed, pace=0.01, label="south"),
        ]
        time.sleep(1.0)
        shown = _knocks(federation, strangers)
        s2.process.terminate()
        for stranger in strangers:
            config = _wrong_s2(federation, folder, stranger.name.replace(" ", "-"), papers=stranger)
            shown.append(_refused_proxy(federation, config, stranger.words, f"s2 with a certificate of {stranger.name}"))
        config = _wrong_s2(federation, folder, "other-weight", weights=(1, 3))
        shown.append(_refused_proxy(federation, config, r"cache2.*weight|weight.*cache2", "s2 with another weight for cache2"))
        federation.start_proxy(s2)
        federation.wait_streaming()
        time.sleep(0.5)
        told = finish_ledgers(crews)
        no_errors(told, "while strangers knocked")
        text = require_ledger_holds(federation, told)
        (folder / "refusals.txt").write_text("\n".join(shown) + "\n")
        return f"{len(shown)} strangers refused, each with a reason ({folder / 'refusals.txt'}); no client saw an error; {text}"
