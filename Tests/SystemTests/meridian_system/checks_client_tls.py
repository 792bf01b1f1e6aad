"""Listeners for clients: TLS with and without certificates of their own, networks that are let in, and what is read anew on SIGHUP.

    plain       as ever
    encrypted   TLS, and a name and a password
    mutual      TLS, and a certificate of the clients' authority
    elsewhere   only clients of a network that nobody is in
"""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from meridian_system.binary_packets import Opcode, Request
from meridian_system.checks_authentication import plain, users_text
from meridian_system.client import Endpoint
from meridian_system.federation import Federation, Options, Proxy
from meridian_system.processes import wait_until
from meridian_system.report import Failed, require
from meridian_system.world import World

_SECONDS = 5.0
_HANDSHAKE_SECONDS = 5.0
"""How long a client may take for its handshake."""
_REQUEST_SECONDS = 2.0
"""How long a client may take for a request."""
_LARGE = 900_000


@dataclass(frozen=True)
class _Papers:
    """A certificate and its key."""

    certificate: Path
    key: Path


class _Office:
    """Authorities and what they sign, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def authority(self, name: str) -> _Papers:
        papers = _Papers(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        self._openssl("req", "-x509", *self._key(papers), "-days", "2", "-subj", f"/CN={name}", "-out", str(papers.certificate))
        return papers

    def issue(self, name: str, authority: _Papers) -> _Papers:
        papers = _Papers(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        extensions = self._folder / f"{name}.ext"
        extensions.write_text("basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\n")
        self._openssl("req", "-new", *self._key(papers), "-subj", f"/CN={name}", "-out", str(request))
        self._openssl(
            "x509", "-req", "-in", str(request), "-CA", str(authority.certificate), "-CAkey", str(authority.key),
            "-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", str(papers.certificate),
        )  # fmt: skip
        return papers

    @staticmethod
    def _key(papers: _Papers) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(papers.key)]

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)


@dataclass
class _Doors:
    """The listeners of n1, and the files that they name."""

    office: _Office
    server_authority: _Papers
    client_authority: _Papers
    server: _Papers
    users: Path
    encrypted: Endpoint
    mutual: Endpoint
    elsewhere: Endpoint

    @classmethod
    def make(cls, world: World, folder: Path) -> _Doors:
        office = _Office(folder)
        namespace = world.wire.north if world.wire is not None else None
        endpoints = [Endpoint("127.0.0.1", world.ports.take(namespace), namespace) for _ in range(3)]
        servers, clients = office.authority("servers"), office.authority("clients")
        users = folder / "users.txt"
        users.write_text(users_text())
        users.chmod(0o600)
        return cls(office, servers, clients, office.issue("listener", servers), users, *endpoints)

    def listeners(self) -> tuple[str, ...]:
        """As the site file writes them."""
        pair = f'certificate: "{self.server.certificate}", key: "{self.server.key}"'
        return (
            f'{{address: "{self.encrypted}", tls: {{{pair}}}, authentication: "{self.users}", allow: ["127.0.0.0/8", "::1"]}}',
            f'{{address: "{self.mutual}", tls: {{{pair}, client-authority: "{self.client_authority.certificate}"}}}}',
            f'{{address: "{self.elsewhere}", allow: [10.99.0.0/16]}}',
        )

    def context(self, papers: _Papers | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client that knows the listeners' authority, and may have papers of its own."""
        context = ssl.create_default_context(cafile=str(self.server_authority.certificate))
        if papers is not None:
            context.load_cert_chain(papers.certificate, papers.key)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


def _ask(connection: socket.socket, data: bytes, end: bytes) -> bytes:
    connection.sendall(data)
    heard = b""
    while not heard.endswith(end):
        more = connection.recv(1 << 16)
        if not more:
            raise Failed(f"{data[:40]!r}: closed after {heard[:80]!r}")
        heard += more
    return heard


def _dial(context: ssl.SSLContext, endpoint: Endpoint) -> ssl.SSLSocket:
    return context.wrap_socket(endpoint.connect(_SECONDS), server_hostname=endpoint.host)


def _login(pair: str) -> bytes:
    return f"set who 0 0 {len(pair)}\r\n{pair}\r\n".encode()


def _expect_line(proxy: Proxy, since: int, *words: str) -> None:
    """Waits for a line of the log that holds all the words."""

    def said() -> bool:
        return any(all(word in line for word in words) for line in proxy.log_text(since).splitlines())

    try:
        wait_until(said, "", _SECONDS)
    except TimeoutError:
        raise Failed(f"the log of {proxy.name} has no line with {words}: {proxy.log_text(since)[-800:]}") from None


def _is_closed(connection: socket.socket, timeout: float = _SECONDS) -> bool:
    """Whether the other end closes without a word of memcached's protocol."""
    connection.settimeout(timeout)
    try:
        while data := connection.recv(4096):
            if b"ERROR" in data or b"MN" in data:
                return False
        return True
    except TimeoutError:
        return False
    except (OSError, ssl.SSLError):
        return True


def _serves(doors: _Doors) -> None:
    """TLS 1.2 and 1.3, a login, small and large values, binary, an orderly end."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with _dial(doors.context(version=version), doors.encrypted) as client:
            require(_ask(client, b"get k\r\n", b"\r\n") == b"CLIENT_ERROR unauthenticated\r\n", "served without a password")
            require(_ask(client, _login("alice secret"), b"\r\n") == b"STORED\r\n", "alice is not let in")
            value = bytes(range(256)) * (_LARGE // 256)
            require(_ask(client, b"set big 0 0 %d\r\n%s\r\n" % (len(value), value), b"\r\n") == b"STORED\r\n", "a large set failed")
            require(value in _ask(client, b"get big\r\n", b"END\r\n"), "a large value came back otherwise")
            many = _ask(client, b"".join(b"set k%d 0 0 1\r\nx\r\n" % index for index in range(500)) + b"mn\r\n", b"MN\r\n")
            require(many == b"STORED\r\n" * 500 + b"MN\r\n", "a pipeline was answered otherwise")
            client.sendall(b"quit\r\n")
            client.suppress_ragged_eofs = False
            require(client.recv(10) == b"", "quit was answered")
    with _dial(doors.context(), doors.encrypted) as client:
        word = Request(Opcode.SASL_AUTH, b"PLAIN", b"", plain("bob", "swordfish")).encode(1, 0)
        require(_ask(client, word, b"Authenticated")[6:8] == b"\0\0", "bob is not let in by SASL")
    with _dial(doors.context(), doors.encrypted) as client:
        heard = _ask(client, _login("alice secret") + b"get k1\r\n", b"END\r\n")
        require(heard == b"STORED\r\nVALUE k1 0 1\r\nx\r\nEND\r\n", f"a login with a command behind it gets {heard!r}")


def _stops_halfway(doors: _Doors) -> float:
    """Whoever sends part of a record and no more is closed after client-request, and not who stops between two; the seconds it took."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = doors.context().wrap_bio(incoming, outgoing, server_hostname=doors.encrypted.host)
    with _dial(doors.context(), doors.encrypted) as idle, doors.encrypted.connect(_SECONDS) as wire:
        _ask(idle, _login("alice secret"), b"\r\n")
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire.sendall(outgoing.read())
                incoming.write(wire.recv(1 << 16))
        session.write(_login("alice secret"))
        record = outgoing.read()
        wire.sendall(record[:-3])
        begun = time.monotonic()
        require(_is_closed(wire, _REQUEST_SECONDS + 3.0), "a client that sends part of a record and no more is kept")
        took = time.monotonic() - begun
        require(took > _REQUEST_SECONDS - 0.5, f"a client that sends part of a record is closed after {took:.1f} s already")
        require(_ask(idle, b"mn\r\n", b"\r\n") == b"MN\r\n", "a client that stopped between two records was closed")
    return took


def _resumes(doors: _Doors) -> None:
    """A second connection takes up the first one's session."""
    context = doors.context(version=ssl.TLSVersion.TLSv1_2)
    with _dial(context, doors.encrypted) as first:
        _ask(first, b"get k\r\n", b"\r\n")
        session = first.session
    again = context.wrap_socket(doors.encrypted.connect(_SECONDS), server_hostname="127.0.0.1", session=session)
    with again:
        require(bool(again.session_reused), "a session is not resumed")


def _refuses(doors: _Doors, proxy: Proxy) -> list[str]:
    """Who must not be let in, is not, and the log says why."""
    since = proxy.log_size
    strangers = doors.office.authority("strangers")
    known = doors.office.issue("client", doors.client_authority)
    foreign = doors.office.issue("foreign", strangers)
    with _dial(doors.context(known), doors.mutual) as client:
        require(_ask(client, b"mn\r\n", b"\r\n") == b"MN\r\n", "a client with a certificate is not served")
    cases = {"no certificate": None, "another authority's": foreign}
    for name, papers in cases.items():
        # With TLS 1.3 the client has finished before it is refused.
        try:
            with _dial(doors.context(papers), doors.mutual) as client:
                client.sendall(b"mn\r\n")
                require(_is_closed(client), f"a client with {name} is served")
        except (ssl.SSLError, OSError):
            pass
    _expect_line(proxy, since, "client refused", f"listener={doors.mutual}", "presented no certificate")
    _expect_line(proxy, since, "client refused", f"listener={doors.mutual}", "signed by another authority")
    try:
        _dial(ssl.create_default_context(cafile=str(strangers.certificate)), doors.encrypted).close()
        raise Failed("a client accepts a listener of an authority that it does not know")
    except ssl.SSLCertVerificationError:
        pass
    _expect_line(proxy, since, "client refused", f"listener={doors.encrypted}", "the client refused our certificate")
    with doors.encrypted.connect(_SECONDS) as client:
        client.sendall(b"get k\r\nget k\r\n")
        require(_is_closed(client), "a client in clear is served where TLS is spoken")
    _expect_line(proxy, since, "client refused", f"listener={doors.encrypted}", "does not speak TLS")
    with doors.elsewhere.connect(_SECONDS) as client:
        address = "%s:%d" % client.getsockname()
        require(_is_closed(client), "a client of another network is served")
    _expect_line(proxy, since, "client refused", f"address={address}", f"listener={doors.elsewhere}", "allow")
    begun = time.monotonic()
    with doors.encrypted.connect(_SECONDS) as client:
        require(_is_closed(client, 2 * _HANDSHAKE_SECONDS), "a client that begins no handshake is kept")
    took = time.monotonic() - begun
    require(took > _HANDSHAKE_SECONDS - 1, f"a client that begins no handshake is closed after {took:.1f} s already")
    _expect_line(proxy, since, "client refused", f"listener={doors.encrypted}", "handshake took too long")
    return ["no certificate", "another authority's certificate", "no TLS", "another network", f"silence ({took:.1f} s)"]


def _reload(proxy: Proxy, words: str) -> None:
    since = proxy.log_size
    assert proxy.process is not None
    proxy.process.signal(signal.SIGHUP)
    _expect_line(proxy, since, words)


def _serial(doors: _Doors) -> object:
    with _dial(doors.context(), doors.encrypted) as client:
        certificate = client.getpeercert()
        return None if certificate is None else certificate["serialNumber"]


def _reloads(doors: _Doors, proxy: Proxy) -> None:
    """A new password and a new certificate are taken at SIGHUP; one mistake leaves all as it was; who is in stays in."""
    with _dial(doors.context(), doors.encrypted) as inside:
        _ask(inside, _login("alice secret"), b"\r\n")
        before = _serial(doors)
        doors.office.issue("listener", doors.server_authority)
        doors.users.write_text("alice:fresh\nno colon\n")
        _reload(proxy, "nothing has changed, the old configuration stays in use")
        require(_serial(doors) == before, "a certificate was taken although the users' file is wrong")
        doors.users.write_text("alice:fresh\n")
        doors.users.chmod(0o644)
        since = proxy.log_size
        _reload(proxy, "reload done")
        _expect_line(proxy, since, str(doors.users), "can be read by everybody")
        require(_serial(doors) != before, "the new certificate is not shown")
        require(_ask(inside, b"mn\r\n", b"\r\n") == b"MN\r\n", "who was in was thrown out")
        with _dial(doors.context(), doors.encrypted) as client:
            # Each loop is told by its mailbox, which may take a moment.
            wait_until(lambda: b"failure" in _ask(client, _login("carol pass:word"), b"\r\n"), "carol to be out", _SECONDS)
            require(_ask(client, _login("alice secret"), b"\r\n").startswith(b"CLIENT_ERROR"), "the old password still opens")
            require(_ask(client, _login("alice fresh"), b"\r\n") == b"STORED\r\n", "the new password does not open")
    log = proxy.log_text()
    require(not any(word in log for word in ("secret", "swordfish", "fresh")), "the log shows a password")


def check_client_tls(world: World) -> str:
    """Encrypted listeners, certificates, networks, and SIGHUP."""
    doors = _Doors.make(world, world.folder / "client-tls-papers")
    options = Options(loops=world.loops, also={"n1": doors.listeners()}, settings=f"times: {{client-request: {_REQUEST_SECONDS:.0f}s}}")
    with world.federation("client-tls", options) as federation:
        proxy = federation.north.proxies["n1"]
        with federation.client(federation.north) as client:
            require(client.set(b"plain", b"x") == b"STORED", "the plain listener asks for something")
        _serves(doors)
        _resumes(doors)
        took = _stops_halfway(doors)
        refused = _refuses(doors, proxy)
        _reloads(doors, proxy)
        _check_config(federation, doors)
        return (
            f"TLS 1.2 and 1.3, with and without certificates; half a record closed after {took:.1f} s; "
            f"refused: {', '.join(refused)}; SIGHUP takes all or nothing"
        )


def _check_config(federation: Federation, doors: _Doors) -> None:
    """`meridiand --check-config` reads what the listeners name."""
    command = [str(federation.binaries / "meridiand"), "--config", str(federation.north.config), "--check-config", "--proxy", "n1"]
    doors.users.write_text("nobody\n")
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    require(ran.returncode == 78 and "line 1 has no colon" in ran.stderr, f"a wrong users' file is accepted: {ran}")
    doors.users.unlink()
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    require(ran.returncode == 78 and str(doors.users) in ran.stderr, f"a missing users' file is accepted: {ran}")
