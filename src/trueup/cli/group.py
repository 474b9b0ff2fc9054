"""How the command line says what went wrong."""

from __future__ import annotations

from typing import Any

import typer
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
