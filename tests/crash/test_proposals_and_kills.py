"""The bot is killed around the approval of a proposal; the terminal's ledger and the journal judge.

An approval sends at most one order, whatever moment the bot dies at, and a repeated approval too.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from tests.crash.test_persons_commands_and_kills import Scene, scene
from tests.paper.deadline import wait_for
from trueup.core.book import events
from trueup.core.book.events import ProposalEnd
from trueup.errors import OutcomeUnknown
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.control.bots import ask_bot, find_bots

__all__ = ["scene"]
# A test starts about ten processes.
pytestmark = pytest.mark.timeout(300)

WHO = "mcp:ada/desk"
BUY = {"action": "open", "side": "buy", "volume": 0.05}


def told(command: str, **fields: Any) -> dict[str, Any]:
    """Give the bot a command of an assistant; the answer of a bot that dies may get lost."""
    (bot,) = find_bots()
    with contextlib.suppress(OutcomeUnknown):
        return ask_bot(bot, command, who=WHO, at_ns=time.time_ns(), **fields)
    return {"ok": False}


def outcome(scene: Scene, *states: str) -> dict[str, Any]:
    """Wait for a state of the wish with the key `a`."""
    seen: list[dict[str, Any]] = []

    def is_there() -> bool:
        answer = told("outcome", id="a")
        seen.append(answer)
        return answer["ok"] and answer["outcome"]["state"] in states

    wait_for(is_there, scene.log)
    found: dict[str, Any] = seen[-1]["outcome"]
    return found


def propose(scene: Scene) -> str:
    told("propose", key="a", wish=BUY)
    name: str = outcome(scene, "proposed")["proposal_id"]
    return name


def ends(scene: Scene) -> list[events.ProposalEnded]:
    return [event for event in scene.history() if isinstance(event, events.ProposalEnded)]


@pytest.mark.parametrize(
    ("moment", "was_sent"),
    [
        (CrashPoint.BEFORE_INTENT.value, 0),
        (CrashPoint.AFTER_INTENT.value, 0),
        (CrashPoint.AFTER_SEND_STARTED.value, 0),
        (CrashPoint.BEFORE_OUTCOME.value, 1),
        (CrashPoint.AFTER_OUTCOME.value, 1),
        ("ProposalEnded", 1),
    ],
)
def test_an_approval_is_one_order_or_none(scene: Scene, moment: str, was_sent: int) -> None:
    bot = scene.start()
    name = propose(scene)
    orders = scene.terminal.count_orders()
    scene.die_at(moment)
    done = scene.shell("approve", name, "--who", "Ada")
    assert done.returncode == 1, done
    assert f"in doubt: The bot, process {bot.pid}, has ended" in " ".join(done.stdout.split())
    bot.wait()
    scene.start()

    is_recorded = moment != CrashPoint.BEFORE_INTENT.value
    states = ("filled", "refused") if is_recorded else ("proposed",)
    found = outcome(scene, *states)
    assert (found["state"] == "filled") == bool(was_sent)
    assert scene.terminal.count_orders() - orders == was_sent
    wait_for(lambda: len(ends(scene)) == is_recorded, scene.log)
    for end in ends(scene):
        assert (end.end, end.by, end.order_id) == (ProposalEnd.APPROVED, "Ada", found["order_id"])

    # The person approves again: what was recorded is not sent again, and what was not is.
    again = scene.shell("approve", name, "--who", "Ada", "--json")
    (row,) = json.loads(again.stdout)
    is_filled = bool(was_sent) or not is_recorded
    assert (again.returncode, row["carried_out"]) == (0 if is_filled else 1, is_filled), row
    assert scene.terminal.count_orders() - orders == is_filled
    assert len(scene.terminal.positions()) == is_filled
    created = [event for event in scene.history() if isinstance(event, events.OrderCreated)]
    assert [(event.by, event.key) for event in created] == [("Ada", "mcp:a")]


def test_a_bot_killed_as_it_journals_a_proposal_has_it_or_not(scene: Scene) -> None:
    bot = scene.start()
    scene.die_at(CrashPoint.INSIDE_PLAN.value)
    told("propose", key="a", wish=BUY)
    bot.wait()
    scene.start()
    assert told("outcome", id="a")["ok"] is False
    scene.die_at("ProposalMade")
    told("propose", key="a", wish=BUY)
    scene.bots[-1].wait()
    scene.start()
    # The same key and the same terms: the proposal of before the kill.
    name = propose(scene)
    made = [event for event in scene.history() if isinstance(event, events.ProposalMade)]
    assert [event.proposal_id for event in made] == [name]


def test_a_submitted_order_is_sent_once_or_never(scene: Scene) -> None:
    bot = scene.start()
    scene.die_at(CrashPoint.BEFORE_OUTCOME.value)
    told("submit", key="a", wish=BUY)
    bot.wait()
    scene.start()
    told("submit", key="a", wish=BUY)
    assert outcome(scene, "filled")["ticket"]
    assert len(scene.terminal.positions()) == 1
