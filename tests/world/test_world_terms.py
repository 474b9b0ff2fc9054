"""What changes around a bot in the simulated world: each kind is met, and no promise is broken.

Each run is one in which nothing else goes wrong.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lived import Lived
from trueup.core.account import trust
from trueup.core.realised import placing
from trueup.lab.facts import facts
from trueup.lab.plan.plan import ASKING, Fault


@pytest.mark.parametrize(
    "fault",
    [
        Fault.TRADE_MODE,
        Fault.FILLING_MODE,
        Fault.STEPS,
        Fault.BALANCE_MOVED,
        Fault.FILLED_UNSEEN,
        Fault.ROW_ODD,
        Fault.ROW_TWICE,
        Fault.SAME_LOGIN_ELSEWHERE,
        Fault.SUSPENDED_LONG,
        Fault.CLOCK_SET,
        Fault.STEPS_FINER,
        Fault.SYMBOL_RENAMED,
        Fault.HABITS,
        Fault.ALLOW_EDITED,
        Fault.TRADING_OFF,
        Fault.READ_ONLY,
        Fault.CHANGED_WHILE_READ,
        Fault.INTERRUPTED,
        Fault.FILLED_IN_PARTS,
    ],
)
@pytest.mark.parametrize("netting", [False, True])
def test_each_kind_is_met_and_no_promise_is_broken(fault: Fault, netting: bool) -> None:
    coarse = fault is Fault.STEPS_FINER
    # What strikes an order has to meet one of the kind that it strikes.
    strikes = 10 if fault in (Fault.FILLED_UNSEEN, Fault.FILLED_IN_PARTS) else 5
    kind: dict[str, Any] = {"netting": netting, "owns_magic": not netting, "is_coarse": coarse}
    lived = Lived(fault, strikes=strikes, wish_every_ms=1_000, **kind)
    assert lived.met == {fault.name}
    assert not lived.broken


@pytest.mark.parametrize(
    ("fault", "rule", "said"),
    [
        (Fault.CHANGED_WHILE_READ, trust._torn, "and the terminal listed"),
        (Fault.LIST_SWAPPED, trust._contradicts_sum, "and the terminal listed"),
        (Fault.SYNC_BY_HAND, trust._older, "older than one that it had before"),
    ],
)
def test_a_reading_that_one_rule_alone_refuses_is_met_and_caught_without_that_rule(
    fault: Fault, rule: trust.Rule, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: dict[str, Any] = {"netting": False, "wish_every_ms": 1_000}
    assert not Lived(fault, **kind).broken
    monkeypatch.setattr(trust, "RULES", tuple(one for one in trust.RULES if one is not rule))
    without = (Lived(fault, seed=seed, **kind) for seed in range(6))
    assert any(said in one.sentence for lived in without for one in lived.broken)


@pytest.mark.parametrize("asks", ASKING)
def test_a_bot_whose_corrections_wait_for_a_yes_agrees_too(asks: str) -> None:
    lived = Lived(Fault.HAND_CLOSES_PART, Fault.HAND_MOVES_STOPS, netting=False, asks=asks)
    assert not lived.broken


@pytest.mark.parametrize("netting", [False, True])
def test_lots_of_thousandths_are_traded_as_they_were_meant(netting: bool) -> None:
    lived = Lived(Fault.HAND_CLOSES_PART, netting=netting, owns_magic=not netting, is_fine=True)
    assert not lived.broken
    lots = {row.units / facts.UNITS for book in lived.books for row in book.positions}
    assert any(round(volume, 2) != volume for volume in lots)


def test_a_book_that_looks_for_no_order_that_it_never_saw_filled_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placing, "placement", lambda *_, **__: None)
    monkeypatch.setattr(placing, "came_and_went", lambda *_, **__: None)
    lived = Lived(Fault.FILLED_UNSEEN, netting=False, wish_every_ms=1_000)
    assert any(one.invariant == 1 and "has realised" in one.sentence for one in lived.broken)
