"""How the command line says what went wrong."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from trueup.errors import TrueupError

WRONG = 2


class SentenceGroup(TyperGroup):
    """Commands whose errors are one sentence on stderr and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except TrueupError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(WRONG) from None
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = sentence_of(error.__cause__)
            raise


def sentence_of(error: ValidationError) -> str:
    """Return what is wrong with a value, which pydantic puts behind a word for programmers."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    said = first["msg"].partition(",")[0].removeprefix("Input should be ")
    return f"{first['input']!r} is not valid: it should be {said}."
