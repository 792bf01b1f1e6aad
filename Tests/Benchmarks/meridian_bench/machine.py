"""What the measurement ran on and what was measured, in words: figures without it say little."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path


def _first(pattern: str, text: str, otherwise: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else otherwise


def _output(*arguments: str) -> str:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
        return done.stdout + done.stderr
    except OSError:
        return ""


def hardware() -> str:
    """`Intel Xeon …, 2 cores, 8 GiB, under kvm`"""
    processor = _first(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), platform.machine())
    kibibytes = int(_first(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), "0"))
    virtual = _output("systemd-detect-virt").strip()
    words = [processor, f"{os.cpu_count()} cores", f"{kibibytes / (1 << 20):.0f} GiB"]
    if virtual and virtual != "none":
        words.append(f"under {virtual}")
    return ", ".join(words)


def system() -> str:
    """`Debian GNU/Linux 12 (bookworm), Linux 6.1.0`"""
    name = _first(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), "Linux")
    return f"{name}, Linux {platform.release()}"


def programs(repository: Path, binaries: Path) -> str:
    """What is compared, with versions: Meridian by its commit, if it was built here."""
    swift = _first(r"Swift version (\S+)", _output("swift", "--version"), "?")
    twemproxy = _first(r"nutcracker-(\S+)", _output("nutcracker", "--version"), "?")
    memcached = _first(r"memcached (\S+)", _output("memcached", "--version"), "?")
    return f"{_meridian(repository, binaries)} (Swift {swift}), twemproxy {twemproxy}, memcached {memcached}"


def _meridian(repository: Path, binaries: Path) -> str:
    if not binaries.resolve().is_relative_to(repository):
        return "Meridian, built elsewhere"
    commit = _output("git", "-C", str(repository), "rev-parse", "--short", "HEAD").strip()
    if re.fullmatch(r"[0-9a-f]{7,40}", commit) is None:
        return "Meridian"
    changed = bool(_output("git", "-C", str(repository), "status", "--porcelain", "--", "Sources").strip())
    return f"Meridian {commit}{' with changes' if changed else ''}"


def load_average() -> str:
    """How busy the machine was before."""
    return f"{os.getloadavg()[0]:.1f}"
