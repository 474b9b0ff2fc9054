"""The watcher: every change is hinted at, costly looks are seldom, what is unseen is unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from trueup.core.digest import digest
from trueup.gateway.desk.desk import Desk
from trueup.gateway.reading.rows import pending_of, position_of
from trueup.gateway.reading.watcher import BEAT_MS, REST
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.hints import Hint
from trueup.runtime.time.clock import ManualClock
from trueup.sim.terminal.terminal import SimulatedTerminal

SYMBOL = "EURUSD"
WATCH_MS = 50
BUY = mt5.ORDER_TYPE_BUY
BEATS = BEAT_MS // WATCH_MS


class Watched:
    """A watcher, its terminal, and what the terminal was asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.calls: Counter[str] = Counter()
        self.cost_ms: dict[str, int] = {}
        self.program = SimulatedTerminal(now_msc=lambda: self.clock.now_ns() // 1_000_000)
        assert self.program.initialize()
        self.program.quote(SYMBOL, 1.1, 1.1001)
        self.person = self.program.person
        self.ticket = self.person.open(SYMBOL, BUY, 0.2)
        self.watcher = Desk(self, "boot", self.clock.now_ns).watcher(WATCH_MS)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.calls[name] += 1
            self.clock.advance(self.cost_ms.get(name, 0) / 1000)
            return getattr(self.program, name)(*args, **named)

        return call

    def turn(self, turns: int = 1) -> list[Hint]:
        """The hints of so many turns, each as long after the last as it says."""
        hints = []
        for _ in range(turns):
            self.clock.advance(WATCH_MS / 1000)
            raw = self.watcher.turn()
            if raw is not None:
                hints.append(msgspec.json.decode(raw, type=Hint))
        return hints

    @property
    def digest(self) -> str:
        positions, orders = self.program.positions_get(), self.program.orders_get()
        assert positions is not None
        assert orders is not None
        return digest(map(position_of, positions), map(pending_of, orders))


@pytest.fixture
def watched() -> Watched:
    made = Watched()
    made.person.modify(made.ticket, sl=1.045)
    assert len(made.turn()) == 1
    return made


CHANGES: dict[str, Callable[[Watched, int], object]] = {
    "a position opens": lambda w, _: w.person.open(SYMBOL, BUY, 0.1),
    "a position closes": lambda w, ticket: w.person.close(ticket),
    "a position is closed in part": lambda w, ticket: w.person.close(ticket, 0.1),
    "a stop moves": lambda w, ticket: w.person.modify(ticket, sl=1.05),
    "a stop loss is hit": lambda w, _: w.program.quote(SYMBOL, 1.04, 1.0401),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_hinted_at_in_the_next_turn(watched: Watched, what: str) -> None:
    CHANGES[what](watched, watched.ticket)
    hints = watched.turn()
    assert [(hint.hint, hint.boot, hint.digest) for hint in hints] == [(2, "boot", watched.digest)]


def test_a_price_is_no_change(watched: Watched) -> None:
    watched.program.quote(SYMBOL, 1.2, 1.2001)
    assert watched.turn(BEATS // 2) == []


def test_nothing_new_is_said_again_at_every_beat(watched: Watched) -> None:
    hints = watched.turn(3 * BEATS)
    assert [hint.hint for hint in hints] == [2, 3, 4]
    assert {hint.digest for hint in hints} == {watched.digest}
    assert {hint.within_ms for hint in hints} == {BEAT_MS}


def test_lists_that_take_long_are_read_for_a_tenth_of_the_time_and_counts_always(
    watched: Watched,
) -> None:
    watched.cost_ms["positions_get"] = 100
    watched.turn(400)
    spent_ms = 100 * watched.calls["positions_get"]
    passed_ms = 400 * WATCH_MS + spent_ms
    assert 0.9 / (REST + 1) < spent_ms / passed_ms < 1.1 / (REST + 1)
    watched.turn(4)
    before = watched.calls["positions_get"]
    watched.person.open(SYMBOL, BUY, 0.1)
    assert [hint.digest for hint in watched.turn()] == [""]
    assert watched.calls["positions_get"] == before
    assert watched.turn(BEATS)[0].digest == watched.digest


def test_every_change_is_hinted_at_at_once_while_the_lists_are_not_read(watched: Watched) -> None:
    """Whoever asked after the first hint would else not ask again before the next beat."""
    watched.cost_ms["positions_get"] = BEAT_MS
    watched.turn()
    for _ in range(3):
        watched.person.open(SYMBOL, BUY, 0.1)
        assert [hint.digest for hint in watched.turn()] == [""]
    assert watched.turn() == []


def test_a_terminal_that_is_slow_all_over_is_left_alone_most_of_the_time(watched: Watched) -> None:
    watched.cost_ms["terminal_info"] = 200
    before = watched.calls["terminal_info"]
    watched.turn(1_000)
    looks = watched.calls["terminal_info"] - before
    assert looks * 200 / (1_000 * WATCH_MS + looks * 200) <= 1.1 / (REST + 1)


def test_lists_that_cannot_be_read_are_tried_seldom_and_nothing_is_said(watched: Watched) -> None:
    watched.cost_ms["orders_get"] = 5_000
    watched.program.orders_get = lambda: None  # type: ignore[method-assign,assignment,misc]
    before = watched.calls["orders_get"]
    assert watched.turn(3_000) == []
    assert watched.calls["orders_get"] - before <= 3_000 * WATCH_MS / (REST * 5_000) + 1


@pytest.mark.parametrize(
    "blind",
    [
        lambda w: w.program.disconnect(),
        lambda w: w.program.break_pipe(),
    ],
)
def test_what_cannot_be_seen_is_not_said(
    watched: Watched, blind: Callable[[Watched], None]
) -> None:
    blind(watched)
    assert watched.turn(3 * BEATS) == []


def test_a_terminal_that_comes_back_is_read_anew(watched: Watched) -> None:
    watched.program.disconnect()
    watched.turn(2 * BEATS)
    watched.person.open(SYMBOL, BUY, 0.1)
    watched.program.reconnect()
    assert watched.turn(2)[0].digest == watched.digest


def test_a_busy_terminal_is_looked_at_once_a_beat(watched: Watched) -> None:
    before = watched.calls["terminal_info"]
    for _ in range(5 * BEATS):
        watched.clock.advance(WATCH_MS / 1000)
        watched.watcher.turn(is_idle=False)
    assert 4 <= watched.calls["terminal_info"] - before <= 5
