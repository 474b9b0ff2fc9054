"""A bot whose only gateway knows the guide's wire alone, for a whole run, on lists that lag."""

from __future__ import annotations

import pytest

from tests.support.lived import Lived
from trueup.core.look import inputs
from trueup.lab.plan.plan import FOCUSES, SEEN_UNPROVEN, Fault, draw

LAGS = Fault.LATE_POSITIONS_UNPROVEN
OTHERS = (Fault.HAND_CLOSES, Fault.REPLY_LOST, Fault.KILL_AFTER_SEND, Fault.GATEWAY_RESTARTED)


@pytest.mark.parametrize("netting", [False, True])
def test_a_bot_with_nothing_but_lists_that_lag_keeps_what_it_can_prove(netting: bool) -> None:
    lived = Lived(LAGS, *OTHERS, netting=netting, wish_every_ms=1_000, proves=False)
    assert LAGS.name in lived.met
    assert not lived.broken
    # It never learnt what account it trades on.
    assert all(b'"account":null' in book.state for book in lived.books)


def test_a_book_that_takes_a_late_list_for_gone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "WITHOUT_DEALS", 0)

    def broken(seed: int) -> set[int]:
        lived = Lived(LAGS, seed=seed, netting=False, wish_every_ms=1_000, proves=False)
        return {violation.invariant for violation in lived.broken}

    # Not every seed trades while the list lags.
    assert any(3 in broken(seed) for seed in range(8))


def test_nothing_that_makes_a_plain_list_a_lie_is_drawn_there() -> None:
    focus = FOCUSES.index((LAGS,))
    plan = draw(focus)
    assert not plan.setting.proves
    assert {one.fault for one in plan.strikes} <= SEEN_UNPROVEN
