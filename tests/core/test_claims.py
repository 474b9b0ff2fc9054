"""Claims of writers: what overlaps, who is the same book, and names of streams."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.claims import (
    SYMBOLS_MOST,
    WriterClaim,
    account_of,
    claimable,
    has_order,
    has_scope,
    scope_of,
    shared_by_streams,
    stream_of,
    why_taken,
)
from trueup.core.scope import EVERY_SYMBOL, MAGICS_MOST, Scope
from trueup.core.tokens import magic_with_token

SINCE_NS = 1_767_571_200_000_000_000
ACCOUNT = "5000001@Demo-Server"


def scope(*magics: int, symbols: tuple[str, ...] = (), run: str = "a", **more: Any) -> Scope:
    return claimable(Scope(run, magics=magics, symbols=symbols, **more))


def claim(
    *magics: int, symbols: tuple[str, ...] = (), run: str = "b", journal: str = "", **more: Any
) -> WriterClaim:
    held = scope(*magics, symbols=symbols, run=run, **more)
    return WriterClaim(held, journal, SINCE_NS)


@pytest.mark.parametrize(
    ("wanted", "held", "shared"),
    [
        (scope(), claim(), "every symbol, whatever the magic number"),
        (scope(7), claim(), "every symbol, magic 7"),
        (scope(7, 8), claim(8, 9), "every symbol, magic 8"),
        (scope(7), claim(symbols=("EURUSD",)), "EURUSD, magic 7"),
        (scope(7, symbols=("A", "B")), claim(7, symbols=("B", "C")), "B, magic 7"),
        # The token in the low half is the order's, and the strategy's number is above it.
        (scope(7), claim(magic_with_token(7, "tabc")), "every symbol, magic 7"),
        (scope(magic_with_token(7, "tabc")), claim(7), "every symbol, magic"),
    ],
)
def test_overlapping_scope_is_refused_with_holder_and_overlap(
    wanted: Scope, held: WriterClaim, shared: str
) -> None:
    assert why_taken(wanted, [held]).startswith(shared)


def test_refusal_names_stream_process_host_time_and_what_to_do() -> None:
    held = claim(7, stream="trend", process=12, host="vps")
    assert why_taken(scope(7), [claim(8), held]) == (
        "every symbol, magic 7 is claimed by stream 'trend' (process 12 on vps, since "
        "2026-01-05 00:00:00 UTC); end that one, or give one of the two other magic numbers or "
        "other symbols"
    )


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        (scope(7), claim(8)),
        (scope(symbols=("A",)), claim(symbols=("B",))),
        (scope(7, symbols=("A",)), claim(7, symbols=("B",))),
        (scope(0), claim(7)),
        (scope(7), claim(magic_with_token(8, "tabc"))),
        # Numbers of more than 32 bits without a token: dates with a counter.
        (scope(20240101001), claim(20240101002)),
    ],
)
def test_disjoint_scopes_live_side_by_side(wanted: Scope, held: WriterClaim) -> None:
    assert why_taken(wanted, [held]) == ""
    assert why_taken(held.scope, [WriterClaim(wanted)]) == ""


SYMBOLS = ("A", "B", "C")
MAGICS = (0, 1, 2, magic_with_token(1, "tabc"), magic_with_token(2, "tabc"))
SCOPES = st.builds(
    lambda magics, symbols: scope(*magics, symbols=tuple(symbols)),
    st.sets(st.sampled_from(MAGICS)),
    st.sets(st.sampled_from((*SYMBOLS, EVERY_SYMBOL))),
)


def orders_of(scope: Scope) -> set[tuple[str, int]]:
    """The orders of a claimed scope, by what its fields say and not by the code."""
    everywhere = EVERY_SYMBOL in scope.symbols

    def has(symbol: str, magic: int) -> bool:
        owners = {magic, magic >> 32 or magic}
        is_its_magic = not scope.magics or bool(owners & set(scope.magics))
        return is_its_magic and (everywhere or symbol in scope.symbols)

    return {(symbol, magic) for symbol in SYMBOLS for magic in MAGICS if has(symbol, magic)}


@given(SCOPES, SCOPES)
def test_scopes_overlap_exactly_where_an_order_belongs_to_both(one: Scope, other: Scope) -> None:
    both = orders_of(one) & orders_of(other)
    assert bool(why_taken(one, [WriterClaim(other)])) is bool(both)
    for symbol, magic in both:
        assert has_order(one, symbol, magic)
        assert has_order(other, symbol, magic)


@pytest.mark.parametrize(
    ("given", "magics", "symbols"),
    [
        (Scope("a"), (), (EVERY_SYMBOL,)),
        (Scope("a", magics=(9, 7, 9)), (7, 9), (EVERY_SYMBOL,)),
        (Scope("a", symbols=("B", "A", "B")), (), ("A", "B")),
        (Scope("a", symbols=("A", EVERY_SYMBOL)), (), (EVERY_SYMBOL,)),
        # Such books act on positions of every magic number.
        (Scope("a", adopt="all", magics=(7,)), (), (EVERY_SYMBOL,)),
        (Scope("a", comment_prefix="me", magics=(7,)), (), (EVERY_SYMBOL,)),
        (Scope("a", adopt="ask", magics=(7,)), (7,), (EVERY_SYMBOL,)),
    ],
)
def test_claimable_has_magic_numbers_and_symbols_only(
    given: Scope, magics: tuple[int, ...], symbols: tuple[str, ...]
) -> None:
    assert claimable(given) == Scope("a", magics=magics, symbols=symbols)
    assert claimable(claimable(given)) == claimable(given)


def test_claimable_keeps_the_names() -> None:
    named = Scope("a", "s", 3, "h", account="1@A", magics=(7,), symbols=("A",))
    assert claimable(named) == named


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Scope(""), "run"),
        (Scope("a" * 129), "run has 129 characters"),
        (Scope("a", "s" * 1025), "stream has 1025"),
        (Scope("a", magics=(-1,)), "magics has -1"),
        (Scope("a", magics=(2**64,)), "0 to 2"),
        (Scope("a", magics=tuple(range(MAGICS_MOST + 1))), "at most 100 magic numbers"),
        (Scope("a", symbols=tuple(map(str, range(SYMBOLS_MOST + 1)))), "at most 500 symbols"),
        (Scope("a", symbols=("",)), "symbols"),
    ],
)
def test_scope_that_cannot_be_claimed_is_refused(given: Scope, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        claimable(given)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (claim(run="a", stream="x"), True),
        (claim(run="b", stream="s", journal="j"), True),
        (claim(run="b", stream="x", journal="j"), False),
        (claim(run="b", stream="s", journal="k"), False),
        (claim(run="b", stream="s"), False),
    ],
)
def test_a_book_is_its_run_or_its_stream_in_its_journal(other: WriterClaim, is_same: bool) -> None:
    own = claim(run="a", stream="s", journal="j")
    assert own.is_of_same_book(other) is is_same
    # Without a journal the same stream may be anybody's.
    assert not claim(run="a", stream="s").is_of_same_book(claim(run="b", stream="s"))


def test_scope_of_the_most_magic_numbers_and_symbols_can_be_claimed() -> None:
    magics = tuple(range(MAGICS_MOST))
    symbols = tuple(sorted(map(str, range(SYMBOLS_MOST))))
    assert claimable(Scope("a", magics=magics, symbols=symbols)).magics == magics
    assert claimable(Scope("a", symbols=symbols)).symbols == symbols


def test_account_is_login_and_server() -> None:
    assert account_of(Scope("a", account="12@A@B")) == (12, "A@B")
    for wrong in ("", "12", "@A", "12@", "x@A"):
        with pytest.raises(ValueError, match="login@server"):
            account_of(Scope("a", account=wrong))


# Names of streams.


@pytest.mark.parametrize(
    ("magics", "symbols", "name"),
    [
        ((), (), ACCOUNT),
        ((9, 7), (), f"{ACCOUNT}/magic=7,9"),
        ((), ("EURUSD",), f"{ACCOUNT}/symbol=EURUSD"),
        ((7,), ("B", "A"), f"{ACCOUNT}/magic=7;symbol=A,B"),
        ((7,), (EVERY_SYMBOL,), f"{ACCOUNT}/magic=7"),
    ],
)
def test_stream_is_named_after_its_scope(
    magics: tuple[int, ...], symbols: tuple[str, ...], name: str
) -> None:
    assert stream_of(ACCOUNT, magics, symbols) == name


@given(
    st.sets(st.integers(0, 2**64 - 1), max_size=5),
    st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter("*".__ne__)),
)
def test_scope_comes_back_from_the_name(magics: set[int], symbols: set[str]) -> None:
    name = stream_of(ACCOUNT, magics, symbols)
    found = scope_of(name)
    assert found is not None
    assert has_scope(name)
    assert (found.account, set(found.magics)) == (ACCOUNT, magics)
    assert set(found.symbols) == (symbols or {EVERY_SYMBOL})


@pytest.mark.parametrize(
    "name",
    ["EURUSD", "account-1234", "12@A/notes", "12@A/magic=x", f"12@A/magic={2**64}", "x@A", "12@"],
)
def test_other_names_have_no_scope(name: str) -> None:
    assert scope_of(name) is None
    assert not has_scope(name)
    assert shared_by_streams(name, "12@A") == ""


def test_streams_share_within_one_account_alone() -> None:
    assert shared_by_streams("1@A", "1@A/magic=7") == "every symbol, magic 7"
    assert shared_by_streams("1@A/magic=7", "1@A/symbol=X") == "X, magic 7"
    assert shared_by_streams("1@A/magic=7", "1@A/magic=8") == ""
    assert shared_by_streams("1@A", "1@B") == shared_by_streams("1@A", "2@A") == ""
    assert shared_by_streams("1@A", "1@A") == ""
