"""`accounts.toml`: defaults and accounts, each fault named by file, table and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trueup.cli import app
from trueup.core.limits.limits import Limits
from trueup.doors.accounts.checking import Accounts
from trueup.doors.accounts.file import read_accounts
from trueup.errors import SettingsError

GOOD = """
[defaults]
interval = 1
journal = "books.db"
strategy = "my_bot:Breakout"
[defaults.limits]
lots = 2.0
positions = 5

[accounts.alpha]
gateway = "tcp://127.0.0.1:5555"
account = "5000001@Demo"
symbols = ["EURUSD", "GBPUSD"]
magic = 7
[accounts.alpha.limits]
lots = 1.0

[accounts.beta]
gateway = "tcp://[::1]:5556"
interval = 15
strategy = ""
paused = true
"""


def read(folder: Path, text: str) -> Accounts:
    path = folder / "accounts.toml"
    path.write_text(text, "utf-8")
    return read_accounts(path)


def faults(folder: Path, text: str) -> dict[str, str]:
    """Return the last fault of each account of a text, by name."""
    return {name: str(error) for name, error in read(folder, text).faults}


def test_an_account_has_the_defaults_and_its_own_values_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Settings of the environment belong to single bots: no account takes them.
    monkeypatch.setenv("TRUEUP_MAGIC", "99")
    monkeypatch.setenv("TRUEUP_ACCOUNT", "1@Other")
    alpha, beta = read(tmp_path, GOOD).entries
    assert (alpha.name, alpha.endpoint.url) == ("alpha", "tcp://127.0.0.1:5555")
    assert (alpha.symbols, alpha.magics) == (("EURUSD", "GBPUSD"), (7,))
    assert (alpha.settings.sync_interval_sec, beta.settings.sync_interval_sec) == (1, 15)
    assert alpha.limits == Limits(lots=1.0, positions=5)
    assert beta.limits == Limits(lots=2.0, positions=5)
    assert (alpha.settings.trueup_strategy, beta.settings.trueup_strategy) == (
        "my_bot:Breakout",
        "",
    )
    assert beta.settings.trueup_journal == "books.db"
    (plain,) = read(tmp_path, '[accounts.a]\ngateway = "tcp://127.0.0.1:1"\n').entries
    # Without a journal, an order in doubt would be forgotten at the end of the process.
    assert Path(plain.settings.trueup_journal).name == "accounts.db"
    assert (beta.magics, beta.settings.trueup_account, beta.is_paused) == ((), "", True)


def test_a_bad_entry_is_named_by_file_table_and_key_and_the_others_are_used(
    tmp_path: Path,
) -> None:
    text = """
[accounts.whole]
gateway = "tcp://127.0.0.1:1"
[accounts.number]
gateway = "tcp://127.0.0.1:2"
magic = "seven"
[accounts.endpoint]
gateway = "127.0.0.1:3"
[accounts.none]
[accounts.name]
gateway = "tcp://127.0.0.1:4"
strategie = "a:B"
[accounts.limit]
gateway = "tcp://127.0.0.1:5"
limits = { lots = -1 }
[accounts.owner]
gateway = "tcp://127.0.0.1:6"
adopt = "ask"
[accounts.half]
gateway = "tcp://127.0.0.1:7"
server_key = "gateway.key"
[accounts.flag]
gateway = "tcp://127.0.0.1:8"
paused = "no"
[accounts."a/b"]
gateway = "tcp://127.0.0.1:9"
"""
    found = read(tmp_path, text)
    assert [entry.name for entry in found.entries] == ["whole"]
    told = {name: str(error) for name, error in found.faults}
    assert told["number"] == (
        "accounts.toml: [accounts.number] magic='seven' is not valid: give a whole number from 0 "
        "to 2**64 - 1."
    )
    for name, said in {
        "endpoint": "[accounts.endpoint] gateway='127.0.0.1:3' is not valid: give tcp://HOST:PORT",
        "none": "[accounts.none] gateway='' is not valid: give tcp://HOST:PORT",
        "name": "strategie='***' is not valid: did you mean strategy? the keys are gateway",
        "limit": "limits.lots='-1' is not valid: give lots above 0",
        "owner": "adopt='ask' is not valid: it needs magic or comment_prefix",
        "half": "key_file='' is not valid: server_key is set: give the path of a secret key file",
        "flag": "paused='no' is not valid: give true or false",
        "a/b": "is not valid: name an account with at most 64 letters",
    }.items():
        assert said in told[name], name


def test_a_bad_default_stops_the_accounts_that_take_it_and_no_other(tmp_path: Path) -> None:
    text = """
[defaults]
magic = -1
[accounts.takes]
gateway = "tcp://127.0.0.1:1"
[accounts.own]
gateway = "tcp://127.0.0.1:2"
magic = 7
"""
    found = read(tmp_path, text)
    assert [entry.name for entry in found.entries] == ["own"]
    ((name, error),) = found.faults
    assert name == ""
    assert str(error).startswith("accounts.toml: [defaults] magic='-1' is not valid")


@pytest.mark.parametrize(
    ("second", "is_one"),
    [
        ("magic = 7", True),
        ("", True),
        ("magic = 8", False),
        ('magic = 7\nsymbols = ["GBPUSD"]', False),
        ('account = "2@B"\nmagic = 7', False),
        ('magic = 8\nadopt = "all"', True),
    ],
)
def test_two_entries_that_count_the_same_positions_are_named(
    tmp_path: Path, second: str, is_one: bool
) -> None:
    first = 'gateway = "tcp://127.0.0.1:1"\nmagic = 7\naccount = "1@B"\nsymbols = ["EURUSD"]'
    text = f'[accounts.a]\n{first}\n[accounts.b]\ngateway = "tcp://127.0.0.1:1"\n{second}\n'
    found = read(tmp_path, text)
    assert [entry.name for entry in found.entries] == (["a"] if is_one else ["a", "b"])
    assert [name for name, _ in found.faults] == (["b"] if is_one else [])
    assert all("[accounts.a] counts the same positions" in str(error) for _, error in found.faults)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no account: the tables are"),
        ("[accounts]\n", "it has no account"),
        ("accounts = 3\n", "accounts='3' is not valid: the tables are"),
        ("[account.alpha]\n", "accounts.toml: account="),
        ("[accounts.a\n", "write name = value"),
        ('password = "s3cret"\n', "password='***'"),
    ],
)
def test_a_file_without_accounts_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


def shown(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", "show", "--accounts", *arguments])


def test_the_accounts_are_shown_without_passwords_and_the_faults_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "postgresql://bot:s3cret@db.example/books"
    text = GOOD.replace("books.db", url) + '\n[accounts.bad]\njournal = 1\npasswort = "s3cret"\n'
    (tmp_path / "accounts.toml").write_text(text, "utf-8")
    done = shown("accounts.toml")
    assert done.exit_code == 64, done.output
    assert "alpha      gateway tcp://127.0.0.1:5555" in done.stdout
    assert "2 accounts can run; 1 with a fault cannot." in done.stdout
    assert "[accounts.bad] passwort='***'" in done.stderr
    document = json.loads(shown("accounts.toml", "--json").stdout)
    assert [row["name"] for row in document["accounts"]] == ["alpha", "beta"]
    assert document["accounts"][0]["limits"] == {"lots": 1.0, "positions": 5}
    assert [row["account"] for row in document["faults"]] == ["bad", "bad"]
    for output in (done.output, json.dumps(document)):
        assert "s3cret" not in output
    missing = shown("missing.toml")
    assert (missing.exit_code, "Traceback" in missing.output) == (64, False)
    assert "give the path of a TOML file with accounts" in missing.stderr
