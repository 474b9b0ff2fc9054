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
from trueup.cli.shared.completion import Word
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.errors import SettingsError, TrueupError
from trueup.observe.log import is_closed
from trueup.passwords import hide_passwords

if TYPE_CHECKING:
    from pydantic import ValidationError

WRONG = 2
# EX_USAGE of BSD's sysexits.h. Every other code of ours is below, so a script can tell a mistake in
# its own call from what happened in a right one.
WRONG_USAGE = 64
# The exit codes of a shell for a process ended by Ctrl-C (SIGINT), and by a closed pipe (SIGPIPE).
STOPPED, CLOSED = 130, 141
# typer shows this class of click, the base of all wrong usage, under no name of its own.
_UsageError: Any = typer.BadParameter.__base__


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
            for each in _tree(command):
                for parameter in each.params:
                    parameter.callback = _finite(parameter.callback)
                each.get_params = _converting_less(each.get_params)
        return self.commands[cmd_name]

    def get_params(self, ctx: Any) -> Any:
        """Return the options before the command's name."""
        return _converting_less(super().get_params)(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.summary) for entry in COMMANDS])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands or options that a shell may put for a word, importing no command."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [Word(e.name, e.summary) for e in COMMANDS if e.name.startswith(incomplete)]

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
        _end(error.with_remedy, _code_of(error))
    except KeyboardInterrupt:
        _end("Stopped.", STOPPED)
    except OSError as error:
        # The reader of our output, such as `head`, has ended: that is not an error to report.
        if is_closed(error):
            raise typer.Exit(CLOSED) from None
        _end(sentence_of_system(error), WRONG)
    except _UsageError as error:
        error.exit_code, error.message = WRONG_USAGE, hide_passwords(error.message)
        if isinstance(error, typer.BadParameter) and error.__cause__ is not None:
            _say_it_plainly(error)
        raise


def _code_of(error: TrueupError) -> int:
    """Return the exit code of an error: 64 for a wrong value of an option or of a setting.

    A right value that the system refuses, such as a port in use, is no wrong usage: the same
    command may work later.
    """
    if isinstance(error, WrongUsage):
        return WRONG_USAGE
    is_value = isinstance(error, SettingsError) and not isinstance(error.__cause__, OSError)
    return WRONG_USAGE if is_value else WRONG


def _say_it_plainly(error: typer.BadParameter) -> None:
    """Replace the message of a failed conversion by a sentence for users."""
    # Imported here: the import of pydantic takes longer than most commands.
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        error.message = sentence_of(error.__cause__)


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
        say(hide_passwords(sentence), err=True)
    raise typer.Exit(code) from None


def _tree(command: Any) -> Iterator[Any]:
    """Yield a command and all commands below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from _tree(below)


def _converting_less(get_params: Any) -> Any:
    """Return a command's `get_params` with parameters that convert only what needs it.

    typer converts values with pydantic, whose import takes longer than most commands. An option
    that was not given has nothing to convert, and neither has a text that is wanted as a text.
    """

    def get(ctx: Any) -> Any:
        parameters = get_params(ctx)
        for parameter in parameters:
            if "process_value" not in vars(parameter):
                parameter.process_value = _skipping(parameter)
        return parameters

    return get


def _skipping(parameter: Any) -> Any:
    convert = parameter.process_value

    def process(ctx: Any, value: Any) -> Any:
        if not _needs_no_conversion(parameter, value):
            return convert(ctx, value)
        return parameter.callback(ctx, parameter, value) if parameter.callback else value

    return process


def _needs_no_conversion(parameter: Any, value: Any) -> bool:
    """Return whether a value is what the command wants already.

    What was given on the command line is a text, so a number is a default.
    """
    if parameter.nargs != 1 or parameter.multiple:
        return False
    if value is None:
        return not parameter.required
    wanted = getattr(parameter, "type_descriptor", None)
    if wanted is None or wanted.parameter_info.parser or wanted.is_path or wanted.is_choice:
        return False
    return type(value) is wanted.annotation and wanted.annotation in (str, int, float, bool)


def _finite(callback: Any) -> Any:
    """Return a parameter's callback that refuses `nan` and `inf` before its own callback."""

    def check(ctx: Any, parameter: Any, value: Any) -> Any:
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                said = f"{number!r} is not valid: it should be a finite number."
                raise typer.BadParameter(said, ctx=ctx, param=parameter)
        return value if callback is None else callback(ctx, parameter, value)

    return check
