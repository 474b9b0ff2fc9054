"""What fuzzing has found in the product, each as a test of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.desk_world import DeskWorld
from trueup.core.book import Book
from trueup.core.lifecycle import OrderStatus
from trueup.core.trust import Unknown
from trueup.errors import JournalCorrupt, OutcomeUnknown, SettingsError
from trueup.journal import codec
from trueup.protocol.guide import decode_positions
from trueup.protocol.orders import decode_outcome
from trueup.protocol.ticks import decode_tick
from trueup.runtime.portfolio import PortfolioManager
from trueup.settings import load_settings
from trueup.sim.person_desk import PersonDesk


@pytest.mark.parametrize("action", [[], {}, [["BUY"]], None, 7, True])
@pytest.mark.parametrize("more", [{}, {"order_id": "ORD_1"}, {"uuid": "a-1"}])
def test_an_action_that_is_no_text_is_refused_and_the_gateway_goes_on(
    action: object, more: dict[str, str]
) -> None:
    """`{"action":[]}` ended the thread that serves the terminal."""
    world = DeskWorld()
    refused = json.loads(world.desk.handle(json.dumps({"action": action, **more}).encode()))
    assert refused["status"].upper() in ("ERROR", "REJECTED")
    assert world.sync().status.value == "SUCCESS"


@pytest.mark.parametrize("half", [b"\\ud800", b"\xed\xa0\x80"])
@pytest.mark.parametrize("status", ["REJECTED", "UNKNOWN", "\ud800"])
def test_half_of_a_surrogate_pair_in_a_reply_is_journalled_as_a_question_mark(
    status: str, half: bytes, tmp_path: Path
) -> None:
    """The order's outcome could never be journalled, and so nothing else either."""
    raw = json.dumps({"order_id": "O", "status": status, "error": "no HALF money"}).encode()
    pm = PortfolioManager("EURUSD", journal=tmp_path / "bot.db", run="x")
    order = pm.create_order(1, 1.1)
    assert order is not None
    try:
        outcome = decode_outcome(raw.replace(b"HALF", half), {"order_id": "O"})
    except OutcomeUnknown as unknown:
        outcome = {"status": "UNKNOWN", "error": str(unknown)}
    assert pm.on_fill({**outcome, "order_id": order.order_id})
    assert order.status in (OrderStatus.REJECTED, OrderStatus.IN_DOUBT)
    assert str(order.error).encode().count(b"?") >= 1
    pm.close_journal()


@pytest.mark.parametrize("half", [b"\\ud800", b"\xed\xa0\x80"])
def test_half_of_a_surrogate_pair_in_a_reply_can_be_said(half: bytes) -> None:
    raw = b'{"status":"FAILED","symbol":"EURUSD","error":"no ' + half + b' link"}'
    for unknown in (decode_positions(raw), decode_tick(raw, "EURUSD")):
        assert isinstance(unknown, Unknown)
        assert "?" in unknown.sentence.encode().decode()


def test_a_price_that_no_float_can_hold_is_no_price() -> None:
    """A whole number of 400 digits ended the loop that asked for the price."""
    raw = b'{"status":"SUCCESS","symbol":"EURUSD","bid":' + b"1" * 400 + b',"ask":1}'
    assert isinstance(decode_tick(raw, "EURUSD"), Unknown)


@pytest.mark.parametrize("deep", [b'{"a":' * 3_000, b"[" * 3_000])
def test_a_row_and_a_saved_book_that_are_nested_without_end_are_corrupt(deep: bytes) -> None:
    with pytest.raises(JournalCorrupt, match="position 7"):
        codec.decode(7, "PositionCorrected", b'{"event":"PositionCorrected","local":' + deep)
    with pytest.raises(JournalCorrupt, match="saved book"):
        Book.restore(b'{"version":0,"account":' + deep)


def test_a_saved_book_with_the_ticket_of_no_order_is_corrupt() -> None:
    world = DeskWorld()
    world.pm.submit("buy", 0.1)
    damaged = world.state().replace(b'"by_ticket":[[', b'"by_ticket":[[1,"ORD_9"],[')
    with pytest.raises(JournalCorrupt, match="ORD_9"):
        Book.restore(damaged)


def test_a_command_that_is_nested_without_end_is_answered() -> None:
    """Anybody on this machine could end the bot, or the simulated terminal, with one message."""
    world = DeskWorld()
    people = PersonDesk(world.terminal, "EURUSD", dict, lambda: None)
    assert b"error" in people.handle(b'{"a":' * 3_000)


def test_settings_that_are_nested_without_end_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trueup.toml").write_bytes(b"gtw_port = " + b"[" * 3_000)
    with pytest.raises(SettingsError, match=r"trueup.toml.*write name = value"):
        load_settings()


def test_a_volume_whose_steps_no_float_can_count_is_refused_by_the_simulated_terminal() -> None:
    """It ended the process of the simulated terminal."""
    world = DeskWorld()
    order = {"order_id": "O", "symbol": "EURUSD", "action": "BUY", "volume": 1e308}
    refused = json.loads(world.desk.handle(json.dumps(order).encode()))
    assert refused["status"] == "REJECTED"
    assert not world.ledger.positions
