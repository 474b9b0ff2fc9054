"""Which account is meant, said before anything was read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.account.intended_account import IntendedAccount, account_named
from trueup.core.account.trust import Bound, Reason, Unknown
from trueup.core.trade_modes import describe_mode

OURS = Bound(make.ACCOUNT.login, make.ACCOUNT.server)
OTHER = Bound(OURS.login + 1, OURS.server)


def reading(**account: Any) -> Any:
    return make.proven(account=msgspec.structs.replace(make.ACCOUNT, **account))


@pytest.mark.parametrize("text", ["5000001@MetaQuotes-Demo", " 5000001 @ MetaQuotes-Demo "])
def test_an_account_is_named_as_people_write_it(text: str) -> None:
    assert account_named(text) == Bound(5_000_001, "MetaQuotes-Demo")
    assert account_named("7@A@B c") == Bound(7, "A@B c")


@pytest.mark.parametrize("text", ["", "5000001", "@S", "5000001@", "x@S", "0@S", "-1@S", "1.5@S"])
def test_what_names_no_account_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give login@server, such as 5000001@MetaQuotes-Demo"):
        account_named(text)


@given(login=st.integers(1, 2**63 - 1), server=st.from_regex(r"\S(.*\S)?", fullmatch=True))
def test_every_account_s_name_names_it(login: int, server: str) -> None:
    bound = Bound(login, server)
    assert account_named(bound.name) == bound


def test_any_account_is_meant_where_nobody_says() -> None:
    for shown in (reading(), reading(trade_mode="real"), make.snapshot()):
        assert IntendedAccount().objection(shown) is None


def test_only_the_account_that_is_meant_is_taken() -> None:
    assert IntendedAccount(OURS).objection(reading()) is None
    objection = IntendedAccount(OTHER, "TRUEUP_ACCOUNT").objection(reading())
    assert objection is not None
    assert objection.reason is Reason.WRONG_ACCOUNT
    assert objection.sentence == (
        f"The terminal is logged in to {OURS.name}, and TRUEUP_ACCOUNT says {OTHER.name}"
    )
    assert objection.until == f"a login to {OTHER.name}"
    # The same login at another server is another account.
    elsewhere = IntendedAccount(Bound(OURS.login, "Elsewhere")).objection(reading())
    assert elsewhere is not None


def test_a_gateway_that_does_not_say_is_not_taken_for_the_account_that_is_meant() -> None:
    objection = IntendedAccount(OURS).objection(make.snapshot())
    assert objection is not None
    assert objection == Unknown(
        Reason.WRONG_ACCOUNT,
        f"The gateway does not say which account its terminal has, and account says {OURS.name}",
        "a gateway that serves SNAPSHOT, as `trueup gateway` does",
    )


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("demo", None),
        ("contest", None),
        ("real", f"{OURS.name} is a REAL account"),
        ("something", f"{OURS.name} is a REAL account"),
        (
            "",
            f"The gateway of {OURS.name} does not say whether its account is a demo, so it counts",
        ),
    ],
)
def test_real_money_is_touched_only_where_that_is_said(mode: str, said: str | None) -> None:
    shown = reading(trade_mode=mode)
    assert IntendedAccount(real_money=True).objection(shown) is None
    objection = IntendedAccount(real_money=False).objection(shown)
    if said is None:
        assert objection is None
        return
    assert objection is not None
    assert (objection.reason, objection.sentence.startswith(said)) == (Reason.REAL_MONEY, True)


def test_a_wire_that_tells_no_account_counts_as_real() -> None:
    assert IntendedAccount(real_money=False).objection(make.snapshot()) == Unknown(
        Reason.REAL_MONEY,
        "The gateway does not say whether its account is a demo, so it counts as REAL",
        "a word that real money is meant",
    )


def test_whose_money_it_is_is_told_in_a_word_and_what_is_unknown_is_told_as_unknown() -> None:
    told = {mode: describe_mode(mode) for mode in ("demo", "contest", "real", "x", "")}
    assert told == {
        "demo": "demo",
        "contest": "contest",
        "real": "REAL",
        "x": "REAL",
        "": "demo or REAL is not told, so it counts as REAL",
    }
