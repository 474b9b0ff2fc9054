"""docs/reference/status-json.md, from the structs of the status."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator

import msgspec

from trueup.observe.status import status as module
from trueup.observe.status.status import SCHEMA, State, Status, Verdict

HEAD = f"""\
# JSON of `trueup status`

<!-- Written by `make docs` from src/trueup/observe/status/status.py. Change it there. -->

`trueup status --json` prints one object: `schema` is `trueup/status/1`, `bots` is a list of
statuses, one for each bot of this folder, `journal` is the status that was read from the journal
(null if every book was told by its bot), and `terminal` is the simulated terminal of this folder,
or null. The [other commands](json.md) follow the same rules.

Each status has the fields below, whether its bot runs or not. `schema` in a status is the version
of its fields, now {SCHEMA}. A version only gains fields: ignore fields that you do not know. The
exit code of the command follows from the worst `state`:
{", ".join(f"`{state.value}` {state.exit_code}" for state in State)}.

All times are ISO 8601 in UTC. Volumes are lots, prices are prices of the symbol, money is the
currency of the account. A text is empty, and a list is empty, if there is nothing to say.
"""


def status_page() -> str:
    """Return the page: the fields of `Status`, and of each of its rows."""
    verdicts = ", ".join(f"`{verdict.value}`" for verdict in Verdict)
    parts = [HEAD, _section(Status)]
    parts += [_section(row) for row in _rows()]
    parts.append(f"A `verdict` is one of {verdicts}.\n")
    return "\n".join(parts)


def _rows() -> list[type[msgspec.Struct]]:
    """Return the structs of the rows, in the order of the module."""
    found = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    ]
    return [one for one in found if one.__module__ == module.__name__ and one is not Status]


def _section(struct: type[msgspec.Struct]) -> str:
    summary = (struct.__doc__ or "").splitlines()[0]
    head = ("| field | type | meaning |", "| --- | --- | --- |")
    lines = [f"## {struct.__name__}", "", summary, "", *head]
    lines += [f"| `{name}` | {kind} | {text} |" for name, kind, text in fields(struct)]
    return "\n".join(lines) + "\n"


def fields(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the type and the docstring of each field."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(tree, ast.ClassDef)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        # A field's docstring is the text that follows the field.
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(text, ast.Expr)
            assert isinstance(text.value, ast.Constant)
            # JSON writes Python's None as null.
            words = " ".join(str(text.value.value).split()).replace("None", "null")
            yield field.target.id, _kind(ast.unparse(field.annotation)), words


def _kind(annotation: str) -> str:
    """Return a type as JSON has it."""
    names = {"str": "string", "int": "number", "float": "number", "bool": "boolean"}
    kind = annotation.removesuffix(" | None")
    of = kind.removeprefix("list[").removesuffix("]")
    word = names.get(of) or (f"`{of}`" if of not in ("State", "Verdict") else "string")
    word = f"list of {word}" if kind.startswith("list[") else word
    return f"{word} or null" if annotation.endswith(" | None") else word
