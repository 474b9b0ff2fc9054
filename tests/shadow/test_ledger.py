"""Over many seeds: the report has exactly what the trade server's own ledger says happened."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.shadow.world import (
    BOT,
    BUY,
    EURUSD,
    NETTING,
    OTHER,
    SELL,
    ShadowWorld,
    is_of_bot,
)
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.shadow.making import report_of
from trueup.observe.shadow.report import Kind, ShadowReport
from trueup.sim.market.records import Deal, Refusal

TURNS = 40
SEEDS = range(16)
CLOSING = (mt5.DEAL_ENTRY_OUT, mt5.DEAL_ENTRY_OUT_BY)


class Strange:
    """A bot that is not ours, other hands, and the accidents of a day, drawn from a seed."""

    def __init__(self, world: ShadowWorld, seed: int) -> None:
        self.world, self.random = world, random.Random(seed)
        terminal = world.terminal
        self.hands = (terminal.robot(BOT), terminal.person, terminal.robot(OTHER))
        self.silences = 0

    def act(self) -> None:
        """Do one thing, or nothing."""
        draw = self.random.random()
        who = self.random.choice((self.hands[0], self.hands[0], *self.hands))
        held = list(self.world.terminal.ledger.positions.values())
        one = self.random.choice(held) if held else None
        try:
            if draw < 0.35:
                self._open(who)
            elif draw < 0.55:
                self.world.price(self.random.uniform(-25, 25))
            elif one is None:
                return
            elif draw < 0.75:
                who.close(one.ticket)
            elif draw < 0.85 and one.steps > 1:
                who.close(one.ticket, round(one.steps // 2 * 0.01, 2))
            elif draw < 0.95:
                sl = self.random.choice((0.0, round(self.world.bid - 0.05, 5)))
                who.modify(one.ticket, sl=sl if one.closing_type == SELL else 0.0)
        except Refusal:
            # The server refuses some of it, as in life.
            pass

    def _open(self, who: object) -> None:
        side = self.random.choice((BUY, SELL))
        away = self.random.choice((0.0012, 0.0020))
        away = -away if side == BUY else away
        bid = self.world.bid
        sl = self.random.choice((0.0, round(bid + away, 5), round(bid + away, 5)))
        tp = self.random.choice((0.0, round(bid - away, 5)))
        lots = self.random.randint(1, 20) / 100
        who.open(EURUSD, side, lots, sl=sl, tp=tp)  # type: ignore[attr-defined]

    def turn(self) -> None:
        """Act some times between two looks; now and then nobody looks for a while."""
        draw = self.random.random()
        if draw < 0.06:
            self._silence()
        elif draw < 0.12:
            self._away()
        with self.world.gateway.terminal():
            for _ in range(self.random.randint(0, 3)):
                self.act()
        self.world.look()

    def _silence(self) -> None:
        # Asked once for certain, so that the silence is a silence and not only a gap.
        self.silences += 1
        with self.world.gateway.terminal() as terminal:
            terminal.disconnect()
        self.world.look()
        with self.world.gateway.terminal() as terminal:
            for _ in range(self.random.randint(0, 3)):
                self.act()
            terminal.reconnect()
        # Two readings that agree end the silence.
        self.world.look(4)

    def _away(self) -> None:
        self.world.end()
        for _ in range(self.random.randint(0, 3)):
            self.world.clock.advance(self.random.randint(1, 200))
            self.act()
        self.world.begin()


def lots_after(deals: list[Deal]) -> int:
    """What deals leave open, in steps; negative when short."""
    return sum(d.steps if d.type == mt5.DEAL_TYPE_BUY else -d.steps for d in deals)


def by_ledger(world: ShadowWorld, after: int) -> dict[Kind, list[int]]:
    """The positions of each kind by the ledger; those from before the watch are the bot's."""
    found: dict[Kind, list[int]] = {
        kind: [] for kind in (Kind.GHOST, Kind.ZOMBIE, Kind.DRIFT, Kind.REVERSAL)
    }
    for identifier, deals in world.deals_by_position().items():
        if deals[-1].ticket <= after:
            continue
        was_there = deals[0].ticket <= after
        is_own = was_there or is_of_bot(deals[0])
        if not is_own:
            found[Kind.ZOMBIE].append(identifier)
        for number, deal in enumerate(deals):
            if deal.ticket <= after or is_of_bot(deal) or not number:
                continue
            if deal.entry == mt5.DEAL_ENTRY_INOUT:
                found[Kind.REVERSAL].append(identifier)
            elif lots_after(deals[: number + 1]):
                found[Kind.DRIFT].append(identifier)
            elif is_own and deal.entry in CLOSING:
                found[Kind.GHOST].append(identifier)
    return found


def positions(report: ShadowReport, kind: Kind, end: str = "") -> list[int]:
    """The positions of the findings of a kind whose text ends so."""
    return sorted(one.position for one in report.of(kind) if one.seen.endswith(end))


@pytest.mark.parametrize("seed", SEEDS)
def test_ghosts_zombies_and_drifts_are_those_of_the_ledger(seed: int, tmp_path: Path) -> None:
    world = ShadowWorld(tmp_path, NETTING if seed % 3 == 0 else None)
    try:
        strange = Strange(world, seed)
        for _ in range(6):
            strange.act()
        world.begin()
        # Also the stops that the first price of the watch has hit.
        after = max(world.terminal.ledger.deals)
        for _ in range(TURNS):
            strange.turn()
        world.look(3)
        report = world.report()
        truth = by_ledger(world, after)
        assert positions(report, Kind.GHOST) == sorted(truth[Kind.GHOST])
        assert positions(report, Kind.ZOMBIE) == sorted(truth[Kind.ZOMBIE])
        assert positions(report, Kind.REVERSAL) == sorted(truth[Kind.REVERSAL])
        # The other drifts are of stops: the ledger keeps no record of these.
        assert positions(report, Kind.DRIFT, " lots") == sorted(truth[Kind.DRIFT])
        assert len(report.of(Kind.STALE)) == strange.silences
        assert report.of(Kind.LATE_DEAL) == report.of(Kind.CASH) == ()
        # Nothing of it is in the process: the journal alone makes the same report.
        assert report == report_of(world.events(), (BOT,))
        assert set(world.gateway.actions).isdisjoint({"BUY", "SELL", "MODIFY", "CANCEL"})
    finally:
        world.close()
