"""`trueup pause`, `close-only` and `resume`: beside a bot in this process, and in processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from tests.cli.beside import Beside, flat
from tests.cli.bot_world import FACTS
from tests.cli.test_bot_processes import start
from tests.paper.test_paper_processes import Shell
from trueup.cli import app
from trueup.errors import JournalError, Paused
from trueup.observe.status.status import State
from trueup.observe.status_text import write_status
from trueup.runtime.control.commands.command import OLDEST_SEC


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Beside:
    return Beside(monkeypatch)


def test_a_pause_says_what_it_does_and_what_stays_at_the_broker(beside: Beside) -> None:
    ticket = beside.pm.submit("buy", 0.1, limit=1.05).ticket
    done = beside.run("pause", "--who", "Ada", "--why", "lunch")
    assert done.exit_code == 0
    assert flat(done) == (
        "Now paused by Ada (lunch). Nothing that the strategy asks for is sent; syncs and "
        "`trueup close` go on. `trueup resume` ends this. "
        f"Stays {ticket} BUY LIMIT 0.10L @ 1.05: it may still be executed."
    )
    assert max(map(len, done.output.splitlines())) <= 80
    again = beside.run("pause", "--who", "Bob")
    assert again.exit_code == 0
    assert flat(again).startswith("Already paused by Ada (lunch) since 2023-11-14 22:13:20 UTC: ")
    assert beside.pm.paused is not None
    assert (beside.pm.paused.by, beside.pm.paused.why) == ("Ada", "lunch")


def test_close_only_and_resume(beside: Beside) -> None:
    done = beside.run("close-only", "--who", "Ada", "--json")
    said = json.loads(done.stdout)
    assert (said["mode"], said["by"], said["why"]) == ("close_only", "Ada", "")
    assert (said["changed"], said["journalled"], said["trouble"]) == (True, True, "")
    with pytest.raises(Paused):
        beside.pm.submit("buy", 0.1)
    ended = beside.run("resume", "--who", "Bob")
    assert flat(ended) == (
        "Every order is allowed again; only closes are allowed by Ada since "
        "2023-11-14 22:13:20 UTC."
    )
    assert flat(beside.run("resume")) == "Nothing to resume: every order is allowed."
    assert json.loads(beside.run("resume", "--json").stdout)["changed"] is False
    assert (beside.world.status().refused, beside.world.status().mode) == ([], None)


@pytest.mark.parametrize("name", ["close-only", "resume"])
def test_what_a_hung_bot_takes_late_lifts_no_pause(name: str, beside: Beside) -> None:
    beside.run("pause", "--who", "Ada")
    then_ns = beside.pm.clock.now_ns()
    beside.broker.wait(OLDEST_SEC + 1)
    late = beside.answer(name, who="Bob", at_ns=then_ns)
    assert "the bot was busy or hung until now" in late["error"]
    assert beside.pm.is_paused
    assert beside.answer(name, who="Bob", at_ns=beside.pm.clock.now_ns())["changed"]
    # A word that restricts is never too late.
    assert beside.answer("pause", who="Ada", at_ns=then_ns)["changed"]
    assert beside.pm.is_paused


def test_status_says_who_and_why(beside: Beside) -> None:
    beside.run("close-only", "--who", "Ada", "--why", "the news")
    status = beside.world.status()
    (row,) = status.refused
    assert row.reason == "only closes are allowed by Ada: the news"
    assert "trueup resume" in row.until
    assert status.sentence == (
        "Both books are flat; only closes are allowed by Ada: the news. Nothing is yours to do."
    )
    assert status.state is State.AGREES
    assert status.works == "Entries wait; exits and stops work."
    assert "Mode       only closes are allowed by Ada: the news, since " in write_status(status)


def test_without_a_journal_a_pause_holds_and_says_that_it_is_in_memory(beside: Beside) -> None:
    beside.journal.refuse = JournalError("the disk is full")
    done = beside.run("pause", "--who", "Ada")
    assert done.exit_code == 0
    assert "It takes nothing now, the disk is full: this is kept in memory" in flat(done)
    # What the journal never had needs no journal to end; anything else waits for the journal.
    assert beside.run("resume").exit_code == 0
    beside.journal.refuse = None
    beside.run("pause")
    beside.journal.refuse = JournalError("the disk is full")
    refused = beside.run("resume")
    assert (refused.exit_code, "the disk is full" in flat(refused)) == (2, True)
    assert beside.pm.is_paused


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pause", ["pause"]),
        ("close-plan", ["close", "all", "--yes"]),
        ("sync", ["sync"]),
        ("stop", ["stop"]),
    ],
)
def test_a_bot_of_an_earlier_release_is_named(
    beside: Beside, name: str, arguments: list[str]
) -> None:
    commands: Any = beside.world.desk._commands
    commands.pop(name)
    done = beside.run(*arguments)
    assert done.exit_code == 2
    assert f"The bot, process {FACTS.pid}, is of an earlier release and does not know" in flat(done)
    assert f"`trueup {arguments[0]}`: nothing was changed" in flat(done)


def test_fields_that_the_bot_does_not_know_change_nothing(beside: Beside) -> None:
    assert beside.answer("pause", who="Ada", later="a field of a later release")["ok"]


def test_a_name_that_is_no_text_is_refused_and_the_bot_goes_on(beside: Beside) -> None:
    raw = b'{"command": "pause", "who": "\\ud800"}'
    answer = msgspec.json.decode(beside.world.desk.handle(raw))
    assert answer["ok"] is False
    assert beside.pm.paused is None


# Processes.


def test_a_paused_bot_that_is_killed_starts_paused_and_says_so(shell: Shell) -> None:
    buyer = "class Buyer:\n    def on_tick(self, tick):\n        return 1\n"
    (shell.folder / "buyer.py").write_text(buyer, encoding="utf-8")
    options = ("paper", "--strategy", "buyer:Buyer")
    first = shell.start("first.log", *options)
    first.wait_for("[FILL] CONFIRMED")
    # The position of the bot goes by hand, and a bot that is not paused would buy again.
    told = shell.ask("pause", "--who", "Ada", "--why", "the night", "--json")
    assert json.loads(told.stdout)["journalled"] is True
    first.child.kill()
    first.child.wait()
    assert "trading is paused by Ada: the night" in " ".join(shell.ask("status").stdout.split())
    ticket = first.text().partition("Ticket=")[2].partition(",")[0]
    assert shell.ask("trade", "close", ticket).returncode == 0
    again = shell.start("again.log", *options)
    again.wait_for("[PERSON] As before the restart, trading is paused by Ada: the night")
    again.wait_for("[SYNC] State Reconciled")
    assert "[ORDER]" not in again.text()
    assert shell.ask("resume", "--who", "Ada").returncode == 0
    again.wait_for("[FILL] CONFIRMED")
    trail = shell.ask("audit", "--action", "PERSON").stdout
    assert "Ada paused trading (the night)" in " ".join(trail.split())
    assert "Ada resumed trading" in trail


def test_of_two_bots_in_a_folder_the_named_one_is_paused(shell: Shell) -> None:
    first = start(shell, "first.log", "--no-journal")
    first.wait_for("[STARTUP] No recovery needed")
    second = start(shell, "second.log", "--no-journal")
    second.wait_for("[STARTUP] No recovery needed")
    which = shell.ask("pause")
    assert (which.returncode, "give --bot PID" in which.stderr) == (2, True)
    done = shell.ask("pause", "--who", "Ada", "--bot", str(second.child.pid))
    assert done.returncode == 0
    second.wait_for("[PERSON] Ada paused trading")
    assert "[PERSON]" not in first.text()


def test_a_folder_without_a_bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["pause"])
    assert (done.exit_code, "No bot runs in this folder" in done.stderr) == (2, True)
