"""Whether two books count the same positions as their own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.policy import Adopt, Policy
from trueup.core.scope import MAGICS_MOST, TEXT_LONGEST, Neighbour, Scope, overlap
from trueup.core.tokens import magic_with_token


def scope(*magics: int, **changes: Any) -> Scope:
    facts: dict[str, Any] = {"run": "a", "symbols": ("EURUSD",), "magics": magics}
    return Scope(**(facts | changes))


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (scope(7), scope(7), "EURUSD, magic 7"),
        (scope(7, 8), scope(8, 9), "EURUSD, magic 8"),
        (scope(7, adopt="ask"), scope(7), "EURUSD, magic 7"),
        (scope(7, adopt="all"), scope(8), "EURUSD, magic 8"),
        (scope(7, adopt="all"), scope(adopt="all"), "EURUSD, whatever the magic number"),
        (scope(adopt="all"), scope(comment_prefix="me"), "EURUSD, comments that begin with 'me'"),
        (scope(comment_prefix="m"), scope(comment_prefix="me"), "comments that begin with 'me'"),
        # Every token begins so: whoever claims it claims every order of ours.
        (scope(comment_prefix="t"), scope(7), "EURUSD, magic 7"),
        # A magic number that carries a token is its strategy's.
        (scope(7), scope(magic_with_token(7, "tabc")), "EURUSD, magic 7"),
        (scope(7, symbols=("A", "EURUSD", "B")), scope(7, symbols=("B", "A")), "A, B, magic 7"),
        (scope(7, account="1@A"), scope(7), "magic 7"),
    ],
)
def test_two_books_that_count_the_same(one: Scope, other: Scope, said: str) -> None:
    assert said in overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (scope(7), scope(8)),
        (scope(7), scope(7, symbols=("GBPUSD",))),
        (scope(adopt="all"), scope(adopt="all", symbols=("EURUSD.m",))),
        (scope(7, account="1@A"), scope(7, account="1@B")),
        (scope(7, adopt="ask"), scope(8)),
        (scope(comment_prefix="me"), scope(comment_prefix="you")),
        (scope(comment_prefix="me"), scope(7)),
        (scope(7), scope(magic_with_token(8, "tabc"))),
        (scope(7, symbols=()), scope(7, symbols=())),
    ],
)
def test_two_books_that_do_not(one: Scope, other: Scope) -> None:
    assert overlap(one, other) == overlap(other, one) == ""


POLICIES = st.builds(
    Policy,
    symbols=st.sets(st.sampled_from(["EURUSD", "GBPUSD"]), min_size=1),
    magics=st.sets(st.integers(1, 3), min_size=1),
    adopt=st.sampled_from([Adopt.OURS, Adopt.ALL]),
)


@given(POLICIES, POLICIES)
def test_it_is_said_exactly_where_a_position_would_enter_both_books(
    one: Policy, other: Policy
) -> None:
    # Both adopt everything: any magic number does.
    rows = [
        make.position(symbol=symbol, magic=magic)
        for symbol in ("EURUSD", "GBPUSD")
        for magic in range(5)
    ]
    both = [row for row in rows if not one.is_foreign(row) and not other.is_foreign(row)]
    assert bool(overlap(scope_of(one), scope_of(other))) is bool(both)


def scope_of(policy: Policy) -> Scope:
    adopt, symbols = policy.adopt.name.lower(), tuple(sorted(policy.symbols))
    return scope(*sorted(policy.magics), adopt=adopt, symbols=symbols)


def test_many_symbols_are_counted() -> None:
    many = tuple(f"S{number}" for number in range(6))
    assert overlap(scope(7, symbols=many), scope(7, symbols=many)).startswith(
        "S0, S1, S2 and 3 more symbols, "
    )


def test_two_that_asked_one_after_the_other_are_not_beside_each_other() -> None:
    ended, began = Neighbour(scope(7), 500, 900), Neighbour(scope(7), 0, 400)
    assert not ended.is_beside(began)
    assert not began.is_beside(ended)
    late = msgspec.structs.replace(ended, asked_ms_ago=300)
    assert late.is_beside(began)
    assert began.is_beside(late)


def test_a_message_carries_bounded_texts_and_no_symbols() -> None:
    found = scope(*range(500), stream="s" * 500, host="h" * 500, process=3, magic=9).shortened()
    assert (found.symbols, len(found.magics)) == ((), MAGICS_MOST)
    assert {len(found.stream), len(found.host)} == {TEXT_LONGEST}
    assert (found.process, found.magic, found.run) == (3, 9, "a")


def test_a_message_keeps_the_beginning_of_every_text() -> None:
    given = {"stream": "s", "host": "h", "adopt": "a", "comment_prefix": "c", "account": "1@"}
    long: dict[str, Any] = {name: text * 500 for name, text in given.items()}
    short = scope(1, 2, process=3, magic=9, **long).shortened()
    cut = {name: text[:TEXT_LONGEST] for name, text in long.items()}
    assert short == scope(1, 2, process=3, magic=9, symbols=(), **cut)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "S0, "),
        (3, "S0, S1, S2, "),
        (4, "S0, S1, S2 and 1 more symbols, "),
        (6, "S0, S1, S2 and 3 more symbols, "),
    ],
)
def test_three_symbols_are_named_and_the_others_counted(count: int, said: str) -> None:
    many = tuple(f"S{number}" for number in range(count))
    both = scope(7, symbols=many), scope(7, symbols=many)
    assert overlap(*both) == f"{said}magic 7"


@pytest.mark.parametrize(
    ("magics", "said"), [((8,), "8"), ((8, 9, 10), "8, 9, 10"), ((8, 9, 10, 11), "8, 9, 10")]
)
def test_three_magic_numbers_are_named_of_the_one_that_has_some(
    magics: tuple[int, ...], said: str
) -> None:
    all_of_it, some = scope(7, adopt="all"), scope(*magics)
    assert overlap(all_of_it, some) == overlap(some, all_of_it) == f"EURUSD, magic {said}"


@pytest.mark.parametrize(("asked_ms_ago", "is_beside"), [(399, True), (400, False), (401, False)])
def test_one_that_began_when_the_other_asked_last_came_after_it(
    asked_ms_ago: int, *, is_beside: bool
) -> None:
    ended, began = Neighbour(scope(7), asked_ms_ago, 900), Neighbour(scope(7), 0, 400)
    assert ended.is_beside(began) is began.is_beside(ended) is is_beside


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "stream bot (process 3, magic 9)"),
        ({"host": "vps"}, "stream bot (process 3 on vps, magic 9)"),
    ],
)
def test_a_book_is_named_for_people(changes: dict[str, Any], name: str) -> None:
    assert scope(stream="bot", process=3, magic=9, **changes).name == name
