"""The Windows CPython under Wine, for tests that run on Linux beside it."""

from __future__ import annotations

import functools
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


def processes_of(folder: Path) -> dict[int, str]:
    """The Windows processes whose state folder this is: number for Linux, and command line."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_bytes().split(b"\0")
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"TRUEUP_HOME={folder}".encode() in environment and words[0].endswith(b"python.exe"):
            found[int(place.name)] = b" ".join(words).decode("utf-8", "replace")
    return found
