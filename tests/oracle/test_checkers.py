"""Each checker is shown a history that breaks its promise, and the nearest one that keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.oracle.histories import (
    LOGIN,
    LOT,
    SCOPE,
    SEC,
    STRANGE,
    TOKEN,
    History,
    held,
    opened,
    working,
)
from trueup.core.invariants import INVARIANTS
from trueup.lab.facts import facts
from trueup.lab.oracle.checkers import CHECKERS

STRANGER = held(200, magic=STRANGE)


def stranger(history: History) -> History:
    """Let somebody else open a position."""
    return history.tell(facts.PositionShown, login=LOGIN, position=STRANGER)


def as_row(position: facts.Held) -> dict[str, Any]:
    """Write a position as the journal does."""
    return {**msgspec.to_builtins(position), "volume": position.units / facts.UNITS}


def at_the_end(history: History, **seen: Any) -> History:
    """End the faults, sync, look a last time, and end the run."""
    return history.tell(facts.Healed).synced().look(**seen).tell(facts.Ended)


def takeover() -> History:
    """Let another bot take the journal over."""
    return opened().tell(facts.Fenced, bot="A").start("B")


BROKEN: dict[str, tuple[int, Callable[[], History]]] = {
    "a zombie stays unknown after healing": (
        1,
        lambda: at_the_end(opened().tell(facts.PositionShown, login=LOGIN, position=held(101))),
    ),
    "a ghost stays after healing": (1, lambda: at_the_end(opened().stopped())),
    "a drift stays after healing": (
        1,
        lambda: at_the_end(
            opened().tell(facts.PositionShown, login=LOGIN, position=held(sl=1.0))
        ).look(),
    ),
    "an open price stays a tenth of a tick off after healing": (
        1,
        lambda: at_the_end(
            opened().tell(facts.PositionShown, login=LOGIN, position=held(price_open=1.100001))
        ).look(),
    ),
    "a pending order stays unknown after healing": (
        1,
        lambda: at_the_end(opened().tell(facts.OrderShown, login=LOGIN, order=working())),
    ),
    "an order stays in doubt after healing": (
        1,
        lambda: at_the_end(opened(), in_doubt=("O9",)),
    ),
    "a position stays missing after healing": (1, lambda: at_the_end(opened(), missing=(100,))),
    "nobody is left to agree": (
        1,
        lambda: opened().tell(facts.Healed).tell(facts.Died, bot="A", where="x").tell(facts.Ended),
    ),
    "an intent is executed twice": (2, lambda: opened().execute(101)),
    "a key is executed under two tokens": (
        2,
        lambda: (
            History()
            .start()
            .intent(key="k")
            .execute()
            .intent("O2", token="tbbbbbbbb", key="k")
            .execute(101, "tbbbbbbbb")
        ),
    ),
    "a held market order is filled, and its copy too": (
        2,
        lambda: (
            History()
            .start()
            .intent()
            .requested(100, retcode=10008)
            .requested(101, retcode=10008)
            .deal(900, 100)
            .deal(901, 101)
        ),
    ),
    "an executed order is recorded as rejected": (
        2,
        lambda: History().start().intent().execute().row("OrderRejected", order_id="O1", error="x"),
    ),
    "a pending order that works is recorded as not executed": (
        2,
        lambda: (
            History()
            .start()
            .intent(kind="limit")
            .tell(facts.OrderShown, login=LOGIN, order=working())
            .requested(300, action=5)
            .row("OrderInDoubt", order_id="O1", error="no reply")
            .row("OrderCanceled", order_id="O1", because="no trace")
        ),
    ),
    "an order given up is executed": (
        2,
        lambda: (
            History()
            .start()
            .intent()
            .row("OrderInDoubt", order_id="O1", error="x")
            .row("OrderCanceled", order_id="O1", because="no trace")
            .execute()
        ),
    ),
    "a market order is recorded as filled while its rest works": (
        2,
        lambda: (
            History()
            .start()
            .intent()
            .execute()
            .tell(facts.RestWorks, login=LOGIN, ticket=100, left=LOT // 2)
            .filled()
        ),
    ),
    "a fill is counted twice": (2, lambda: opened().filled()),
    "a fill is of another order": (
        2,
        lambda: History().start().intent().execute().filled(ticket=555),
    ),
    "a fill is of an order that was never executed": (
        2,
        lambda: History().start().intent().filled(),
    ),
    "a fill is larger than its order": (
        2,
        lambda: History().start().intent().execute().filled(volume=0.3),
    ),
    "an open position is closed in the book": (3, lambda: opened().closed(ended=None)),
    "a position leaves the book without an event": (
        3,
        lambda: opened().look(positions=()),
    ),
    "a close is not proven": (3, lambda: opened().stopped().closed(unproven=True, ended=None)),
    "a reading that is not believed closes a position": (
        3,
        lambda: opened().stopped().closed().synced(believed=False),
    ),
    "an order leaves before its intent is kept": (4, lambda: History().start().send()),
    "an order leaves before its send is recorded": (
        4,
        lambda: (
            History()
            .start()
            .row(
                "OrderCreated",
                order_id="O1",
                symbol="EURUSD",
                side="buy",
                volume=0.1,
                token=TOKEN,
                by_desk=True,
            )
            .send()
        ),
    ),
    "an order asks for more than its intent": (
        4,
        lambda: History().start().intent().send(volume=0.2),
    ),
    "an order with a token of ours is unknown to the journal": (
        4,
        lambda: History().start().execute(comment="tzzzzzzzz"),
    ),
    "the journal loses what it acknowledged": (
        4,
        lambda: (
            opened()
            .tell(facts.Died, bot="A", where="power")
            .tell(facts.Started, bot="A", position=1)
        ),
    ),
    "the journal loses what it acknowledged, with the power": (
        4,
        lambda: opened().tell(facts.JournalLost, position=1),
    ),
    "the journal leaves a position out": (
        4,
        lambda: opened().tell(
            facts.Journalled, bot="A", position=9, kind="SendStarted", payload=b'{"order_id":"O1"}'
        ),
    ),
    "the live book is not the fold": (5, lambda: opened().look(state=b"another")),
    "the live book changes between two syncs": (
        5,
        lambda: opened().synced(version=3, state=b"another"),
    ),
    "the live book is ahead of the journal": (5, lambda: opened().look(version=9)),
    "a second plan is not empty": (6, lambda: opened().tell(facts.Replanned, bot="A", changes=1)),
    "a report told twice counts twice": (
        6,
        lambda: opened().tell(facts.Repeated, bot="A", what="a fill", before=b"one", after=b"two"),
    ),
    "a reading told in another order comes to another plan": (
        6,
        lambda: opened().tell(facts.Retold, bot="A", first=("close 1",), second=("close 2",)),
    ),
    "a reading told in another order comes to more after it was applied": (
        6,
        lambda: opened().tell(facts.Retold, bot="A", first=("x",), second=("x",), changes=1),
    ),
    "a field changes without an event": (7, lambda: opened().look(positions=(held(sl=1.0),))),
    "a close says no reason": (7, lambda: opened().stopped().closed(because="")),
    "a close has another result than the broker's": (
        7,
        lambda: opened().stopped(result_units=-700).closed(),
    ),
    "a close is explained by deals that leave lots open": (
        7,
        lambda: opened().tell(facts.PositionLeft, login=LOGIN, identifier=100).closed(),
    ),
    "a drift names what does not differ": (
        7,
        lambda: opened().row(
            "PositionCorrected", local=as_row(held()), remote=as_row(held()), fields=["volume"]
        ),
    ),
    "a correction is not in the audit trail": (
        7,
        lambda: opened().stopped().closed().audited(),
    ),
    "an order of its own that was cancelled after a part was filled is not in the audit trail": (
        7,
        lambda: (
            opened()
            .row("PendingClosed", order={"ticket": 300}, because="canceled", ours=True, filled=0.1)
            .audited()
        ),
    ),
    "an audit entry says nothing": (
        7,
        lambda: opened().stopped().closed().audited(("CLOSED", 100, "")),
    ),
    "a foreign position is adopted": (
        8,
        lambda: stranger(opened()).row("PositionAdopted", position=as_row(STRANGER)),
    ),
    "a foreign position is named in an order": (
        8,
        lambda: stranger(opened()).intent("O2", token="tb").send("O2", action="BUY", position=200),
    ),
    "a foreign position is in the book": (
        8,
        lambda: stranger(opened()).row("X").look(positions=(held(), STRANGER)),
    ),
    "an order is for a symbol outside the policy": (
        8,
        lambda: opened().intent("O2", symbol="GBPUSD").send("O2", symbol="GBPUSD"),
    ),
    "a fenced bot writes": (9, lambda: takeover().intent("O2")),
    "a fenced bot sends": (9, lambda: takeover().intent("O2", bot="B").send("O2")),
    "a second bot is let in": (9, lambda: opened().start("B")),
    "an old reading is called current": (
        10,
        lambda: opened().hand_out(max_age_ns=SEC // 2),
    ),
    "a book that never saw the broker is called current": (
        10,
        lambda: History().start().hand_out(),
    ),
    "the first look since a restart is still to come": (
        10,
        lambda: opened().tell(facts.Died, bot="A", where="x").start().hand_out(),
    ),
    "not knowing turns into flat": (
        10,
        lambda: opened().synced().synced().hand_out(flat=True),
    ),
}


def added_to() -> History:
    """Let a bot close what its book has, after somebody had added to the position."""
    return (
        opened()
        .tell(facts.PositionShown, login=LOGIN, position=held(units=3 * LOT))
        .intent("O2", side="sell", token="tbbbbbbbb", position=100)
        .requested(101, "tbbbbbbbb", position=100, buys=False)
        .deal(901, 101, closes=100)
        .row(
            "OrderFilled",
            order_id="O2",
            ticket=101,
            symbol="EURUSD",
            side="sell",
            volume=0.1,
            price=1.1,
        )
        .look(positions=())
    )


def given_up(identifier: int) -> History:
    """Let a person give up a position, and a bot close its own without a proof."""
    return (
        opened()
        .stopped()
        .tell(facts.Forced, bot="A", identifier=identifier)
        .closed(unproven=True, ended=None)
    )


def lied_about(order_id: str) -> History:
    """Let the server lie about one order, and the journal call the only one rejected."""
    return (
        History()
        .start()
        .intent()
        .execute()
        .tell(facts.Faulted, kind="REFUSED_EXECUTED", what="the server lies", order_id=order_id)
        .row("OrderRejected", order_id="O1", error="no money")
    )


BROKEN |= {
    "a fault strikes after the healing, so that nobody can judge agreement": (
        1,
        lambda: (
            opened()
            .tell(facts.Healed)
            .tell(facts.Faulted, kind="PARTITION", what="cut")
            .tell(facts.Ended)
        ),
    ),
    "the server lied about one order, and the execution of another is denied": (
        2,
        lambda: lied_about("O9"),
    ),
    "an order given up is executed, in a run in which the server lied": (
        2,
        lambda: (
            lied_about("O1")
            .intent("O2", token="tbbbbbbbb")
            .row("OrderInDoubt", order_id="O2", error="x")
            .row("OrderCanceled", order_id="O2", because="no trace")
            .execute(101, "tbbbbbbbb")
        ),
    ),
    "an order is executed twice, and the server lied about it": (
        2,
        lambda: lied_about("O1").execute(101),
    ),
    "what another order of ours did is taken for an order in doubt": (
        2,
        lambda: (
            opened()
            .intent("O2", token="tbbbbbbbb")
            .row("OrderInDoubt", order_id="O2", error="x")
            .row("OrderSettled", order_id="O2", ticket=100, volume=0.1, price=1.1, because="fits")
        ),
    ),
    "a pending order is recorded as another one": (
        2,
        lambda: (
            History()
            .start()
            .intent(kind="limit")
            .tell(facts.OrderShown, login=LOGIN, order=working())
            .requested(300, action=5)
            .row("OrderApplied", order_id="O1", ticket=301)
        ),
    ),
    "a position is closed without a proof while a person gives up another": (
        3,
        lambda: given_up(101),
    ),
    "on a hedging account a position leaves the book by a fill, and is open": (3, added_to),
    "a copy of the bot sends, and an order with a token of ours is not in the journal": (
        4,
        lambda: (
            History()
            .start()
            .tell(facts.Faulted, kind="COPY", what="a copy sends O9", order_id="O9")
            .execute(comment="tzzzzzzzz")
        ),
    ),
    "another position than the filled one changes": (
        7,
        lambda: opened().intent("O2").filled("O2", 101).look(positions=(held(sl=1.0), held(101))),
    ),
    "twice of what was meant is executed": (
        2,
        lambda: History().start().intent().execute(units=2 * LOT),
    ),
    "the other side of what was meant is executed": (
        2,
        lambda: History().start().intent().execute(buys=False),
    ),
    "another symbol than was meant is executed": (
        2,
        lambda: History().start().intent().execute(symbol="GBPUSD"),
    ),
    "an order is executed without its magic number": (
        2,
        lambda: History().start().intent().execute(magic=0),
    ),
    "an order is executed without its stop loss": (
        2,
        lambda: History().start().intent(sl=1.0, tp=1.2).execute(tp=1.2),
    ),
    "an order is executed with its stops exchanged": (
        2,
        lambda: History().start().intent(sl=1.0, tp=1.2).execute(sl=1.2, tp=1.0),
    ),
    "an order in doubt is settled, and not knowing turns into flat": (
        10,
        lambda: (
            opened()
            .intent("O2")
            .row("OrderInDoubt", order_id="O2", error="no reply")
            .row("OrderCanceled", order_id="O2", because="case G")
            .synced()
            .synced()
            .hand_out(flat=True)
        ),
    ),
    "a fill opens a position, and not knowing turns into flat": (
        10,
        lambda: opened().synced().synced().intent("O2").filled("O2", 101).hand_out(flat=True),
    ),
}

CLEAN: dict[str, Callable[[], History]] = {
    "an order is filled": opened,
    "a position is stopped and explained": lambda: at_the_end(
        opened().stopped().closed()
    ).hand_out(),
    "the audit trail has it": lambda: (
        opened().stopped().closed().audited(("CLOSED", 100, "by its stop loss"))
    ),
    "an order of its own that was cancelled, unfilled, is no correction": lambda: (
        opened()
        .row("PendingClosed", order={"ticket": 300}, because="canceled", ours=True)
        .audited()
    ),
    "a commit gave no answer, and the audit trail has it when the book follows": lambda: (
        opened()
        .stopped()
        .closed()
        .tell(facts.Audited, bot="A", entries=(), version=3)
        .audited(("CLOSED", 100, "by its stop loss"))
    ),
    "a reading told in another order comes to the same": lambda: opened().tell(
        facts.Retold, bot="A", first=("x",), second=("x",)
    ),
    "somebody else trades": lambda: at_the_end(stranger(opened())),
    "another account trades": lambda: at_the_end(
        opened().tell(facts.PositionShown, login=1, position=held(77))
    ).look(),
    "two are held and one is filled": lambda: (
        History()
        .start()
        .intent()
        .requested(100, retcode=10008)
        .requested(101, retcode=10008)
        .deal(900, 100)
    ),
    "an order is refused and recorded as rejected": lambda: (
        History()
        .start()
        .intent()
        .send()
        .requested(0, done=False, retcode=10019)
        .row("OrderRejected", order_id="O1", error="no money")
    ),
    "a bot that was fenced out had already recorded its send": lambda: (
        opened().intent("O2", token="tbbbbbbbb").tell(facts.Fenced, bot="A").start("B").send("O2")
    ),
    "a person forces the book": lambda: (
        opened()
        .tell(facts.Forced, bot="A", identifier=100)
        .closed(unproven=True, ended=None)
        .look()
    ),
    "a run that is stopped short owes no agreement": lambda: (
        opened().stopped().tell(facts.Healed).look().tell(facts.Ended, owed=False)
    ),
    "a market order is recorded as filled when its rest is over": lambda: (
        History()
        .start()
        .intent()
        .execute()
        .tell(facts.RestWorks, login=LOGIN, ticket=100, left=LOT // 2)
        .tell(facts.OrderLeft, login=LOGIN, ticket=100)
        .filled()
    ),
    "the server says no, and does it": lambda: (
        History()
        .start()
        .intent()
        .execute()
        .tell(facts.Faulted, kind="REFUSED_EXECUTED", what="the server lies", order_id="O1")
        .row("OrderRejected", order_id="O1", error="no money")
    ),
    "a pending order is placed and canceled by hand before anybody looks": lambda: (
        History()
        .start()
        .intent(kind="limit")
        .tell(facts.OrderShown, login=LOGIN, order=working())
        .requested(300, action=5)
        .tell(facts.OrderLeft, login=LOGIN, ticket=300)
        .row("OrderInDoubt", order_id="O1", error="no reply")
        .row("OrderCanceled", order_id="O1", because="the history has it as canceled")
    ),
    "a bot that was fenced out and has not noticed owes no agreement": lambda: (
        opened()
        .tell(facts.Fenced, bot="A")
        .start("B")
        .stopped()
        .closed(bot="B")
        .tell(facts.Healed)
        .look("B")
        .look("A", version=1, positions=(held(),), state=b"")
        .tell(facts.Ended)
    ),
    "an old book is not called current": lambda: opened().hand_out(current=False, max_age_ns=1),
    "flat, and the last reading is from when it was so": lambda: (
        History().start().synced().intent().execute().hand_out(flat=True)
    ),
    "what was meant is executed, stops and all": lambda: (
        History().start().intent(sl=1.0, tp=1.2).execute(sl=1.0, tp=1.2)
    ),
    "an order in doubt may have opened what there is": lambda: (
        opened()
        .intent("O2")
        .row("OrderInDoubt", order_id="O2", error="no reply")
        .synced()
        .synced()
        .hand_out(flat=True)
    ),
    "an open price is averaged, and the broker has rounded it": lambda: at_the_end(
        opened().tell(
            facts.PositionShown, login=LOGIN, position=held(price_open=1.1 + SCOPE.price_grain / 2)
        )
    ).look(),
}


@pytest.mark.parametrize(("units", "is_wrong"), [(1.45, False), (1.55, True)])
def test_the_broker_rounds_an_open_price_at_each_fill(units: float, *, is_wrong: bool) -> None:
    """Seed 21036772: after a few fills its price is over a unit from the average of all."""
    history = opened().deal(901, 101, into=100).deal(902, 102, into=100)
    price = 1.1 + units * SCOPE.price_grain
    history.tell(facts.PositionShown, login=LOGIN, position=held(price_open=price))
    said = [one for number, one in at_the_end(history).judged() if number == 1]
    assert bool(said) is is_wrong


@pytest.mark.parametrize("story", BROKEN)
def test_a_broken_promise_is_named_by_its_number(story: str) -> None:
    number, history = BROKEN[story]
    verdicts = history().judged()
    assert number in [found for found, _ in verdicts], verdicts
    assert all(sentence[-1] not in ".\n" and "  " not in sentence for _, sentence in verdicts)


@pytest.mark.parametrize("story", CLEAN)
def test_a_kept_promise_is_left_alone(story: str) -> None:
    assert CLEAN[story]().judged() == []


def test_on_a_netting_account_a_fill_closes_what_the_book_has_and_no_more() -> None:
    """Somebody had added to the position: the next reading shows what is left."""
    assert added_to().judged(msgspec.structs.replace(SCOPE, netting=True)) == []


def test_all_ten_promises_have_a_checker_in_the_words_of_the_design() -> None:
    assert {checker.number: checker.promise for checker in CHECKERS} == {
        number: sentence for number, (_, sentence) in INVARIANTS.items()
    }
    assert {number for number, _ in BROKEN.values()} == set(INVARIANTS)
