"""A virtual environment for each package of strangers, made once and kept in `.venv-peers/`.

The packages are installed unmodified, in the versions given here, with all that they require but
`MetaTrader5`: that is a module for Windows, and a stand-in takes its place (`bare/`, or the door).
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from scripts.other_pythons import found

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
# Runs in the environment: prints what a package requires there, without the official module.
REQUIREMENTS = """
import importlib.metadata, sys
from pip._vendor.packaging.requirements import Requirement
for line in importlib.metadata.requires(sys.argv[1]) or ():
    wanted = Requirement(line)
    applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    if applies and wanted.name.lower() != "metatrader5":
        wanted.marker = None
        print(wanted)
"""


class Peer(msgspec.Struct, frozen=True):
    """A package of strangers.

    Attributes:
        name: the name in the package index.
        version: the version that is installed.
        python: the version of Python, such as 3.13.
        pins: what the package needs beside its own requirements to be imported.
        looks_at_start: whether the package asks for the positions when it connects, and not later.
        nets: whether the package closes a position by an opposite order, as on netting accounts.
    """

    name: str
    version: str
    python: str
    pins: tuple[str, ...] = ()
    looks_at_start: bool = False
    nets: bool = False

    @property
    def folder(self) -> Path:
        """The environment."""
        return FOLDER / self.name

    @property
    def interpreter(self) -> Path:
        """The environment's Python."""
        return self.folder / "bin" / "python"


PEERS = (
    # Its `mplfinance` imports `six` without requiring it.
    Peer("aiomql", "4.1.2", "3.13", ("six",)),
    # `mcp` 2 has no `mcp.server.fastmcp`, which both import.
    Peer("metatrader-mcp-server", "0.5.1", "3.11", ("mcp[cli]<2",)),
    Peer("mt5-trading-mcp", "1.6.1", "3.11", ("mcp[cli]<2",)),
    Peer("mt5-connector", "0.7.1", "3.12", looks_at_start=True, nets=True),
)


class CannotInstall(Exception):
    """A package cannot be installed here; the message says why."""


def make_environment(peer: Peer) -> None:
    """Make a package's environment, unless it is there already.

    Raises:
        CannotInstall: no such Python is here, or the index does not have a package.
    """
    done = peer.folder / "made"
    if done.exists() and done.read_text("utf-8") == repr(peer):
        return
    python = found(peer.python)
    if python is None:
        raise CannotInstall(f"{peer.name} {peer.version} needs Python {peer.python}")
    _run(Path(python[0]), "-m", "venv", "--clear", str(peer.folder))
    _run(peer.interpreter, *PIP, "--no-deps", f"{peer.name}=={peer.version}")
    required = _run(peer.interpreter, "-c", REQUIREMENTS, peer.name).split("\n")
    _run(peer.interpreter, *PIP, *filter(None, required), *peer.pins, *_own_requirements())
    # This checkout comes last on the path, so that none of its modules hides one of theirs.
    (site,) = (peer.folder / "lib").glob("python*/site-packages")
    (site / "trueup.pth").write_text(f"{ROOT / 'src'}\n", "utf-8")
    done.write_text(repr(peer), "utf-8")


def python_version(peer: Peer) -> str:
    """Return the whole version of an environment's Python, such as 3.13.1."""
    code = "import platform; print(platform.python_version())"
    return _run(peer.interpreter, "-c", code).strip()


def _own_requirements() -> list[str]:
    project: Any = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # numpy for the arrays of rates and ticks.
    return [*project["dependencies"], "numpy"]


def _run(program: Path, *words: str) -> str:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise CannotInstall(f"{program.name} {' '.join(words)}: {last}")
    return done.stdout
