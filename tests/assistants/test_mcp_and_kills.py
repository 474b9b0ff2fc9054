"""The bot dies, or hangs, while it has the order of an assistant; the terminal's ledger judges."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.assistants.client import Assistant
from tests.crash.test_persons_commands_and_kills import Scene, scene
from tests.support.crash_world import environment
from trueup.core.model import Side
from trueup.doors.mcp import wishing
from trueup.doors.mcp.link import Link
from trueup.doors.mcp.results import Order
from trueup.doors.mcp.wishing import Wishing
from trueup.runtime.assistants.outcomes import WishState
from trueup.runtime.bot.crash_points import CrashPoint

__all__ = ["scene"]
# A test starts about ten processes.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_spec("mcp") is None, reason="the extra mcp is not installed"),
]

WISH = {"action": "open", "side": "buy", "volume": 0.05}


def assistant(scene: Scene) -> Assistant:
    return Assistant(
        scene.folder,
        "--allow",
        "submit",
        "--journal",
        "bot.db",
        environment=environment(scene.folder / "home"),
    )


def test_a_bot_that_dies_as_it_sends_leaves_a_doubt_that_the_next_bot_resolves(
    scene: Scene,
) -> None:
    bot = scene.start()
    with assistant(scene) as asking:
        scene.die_at(CrashPoint.BEFORE_OUTCOME.value)
        told = asking.get("submit", key="a", **WISH)
        bot.wait()
        assert told["state"] == "in_doubt"
        assert told["order_id"]
        assert "not before a bot runs again" in told["known"]
        assert asking.get("order", key="a")["order"]["status"] == "IN_DOUBT"
        # Without a bot the same question has the same answer.
        assert asking.get("submit", key="a", **WISH) == told
        scene.start()
        found = asking.get("submit", key="a", **WISH)
        while found["state"] == "in_doubt":
            found = asking.get("submit", key="a", **WISH)
        assert (found["state"], found["order_id"]) == ("filled", told["order_id"])
    assert len(scene.terminal.positions()) == 1


def test_a_bot_that_dies_before_it_records_the_order_has_sent_nothing(scene: Scene) -> None:
    bot = scene.start()
    with assistant(scene) as asking:
        scene.die_at(CrashPoint.BEFORE_INTENT.value)
        told = asking.get("submit", key="a", **WISH)
        bot.wait()
        assert told["state"] == "refused"
        assert told["reason"] == (
            f"Nothing was sent: The bot, process {bot.pid}, ended before it answered. Its journal "
            "has no order with this key."
        )
        assert scene.terminal.positions() == []
        scene.start()
        assert asking.get("submit", key="a", **WISH)["state"] == "filled"
    assert len(scene.terminal.positions()) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGSTOP")
def test_a_bot_that_hangs_leaves_a_doubt_and_never_two_orders(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = scene.start()
    monkeypatch.chdir(scene.folder)
    monkeypatch.setattr(wishing, "WAIT_SEC", 7.0)
    tools = Wishing(Link(None, "bot.db", None, lambda: Path("bot.db")))
    order = Order(action="open", side=Side.BUY, volume=0.05, key="a")
    # Known to run, as it is to a server that has asked before.
    assert tools._link.bot().pid == bot.pid
    os.kill(bot.pid, signal.SIGSTOP)
    told = tools.submit(order, "mcp:ada/desk")
    assert told.state is WishState.IN_DOUBT
    assert told.reason == f"The bot, process {bot.pid}, has not answered for 7 s."
    assert "ask again with the same key" in told.known
    os.kill(bot.pid, signal.SIGCONT)
    # What waited in front of the bot is one order with what is asked again.
    found = tools.submit(order, "mcp:ada/desk")
    assert found.state is WishState.FILLED
    assert len(scene.terminal.positions()) == 1


def test_a_journal_that_cannot_be_read_leaves_a_doubt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = scene.start()
    monkeypatch.chdir(scene.folder)
    tools = Wishing(Link(None, "gone.db", None, lambda: Path("gone.db")))
    order = Order(action="open", side=Side.BUY, volume=0.05, key="a")
    scene.die_at(CrashPoint.BEFORE_OUTCOME.value)
    told = tools.submit(order, "mcp:ada/desk")
    bot.wait()
    assert told.state is WishState.IN_DOUBT
    assert "it is not known whether the order was sent" in told.evidence
    # The same key stays in doubt, and a key that was never given was not sent.
    assert tools.submit(order, "mcp:ada/desk").state is WishState.IN_DOUBT
    other = Order(action="open", side=Side.BUY, volume=0.05, key="b")
    assert tools.submit(other, "mcp:ada/desk").state is WishState.REFUSED
