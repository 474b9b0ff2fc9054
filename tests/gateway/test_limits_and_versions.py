"""What a gateway does not serve is refused in words, and another version's words are not believed.

A part of an answer would be taken for the whole: nothing that was asked for is left out in silence.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest

from tests.support import make
from tests.support.desk_world import BUY, DeskLink, DeskWorld
from trueup.core.account.trust import Reason, Unknown
from trueup.core.gateway_record import RequestInDoubt
from trueup.core.model import Snapshot
from trueup.core.scope import EVERY_SYMBOL, Neighbour, Scope
from trueup.gateway.client.reader import Question, Reader
from trueup.gateway.desk import asking_books
from trueup.gateway.desk.asking_books import LATELY_NS, AskingBooks
from trueup.protocol import snapshot
from trueup.protocol.request_status import decode_status
from trueup.protocol.snapshot import (
    HISTORY_LONGEST_SEC,
    NAMED_AT_ONCE,
    NEIGHBOURS_MOST,
    VERSION,
    SnapshotRequest,
    decode_snapshot,
)
from trueup.protocol.ticks import decode_tick
from trueup.runtime.sync.reconciler import SyncStatus

DAY_SEC = 86_400


def ask(world: DeskWorld, **fields: object) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(world.desk.handle(json.dumps(fields).encode()))
    return reply


def question(**more: object) -> dict[str, object]:
    return {"action": "SNAPSHOT", "session": "s", "id": 1, **more}


def doubts(count: int) -> list[dict[str, str]]:
    return [{"id": f"a-{number}"} for number in range(count)]


# Limits.


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"in_doubt": doubts(501)}, "in_doubt has 501 entries: give at most 500"),
        ({"explain": list(range(1, 502))}, "explain has 501 entries: give at most 500"),
        ({"explain_orders": list(range(1, 700))}, "explain_orders has 699 entries"),
        ({"symbols": [f"S{n}" for n in range(501)]}, "symbols has 501 entries"),
        (
            {"history_age_sec": 32 * DAY_SEC},
            "history_age_sec=2764800 is not valid: give 0 to 2678400 (31 days)",
        ),
        ({"history_age_sec": -1}, "history_age_sec=-1 is not valid"),
        ({"in_doubt": [{"id": ""}]}, "in_doubt has an order without an id"),
        ({"in_doubt": [{"id": "x" * 129}]}, "an id in in_doubt has 129 characters"),
        ({"explain": [2**64]}, "explain has 18446744073709551616"),
    ],
)
def test_more_than_a_reply_carries_is_refused_in_words(asked: dict[str, Any], words: str) -> None:
    world = DeskWorld()
    reply = ask(world, **question(**asked))
    assert reply["status"] == "ERROR"
    assert words in reply["error"]
    assert "positions" not in reply
    # Nothing was withdrawn by a question that was refused.
    order = {"action": "BUY", "order_id": "a-0", "symbol": "EURUSD", "volume": 0.1}
    assert ask(world, **order)["status"] == "FILLED"


@pytest.mark.parametrize(
    "asked",
    [
        {"in_doubt": doubts(500)},
        {"explain": list(range(1, 501))},
        {"symbols": [f"S{n}" for n in range(500)]},
        {"symbols": ["EURUSD"], "history_age_sec": 31 * DAY_SEC},
    ],
)
def test_as_much_as_a_reply_carries_is_served(asked: dict[str, Any]) -> None:
    reply = ask(DeskWorld(), **question(**asked))
    assert reply["status"] == "SUCCESS"
    assert len(reply.get("requests", ())) == len(asked.get("in_doubt", ()))
    assert len(reply.get("explained", ())) == len(asked.get("explain", ()))
    if "history_age_sec" in asked:
        assert reply["history"]["age_sec"] == 31 * DAY_SEC


def test_a_bot_asks_for_so_many_at_once_and_for_each_in_its_turn() -> None:
    world = DeskWorld()
    world.quote(1.1)
    asked: list[dict[str, Any]] = []

    def answer(message: bytes) -> bytes:
        asked.append(json.loads(message))
        return world.desk.handle(message)

    reader = Reader(DeskLink(answer), "gateway", 1_000, "bot")
    many = tuple(range(1, 1_301))
    wanted = Question(
        symbols=("EURUSD",),
        explain=many,
        explain_orders=many,
        history_age_sec=400 * DAY_SEC,
        in_doubt=tuple(RequestInDoubt(f"a-{number}") for number in many),
    )
    for _ in range(4):
        assert isinstance(reader.read(wanted), Snapshot)
    snapshots = [one for one in asked if one["action"] == "SNAPSHOT"]
    for name in ("explain", "explain_orders"):
        assert {ticket for one in snapshots for ticket in one[name]} == set(many)
        assert {len(one[name]) for one in snapshots} == {NAMED_AT_ONCE}
    assert {len(one["in_doubt"]) for one in snapshots} == {NAMED_AT_ONCE}
    assert {one["history_age_sec"] for one in snapshots} == {HISTORY_LONGEST_SEC}


# A symbol that is left out.


@pytest.mark.parametrize("left_out", [{}, {"symbol": ""}, {"symbol": "*"}])
def test_what_needs_a_symbol_says_so(left_out: dict[str, str]) -> None:
    world = DeskWorld()
    reply = ask(world, action="TICK", **left_out)
    assert reply == {
        "status": "ERROR",
        "error": "TICK needs a symbol: give its name, as the broker spells it",
    }
    for side in ("BUY", "SELL"):
        reply = ask(world, action=side, order_id=f"{side}-1", volume=0.1, **left_out)
        assert (reply["order_id"], reply["status"]) == (f"{side}-1", "REJECTED")
        assert reply["error"] == f"{side} needs a symbol: give its name, as the broker spells it"
    assert not world.rows()


# A failure that gives no reason.


@pytest.mark.parametrize("said", [{}, {"error": None}, {"error": ""}])
def test_a_failure_without_a_reason_says_that_there_is_none(said: dict[str, Any]) -> None:
    raw = make.as_bytes({"status": "FAILED", "symbol": "EURUSD", **said})
    unknown = [decode_snapshot(raw, 1), decode_tick(raw, "EURUSD"), decode_status(raw, "a-1")]
    for one in unknown:
        assert isinstance(one, Unknown)
        assert one.sentence.endswith(": the gateway gave no reason")
    said_why = make.as_bytes({"status": "FAILED", "symbol": "EURUSD", "message": "no terminal"})
    reading = decode_snapshot(said_why, 1)
    assert isinstance(reading, Unknown)
    assert reading.sentence == "The terminal could not be read: no terminal"


# Another version of the protocol.


@pytest.mark.parametrize("version", [2, 0, "1", None, 1.5])
def test_a_snapshot_of_another_version_is_not_believed_and_that_is_said(version: object) -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.1)
    world.tamper(lambda fields: fields.update(version=version))
    result = world.sync()
    assert result.status is SyncStatus.DEGRADED
    assert result.errors == [
        f"The gateway speaks version {version!r} of the protocol, and this program version 1: "
        "what it says is not believed"
    ]
    assert not world.pm.get_local_positions()
    assert world.pm.book.bound is None
    world.clock.advance(1)
    assert world.sync().recovered == 1


def test_an_unchanged_reply_of_another_version_is_not_believed() -> None:
    world = DeskWorld()
    asking = {"session": "s", "id": 1}
    raw = world.desk.handle(json.dumps({"action": "SNAPSHOT", **asking}).encode())
    known = decode_snapshot(raw, 1)
    assert isinstance(known, Snapshot)
    assert known.evidence is not None
    asking = {"session": "s", "id": 2, "digest": known.evidence.digest}
    reply = json.loads(world.desk.handle(json.dumps({"action": "SNAPSHOT", **asking}).encode()))
    assert reply["status"] == "UNCHANGED"
    again = decode_snapshot(make.as_bytes(reply), 2, known)
    assert isinstance(again, Snapshot)
    other = decode_snapshot(make.as_bytes(reply | {"version": 2}), 2, known)
    assert isinstance(other, Unknown)
    assert "version 2 of the protocol" in other.sentence


def test_a_shape_that_only_another_version_has_is_told_by_its_version() -> None:
    for status in ("SUCCESS", "UNCHANGED", "PARTIAL"):
        raw = make.as_bytes({"status": status, "version": 3, "id": 1, "book": []})
        reading = decode_snapshot(raw, 1)
        assert isinstance(reading, Unknown)
        assert reading.reason is Reason.UNREADABLE
        assert "version 3 of the protocol" in reading.sentence


def test_a_message_that_names_no_version_is_of_the_first() -> None:
    """A later trueup must write its version: one that is left out is 1, now and then."""
    for struct in (snapshot.SnapshotReply, snapshot.UnchangedReply):
        (field,) = [f for f in msgspec.structs.fields(struct) if f.name == "version"]
        assert field.default == snapshot.UNNAMED_VERSION == 1
    assert VERSION == 1


# Books that ask one gateway.

HERE = "7@Demo"
SECOND_NS = 1_000_000_000


@dataclasses.dataclass
class Asking:
    """Books that ask, and the clock for ages."""

    now_ns: int = 0

    def __post_init__(self) -> None:
        self.books = AskingBooks(lambda: self.now_ns)

    def ask(self, run: str, *symbols: str, account: str = HERE, **more: Any) -> SnapshotRequest:
        """Let a book ask, a second after the last."""
        self.now_ns += SECOND_NS
        scope = Scope(run, account=account, **more)
        request = SnapshotRequest(session=run, id=1, symbols=symbols, scope=scope)
        self.books.note(request)
        return request

    def beside(self, request: SnapshotRequest) -> list[Neighbour]:
        return list(self.books.beside(request, HERE))

    def runs(self, request: SnapshotRequest) -> list[str]:
        return [one.scope.run for one in self.beside(request)]


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_books_with_a_common_symbol_are_beside_each_other_the_latest_first(asking: Asking) -> None:
    first = asking.ask("a", "EURUSD", "GBPUSD", stream="one", magics=(7,))
    second = asking.ask("b", "GBPUSD", "USDJPY", "EURUSD")
    asking.ask("c", "USDJPY")
    asking.ask("d", "EURUSD", account="8@Demo")
    asking.ask("e", "EURUSD", account="")
    assert asking.runs(first) == ["e", "b"]
    asking.ask("a", "EURUSD", "XAUUSD", "GBPUSD", stream="one", magics=(7,))
    assert asking.runs(second) == ["a", "e", "c"]
    # Each with the symbols of both alone, in its own order, and the ages of its questions.
    assert asking.beside(second)[0] == Neighbour(
        Scope("a", "one", magics=(7,), account=HERE, symbols=("EURUSD", "GBPUSD")), 0, 5_000
    )


def test_book_of_every_symbol_is_beside_all_and_a_scope_without_a_run_is_told_of_all(
    asking: Asking,
) -> None:
    one = asking.ask("a", "EURUSD")
    every = asking.ask("b", symbols=(EVERY_SYMBOL,))
    assert asking.runs(one) == ["b"]
    asking.ask("a", "EURUSD")
    (told,) = asking.beside(every)
    assert told.scope.symbols == ("EURUSD",)
    nameless = asking.ask("", "USDJPY")
    assert asking.runs(nameless) == ["a", "b"]
    assert asking.beside(SnapshotRequest(session="s", id=1)) == []


def test_book_that_ended_before_another_began_is_not_beside_it(asking: Asking) -> None:
    first = asking.ask("a", "EURUSD")
    second = asking.ask("b", "EURUSD")
    assert asking.runs(second) == []
    assert asking.runs(first) == ["b"]
    asking.ask("a", "EURUSD")
    assert asking.runs(second) == ["a"]


def test_book_is_active_for_as_long_as_it_asked_lately(asking: Asking) -> None:
    asking.ask("b", "EURUSD")
    own = asking.ask("a", "EURUSD")
    asking.ask("b", "EURUSD")
    asking.now_ns += LATELY_NS
    assert asking.runs(own) == ["b"]
    asking.now_ns += 1
    assert asking.runs(own) == []


def test_books_and_their_symbols_are_bounded_and_the_oldest_go(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking_books, "BOOKS_KEPT", 3)
    monkeypatch.setattr(asking_books, "SYMBOLS_KEPT", 2)
    own = asking.ask("a", symbols=(EVERY_SYMBOL,))
    for run in "bca":
        asking.ask(run, "EURUSD")
    # A name of 65 characters is none of a symbol's.
    asking.ask("c", "S1", "S2" + "x" * 62, "S3" + "x" * 63, "S4")
    told = asking.beside(own)
    assert [one.scope.run for one in told] == ["c", "b"]
    assert told[0].scope.symbols == ("S1", "S2" + "x" * 62)
    asking.ask("d", "EURUSD")
    assert asking.runs(own) == ["d", "c"]


def test_no_more_neighbours_are_named_than_a_reply_may_have(asking: Asking) -> None:
    own = asking.ask("own", "EURUSD")
    for number in range(NEIGHBOURS_MOST + 1):
        asking.ask(f"b{number}", "EURUSD")
    assert asking.runs(own) == [f"b{number}" for number in range(NEIGHBOURS_MOST, 0, -1)]
