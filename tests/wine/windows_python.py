"""The Windows CPython under Wine, for tests that run on Linux beside it."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "windows"
PYTHON = SCRIPTS / "python"
# Processes start slowly under Wine where others are busy.
LONG_SEC = 240.0


def dos(path: Path) -> str:
    """A path of Linux as a program under Wine sees it."""
    return "Z:" + str(path).replace("/", "\\")


@functools.cache
def command() -> tuple[str, ...]:
    """What runs Python so that it is one process of Linux, which a test can kill."""
    say = f'. {SCRIPTS}/environment.sh; printf "%s\\n" "$WINE" "$WINDOWS_PYTHON/python.exe"'
    done = subprocess.run(["bash", "-c", say], capture_output=True, check=True)
    return tuple(done.stdout.decode().split())


@functools.cache
def variables() -> tuple[tuple[str, str], ...]:
    """What its environment needs besides."""
    say = f". {SCRIPTS}/environment.sh; env -0"
    done = subprocess.run(["bash", "-c", say], capture_output=True, check=True)
    pairs = [line.partition("=") for line in done.stdout.decode().split("\0")]
    wine = {name: value for name, _, value in pairs if name.startswith("WINE")}
    return tuple({**wine, "PYTHONPATH": f"{dos(ROOT / 'src')};{dos(ROOT)}"}.items())


def processes_of(folder: Path) -> list[int]:
    """The processes that were started with a state folder in this one."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_bytes()
        except OSError:
            continue
        if f"TRUEUP_HOME={folder}".encode() in environment and int(place.name) != os.getpid():
            found.append(int(place.name))
    return found
