"""`trueup config`: show every setting with the place that it came from, and write a first file."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from trueup.cli.shared.accounts_place import accounts_option
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.cli.shared.usage import WrongUsage
from trueup.core.limits.limits import Limits
from trueup.errors import SettingsError, TrueupError, reason
from trueup.passwords import HIDDEN, hide_passwords
from trueup.private import make_private
from trueup.setting_places import TOML_FILE
from trueup.settings import (
    Settings,
    given_settings,
    is_secret,
    limits_setting,
    load_settings,
    valid_values,
)

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show the settings and their places; write a file.",
)
DEFAULT, EMPTY = "default", "-"
COLUMNS = 80
# What a setting is named that holds a secret, or a key (or the path of the key's file).
_SECRET_NAME = re.compile(r"(?:.*_)?(?:password|secret|token)")
_KEY_NAME, _KEY = re.compile(r".*_key"), re.compile(r"\S{40}")
_HEAD = """\
# The settings of trueup for the programs of this folder. Every line is a comment: a setting counts
# once you remove its # and change its value. The environment comes first, then .env, then this file
# (`trueup config show` says which). Do not share a file with a password in it.
"""
_LIMITS = """
# Risk limits: docs/operating/limits.md has them all.
# [limits]
# lots = 1.0
# daily_loss = 500.0
"""


class Row(NamedTuple):
    """A setting: its name, its value, and the place that the value came from.

    `value` is as text, with secrets hidden. `over` are the further places that set it in vain.
    """

    name: str
    value: str
    source: str
    over: tuple[str, ...] = ()


@app.command()
def show(
    as_json: JsonOption = False,
    accounts: Annotated[
        str | None,
        accounts_option("Show the accounts of this file, or of the table in this database."),
    ] = None,
) -> None:
    """Show each setting with its value and the place that it came from.

    The place is the environment, .env, trueup.toml or the default. Passwords and keys are hidden.
    With --accounts, each account of the list is shown, and each fault is named by its place.
    Exit code 64: a setting is not valid; the settings are shown as they are given.
    """
    if accounts is not None:
        from trueup.cli.inspect.accounts_shown import show_accounts

        show_accounts(accounts, as_json=as_json)
        return
    trouble = None
    try:
        values = load_settings().model_dump()
    except SettingsError as error:
        values, trouble = {}, error
    rows = _rows(values)
    limits = {} if trouble is not None else _limits(limits_setting())
    if as_json:
        print_document(
            "config show", {"settings": [row._asdict() for row in rows], "limits": limits}
        )
    else:
        say("\n".join(_table(rows)))
        said = ", ".join(f"{name} {value}" for name, value in limits.items()) or EMPTY
        say("\n".join(textwrap.wrap(f"Limits: {said}", COLUMNS, subsequent_indent="  ")))
    if trouble is not None:
        raise trouble


@app.command()
def init(
    force: Annotated[
        bool, typer.Option("--force", help=f"Replace a {TOML_FILE} that is there.")
    ] = False,
    accounts: Annotated[
        str | None,
        accounts_option("Make the table of accounts in this database instead: postgresql://..."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Fill the table with the accounts of a file."),
    ] = None,
) -> None:
    """Write a trueup.toml that has every setting as a comment, with its meaning.

    With --accounts, make the table of accounts in a PostgreSQL database instead.
    """
    if accounts is not None:
        from trueup.cli.inspect.accounts_shown import make_table

        make_table(accounts, source)
        return
    if source is not None:
        raise WrongUsage("--from fills a table: give its database with --accounts.")
    path = Path(TOML_FILE)
    if path.exists() and not force:
        raise TrueupError(f"{path} is there already, and was left as it is: --force replaces it.")
    make_private(path)
    try:
        path.write_text(template(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise TrueupError(f"{path} cannot be written: {reason(error)}.") from error
    say(f"Wrote {path}. Remove the # of each setting that you change; then `trueup config show`.")


def template() -> str:
    """Return the text of a trueup.toml with every setting as a comment."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        value = extra["example"] if field.default is None else field.default
        about = f"{field.description} Valid: {valid_values(name).removeprefix('give ')}."
        lines = textwrap.wrap(about, 98, break_long_words=False, break_on_hyphens=False)
        comment = "\n".join(f"# {line}" for line in lines)
        parts.append(f"{comment}\n# {name} = {json.dumps(value)}\n")
    return "\n".join(parts) + _LIMITS


def _rows(values: dict[str, Any]) -> list[Row]:
    """Return a row for each setting.

    Args:
        values: the values that count, by field; a missing one is shown as it is given.
    """
    given = given_settings()
    rows = []
    for name, field in Settings.model_fields.items():
        places = [place for place, found in given.items() if name in found]
        raw = given[places[0]][name] if places else field.default
        source, *over = [*places, DEFAULT]
        text = _text(name, values.get(name, raw))
        rows.append(Row(name.upper(), text, source, tuple(over[:-1])))
    return rows


def _text(name: str, value: object) -> str:
    """Return a value as text for people; of a secret, only whether there is one."""
    if value is None or value == "":
        return ""
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if (
        is_secret(name)
        or _SECRET_NAME.fullmatch(name)
        or (_KEY_NAME.fullmatch(name) and _KEY.fullmatch(text))
    ):
        return HIDDEN
    return hide_passwords(text)


def _limits(limits: Limits) -> dict[str, Any]:
    """Return the limits that differ from the defaults, as plain values."""
    usual = msgspec.structs.asdict(Limits())
    found = msgspec.structs.asdict(limits)
    plain = {name: dict(v) if isinstance(v, Mapping) else v for name, v in found.items()}
    return {name: value for name, value in plain.items() if value != usual[name]}


def _table(rows: list[Row]) -> list[str]:
    wide = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        source = row.source + (f" (over {', '.join(row.over)})" if row.over else "")
        line = f"{row.name:<{wide}}  {row.value or EMPTY:<24}  {source}"
        if len(line) > COLUMNS:
            lines.append(f"{row.name:<{wide}}  {row.value or EMPTY}")
            line = f"{'':<{wide}}  {source:>{COLUMNS - wide - 2}}"
        lines.append(line)
    return lines
