"""Whatever a gateway object answers or raises: the order is never lost, and blocks nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import make
from tests.support.order_world import OrderWorld
from trueup.core.book import events, outcome
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Side
from trueup.errors import JournalError, NotSent, Refused
from trueup.journal import MemoryJournal
from trueup.runtime.bot.answers import (
    create_fill_response,
    late_outcomes_text,
    log_created,
    log_fill,
    log_sending,
    not_recorded,
    order_words,
    repeats,
    send,
)
from trueup.runtime.time.clock import ManualClock


class Answers:
    """A gateway object that answers once in its own way, then as the world's does."""

    def __init__(self, world: OrderWorld, answer: object) -> None:
        self.world, self.answer, self.calls = world, answer, 0

    def send_order(self, order: Mapping[str, Any]) -> Any:
        self.calls += 1
        if self.calls > 1:
            return self.world.gateway.send_order(order)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def asked(answer: object, tmp_path: Path | None = None) -> tuple[OrderWorld, Any]:
    """A world after one order that was answered so."""
    journal = MemoryJournal() if tmp_path is None else tmp_path / "bot.db"
    world = OrderWorld(journal=journal)
    world.pm.desk.gateway = Answers(world, answer)
    world.sync()
    return world, world.pm.submit("buy", 0.1)


UNKEEPABLE: dict[str, object] = {
    "half an emoji in the reason": {"status": "REJECTED", "error": "no \ud83d money"},
    "half an emoji in the status": {"status": "FI\ud83dLLED"},
    "a ticket beyond 64 bits": make.filling("x", 2**64),
    "a price of a kind of its own": make.filling("x", filled_price=object()),
    "a volume that is no number": make.filling("x", filled_volume=float("nan")),
    "a list": [],
    "a text": "FILLED",
    "nothing": None,
}


@pytest.mark.parametrize("what", UNKEEPABLE)
@pytest.mark.parametrize("on_disk", [True, False])
def test_an_answer_that_cannot_be_kept_blocks_no_later_order(
    what: str, on_disk: bool, tmp_path: Path
) -> None:
    world, order = asked(UNKEEPABLE[what], tmp_path if on_disk else None)
    if order.status is not OrderStatus.REJECTED:
        assert order.status is OrderStatus.IN_DOUBT
        world.wait_out()
    assert order.status in (OrderStatus.REJECTED, OrderStatus.CANCELED)
    assert not world.pm.desk.owes
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_an_event_that_no_journal_takes_becomes_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever slips through: a rule that makes such an event must not stop the next order."""
    from trueup.runtime.bot import outcomes

    def broken(order: Any, outcome: Any, now_ns: int) -> events.OrderEvent:
        return events.OrderRejected(at_ns=now_ns, order_id=order.order_id, error="\ud83d")

    world = OrderWorld()
    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "order_event", broken)
        order = world.pm.submit("buy", 0.1)
    assert order.status is OrderStatus.IN_DOUBT
    assert "cannot be recorded as it is" in str(order.error)
    world.sync()
    assert world.order(order).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), TimeoutError(), TypeError("y"), KeyError("order_id")]
)
def test_a_gateway_that_raises_leaves_the_order_in_doubt(error: Exception) -> None:
    world, order = asked(error)
    assert order.status is OrderStatus.IN_DOUBT
    assert f"the gateway raised {type(error).__name__}" in str(order.error)
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1)
    world.wait_out()
    assert order.status is OrderStatus.CANCELED


@pytest.mark.parametrize("error", [NotSent("no line"), Refused("no money")])
def test_a_gateway_that_says_that_nothing_happened_is_believed(error: Exception) -> None:
    _, order = asked(error)
    assert order.status is OrderStatus.REJECTED
    assert str(error) in str(order.error)


def sent_to(answer: object, **fields: Any) -> tuple[outcome.OrderOutcome, list[Any]]:
    """What is made of an answer, and what was sent."""
    messages: list[Any] = []

    class Gateway:
        def send_order(self, order: Mapping[str, Any]) -> Any:
            messages.append(order)
            if isinstance(answer, BaseException):
                raise answer
            return answer

    return send(Gateway(), {"order_id": "A"}, make.sent("A", **fields)), messages


@pytest.mark.parametrize(
    ("answer", "made"),
    [
        (NotSent("no line"), outcome.Refused("Not sent: no line")),
        (Refused("no money"), outcome.Refused("no money")),
        (RuntimeError("x"), outcome.Unknown("the gateway raised RuntimeError: x")),
        (TimeoutError(), outcome.Unknown("the gateway raised TimeoutError")),
        ([], outcome.Unknown("the gateway answered with a list")),
        (
            make.filling("A", 7, filled_price=1.1, filled_volume=0.1),
            outcome.Filled(7, 0.1, 1.1),
        ),
        # A terminal says only "Not found", so the symbol is named.
        (
            {"order_id": "A", "status": "REJECTED", "error": "Not found"},
            outcome.Refused("Not found (EURUSD)"),
        ),
        (
            {"order_id": "A", "status": "REJECTED", "error": "EURUSD is closed"},
            outcome.Refused("EURUSD is closed"),
        ),
    ],
)
def test_what_is_made_of_each_answer(
    answer: object, made: outcome.OrderOutcome, caplog: pytest.LogCaptureFixture
) -> None:
    assert sent_to(answer) == (made, [{"order_id": "A"}])
    raised = isinstance(made, outcome.Unknown) and isinstance(answer, Exception)
    logged = ["[ORDER] The gateway raised while it sent A"] if raised else []
    assert caplog.messages == logged
    assert all(record.exc_info for record in caplog.records)


def test_the_reply_to_a_pending_order_is_read_as_one() -> None:
    reply = {"order_id": "A", "status": "PLACED", "ticket": 7}
    assert sent_to(reply, kind=OrderKind.LIMIT)[0] == outcome.Placed(7)
    assert isinstance(sent_to(reply)[0], outcome.Unknown)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"entry_price": 0.0}, "BUY 0.10L @ market"),
        ({"entry_price": 1.05}, "BUY 0.10L @ 1.05"),
        (
            {"entry_price": 1.05, "stoplimit": 1.04, "kind": OrderKind.STOP_LIMIT},
            "BUY 0.10L @ 1.05, then limit 1.04",
        ),
        (
            {"entry_price": 0.0, "position": 7, "foreign": (make.position(7),)},
            "BUY 0.10L @ market, closing foreign position 7",
        ),
        ({"kind": OrderKind.CANCEL, "target": 9}, "cancel pending order 9"),
        (
            {"kind": OrderKind.CLOSE_BY, "position": 7, "position_by": 8},
            "0.10L of positions 7 and 8",
        ),
        (
            {
                "kind": OrderKind.CLOSE_BY,
                "position": 7,
                "position_by": 8,
                "foreign": (make.position(7),),
            },
            "0.10L of positions 7 and 8, of which 1 foreign",
        ),
        (
            {
                "kind": OrderKind.MODIFY_ORDER,
                "target": 9,
                "entry_price": 1.04,
                "sl": 1.0,
                "tp": 1.2,
            },
            "pending order 9 to 1.04, SL 1.0, TP 1.2",
        ),
        (
            {"kind": OrderKind.MODIFY, "position": 7, "sl": 1.0, "tp": 1.2},
            "SL 1.0, TP 1.2 for position 7",
        ),
        (
            {
                "kind": OrderKind.MODIFY,
                "position": 7,
                "sl": 1.0,
                "tp": 1.2,
                "foreign": (make.position(7),),
            },
            "SL 1.0, TP 1.2 for foreign position 7",
        ),
    ],
)
def test_the_words_of_each_kind_of_order(fields: dict[str, Any], words: str) -> None:
    assert order_words(make.sent("A", **fields)) == words


def facts(record: logging.LogRecord, *names: str) -> dict[str, Any]:
    """The fields of a line in JSON that a program reads."""
    return {name: getattr(record, name) for name in ("event", "order_id", *names)}


def test_the_lines_of_an_order_have_their_words_and_their_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "trueup.portfolio")
    order = make.sent("A", key="k", magic=3, entry_price=0.0)
    log_created(order)
    names = ("symbol", "side", "volume", "price", "magic", "key", "position")
    assert caplog.messages == ["[ORDER] Created A: BUY 0.10L @ market"]
    assert facts(caplog.records[0], *names) == {
        "event": "order.created",
        "order_id": "A",
        "symbol": "EURUSD",
        "side": "BUY",
        "volume": 0.1,
        "price": 0.0,
        "magic": 3,
        "key": "k",
        "position": None,
    }
    for fields, position in (({"position": 7}, 7), ({"target": 9}, 9)):
        log_created(make.sent("A", **fields))
        record = caplog.records[-1]
        assert (facts(record, "key", "position")["position"], facts(record, "key")["key"]) == (
            position,
            None,
        )
    log_sending(order)
    assert (caplog.messages[-1], caplog.records[-1].levelname) == ("[ORDER] Sending A", "DEBUG")
    assert facts(caplog.records[-1]) == {"event": "order.sending", "order_id": "A"}


def filled_with(ticket: int, price: float) -> events.OrderFilled:
    event = make.filled("A", ticket, Side.BUY, 0.1, price)
    assert isinstance(event, events.OrderFilled)
    return event


FILLED = filled_with(7, 1.1001)


def test_the_lines_of_an_answer_have_their_words_and_their_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trueup.portfolio")
    filled = make.sent("A", status=OrderStatus.FILLED, ticket=7)
    log_fill(filled, FILLED)
    assert caplog.messages[-1] == "[FILL] CONFIRMED A: Ticket=7, Price=1.1001, Volume=0.10"
    assert facts(caplog.records[-1], "ticket", "price", "volume", "symbol") == {
        "event": "order.filled",
        "order_id": "A",
        "ticket": 7,
        "price": 1.1001,
        "volume": 0.1,
        "symbol": "EURUSD",
    }
    placed = make.sent("A", kind=OrderKind.LIMIT, status=OrderStatus.FILLED, ticket=7)
    log_fill(placed, events.OrderApplied(1, "A", ticket=7))
    assert caplog.messages[-1] == "[FILL] PLACED A, ticket 7: BUY 0.10L @ 1.05"
    assert facts(caplog.records[-1], "ticket") == {
        "event": "order.placed",
        "order_id": "A",
        "ticket": 7,
    }
    done = make.sent("A", kind=OrderKind.CANCEL, target=9, status=OrderStatus.FILLED)
    log_fill(done, events.OrderApplied(1, "A", ticket=0))
    assert caplog.messages[-1] == "[FILL] DONE A: cancel pending order 9"
    assert facts(caplog.records[-1])["event"] == "order.done"
    for error, words in (("closed", "closed"), (None, "no reason given")):
        refused = make.sent("A", status=OrderStatus.REJECTED, error=error)
        log_fill(refused, events.OrderRejected(1, "A", error=error or ""))
        last = caplog.records[-1]
        assert (last.levelname, last.getMessage()) == ("WARNING", f"[FILL] REJECTED: A - {words}")
        assert facts(last, "ticket") == {
            "event": "order.rejected",
            "order_id": "A",
            "ticket": None,
        }


def test_a_repeated_answer_is_told_apart_from_one_that_contradicts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trueup.portfolio")
    refused = events.OrderRejected(1, "A", error="closed")
    doubt = events.OrderInDoubt(1, "A", error="no reply")
    for status, event, is_same in (
        (OrderStatus.FILLED, FILLED, True),
        (OrderStatus.FILLED, filled_with(8, 1.1), False),
        (OrderStatus.FILLED, refused, False),
        (OrderStatus.REJECTED, refused, True),
        (OrderStatus.REJECTED, FILLED, False),
        (OrderStatus.CANCELED, events.OrderCanceled(1, "A", because="never left"), True),
        (OrderStatus.IN_DOUBT, doubt, True),
        (OrderStatus.SENT, doubt, False),
    ):
        assert repeats(make.sent("A", status=status, ticket=7), event) is is_same
        last = caplog.records[-1]
        if is_same:
            said = ("INFO", f"[FILL] A is {status.value} already: ignored", "order.repeated")
        else:
            kind = type(event).__name__
            said = (
                "ERROR",
                f"[FILL] A is {status.value}; a later {kind} contradicts it and is ignored",
                "order.contradicted",
            )
        assert (last.levelname, last.getMessage(), facts(last)["event"]) == said
        assert facts(last)["order_id"] == "A"


def test_an_order_that_cannot_be_recorded_says_not_to_ask_again() -> None:
    error = JournalError("The disk is full.")
    order = make.sent("A")
    late = not_recorded(order, outcome.Filled(7, 0.1, 1.1), error)
    assert str(late) == (
        "A was sent (FILLED, ticket 7), and that is not in the journal yet: The disk is full. Do "
        "not ask for it again: it is recorded with the next order or sync."
    )
    assert late.order is order
    assert (late.outcome["order_id"], late.outcome["ticket"]) == ("A", 7)
    doubt = str(not_recorded(order, outcome.Unknown("no reply"), error))
    assert doubt.startswith("A was sent (UNKNOWN), and that")


def test_late_outcomes_are_told_one_after_the_other() -> None:
    assert late_outcomes_text([]) == ""
    filled = make.sent("A", status=OrderStatus.FILLED, ticket=7)
    doubt = make.sent("B", status=OrderStatus.IN_DOUBT, action="SELL")
    then = "the book has that only now: look at it, and ask again if you still want this."
    assert late_outcomes_text([filled, doubt]) == (
        f" A (BUY 0.10L) was sent before, and is FILLED, ticket 7; {then} B (SELL 0.10L) was sent "
        f"before, and is IN_DOUBT; {then}"
    )


def test_an_answer_of_the_guides_form_reads_digits_and_passes_on_the_rest() -> None:
    clock = ManualClock(1_767_571_200_500_000_000)
    assert create_fill_response("A", "7", "1.1", "0.1", clock=clock) == {
        "order_id": "A",
        "ticket": 7,
        "filled_price": 1.1,
        "filled_volume": 0.1,
        "status": "FILLED",
        "error": None,
        "timestamp": 1_767_571_200.5,
    }
    odd = create_fill_response("A", "x", "y", "z", "REJECTED", "closed")
    assert (odd["ticket"], odd["filled_price"], odd["filled_volume"]) == ("x", "y", "z")
    assert (odd["status"], odd["error"]) == ("REJECTED", "closed")


def test_an_interruption_is_passed_on_and_leaves_the_order_in_doubt() -> None:
    world = OrderWorld()
    world.pm.desk.gateway = Answers(world, KeyboardInterrupt())
    world.sync()
    with pytest.raises(KeyboardInterrupt):
        world.pm.submit("buy", 0.1)
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1)
