"""Print the output of a command, with control characters made visible.

A comment, a symbol or an error text of a broker may contain any character. An escape sequence would
move the cursor, overwrite earlier lines, or set the window's title. So control characters are
printed as Python writes them, `\\x1b`, as in the log. Line ends stay, because a command prints
several lines at once.
"""

from __future__ import annotations

import shutil

import typer

from trueup.observe.lines import WIDTH
from trueup.observe.log import CONTROLS

_SHOWN = {code: shown for code, shown in CONTROLS.items() if code != ord("\n")}


def columns() -> int:
    """Return the width for a text: that of the console, and 80 columns at most."""
    return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def say(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print to stdout, or with `err` to stderr; with `nl=False` without a line end."""
    typer.echo(str(text).translate(_SHOWN), err=err, nl=nl)
