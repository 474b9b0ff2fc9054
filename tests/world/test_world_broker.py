"""What a broker's back office does in the simulated world: each kind is met, and counted.

Each run is one in which nothing else goes wrong. With the product's rule for the kind taken away,
a promise is broken: mostly the first, because the book has another result than the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.lived import Lived
from trueup.core.deals import Comparison, History, history_of
from trueup.core.model import Deal, DealKind
from trueup.core.sync import ghosts
from trueup.lab.plan.plan import NEXT_CONTRACT, SYMBOL, Fault
from trueup.runtime.sync.rechecks import Rechecks
from trueup.sim.market.symbols import Charged


def nothing(*_: object, **__: object) -> tuple[()]:
    return ()


def never(*_: object, **__: object) -> bool:
    return False


def no_rechecks(patch: pytest.MonkeyPatch) -> None:
    """Compare nothing again that was counted."""
    patch.setattr(Rechecks, "due", nothing)


def unseen(patch: pytest.MonkeyPatch, is_unseen: Callable[[Deal], bool]) -> None:
    """Let the product see no deals of some kind."""

    def others(identifier: int, deals: Iterable[Deal]) -> History:
        return history_of(identifier, [one for one in deals if not is_unseen(one)])

    patch.setattr("trueup.core.look.inputs.history_of", others)


def no_cancelled_deals(patch: pytest.MonkeyPatch) -> None:
    """See no deal that is none any more."""
    unseen(patch, lambda deal: deal.kind is DealKind.CANCELED)


def trades_alone(patch: pytest.MonkeyPatch) -> None:
    """See no deal that moved no lots."""
    unseen(patch, lambda deal: not deal.volume)


def no_successors(patch: pytest.MonkeyPatch) -> None:
    """Take what was closed to be opened again for closed."""
    patch.setattr(ghosts, "followed", nothing)
    patch.setattr("trueup.core.realised.leaving.followed", nothing)


def only_whole_histories(patch: pytest.MonkeyPatch) -> None:
    """Take no end of a history for a proof."""
    patch.setattr(Comparison, "leads", never)
    whole = property(lambda known: None if known.lacking else known.history.net_units)
    patch.setattr(Comparison, "all_units", whole)


@pytest.mark.parametrize(
    ("fault", "take_away"),
    [
        (Fault.COMMISSION_LATE, no_rechecks),
        (Fault.DEAL_AMENDED, no_rechecks),
        (Fault.DEAL_CANCELLED, no_cancelled_deals),
        (Fault.REOPENED_ANEW, no_successors),
        (Fault.SPLIT, no_successors),
        (Fault.MARGIN_BY_MONEY, trades_alone),
        (Fault.HISTORY_ARCHIVED, only_whole_histories),
    ],
)
@pytest.mark.parametrize("netting", [False, True])
def test_what_the_broker_does_afterwards_is_met_and_counted_to_the_cent(
    fault: Fault,
    take_away: Callable[[pytest.MonkeyPatch], None],
    netting: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind: dict[str, Any] = {"netting": netting, "owns_magic": not netting, "strikes": 6}
    lived = Lived(fault, **kind)
    assert lived.met == {fault.name}
    assert not lived.broken
    take_away(monkeypatch)
    without = (Lived(fault, seed=seed, **kind) for seed in range(4))
    assert any(lived.broken for lived in without)


@pytest.mark.parametrize("netting", [False, True])
def test_variation_margin_that_opens_positions_again_is_counted_to_the_cent(netting: bool) -> None:
    lived = Lived(Fault.MARGIN_REOPENS, netting=netting, owns_magic=not netting)
    assert lived.met == {"MARGIN_REOPENS"}
    assert not lived.broken


def test_splits_of_an_odd_ratio_are_drawn_too_and_taken_back_again() -> None:
    lived = [Lived(Fault.SPLIT, seed=seed, strikes=6) for seed in range(4)]
    assert not [broken for one in lived for broken in one.broken]
    said = " ".join(text for one in lived for _, text in one.said)
    assert "3 to 2" in said
    assert "2 to 3" in said


@pytest.mark.parametrize("owns_next_contract", [False, True])
def test_a_position_is_followed_into_the_next_contract_where_that_is_ours(
    owns_next_contract: bool,
) -> None:
    lived = Lived(Fault.ROLLED, netting=False, owns_next_contract=owns_next_contract)
    assert lived.met == {"ROLLED"}
    assert not lived.broken
    held = {row.symbol for book in lived.books for row in book.positions}
    assert (NEXT_CONTRACT in held) is owns_next_contract


def test_a_commission_that_is_blocked_lowers_the_equity_and_closes_nothing() -> None:
    lived = Lived(Fault.COMMISSION_BLOCKED)
    assert lived.met == {"COMMISSION_BLOCKED"}
    assert lived.world.terminal.market.setups[SYMBOL].commission_charged is Charged.DAILY
    assert not lived.broken
    assert all(sync.believed for sync in lived.syncs)
