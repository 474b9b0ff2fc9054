"""An order in doubt that only a person can resolve, and orders that assistants propose."""

from __future__ import annotations

import html
import re

import pytest

from tests.assistants.test_wishing import BUY, Beside
from tests.cli.bot_world import BotWorld
from tests.page.inside import RITA, Inside, headline
from tests.support import desk_world
from tests.support.desk_world import HEDGING, DeskWorld
from trueup.core.tokens import token_of
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost


class Doubtful(Inside):
    """A page beside a bot with an order in doubt, which another program's order fits."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        # The gateway's own record would have the ticket, or know that there is none.
        patch.setattr(DeskWorld, "keeps_record", False)
        world = BotWorld()
        super().__init__(world, patch)
        self.broker = world.broker
        self.robot = Person(
            self.broker.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7
        )
        self.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
        self.order = self.broker.pm.submit("buy", 0.1, magic=7)
        self.ticket = self.robot.open("EURUSD", desk_world.BUY, 0.1, comment="someone")
        for _ in range(3):
            self.broker.sync(6)

    @property
    def status(self) -> str:
        return self.order.status.value


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> Doubtful:
    return Doubtful(monkeypatch)


def test_a_person_looks_chooses_is_asked_and_names_the_ticket(doubtful: Doubtful) -> None:
    order_id, ticket = doubtful.order.order_id, doubtful.ticket
    (path,) = re.findall(r'href="(/act/settle[^"]*)"', doubtful.get("/")[1])
    assert path in doubtful.get("/approve")[1]
    _, seen = doubtful.get(path)
    assert headline(seen) == "What became of BUY 0.10L EURUSD?"
    text = html.unescape(seen)
    assert f"Because it fits order {ticket}, and nothing shows that this is ours." in text
    assert f"Fits {ticket}: 0.10L @ 1.1" in text
    # Nothing can be sent before a choice.
    assert "<form method" not in seen
    (choice,) = re.findall(rf'href="([^"]*)">{ticket} is this order', seen)
    _, asked = doubtful.get(choice)
    assert headline(asked) == f"Nothing proves it. Shall {ticket} count as {order_id}?"
    assert "The journal gets your name, anna" in asked
    assert doubtful.status == "IN_DOUBT"
    _, done = doubtful.send("/act/settle", asked)
    assert headline(done).startswith(f"Carried out: {order_id} is FILLED, ticket {ticket}, 0.10L")
    assert doubtful.status == "FILLED"
    # The bot's loop did it, by a sync that was asked for.
    assert {"settle", "sync", "order"} < set(doubtful.asked)
    _, again = doubtful.send("/act/settle", asked)
    assert headline(again).startswith(
        f"Withdrawn because: {order_id} is FILLED, ticket {ticket}, not in doubt"
    )


def test_a_person_says_that_it_was_never_executed(doubtful: Doubtful) -> None:
    order_id = doubtful.order.order_id
    _, seen = doubtful.get(f"/act/settle?id={order_id}")
    (choice,) = re.findall(r'href="([^"]*)">It was never executed', seen)
    _, asked = doubtful.get(choice)
    assert headline(asked) == f"Nothing proves it. Shall {order_id} count as never executed?"
    _, done = doubtful.send("/act/settle", asked)
    assert headline(done).startswith(
        f"Carried out: {order_id} is CANCELED: assumed, unproven: anna says that it was never "
        "executed"
    )


def test_what_cannot_be_the_order_is_refused_with_the_reason(doubtful: Doubtful) -> None:
    order_id = doubtful.order.order_id
    larger = doubtful.robot.open("EURUSD", desk_world.BUY, 0.3)
    for wrong, why in (
        (str(larger), f"{larger} cannot be {order_id}: it is of 0.30L, and 0.10L were meant"),
        ("x", "there is no ticket 'x': give a whole number above 0"),
        ("9" * 30, "give a whole number above 0"),
        ("5&never_executed=yes", "two decisions were given"),
    ):
        status, text = doubtful.get(f"/act/settle?id={order_id}&ticket={wrong}")
        assert (status, why in headline(text)) == (409, True), text
    unknown = doubtful.get("/act/settle?id=ORD_none")
    assert (unknown[0], "Withdrawn because: " in unknown[1]) == (409, True)
    assert doubtful.status == "IN_DOUBT"


def test_an_order_that_shows_while_the_question_is_open_is_not_settled_by_hand(
    doubtful: Doubtful,
) -> None:
    order_id = doubtful.order.order_id
    _, asked = doubtful.get(f"/act/settle?id={order_id}&never_executed=yes")
    doubtful.robot.open("EURUSD", desk_world.BUY, 0.1, comment=token_of(order_id))
    status, done = doubtful.send("/act/settle", asked)
    assert (status, "the broker shows that it was executed, by its token" in headline(done)) == (
        200,
        True,
    )
    assert "assumed" not in (doubtful.order.error or "")


class Proposing(Beside):
    """An assistant beside a bot whose page a person reads."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.page = Inside(self.world, patch)
        self.reader = Inside(self.world, patch, RITA)

    def propose(self, key: str = "a") -> str:
        """Have the assistant propose an order, and return the id of the proposal."""
        name: str = self.ask("propose", key, **BUY)["proposal_id"]
        return name


@pytest.fixture
def proposing(monkeypatch: pytest.MonkeyPatch) -> Proposing:
    return Proposing(monkeypatch)


def test_a_proposal_is_asked_about_and_its_order_is_sent_once(proposing: Proposing) -> None:
    name, page = proposing.propose(), proposing.page
    _, now = page.get("/")
    assert "mcp:ada/desk proposes: BUY 0.10L EURUSD" in html.unescape(now)
    assert re.search(f'/act/approve[?][^"]*id={name}', now)
    assert re.search(f'/act/reject[?][^"]*id={name}', now)
    assert "/act/" not in proposing.reader.get("/")[1]
    _, asked = page.get(f"/act/approve?id={name}")
    assert headline(asked).startswith("Approve: mcp:ada/desk proposes: BUY 0.10L EURUSD")
    assert "the order is sent" in asked
    assert proposing.sent == 0
    _, done = page.send("/act/approve", asked)
    (order,) = proposing.pm.book.orders.values()
    assert headline(done).startswith(f"Carried out: filled, ticket {order.ticket}, 0.10L @ ")
    assert order.by == "anna"
    _, again = page.send("/act/approve", asked)
    assert headline(again).startswith(
        "Withdrawn because: the proposal was approved by anna already, and its order is filled"
    )
    assert proposing.sent == 1


def test_a_proposal_is_rejected_with_a_reason_that_the_assistant_gets(
    proposing: Proposing,
) -> None:
    name, page = proposing.propose(), proposing.page
    _, asked = page.get(f"/act/reject?id={name}")
    assert "Nothing is sent." in asked
    _, done = page.send("/act/reject", asked, why="too much")
    assert headline(done) == "Carried out: the proposal is rejected, and nothing is sent."
    assert proposing.outcome()["reason"] == "too much"
    _, again = page.get(f"/act/approve?id={name}")
    assert headline(again) == (
        "Withdrawn because: the proposal is rejected by anna already (too much)."
    )
    assert proposing.sent == 0


def test_an_order_in_doubt_is_never_called_not_carried_out(proposing: Proposing) -> None:
    name, page = proposing.propose(), proposing.page
    _, asked = page.get(f"/act/approve?id={name}")
    # The terminal cannot be read either, so no sync finds the order.
    proposing.world.broker.terminal.faults.next_send(AnswerLost(executed=True))
    _, done = page.send("/act/approve", asked)
    assert headline(done).startswith("In doubt: the reply's status is 'UNKNOWN'")
    assert headline(done).endswith("; the outcome is known when a look at the broker proves it.")
    assert "Not carried out" not in done
    assert "Next look " in done
    assert "Not sent again. See Orders." in done


def test_an_order_that_is_refused_is_told_and_one_that_never_left_goes_on_waiting(
    proposing: Proposing,
) -> None:
    name, page = proposing.propose(), proposing.page
    _, asked = page.get(f"/act/approve?id={name}")
    proposing.tell("pause", who="Ada")
    _, done = page.send("/act/approve", asked)
    assert headline(done).startswith("Not carried out: ")
    assert "trading is paused by Ada" in headline(done)
    assert re.search(f'/act/approve[?][^"]*id={name}', page.get("/")[1])
    proposing.tell("resume", who="Ada")
    proposing.world.broker.terminal.faults.next_send(Answered(10019))
    _, done = page.send("/act/approve", asked)
    assert headline(done).startswith("Not carried out: not enough money")
    assert proposing.sent == 0


def test_the_form_of_a_close_that_failed_sends_no_second_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A browser that sends a form again does not decide again: the position is open as before."""
    world = BotWorld()
    ticket = world.broker.pm.submit("buy", 0.2).ticket
    world.broker.sync(200)
    page = Inside(world, monkeypatch)
    _, asked = page.get(f"/act/close?ticket={ticket}")
    world.broker.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_MARKET_CLOSED))
    _, done = page.send("/act/close", asked)
    assert headline(done) == "Not all was carried out."
    _, again = page.send("/act/close", asked)
    assert headline(again) == "Not all was carried out."
    assert ticket in world.broker.tickets()
    _, anew = page.get(f"/act/close?ticket={ticket}")
    assert headline(page.send("/act/close", anew)[1]) == "Carried out."
    assert world.broker.tickets() == set()
