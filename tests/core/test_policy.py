"""A policy that would act on everything, or on nothing, without saying so is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trueup.core.policy import Adopt, Policy

MINE = frozenset({"EURUSD"})


@pytest.mark.parametrize("adopt", [Adopt.OURS, Adopt.ASK])
def test_ours_and_others_cannot_be_told_apart_without_a_magic_number_or_a_comment(
    adopt: Adopt,
) -> None:
    with pytest.raises(ValueError, match=f"^adopt=Adopt.{adopt.name} is not valid") as refused:
        Policy(symbols=MINE, adopt=adopt)
    assert "magics={7} or comment_prefix='ORD_'" in str(refused.value)
    assert Policy(symbols=MINE, adopt=adopt, magics=frozenset({7})).adopt is adopt
    assert Policy(symbols=MINE, adopt=adopt, comment_prefix="x").adopt is adopt


def test_a_policy_changed_into_such_a_one_is_refused_too() -> None:
    ours = Policy(symbols=MINE, adopt=Adopt.OURS, magics=frozenset({7}))
    with pytest.raises(ValueError, match=r"adopt=Adopt\.OURS"):
        msgspec.structs.replace(ours, magics=frozenset())


@pytest.mark.parametrize("symbols", [frozenset(), "EURUSD", ""])
def test_symbols_are_a_set_of_names(symbols: Any) -> None:
    with pytest.raises(ValueError, match="is not valid: give a set of names"):
        Policy(symbols=symbols)
