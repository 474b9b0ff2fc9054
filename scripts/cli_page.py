"""docs/reference/cli.md, from the commands themselves."""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from trueup.cli.commands import COMMANDS

HEAD = """\
# The command line

<!-- Written by `make docs` from src/trueup/cli. Change it there. -->

Commands find what runs in the current folder by small files in its state folder, `.trueup` (or
`TRUEUP_HOME`). The files are never believed by themselves: the process is asked. Everything listens
on this machine only.

| exit code | meaning |
| --- | --- |
| 0 | all is well |
| 1 | something needs a person: the broker is not believed, something waits, a journal is damaged |
| 2 | it could not be done or asked: nothing runs here, no such journal, a used port, a full disk |
| 64 | wrong usage: an unknown option, or a value of an option or of a setting that is not valid |
| 130 | Ctrl-C stopped it; `paper`, `terminal` and `gateway` end in order with 0 |
| 141 | nobody reads its output any more, as behind `head` |

With 2 and 64, one sentence on stderr says what was wrong. With 64 nothing was done, and the same
command fails again until it, or the setting, is corrected. `trueup status` has codes of its own,
from 0 to 4: see [the state of a bot](../operating/status.md).

A command that takes more than a second shows how far it is: a line on stderr, only if stderr is a
terminal, which goes at the end.

Every command that reads has `--json`: plain values with times in ISO 8601, UTC, and the name and
version of their schema ([JSON of the commands](json.md)). Times that you give are UTC
unless they say otherwise.
"""


class Parameter(typing.NamedTuple):
    """An argument or an option of a command."""

    name: str
    kind: Any
    default: Any
    about: ArgumentInfo | OptionInfo


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every command by its full name, `trueup trade open`, in the order of the help."""
    for entry in COMMANDS:
        target = entry.target()
        if isinstance(target, typer.Typer):
            yield from _group(target, f"trueup {entry.name}")
        else:
            yield f"trueup {entry.name}", target


def options(command: Callable[..., Any]) -> list[str]:
    """Return the names of a command's options."""
    found = [one for one in _parameters(command) if isinstance(one.about, OptionInfo)]
    return [name for one in found for name in _option_names(one)]


def cli_page() -> str:
    """Return the page: a section for each command, with every argument and option."""
    sections = (part for name, command in commands() for part in _section(name, command))
    return "\n".join([HEAD, *sections])


def _group(group: typer.Typer, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    own = group.registered_callback
    if own is not None and group.info.invoke_without_command:
        assert own.callback is not None
        yield name, own.callback
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{name} {command.name or command.callback.__name__}", command.callback


def _parameters(command: Callable[..., Any]) -> list[Parameter]:
    hints = typing.get_type_hints(command, include_extras=True)
    return [
        Parameter(name, hints[name].__origin__, one.default, hints[name].__metadata__[0])
        for name, one in inspect.signature(command).parameters.items()
        if hints[name] is not typer.Context
    ]


def _section(name: str, command: Callable[..., Any]) -> Iterator[str]:
    parameters = _parameters(command)
    arguments = [one for one in parameters if isinstance(one.about, ArgumentInfo)]
    choices = [one for one in parameters if isinstance(one.about, OptionInfo)]
    yield f"## `{name}`\n"
    usage = [name, *map(_argument, arguments), *["[OPTIONS]"] * bool(choices)]
    usage.sort(key=lambda word: word.startswith("[--"))  # what is for another comes last
    yield f"```text\n{' '.join(usage)}\n```\n"
    help_text = inspect.cleandoc(command.__doc__ or "")
    yield re.sub(r"(?<!\n)\n(?!\n)", " ", help_text) + "\n"
    rows = [f"| `{_argument(one)}` | {_help(one)} |" for one in arguments]
    rows += [f"| {_names(one)} | {_help(one)} |" for one in choices]
    if rows:
        yield "\n".join(["| | |", "| --- | --- |", *rows]) + "\n"


def _argument(one: Parameter) -> str:
    name = one.about.metavar or one.name.upper()
    return name if one.default is inspect.Parameter.empty else f"[{name}]"


def _option_names(one: Parameter) -> list[str]:
    # Inside Annotated typer keeps the first name where the default would be.
    first = [one.about.default] if isinstance(one.about.default, str) else []
    names = [*first, *(one.about.param_decls or [])]
    return names or [f"--{one.name.replace('_', '-')}"]


def _names(one: Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in _option_names(one))
    kind = _plain(one.kind)
    if kind is bool:
        return names
    metavar = one.about.metavar or _metavar(kind)
    return f"{names} `{metavar}`".replace("|", "\\|")


def _plain(kind: Any) -> Any:
    """Return X of X | None and of list[X]."""
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind


def _metavar(kind: Any) -> str:
    if issubclass(kind, enum.Enum):
        return "|".join(str(one.value) for one in kind)
    return {int: "NUMBER", float: "NUMBER", str: "TEXT"}[kind]


def _help(one: Parameter) -> str:
    text = " ".join((one.about.help or "").split()).replace("|", "\\|")
    default = getattr(one.default, "value", one.default)
    if default in (None, False, "", inspect.Parameter.empty):
        return text
    return f"{text} Default: `{default}`."
