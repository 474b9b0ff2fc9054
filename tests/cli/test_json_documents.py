"""Every command that reads prints JSON, and docs/reference/json.md has all of its fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scripts.cli_page import commands, options
from tests.cli.json_examples import EXAMPLES, Place, objects, paths
from tests.journal.conftest import postgres_server as postgres_server
from trueup.cli.shared.json_document import schema_of

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/json.md").read_text("utf-8")
NAMES = {name.removeprefix("trueup "): command for name, command in commands()}
# What runs, acts without an answer to read, or prints a script.
DOES_NOT_READ = {
    "paper",
    "run",
    "run install",
    "fleet node",
    "terminal",
    "sim",
    "sim fleet",
    "sim incident",
    "gateway",
    "gateway install",
    "metrics",
    "page",
    "mcp",
    "trade open",
    "trade close",
    "trade partial",
    "trade modify",
    "keys new",
    "completion",
    "journal backup",
    "journal mend",
    "journal restore",
    "journal partition",
    "config init",
    "export database",
}
# Objects that are for this program alone, or belong to a page of their own.
NOT_LISTED = {
    "conformance": ("noted.",),
    "status": ("bots[].", "terminal.", "journal."),
}


def test_every_command_that_reads_takes_json() -> None:
    """A new command goes into one of the two: `EXAMPLES`, or `DOES_NOT_READ` above."""
    with_json = {name for name, command in NAMES.items() if "--json" in options(command)}
    assert with_json == set(NAMES) - DOES_NOT_READ
    assert with_json == set(EXAMPLES), "give each an example in tests/cli/json_examples.py"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_has_every_field(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    for setting in ("GTW_HOST", "GTW_PORT", "GTW_SERVER_KEY", "GTW_KEY_FILE", "TRUEUP_HOME"):
        monkeypatch.delenv(setting, raising=False)
    section = PAGE.partition(f"## `trueup {name}`\n")[2].partition("\n## ")[0]
    schema = schema_of(name)
    assert f"Schema `{schema}`" in section
    listed = set(re.findall(r"`([^`]+)`", section)) | {"schema"}
    place = Place(tmp_path, monkeypatch, lambda: request.getfixturevalue("postgres_server"))
    found = list(objects(EXAMPLES[name](place)))
    assert found
    for document in found:
        assert next(iter(document)) == "schema"
        assert document["schema"] == schema
        not_listed = NOT_LISTED.get(name, ())
        fields = [path for path in paths(document) if not path.startswith(not_listed)]
        assert [field for field in fields if field not in listed] == []


def test_an_empty_list_is_an_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path, monkeypatch)
    EXAMPLES["audit"](place)
    assert place.run("audit", "--journal", "bot.db", "--action", "halt") == []


def test_a_schema_is_the_command_and_a_version() -> None:
    assert schema_of("journal verify") == "trueup/journal-verify/1"
    listed: list[Any] = re.findall(r"^## `trueup (.*)`$", PAGE, flags=re.MULTILINE)
    assert listed == list(EXAMPLES)
