"""How a command prints: no text of a broker or a gateway makes the console do something.

A comment, a symbol or an error may hold any character: an escape sequence would move the cursor,
change what stands above, or set the window's title. Control characters are shown as Python writes
them, `\\x1b`, as in the log. Line ends stay, because a command prints several lines at once.
"""

from __future__ import annotations

import typer

from trueup.observe.log import CONTROLS

_SHOWN = {code: shown for code, shown in CONTROLS.items() if code != ord("\n")}


def say(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print to stdout, or with `err` to stderr; without `nl` the line goes on."""
    typer.echo(str(text).translate(_SHOWN), err=err, nl=nl)
