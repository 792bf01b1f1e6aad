"""Client libraries from PyPI, with their own test suites: installed once into a virtual environment outside of the repository.

    ~/.cache/meridian-system/clients-<of the versions>/
        environment/    Python with the libraries, built from their source packages, and what their tests import
        pylibmc/ …      the source packages unpacked, for the tests in them

The suites are run as they are: no line of them is changed, or kept here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meridian_system.report import Failed

PYLIBMC = "pylibmc"
BMEMCACHED = "python-binary-memcached"
_SUITES = {PYLIBMC: "1.6.3", BMEMCACHED: "0.33.0"}
"""Tested from their source packages."""
_HELPERS = ("pytest==9.2.0", "trustme==1.2.1", "uhashring==2.5")
"""What the suites import."""
_BUILDERS = ("setuptools==84.2.1", "wheel==0.48.0")
_PYTHON = "/usr/bin/python3"
_SECONDS_MAX = 600.0


@dataclass(frozen=True)
class Packages:
    """Where everything is."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter that has the libraries."""
        return self.folder / "environment" / "bin" / "python"

    def tests(self, package: str) -> Path:
        """A package's unpacked sources, where its tests are."""
        return self.folder / package


def installed(say: Callable[[str], None]) -> Packages:
    """The packages; downloads and builds them if they are not there yet. Raises Failed where that cannot be done.

    To be called before the process moves into a network of its own, from which PyPI cannot be reached.
    """
    wanted = [*_HELPERS, *_BUILDERS, *(f"{name}=={version}" for name, version in _SUITES.items())]
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meridian-system"
    folder = cache / f"clients-{digest}"
    if folder.exists():
        return Packages(folder)
    say(f"installing {', '.join(_SUITES)} and their test suites from PyPI into {folder}")
    cache.mkdir(parents=True, exist_ok=True)
    # A virtual environment knows its place, so it is made there; the folder's name is given to it at the end.
    place = cache / f"clients-{digest}.new"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    _install(place)
    place.rename(folder)
    # Its scripts name the old place; nothing but the interpreter is used.
    return Packages(folder)


def _install(place: Path) -> None:
    environment = place / "environment"
    _run([_PYTHON, "-m", "venv", str(environment)], "make a virtual environment (Sites/demo-install --tests installs python3-venv)")
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "install", *_BUILDERS, *_HELPERS], "install what the suites need from PyPI")
    sources = place / "sources"
    for name, version in _SUITES.items():
        _run(
            [*pip, "download", "--no-deps", "--no-binary", name, "--dest", str(sources), f"{name}=={version}"],
            f"download {name} {version} from PyPI",
        )
    for name, version in _SUITES.items():
        archive = _only(sources, f"{name.replace('-', '_')}-{version}.tar.gz", f"{name}-{version}.tar.gz")
        _run([*pip, "install", "--no-deps", str(archive)], f"build {name} {version} (libmemcached-dev and python3-dev are needed)")
        shutil.unpack_archive(archive, place / "unpacked")
        unpacked = _only(place / "unpacked", archive.name.removesuffix(".tar.gz"))
        unpacked.rename(place / name)


def _only(folder: Path, *names: str) -> Path:
    """The one of some names that is in a folder."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise Failed(f"{folder} has none of {', '.join(names)}: {sorted(path.name for path in folder.iterdir())}")


def _run(command: list[str], doing: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_SECONDS_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"cannot {doing}: {error}") from None
    if done.returncode != 0:
        raise Failed(f"cannot {doing}:\n" + "\n".join(done.stdout.splitlines()[-12:]))
