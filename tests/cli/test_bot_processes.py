"""A bot in one process, a person in a second shell, the broker in a third."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Running, Shell
from trueup.cli import app


def start(shell: Shell, name: str, *options: str) -> Running:
    return shell.start(name, "paper", "--strategy", "idle:Idle", *options)


@pytest.fixture
def reader(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(shell.folder)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    return Reader()


class Reader:
    """Gives a command in this process: a process of its own takes a second to start."""

    def run(self, *arguments: str) -> Result:
        """Give a command in the shell's folder."""
        return CliRunner().invoke(app, list(arguments))


def opened_by_hand(shell: Shell) -> int:
    return int(shell.ask("trade", "open", "buy", "0.05").stdout.split()[2].rstrip(","))


def test_a_person_sees_a_plan_says_yes_and_finds_it_in_the_journal_after_a_kill(
    shell: Shell, reader: Reader
) -> None:
    bot = start(shell, "first.log", "--adopt", "ask")
    bot.wait_for("[STARTUP] No recovery needed")
    ticket = opened_by_hand(shell)
    bot.wait_for("[HOLD] EURUSD: zombie on ticket")

    plan = shell.ask("plan")
    assert (plan.returncode, plan.stderr) == (1, "")
    assert f"zombie on ticket {ticket}, LONG 0.05L" in plan.stdout
    (hold_id,) = json.loads(shell.ask("plan", "--json").stdout)["waiting"]
    assert hold_id in plan.stdout
    refused = shell.ask("approve", "zombie-0")
    assert (refused.returncode, hold_id in refused.stderr) == (2, True)
    waiting = shell.ask("status")
    assert waiting.returncode == 1
    assert waiting.stdout.startswith("The books differ by one position. One decision is yours.")
    assert f"yes, `trueup approve {hold_id}`: the book adopts it" in waiting.stdout
    assert "[RECOVERY]" not in bot.text()

    nothing = shell.ask("settle", "ORD_9", "--never-executed", "--yes")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "The book has no order 'ORD_9'. In doubt: none." in nothing.stderr

    done = shell.ask("approve", hold_id)
    assert (done.returncode, "carried out" in done.stdout) == (0, True), done
    assert f"[RECOVERY] Zombie position recovered: Ticket {ticket}, LONG 0.05L" in bot.text()
    status = shell.ask("status", "--json")
    (said,) = json.loads(status.stdout)["bots"]
    assert (status.returncode, said["needs"], said["to_decide"]) == (0, [], [])
    assert [row["ticket"] for row in said["books"]] == [ticket]

    # The journal has one writer, and says who.
    second = shell.run("paper", "--duration", "1")
    assert second.returncode == 2
    assert f"is being written by trueup paper (process {bot.child.pid} on " in second.stderr

    alive = shell.ask("audit")
    bot.child.kill()
    bot.child.wait()
    dead = reader.run("audit")
    assert (alive.stdout, dead.stdout.count("\n")) == (dead.stdout, 3)
    (told,) = json.loads(reader.run("audit", "--json", "--ticket", str(ticket)).stdout)
    assert (told["action"], told["ticket"]) == ("RECOVERY", ticket)
    no_bot = reader.run("plan")
    assert (no_bot.exit_code, "No bot runs in this folder" in no_bot.stderr) == (2, True)
    then = json.loads(reader.run("replay", "--at", told["timestamp"], "--json").stdout)
    assert [row["ticket"] for row in then["rows"]] == [ticket]
    assert reader.run("journal", "verify").exit_code == 0

    again = start(shell, "again.log")
    again.wait_for(f"the book is ticket {ticket}, LONG 0.05L")
    again.wait_for("[STARTUP] No recovery needed, clean state")


def test_a_bot_that_is_taken_over_from_ends_and_says_why(shell: Shell) -> None:
    first = start(shell, "first.log")
    first.wait_for("[STARTUP] No recovery needed")
    second = start(shell, "second.log", "--take-over")
    second.wait_for("[STARTUP] No recovery needed")
    opened_by_hand(shell)
    wait_for(lambda: first.child.poll() is not None, lambda: "the first bot to end")
    assert first.child.returncode == 2
    assert "was taken over by trueup paper (process" in first.text()
    second.wait_for("[RECOVERY] Zombie position recovered")


def test_each_simulated_terminal_has_a_book_of_its_own(shell: Shell, reader: Reader) -> None:
    for _ in range(2):
        done = shell.run("paper", "--strategy", "idle:Idle", "--duration", "0.3")
        assert "[STARTUP] No recovery needed, clean state" in done.stdout
        assert "All events are in .trueup" in done.stdout
        reader.run("terminal", "--stop")
    info = json.loads(reader.run("journal", "info", "--json").stdout)
    names = [one["name"] for one in sorted(info["streams"], key=lambda one: one["since_ns"])]
    assert len(names) == 2
    several = reader.run("audit")
    assert several.stderr.startswith(f"Stream {names[1]!r}, opened last of 2 streams")
    assert "BOUND" in reader.run("audit", "--stream", names[0]).stdout
    assert reader.run("journal", "verify").stdout.count("unaltered") == 2


def test_two_bots_in_one_folder_are_told_apart(shell: Shell) -> None:
    first = start(shell, "first.log", "--no-journal")
    first.wait_for("[STARTUP] No recovery needed")
    second = start(shell, "second.log", "--no-journal")
    second.wait_for("[STARTUP] No recovery needed")
    state = shell.folder / ".trueup"
    wait_for(lambda: len(list(state.glob("bot-*.json"))) == 2, lambda: "two state files")
    done = shell.ask("plan")
    assert done.returncode == 2
    assert done.stderr.startswith("2 bots run in this folder: give --bot PID, one of ")
    chosen = shell.ask("plan", "--bot", str(second.child.pid))
    assert chosen.stdout == "Nothing to do: book and broker agree.\n"
    assert shell.ask("status").stdout.count("Both books are flat. Nothing is yours to do.") == 2
    # A bot that was killed leaves its file, and the next one that starts takes it away.
    first.child.kill()
    first.child.wait()
    third = start(shell, "third.log", "--no-journal", "--duration", "0.1")
    assert third.child.wait(60) == 0
    assert [path.name for path in state.glob("bot-*.json")] == [f"bot-{second.child.pid}.json"]
