"""What cannot work is one sentence on stderr, with exit code 2; wrong usage is 64."""

from __future__ import annotations

import logging
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli.bot_world import BotWorld
from tests.support.desk_world import BUY, OTHER
from trueup.cli import app
from trueup.cli.operate import bot
from trueup.cli.paper.policy import PAPER_MAGIC, AdoptChoice, Difference, make_policy
from trueup.core.book import events
from trueup.core.model import MarginMode
from trueup.core.policy import Action, Adopt
from trueup.journal import open_journal
from trueup.observe.log import set_up_logging
from trueup.runtime.control import bots
from trueup.runtime.control.bots import Bot
from trueup.runtime.control.state_files import StateFile

BOUND = events.AccountBound(
    at_ns=1, login=1, server="S", currency="USD", margin_mode=MarginMode.HEDGING
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TRUEUP_HOME", "GTW_HOST", "GTW_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str, typed: str = "") -> Result:
    try:
        return CliRunner().invoke(app, list(arguments), input=typed)
    finally:
        set_up_logging(console=False)


def make_journal(name: str, *streams: str) -> None:
    for stream in streams:
        with open_journal(name, stream, now_ns=lambda: 1_767_621_787_000_000_000) as journal:
            journal.append([BOUND])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("plan",), 2, "No bot runs in this folder: start one with `trueup run` or"),
        (("plan", "--bot", "5"), 2, "No bot with process 5 runs in this folder"),
        (("approve", "zombie-1"), 2, "No bot runs in this folder"),
        (("rebind",), 2, "No bot runs in this folder"),
        (
            ("audit",),
            2,
            f"There is no journal {Path('.trueup') / 'paper.db'}: `trueup paper`",
        ),
        (("audit", "--journal", "no.db"), 2, "There is no journal no.db."),
        (("audit", "--journal", "mysql://x"), 64, "mysql:// is no journal: give a file"),
        (("audit", "--since", "noon"), 64, "--since='noon' is not valid: give a time in UTC"),
        (("audit", "--action", "dance"), 64, "--action='DANCE' is not valid: give one of"),
        (("audit", "--json", "--csv"), 64, "--json is given as well: give one"),
        (("replay", "--at", "noon"), 64, "--at='noon' is not valid: give a time in UTC"),
        (("journal", "verify"), 2, "There is no journal"),
        (("journal", "info"), 2, "There is no journal"),
        (("paper", "--journal", "mysql://x"), 64, "mysql:// is no journal"),
        (("paper", "--journal", "a.db", "--no-journal"), 64, "--no-journal is given as well"),
        (("paper", "--ask", "drift", "--alert", "drift"), 64, "--alert='drift' is not valid"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trade", "open", "up", "0.1"), "'side': 'up' is not one of 'buy', 'sell'."),
        (("paper", "--adopt", "me"), "'--adopt': 'me' is not one of 'ours', 'all', 'ask'."),
        (("trade", "open", "buy", "x"), "'volume': 'x' is not valid: it should be a valid number."),
        (("trade", "modify", "x"), "'ticket': 'x' is not valid: it should be a valid integer."),
        (
            ("trade", "modify", "0"),
            "'ticket': '0' is not valid: it should be greater than or equal to 1.",
        ),
    ],
)
def test_a_value_that_cannot_be_is_named_without_the_words_of_a_library(
    arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (64, "")
    assert done.stderr.splitlines()[-1] == f"Error: Invalid value for {said}"


def test_a_stream_that_is_not_there_lists_those_that_are() -> None:
    make_journal("a.db", "EURUSD", "GBPUSD")
    done = run("audit", "--journal", "a.db", "--stream", "X")
    assert done.exit_code == 2
    assert "'EURUSD', 'GBPUSD'" in done.stderr


def test_the_only_stream_is_the_one_that_is_meant() -> None:
    make_journal("a.db", "EURUSD")
    assert "The book belongs to 1@S" in run("audit", "--journal", "a.db").stdout
    csv = run("audit", "--journal", "a.db", "--csv").stdout.splitlines()
    assert csv[0] == "timestamp,position,action,ticket,order_id,details,before,after"
    assert csv[1].startswith("1970-01-01T00:00:00.000+00:00,1,BOUND,,,The book belongs to 1@S")
    assert run("audit", "--journal", "a.db", "--action", "halt", "--json").stdout == "[]\n"
    assert run("audit", "--journal", "a.db", "--since", "1h").stdout == (
        "Nothing happened that fits.\n"
    )


def test_a_journal_that_was_altered_is_named_at_the_first_position(folder: Path) -> None:
    make_journal("a.db", "EURUSD", "EURUSD")
    with sqlite3.connect("a.db") as database:
        database.execute("UPDATE journal_events SET payload = '{}' WHERE position = 1")
    database.close()
    done = run("journal", "verify", "--journal", "a.db")
    assert done.exit_code == 1
    assert "EURUSD: DAMAGED. 0 events proven" in done.stdout
    assert "position 1: " in done.stdout


# A bot in this process.


def told(monkeypatch: pytest.MonkeyPatch, world: BotWorld) -> None:
    """Let every command reach this world at once, with a turn of its loop before each."""

    def answer(_: Bot, command: str, **fields: Any) -> dict[str, Any]:
        world.turn()
        return world.tell(command, **fields)

    monkeypatch.setattr(bot, "find_bots", lambda: [Bot(4711, "tcp://127.0.0.1:1", "EURUSD", "")])
    monkeypatch.setattr("trueup.runtime.control.line.ask_bot", answer)
    monkeypatch.setattr("trueup.runtime.control.line.AGAIN_SEC", 0.0)


def test_rebind_asks_first_and_changes_nothing_without_a_yes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = BotWorld(others=(OTHER,))
    told(monkeypatch, world)
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    assert run("rebind").stdout == (
        "The book belongs to 5000001@Simulated-Demo already: nothing to do.\n"
    )
    assert world.broker.terminal.login(OTHER.login)
    world.loop.last_result = world.broker.sync()
    asked = run("rebind", typed="n\n")
    assert f"  - {ticket} LONG 0.05L @ 1.1001" in asked.stdout
    assert (asked.exit_code, "Nothing was changed." in asked.stderr) == (2, True)
    silent = run("rebind")
    assert (silent.exit_code, "give --yes" in silent.stderr) == (2, True)
    assert world.broker.tickets() == {ticket}
    done = run("rebind", "--yes")
    assert (done.exit_code, done.stdout.split(".")[0]) == (
        0,
        "The book belongs to 5000002@Simulated-Demo now",
    )
    assert world.broker.tickets() == set()


def test_no_plan_is_said_with_its_reason_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    world = BotWorld()
    told(monkeypatch, world)
    world.broker.lose_replies(1_000)
    done = run("plan")
    assert done.exit_code == 1
    assert done.stdout.startswith("No plan    Gateway offline")
    assert "The book stays as it is." in done.stdout


def test_a_bot_that_hangs_is_said_to_and_not_taken_for_no_bot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bots, "ASK_TIMEOUT_MS", 50)
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        StateFile("bot-5.json", Bot).write(Bot(5, endpoint, "EURUSD", ""))
        for arguments in (("plan",), ("approve", "x")):
            done = run(*arguments)
            assert done.exit_code == 2
            assert done.stderr.startswith(f"The bot of this folder, process 5 at {endpoint}, does")
    # A port that refuses is nobody's.
    assert "No bot runs in this folder" in run("plan").stderr


def test_policy_options_come_to_a_policy() -> None:
    made = make_policy(
        "EURUSD",
        [7, 8],
        "",
        AdoptChoice.OURS,
        [Difference.GHOST],
        [Difference.PROTECTION],
        expects_stop_loss=True,
    )
    assert (made.magics, made.comment_prefix, made.adopt) == (frozenset({7, 8}), "", Adopt.OURS)
    assert (made.ghost, made.protection, made.drift) == (Action.ASK, Action.ALERT, Action.APPLY)
    plain = make_policy("EURUSD", None, "", AdoptChoice.ALL, None, None, expects_stop_loss=False)
    assert not plain.names_owners
    asking = make_policy("EURUSD", None, "", AdoptChoice.ASK, None, None, expects_stop_loss=False)
    assert (asking.magics, asking.comment_prefix) == (frozenset({PAPER_MAGIC}), "")


def test_the_state_file_s_folder_that_cannot_be_made_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("TRUEUP_HOME", str(folder / "file" / "home"))
    done = run("paper", "--no-journal", "--duration", "0", "--gateway", "tcp://127.0.0.1:1")
    assert done.exit_code == 2
    assert done.stderr.startswith("A second shell could not reach this bot: ")


def test_a_log_message_is_one_line_whatever_name_is_in_it(folder: Path) -> None:
    """The id of an order comes over the network; it must not add lines of its own to the log."""
    file = folder / "gateway.log"
    set_up_logging(console=False, file=file)
    forged = "A\n2026-01-01 00:00:00.000Z INFO    [RECORD] Order B: FILLED\r\x1b[2K\u2028"
    logging.getLogger("trueup.record").warning("[RECORD] Order %s came again", forged)
    set_up_logging(console=False)
    (line,) = file.read_text("utf-8").splitlines()
    assert "Order A\\n2026-01-01" in line
    assert line.endswith("FILLED\\r\\x1b[2K\\u2028 came again")
