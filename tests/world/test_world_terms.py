"""What changes around a bot in the simulated world: each kind is met, and no promise is broken.

Each run is one in which nothing else goes wrong.
"""

from __future__ import annotations

import pytest

from tests.support.lived import Lived
from trueup.core.realised import placing
from trueup.lab.world.plan import Fault


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
    ],
)
@pytest.mark.parametrize("netting", [False, True])
def test_each_kind_is_met_and_no_promise_is_broken(fault: Fault, netting: bool) -> None:
    lived = Lived(fault, netting=netting, owns_magic=not netting, wish_every_ms=1_000)
    assert lived.met == {fault.name}
    assert not lived.broken


def test_a_book_that_looks_for_no_order_that_it_never_saw_filled_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placing, "placement", lambda *_, **__: None)
    monkeypatch.setattr(placing, "came_and_went", lambda *_, **__: None)
    lived = Lived(Fault.FILLED_UNSEEN, netting=False, wish_every_ms=1_000)
    assert any(one.invariant == 1 and "has realised" in one.sentence for one in lived.broken)
