"""`python -m trueup.mt5 SCRIPT`: run a program with this door under the official module's name."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

USAGE = "usage: python -m trueup.mt5 SCRIPT.py [ARGUMENT ...]"


def run_script(words: Sequence[str], install: Callable[[], None]) -> None:
    """Run a script as the main program; `import MetaTrader5` finds the door.

    Args:
        words: the script's path, and the script's own arguments.
        install: puts the door under the official module's name.

    Raises:
        SystemExit: no script is given, or the path is no file; the message says so.
    """
    if not words or words[0] in ("-h", "--help"):
        sys.stderr.write(f"{USAGE}\n")
        raise SystemExit(0 if words else 2)
    script = Path(words[0])
    if not script.is_file():
        sys.stderr.write(f"{USAGE}\n{words[0]} is no file: give the path of a Python script.\n")
        raise SystemExit(2)
    install()
    sys.argv = list(words)
    # As Python does for a script: its own folder comes first on the path.
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name="__main__")
