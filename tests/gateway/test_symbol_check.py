"""When a gateway says that the broker does not have a symbol, and how often it asks for all."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.support.desk_world import OTHER, DeskWorld
from trueup.core.account.symbol_names import Catalogue
from trueup.core.model import UnknownSymbol
from trueup.gateway.reading.snapshots import SEARCHED_MOST, Snapshots
from trueup.gateway.reading.symbol_check import NAMES_KEPT, READ_AGAIN_NS, SymbolCheck
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.snapshot import SnapshotReply, SnapshotRequest
from trueup.sim.market.symbols import EURUSD

SUFFIXED = dataclasses.replace(EURUSD, name="EURUSD.m")


class Asked:
    """A desk's snapshots of a terminal whose broker writes EURUSD.m, with what was asked of it."""

    def __init__(self, **world: Any) -> None:
        self.world = DeskWorld(specs=(EURUSD, SUFFIXED), **world)
        self.terminal = self.world.terminal
        del self.terminal.market.setups["EURUSD"]
        self.lists = 0
        self.attached = 1
        self.answer: Any = self.terminal.symbols_get
        self.terminal.symbols_get = self._listed  # type: ignore[method-assign,assignment]
        self.check = SymbolCheck(self.terminal, self.world.clock.age_ns, lambda: self.attached)
        self.snapshots = Snapshots(
            self.terminal,
            "boot",
            self.world.clock.now_ns,
            attachments=lambda: self.attached,
            symbols=self.check,
        )

    def _listed(self, *args: Any) -> Any:
        self.lists += 1
        return self.answer(*args)

    def unknown(self, *symbols: str) -> tuple[UnknownSymbol, ...]:
        reply = self.snapshots.make(SnapshotRequest("s", 1, symbols or ("EURUSD",)))
        assert isinstance(reply, SnapshotReply)
        return reply.unknown_symbols

    def forget(self, code: int) -> None:
        """Let `symbol_info` fail with another code than "not found"."""

        def fails(name: str) -> None:
            self.terminal.error = (code, mt5.LAST_ERROR_TEXTS[code])

        self.terminal.symbol_info = fails  # type: ignore[method-assign,assignment]


def named(row: Any, name: str) -> Any:
    """The row of a symbol with another name, which is no currency pair."""
    values = row._asdict() | {"name": name, "currency_base": "USD"}
    return tuple.__new__(type(row), tuple(values.values()))


SUFFIX = (UnknownSymbol("EURUSD", ("EURUSD.m",)),)


def test_a_symbol_that_is_not_found_is_told_with_look_alikes_and_its_list_read_once() -> None:
    asked = Asked()
    for _ in range(20):
        assert asked.unknown() == SUFFIX
        asked.world.clock.advance(3600)
    assert asked.unknown("EURUSD.m", "EUR/USD") == (UnknownSymbol("EUR/USD", ("EURUSD.m",)),)
    assert asked.lists == 1


def test_nothing_is_read_where_every_symbol_is_there() -> None:
    asked = Asked()
    assert asked.unknown("EURUSD.m") == ()
    assert asked.lists == 0


@pytest.mark.parametrize(
    "code",
    [mt5.RES_S_OK, mt5.RES_E_FAIL, mt5.RES_E_INVALID_PARAMS, mt5.RES_E_INTERNAL_FAIL_TIMEOUT],
)
def test_another_failure_is_no_proof_that_there_is_no_such_symbol(code: int) -> None:
    asked = Asked()
    asked.forget(code)
    assert asked.unknown() == ()
    assert asked.lists == 0
    failure = asked.terminal.last_error()
    assert asked.check.why_not("EURUSD", failure) == (
        f"symbol_info failed for EURUSD: ({code}, '{mt5.LAST_ERROR_TEXTS[code]}')"
    )


def test_another_attachment_and_another_account_are_asked_anew() -> None:
    asked = Asked(others=(OTHER,))
    assert asked.unknown() == SUFFIX
    asked.attached = 2
    assert asked.unknown() == SUFFIX
    assert asked.lists == 2
    assert asked.terminal.login(OTHER.login)
    assert asked.unknown() == SUFFIX
    assert asked.lists == 3
    # Another broker may have given the same number.
    account = asked.terminal.account_info()
    assert account is not None
    elsewhere: Any = type(account)((account._asdict() | {"server": "Elsewhere"}).values())
    asked.terminal.account_info = lambda: elsewhere  # type: ignore[method-assign]
    for _ in range(2):
        assert asked.unknown() == SUFFIX
        assert asked.lists == 4


@pytest.mark.parametrize("failed", [None, False, TypeError("broke")])
def test_a_list_that_cannot_be_read_costs_the_look_alikes_and_is_asked_for_seldom(
    failed: Any,
) -> None:
    """A list that hangs has its worker killed: asked for each time, no snapshot would come."""
    asked = Asked()
    whole = asked.answer

    def fails() -> Any:
        if isinstance(failed, Exception):
            raise failed
        return failed

    asked.answer = fails
    for _ in range(10):
        asked.attached += 1
        assert asked.unknown() == (UnknownSymbol("EURUSD"),)
    assert asked.lists == 1
    asked.answer = whole
    asked.world.clock.advance(READ_AGAIN_NS / 1e9)
    assert asked.unknown() == SUFFIX
    assert asked.lists == 2


def test_a_terminal_that_loads_its_symbols_is_no_proof() -> None:
    asked = Asked()
    whole, asked.answer = asked.answer, lambda: ()
    assert asked.unknown() == asked.unknown() == ()
    asked.answer = whole
    asked.world.clock.advance(READ_AGAIN_NS / 1e9)
    assert asked.unknown() == SUFFIX


def test_a_list_that_has_the_name_contradicts_and_an_old_one_is_read_again() -> None:
    asked = Asked()
    whole = asked.answer
    setups = asked.terminal.market.setups
    asked.answer = lambda: (*whole(), named(whole()[0], "EURUSD"))
    assert asked.unknown() == asked.unknown() == ()
    assert asked.lists == 1
    # It was taken off the market since.
    asked.answer = whole
    asked.world.clock.advance(READ_AGAIN_NS / 1e9)
    assert asked.unknown() == SUFFIX
    setups["EURUSD"] = EURUSD
    assert asked.unknown() == ()
    assert asked.lists == 2


def test_without_its_trade_server_a_terminal_proves_nothing() -> None:
    asked = Asked()
    asked.terminal.disconnect()
    assert asked.unknown() == ()


def test_a_question_for_many_names_among_ten_thousand_searches_for_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The terminal and all clients wait meanwhile."""
    asked = Asked()
    (row,) = asked.answer()
    rows = tuple(named(row, f"SHARE{number}.X") for number in range(10_000))
    asked.answer = lambda: (*rows, row)
    searched: list[str] = []
    real = Catalogue.look_alikes

    def noted(self: Catalogue, wanted: str) -> tuple[str, ...]:
        searched.append(wanted)
        return real(self, wanted)

    monkeypatch.setattr(Catalogue, "look_alikes", noted)
    names = ("EURUSD", *(f"none{number}" for number in range(499)))
    for _ in range(3):
        assert asked.unknown(*names) == (*SUFFIX, *map(UnknownSymbol, names[1:]))
    assert searched == list(names[:SEARCHED_MOST])
    assert asked.lists == 1


def test_names_that_nobody_has_are_not_kept_without_end() -> None:
    asked = Asked()
    for number in range(NAMES_KEPT + 50):
        assert asked.unknown(f"none{number}") == (UnknownSymbol(f"none{number}"),)
    assert len(asked.check._found) <= NAMES_KEPT


def test_an_order_is_refused_by_the_name_of_its_symbol() -> None:
    world = DeskWorld(specs=(EURUSD, SUFFIXED))
    del world.terminal.market.setups["EURUSD"]
    reply = world.desk.handle(
        b'{"action":"BUY","order_id":"A","symbol":"EURUSD","volume":0.1,"price":1.1}'
    )
    said = b"not sent: the broker does not have the symbol EURUSD; similar names there: EURUSD.m"
    assert said in reply
