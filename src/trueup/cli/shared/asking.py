"""Ask the user before a command changes something that cannot be undone."""

from __future__ import annotations

import typer

from trueup.errors import TrueupError


def ask_person(question: str) -> None:
    """Ask the user for confirmation.

    Raises:
        TrueupError: the answer is no, or there is no input.
    """
    try:
        is_wanted = typer.confirm(question)
    except typer.Abort:
        raise TrueupError("Nobody answered, so nothing was changed: give --yes.") from None
    if not is_wanted:
        raise TrueupError("Nothing was changed.")
