"""The accounts in a table of a database: the entries of the file, each fault by row and column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner, Result

from tests.accounts.test_accounts_file import GOOD
from tests.journal.postgres_server import PostgresServer
from trueup.cli import app
from trueup.doors.accounts.checking import Accounts
from trueup.doors.accounts.entry import KEYS, AccountEntry
from trueup.doors.accounts.file import AccountsFile, read_accounts
from trueup.doors.accounts.source import source_of
from trueup.doors.accounts.table import COLUMNS, AccountsTable, rows_of
from trueup.errors import JournalError, SettingsError, TrueupError


@pytest.fixture
def table(url: str) -> Iterator[AccountsTable]:
    with closing(AccountsTable(url)) as made:
        yield made


def sql(url: str, statement: str, *parameters: object) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode(), parameters)


def told(found: Accounts) -> dict[str, str]:
    """Return the last fault of each account, by name."""
    return {name: str(error) for name, error in found.faults}


def plain(entry: AccountEntry) -> dict[str, Any]:
    """The values of an entry, without that in which the file and the table differ: their names."""
    settings = entry.settings.model_dump()
    return {**msgspec.structs.asdict(entry), "settings": settings, "who": ""}


def written(folder: Path, text: str) -> Path:
    path = folder / "accounts.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_table_has_a_column_for_each_key_of_the_file() -> None:
    assert set(COLUMNS) == {"name", *KEYS}


def test_the_accounts_of_a_file_are_the_same_in_the_table(
    table: AccountsTable, tmp_path: Path
) -> None:
    more = """
[accounts.gamma]
gateway = "tcp://127.0.0.1:5557"
magic = 18446744073709551615
symbols = "EURUSD,GBPUSD"
adopt = "ask"
ask = ["zombie"]
alert = "ghost"
comment_prefix = "mine"
volume = 0.5
pace = 2
real_money = true
expects_stop_loss = true
timeout_ms = 300
limits = { lots_per_symbol = { EURUSD = 0.5 } }
"""
    path = written(tmp_path, GOOD + more)
    table.make(rows_of(path))
    found, wanted = table.read(), read_accounts(path)
    assert not wanted.faults
    assert not found.faults
    assert len(found.entries) == 3
    assert [plain(one) for one in found.entries] == [plain(one) for one in wanted.entries]
    assert {one.who for one in found.entries} == {"trueup_accounts"}


def test_an_account_without_a_journal_has_its_book_beside_the_table(
    url: str, table: AccountsTable
) -> None:
    """So no password has to be in the table."""
    table.make([{"name": "a", "gateway": "tcp://127.0.0.1:1"}])
    (entry,) = table.read().entries
    assert entry.settings.trueup_journal == url


def test_each_fault_is_named_by_table_row_and_column_and_the_others_are_used(
    url: str, table: AccountsTable
) -> None:
    def row(name: str, port: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "gateway": f"tcp://127.0.0.1:{port}", **more}

    table.make(
        [
            row("whole", 1, paused=True),
            row("number", 2, magic=-1),
            {"name": "none"},
            row("a/b", 3),
            row("limit", 4, limits={"lots": -1}),
            row("limits", 5, limits=7),
            row("owner", 6, adopt="ask"),
            row("half", 7, server_key="gateway.key"),
            row("again", 1),
            row("typo", 8),
        ]
    )
    sql(url, "ALTER TABLE trueup_accounts ADD COLUMN strategie TEXT")
    sql(url, "UPDATE trueup_accounts SET strategie = 'a:B' WHERE name = 'typo'")
    found = table.read()
    # By name; the second of two that count the same positions has the fault.
    assert [entry.name for entry in found.entries] == ["again"]
    faults = told(found)
    assert faults.pop("number") == (
        "trueup_accounts: row number, column magic='-1' is not valid: give a whole number from 0 "
        "to 2**64 - 1."
    )
    for name, said in {
        "none": "row none, column gateway='' is not valid: give tcp://HOST:PORT",
        "a/b": "row a/b='a/b' is not valid: name an account with at most 64 letters",
        "limit": "row limit, column limits.lots='-1' is not valid: give lots above 0",
        "limits": "column limits='7' is not valid: give limits by name, as { lots = 1.0 } in a "
        'file and {"lots": 1.0} in a table',
        "owner": "row owner, column adopt='ask' is not valid: it needs magic or comment_prefix",
        "half": "row half, column key_file='' is not valid: server_key is set",
        "typo": "column strategie='***' is not valid: did you mean strategy?",
        "whole": "column magic='None' is not valid: row again counts the same positions",
    }.items():
        assert said in faults.pop(name), name
    assert not faults


def test_a_bad_default_stops_the_accounts_that_take_it_and_no_other(table: AccountsTable) -> None:
    table.make(
        [
            {"name": "*", "interval": 0},
            {"name": "own", "gateway": "tcp://127.0.0.1:1", "interval": 3},
            {"name": "takes", "gateway": "tcp://127.0.0.1:2"},
        ]
    )
    found = table.read()
    assert [entry.name for entry in found.entries] == ["own"]
    ((name, error),) = found.faults
    assert name == ""
    assert str(error).startswith("trueup_accounts: row *, column interval='0' is not valid")


def test_a_table_that_was_made_by_hand_with_other_types_is_read(
    url: str, table: AccountsTable
) -> None:
    sql(
        url, "CREATE TABLE trueup_accounts (name VARCHAR(9), gateway TEXT, magic TEXT, limits JSON)"
    )
    row = ("a", "tcp://127.0.0.1:1", "7", '{"lots": 1}')
    sql(url, "INSERT INTO trueup_accounts VALUES (%s, %s, %s, %s)", *row)
    (entry,) = table.read().entries
    assert (entry.magics, entry.limits.lots) == ((7,), 1)


# Changes.


def test_a_change_is_seen_once_it_is_committed_and_until_it_is_read(
    url: str, table: AccountsTable
) -> None:
    table.make([{"name": "a", "gateway": "tcp://127.0.0.1:1"}])
    assert len(table.read().entries) == 1
    assert not table.has_changed()
    changes = (
        "INSERT INTO trueup_accounts (name, gateway) VALUES ('b', 'tcp://127.0.0.1:2')",
        "UPDATE trueup_accounts SET paused = true WHERE name = 'b'",
        "UPDATE trueup_accounts SET paused = NULL WHERE name = 'b'",
        "DELETE FROM trueup_accounts WHERE name = 'b'",
    )
    for change in changes:
        with psycopg.connect(url) as connection:
            connection.execute(change.encode())
            assert not table.has_changed()
        assert table.has_changed()
        assert table.has_changed()
        table.read()
        assert not table.has_changed()
    sql(url, "UPDATE trueup_accounts SET name = name")
    assert not table.has_changed()


def test_a_table_that_is_gone_or_empty_is_refused_as_a_whole(
    url: str, table: AccountsTable
) -> None:
    with pytest.raises(SettingsError, match="there is no table trueup_accounts; `trueup config"):
        table.read()
    assert not table.has_changed()
    table.make([])
    with pytest.raises(SettingsError, match="trueup_accounts='' is not valid: it has no account"):
        table.read()
    sql(url, "INSERT INTO trueup_accounts (name) VALUES ('*')")
    assert table.has_changed()
    with pytest.raises(SettingsError, match="it has no account"):
        table.read()
    sql(url, "DROP TABLE trueup_accounts; CREATE TABLE trueup_accounts (account TEXT)")
    with pytest.raises(SettingsError, match="it needs a column name"):
        table.read()


def test_while_the_server_is_away_nothing_has_changed_and_that_is_told_once(
    postgres_server: PostgresServer,
    url: str,
    table: AccountsTable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table.make([{"name": "a", "gateway": "tcp://127.0.0.1:1"}])
    table.read()
    sql(url, "UPDATE trueup_accounts SET paused = true")
    postgres_server.stop()
    try:
        for _ in range(2):
            # The first look meets the broken connection, the next ones no server.
            assert not table.has_changed()
        count = caplog.text.count("are not seen")
        assert not table.has_changed()
        assert caplog.text.count("are not seen") == count
        with pytest.raises(JournalError):
            table.read()
    finally:
        postgres_server.start()
    assert table.has_changed()
    assert table.read().entries[0].is_paused


def test_a_change_whose_rows_could_not_be_read_is_read_at_the_next_look(
    url: str, table: AccountsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.make([{"name": "a", "gateway": "tcp://127.0.0.1:1"}])
    table.read()
    sql(url, "UPDATE trueup_accounts SET paused = true")
    fetch = table._database.fetch

    def lost(statement: str, *parameters: object) -> list[Any]:
        if "to_jsonb" in statement:
            fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        return fetch(statement, *parameters)

    with monkeypatch.context() as patched:
        patched.setattr(table._database, "fetch", lost)
        with pytest.raises(JournalError):
            table.read()
    assert table.has_changed()
    assert table.read().entries[0].is_paused
    assert not table.has_changed()


def test_a_file_that_is_replaced_has_changed_and_one_that_is_away_has_not(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    source = source_of(str(path))
    assert isinstance(source, AccountsFile)
    source.read()
    assert not source.has_changed()
    path.rename(tmp_path / "away.toml")
    assert not source.has_changed()
    written(tmp_path, f"{GOOD}\n")
    assert source.has_changed()
    source.read()
    assert not source.has_changed()


# The commands.


def config(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", *arguments])


def test_the_table_is_made_filled_and_shown_by_commands(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, GOOD)
    done = config("init", "--accounts", url, "--from", "accounts.toml")
    assert done.exit_code == 0, done.output
    assert "Made the table trueup_accounts of PostgreSQL database" in done.stdout
    assert "with 3 rows" in done.stdout
    again = config("init", "--accounts", url)
    assert again.exit_code == 2
    assert "already; it was left as it is" in again.stderr
    shown = json.loads(config("show", "--accounts", url, "--json").stdout)
    assert [row["name"] for row in shown["accounts"]] == ["alpha", "beta"]
    assert shown["accounts"][0]["limits"] == {"lots": 1.0, "positions": 5}
    sql(url, "UPDATE trueup_accounts SET volume = -1 WHERE name = 'beta'")
    bad = config("show", "--accounts", url)
    assert bad.exit_code == 64
    assert "trueup_accounts: row beta, column volume='-1' is not valid" in bad.stderr
    assert "1 account can run; 1 with a fault cannot." in bad.stdout


def test_a_file_with_a_fault_makes_no_table(url: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "\n[accounts.bad]\nmagic = 7\n")
    done = config("init", "--accounts", url, "--from", str(path))
    assert done.exit_code == 64
    assert "[accounts.bad] gateway=''" in done.stderr
    with closing(AccountsTable(url)) as table, pytest.raises(SettingsError, match="no table"):
        table.read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "--accounts", "mysql://here/bot"), "mysql:// is no list of accounts"),
        (("init", "--accounts", "accounts.toml"), "a table is in a database"),
        (("init", "--from", "accounts.toml"), "--from fills a table"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = config(*arguments)
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (64, True), done.stderr


def test_no_password_is_shown(tmp_path: Path) -> None:
    url = f"postgresql://bot:s3cret@/books?host={tmp_path}"
    done = config("show", "--accounts", url)
    assert done.exit_code == 2
    assert "every user of this machine can read the password in --accounts" in done.stderr
    assert "cannot be reached" in done.stderr
    assert "s3cret" not in done.output
    with pytest.raises(TrueupError) as refused, closing(AccountsTable(url)) as table:
        table.make([])
    assert "s3cret" not in str(refused.value)
