"""`trueup alerts` as a process, beside real bots, with real receivers."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page.folder import Folder
from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Running
from tests.support.receivers import Received

pytestmark = pytest.mark.timeout(300)

ASKED = "The books differ by one position. One decision is yours."
REFUSED = 2
# Nothing listens there.
DEAD = "json://127.0.0.1:1/nobody"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    made.environment |= {"TRUEUP_ALERTS_AFTER_SEC": "0", "TRUEUP_ALERTS_CALM_SEC": "0.5"}
    try:
        yield made
    finally:
        made.clean()


def start(folder: Folder, name: str = "alerts.log") -> Running:
    running = folder.start(name, "alerts")
    running.wait_for("Alerts go to ")
    return running


def arrives(received: Received, words: str, times: int = 1) -> list[dict[str, str]]:
    """Wait for messages with some words; return them."""
    wait_for(
        lambda: len(received.with_words(words)) >= times,
        lambda: f"{times} times {words!r} in {received.messages}",
    )
    return received.with_words(words)


def condition(message: dict[str, str]) -> str:
    return message["message"].rpartition("condition ")[2].strip()


def unsent(folder: Folder) -> int:
    """The messages that a receiver other than the dead one has not taken."""
    with sqlite3.connect(folder.folder / ".trueup" / "alerts.db") as file:
        rows = file.execute(
            "SELECT count(*) FROM deliveries WHERE sent_ns IS NULL GROUP BY receiver"
        ).fetchall()
    return len(rows)


def test_a_night_of_a_bot_and_its_alerts(
    folder: Folder, phone: Received, mailbox: Received
) -> None:
    """Differences, an approval, an alerter that is killed, a bot that is killed and comes back."""
    folder.environment |= {
        "TRUEUP_ALERTS_TO": f"{DEAD} {phone.url} {mailbox.url}",
        "TRUEUP_ALERTS_HEARTBEAT": f"{phone.address}/beat",
        "TRUEUP_ALERTS_HEARTBEAT_SEC": "1",
    }
    bot = folder.bot("bot.log", "--adopt", "ask", "--magic", "7")
    alerter = start(folder)
    wait_for(lambda: "/beat" in phone.fetched, lambda: str(phone.fetched))
    assert "[HEARTBEAT] No heartbeat" not in alerter.text()

    # Three differences, one after the other, are one condition.
    folder.open_by_hand()
    (told,) = arrives(phone, ASKED)
    folder.open_by_hand("buy", "0.10")
    folder.open_by_hand("buy", "0.20")
    status = folder.wait_for_status("The books differ by three positions")
    assert "Three decisions are yours." in status
    (mail,) = arrives(mailbox, ASKED)
    assert condition(mail) == condition(told)
    assert (
        "To do: Waiting for approval (`trueup plan`, then `trueup approve ID`)" in mail["message"]
    )

    second = folder.run("alerts")
    assert second.returncode == REFUSED
    assert f"are sent already, by process {alerter.child.pid}: end that one" in second.stderr

    # The process is killed between the sending and the mark: only then is a message repeated.
    phone.before_answer = alerter.child.kill
    folder.run("approve", *folder.waiting_ids())
    (over,) = arrives(phone, "Over: The books differ by")
    assert condition(over) == condition(told)
    alerter.child.wait(60)
    phone.before_answer = lambda: None
    alerter = start(folder, "alerts-2.log")
    assert [condition(one) for one in arrives(phone, "Over: The books", 2)] == [condition(told)] * 2
    arrives(mailbox, "Over: The books differ by")
    wait_for(lambda: unsent(folder) == 1, lambda: str(unsent(folder)))
    alerter.child.kill()
    alerter.child.wait(60)

    # The bot is killed while no alerter runs, and told when one does.
    bot.child.kill()
    bot.child.wait(60)
    alerter = start(folder, "alerts-3.log")
    (dead,) = arrives(phone, "The bot has ended, and its book has three positions. One action is")
    again = folder.bot("bot-2.log", "--adopt", "ask", "--magic", "7")
    (back,) = arrives(phone, "Over: The bot has ended")
    assert condition(back) == condition(dead)
    assert "Now: " in back["message"]

    # Nothing was told twice but what the killed process had not marked.
    assert len(phone.messages) == 5
    assert len(arrives(mailbox, "", 4)) in (4, 5)
    log = "".join((folder.folder / name).read_text() for name in ("alerts.log", "alerts-2.log"))
    assert "[ALERT] Not sent to receiver 1 (json): " in log
    assert "hook-4f1d" not in log
    assert "nobody" not in log
    assert again.child.poll() is None


def test_a_look_by_a_timer_tells_once_and_names_what_is_open(
    folder: Folder, phone: Received
) -> None:
    """`--once` keeps its memory between its runs; an unreadable journal is a condition too."""
    folder.environment["TRUEUP_ALERTS_TO"] = phone.url
    bot = folder.bot()
    folder.open_by_hand()
    bot.wait_for("[RECOVERY]")
    assert folder.once()["conditions"] == []
    bot.child.kill()
    bot.child.wait(60)
    (silent,) = folder.once()["conditions"]
    assert (silent["kind"], silent["state"], silent["told"]) == ("silent", "needs_person", True)
    assert folder.once()["messages"] == []
    for file in (folder.folder / ".trueup").glob("paper.db*"):
        file.write_bytes(b"this is no database" * 500)
    (told,) = folder.once()["messages"]
    assert "The bot has ended, and its journal cannot be read." in told["body"]
    assert len(phone.messages) == 2
    phone.status = 500
    (folder.folder / ".trueup" / "paper.db").unlink()
    assert folder.run("alerts", "test").returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process at once")
def test_a_supervisor_that_ends_the_alerts_repeats_nothing(folder: Folder, phone: Received) -> None:
    folder.environment["TRUEUP_ALERTS_TO"] = phone.url
    bot = folder.bot()
    alerter = start(folder)
    phone.before_answer = alerter.child.terminate
    bot.child.kill()
    arrives(phone, "The bot has ended")
    assert alerter.child.wait(60) == 0
    # The message was on its way, and is marked: the next process does not send it again.
    assert unsent(folder) == 0
