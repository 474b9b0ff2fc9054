"""Print the result of a command as JSON, with the name and version of its schema.

docs/reference/json.md has the fields of every command. A version only gains fields; a field that
changes its meaning or goes makes a new version.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from trueup.cli.shared.say import say

# Lines per print call: a call for each line would take most of the time.
LINES_AT_ONCE = 500

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON; docs/reference/json.md has its fields.")
]
# Of all commands; a command whose fields change their meaning gets a higher one.
VERSION = 1


def schema_of(command: str) -> str:
    """Return the name of the schema of a command, such as `trueup/journal-verify/1`."""
    return f"trueup/{command.replace(' ', '-')}/{VERSION}"


def print_document(command: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print plain values as JSON; each entry of a list has the schema's name.

    Args:
        command: the command without `trueup`, such as `journal verify`.
        values: an object, or a list of objects.
    """
    schema = {"schema": schema_of(command)}
    document: Any = (
        {**schema, **values}
        if isinstance(values, Mapping)
        else [{**schema, **entry} for entry in values]
    )
    say(json.dumps(document, indent=2, ensure_ascii=not _shows_unicode()))


def print_list(command: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Print a JSON list, an entry on each line, without holding all entries in memory."""
    schema = {"schema": schema_of(command)}
    rows = (f"\n  {json.dumps({**schema, **entry})}" for entry in entries)
    before = "["
    while some := list(itertools.islice(rows, LINES_AT_ONCE)):
        say(before + ",".join(some), nl=False)
        before = ","
    say("[]" if before == "[" else "\n]")


def _shows_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
