"""The click group of all commands: imports the command that runs, and reports errors."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from trueup.cli.commands import COMMANDS
from trueup.cli.shared.say import say
from trueup.errors import TrueupError
from trueup.observe.log import is_closed

if TYPE_CHECKING:
    from pydantic import ValidationError

WRONG = 2
# The exit codes of a shell for a process ended by Ctrl-C (SIGINT), and by a closed pipe (SIGPIPE).
STOPPED, CLOSED = 130, 141


class CommandGroup(TyperGroup):
    """All commands. An error is a sentence on stderr and an exit code, never a traceback.

    Here `nan` and `inf` are refused for the options of all commands.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return a command, or None for an unknown name."""
        entry = next((entry for entry in COMMANDS if entry.name == cmd_name), None)
        if entry is None:
            return None
        if cmd_name not in self.commands:
            command = self.commands[cmd_name] = entry.load()
            for parameter in _parameters(command):
                parameter.callback = _finite(parameter.callback)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.summary) for entry in COMMANDS])

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments of a command."""
        with _sentences():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with _sentences():
            return super().invoke(ctx)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Turn every error into a sentence and an exit code."""
    try:
        yield
    except TrueupError as error:
        _end(str(error), WRONG)
    except KeyboardInterrupt:
        _end("Stopped.", STOPPED)
    except OSError as error:
        # The reader of our output, such as `head`, has ended: that is not an error to report.
        if is_closed(error):
            raise typer.Exit(CLOSED) from None
        _end(sentence_of_system(error), WRONG)
    except typer.BadParameter as error:
        # Imported here: the import of pydantic takes longer than most commands.
        from pydantic import ValidationError

        if isinstance(error.__cause__, ValidationError):
            error.message = sentence_of(error.__cause__)
        raise


def sentence_of(error: ValidationError) -> str:
    """Return a pydantic error as a sentence for users."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    said = first["msg"].partition(",")[0].removeprefix("Input should be ")
    return f"{first['input']!r} is not valid: it should be {said}."


def sentence_of_system(error: Exception) -> str:
    """Return an error of the operating system as a sentence."""
    if not isinstance(error, OSError) or error.strerror is None:
        return f"The system refused: {error}."
    what = error.strerror[:1].lower() + error.strerror[1:]
    if error.filename is not None:
        return f"{error.filename} cannot be used: {what}."
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF):
        return f"The output cannot be written: {what}."
    return f"The system refused: {what}."


def _end(sentence: str, code: int) -> None:
    # If stderr is closed too, the exit code still tells the outcome.
    with contextlib.suppress(OSError):
        say(sentence, err=True)
    raise typer.Exit(code) from None


def _parameters(command: Any) -> Iterator[Any]:
    """Yield the parameters of a command and of all commands below it."""
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from _parameters(below)


def _finite(callback: Any) -> Any:
    """Return a parameter's callback that refuses `nan` and `inf` before its own callback."""

    def check(ctx: Any, parameter: Any, value: Any) -> Any:
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                said = f"{number!r} is not valid: it should be a finite number."
                raise typer.BadParameter(said, ctx=ctx, param=parameter)
        return value if callback is None else callback(ctx, parameter, value)

    return check
