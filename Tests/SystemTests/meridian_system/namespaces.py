"""A network of its own for each site, and a wire between them that can be cut.

The north is the network namespace that the script itself runs in, the south another, and a veth pair is the wire:

    north  192.0.2.1 ── wire-north ═══ wire-south ── 192.0.2.2  south

A cut must look like a cut: no reset, no "unreachable", the packets simply never arrive. So the neighbour entry for the other
end is pointed at a hardware address that nobody has; each direction can be cut by itself, and nothing but `ip` is needed.
Loopback, where clients, memcacheds and admin endpoints are, is not touched.

A namespace belongs to a thread; whoever wants a socket of a site enters its namespace, makes the socket, and leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)

NORTH_ADDRESS = "192.0.2.1"
SOUTH_ADDRESS = "192.0.2.2"
_NORTH_HARDWARE = "02:00:00:00:02:01"
_SOUTH_HARDWARE = "02:00:00:00:02:02"
_NOBODYS_HARDWARE = "02:00:00:00:02:ff"


class NoNamespaces(Exception):
    """This machine or user cannot have network namespaces; the text says why."""


def _check(result: int, doing: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise NoNamespaces(f"{doing}: {os.strerror(error)}")


class Namespace:
    """A network namespace, held by a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def current(cls) -> Namespace:
        """The namespace of the calling thread."""
        return cls(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def enter(self) -> None:
        """Moves the calling thread into the namespace."""
        _check(_libc.setns(self._descriptor, _CLONE_NEWNET), "entering a network namespace")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Moves the calling thread into the namespace for the length of a `with`."""
        home = Namespace.current()
        self.enter()
        try:
            yield
        finally:
            home.enter()
            os.close(home._descriptor)

    def ip(self, *arguments: str) -> None:
        """Runs `ip` in the namespace."""
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, preexec_fn=self.enter)
        if done.returncode != 0:
            raise NoNamespaces(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    @property
    def path(self) -> str:
        """A path that names the namespace to other processes, while this one lives."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"


class Wire:
    """Two namespaces and the wire between them."""

    def __init__(self) -> None:
        """Moves the calling process into a fresh namespace, the north, and makes the south and the wire.

        Raises NoNamespaces where that is not allowed. The process must have no other thread.
        """
        self.mapped = False
        if _libc.unshare(_CLONE_NEWNET) != 0:
            # Not root: a user namespace, where we are, may be allowed.
            user, group = os.getuid(), os.getgid()
            _check(
                _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "making a network namespace (it takes root, or user namespaces)"
            )
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
            self.mapped = True
        self.north = Namespace.current()
        _check(_libc.unshare(_CLONE_NEWNET), "making the south's network namespace")
        self.south = Namespace.current()
        self.north.enter()
        self.north.ip(
            "link",
            "add",
            "wire-north",
            "address",
            _NORTH_HARDWARE,
            "type",
            "veth",
            "peer",
            "name",
            "wire-south",
            "address",
            _SOUTH_HARDWARE,
        )
        self.north.ip("link", "set", "wire-south", "netns", self.south.path)
        for namespace, link, address in ((self.north, "wire-north", NORTH_ADDRESS), (self.south, "wire-south", SOUTH_ADDRESS)):
            namespace.ip("link", "set", "lo", "up")
            namespace.ip("address", "add", f"{address}/30", "dev", link)
            namespace.ip("link", "set", link, "up")
        self.heal()

    def cut(self, *, northbound: bool = True, southbound: bool = True) -> None:
        """From now on packets in the given directions are lost without a trace."""
        self._point(southbound=not southbound, northbound=not northbound)

    def heal(self) -> None:
        """From now on packets arrive again."""
        self._point(southbound=True, northbound=True)

    def _point(self, *, southbound: bool, northbound: bool) -> None:
        for namespace, address, link, hardware, works in (
            (self.north, SOUTH_ADDRESS, "wire-north", _SOUTH_HARDWARE, southbound),
            (self.south, NORTH_ADDRESS, "wire-south", _NORTH_HARDWARE, northbound),
        ):
            target = hardware if works else _NOBODYS_HARDWARE
            namespace.ip("neigh", "replace", address, "lladdr", target, "dev", link, "nud", "permanent")
