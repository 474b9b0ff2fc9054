"""Which names of a broker look like one that it does not have."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.account.symbol_names import SHOWN_MOST, Catalogue, Listed

PLAIN = ("EURUSD", "GBPUSD", "XAUUSD", "US30", "AAPL", "BTCUSD", "USDJPY", "EURGBP")


def look_alikes(wanted: str, symbols: Iterable[Listed]) -> tuple[str, ...]:
    return Catalogue(symbols).look_alikes(wanted)


def listed(*names: str) -> list[Listed]:
    return [Listed(name) for name in names]


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        ("EURUSD", "EURUSD.m"),
        ("EURUSD", "EURUSDm"),
        ("EURUSD", "EURUSD-ECN"),
        ("EURUSD", "EURUSD_i"),
        ("EURUSD", "EURUSDpro"),
        ("EURUSD", "mEURUSD"),
        ("EURUSD", "#EURUSD"),
        ("EURUSD", "FX:EURUSD"),
        ("EURUSD", "eurusd"),
        ("EURUSD", "EUR/USD"),
        ("EURUSD", "EURUSD."),
        ("EUR/USD", "EURUSD"),
        ("EUR/USD", "EURUSD.raw"),
        ("eurusd", "EURUSD"),
        ("eur_usd", "EURUSD.m"),
        ("EURUSD.m", "EURUSD"),
        ("EURUSD.m", "EURUSD.raw"),
        ("EURUSDm", "EURUSDc"),
        ("EURUSD.m", "EURUSD.M"),
        ("US30", "US30.cash"),
        ("US30.cash", "US30"),
        ("US30.cash", "US30.std"),
        ("AAPL", "AAPL.US"),
        ("AAPL.US", "#AAPL"),
        ("BTCUSD", "BTCUSDT"),
        ("BTCUSDT", "BTCUSD"),
        ("DE40", "DE40.premium"),
        ("eurusd.m", "eurusd.raw"),
        ("DAX", "DAX40"),
        ("DAX", "DAX40CFD"),
        ("DAX.c", "DAX.x"),
        ("EURUSD", "EURUSDMARGIN"),
    ],
)
def test_the_ways_in_which_brokers_write_one_name(wanted: str, has: str) -> None:
    both = f"{wanted} {has}".replace("/", "").replace("_", "").upper()
    others = [name for name in PLAIN if name not in both]
    assert look_alikes(wanted, listed(*others, has)) == (has,)


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        ("EURUSD", "GBPUSD"),
        ("EURUSD", "EURGBP"),
        ("EUR/USD", "EUR/GBP"),
        ("EUR/USD", "USD"),
        ("EURUSD", "USDEUR"),
        ("XAUUSD", "GOLD"),
        ("GOLD", "XAUUSD"),
        ("US30", "US500"),
        ("US", "US30"),
        ("EURUSD", "EURUSDMARGINS"),
        ("???", "EURUSD"),
        ("EURUSD", "???"),
        ("", "EURUSD"),
    ],
)
def test_names_of_other_instruments_are_none(wanted: str, has: str) -> None:
    assert look_alikes(wanted, listed(has)) == ()


def test_what_the_broker_itself_says_of_a_symbol_counts_last() -> None:
    """That gold is XAU nobody has to know here: the broker says it, or nothing is found."""
    gold = Listed("GOLD", "XAU", "USD", "Gold Spot")
    assert look_alikes("XAUUSD", [gold, *listed("SILVER")]) == ("GOLD",)
    assert look_alikes("XAU/USD.m", [gold]) == ("GOLD",)
    assert look_alikes("XAUUSD", [gold, *listed("XAUUSD.m")]) == ("XAUUSD.m", "GOLD")
    in_words = Listed("XAUUSD", "USD", "USD", "Gold vs US Dollar")
    assert look_alikes("GOLD", [in_words, Listed("GS", description="Goldman Sachs")]) == ("XAUUSD",)
    # Three letters in a description are a currency more often than an instrument.
    assert look_alikes("USD", [Listed("XAUEUR", description="Gold and no USD")]) == ()
    assert look_alikes("XAUUSD", [Listed("???", "XAU", "USD", "XAUUSD")]) == ()
    # A share in dollars is not the pair of its two currencies.
    assert look_alikes("USDUSD", [Listed("AAPL", "USD", "USD", "Apple")]) == ()


def test_the_likest_come_first_and_five_are_shown() -> None:
    names = ["EURUSD.raw", "EURUSDpro", "XEURUSD", "EURUSD.m", "EUR-USD", "eurusd", "EURUSD.ecn"]
    found = look_alikes("EURUSD", listed(*names))
    assert found[:3] == ("eurusd", "EUR-USD", "EURUSD.m")
    assert len(found) == SHOWN_MOST == 5


def test_the_likest_come_first_however_long_they_are() -> None:
    """By case alone, by signs, by a suffix, by a part, by currencies; a description is last."""
    by_currencies, by_words = Listed("EU", "EUR", "USD"), Listed("F", description="No EURUSD")
    by_part, by_suffix, by_signs = listed("XEURUSD", "EURUSDpro", "EUR_._._USD")
    by_case = Listed("eur///////usd")
    ranked = [by_case, by_signs, by_suffix, by_part, by_currencies, by_words]
    names = tuple(symbol.name for symbol in ranked)
    assert look_alikes("EUR///////USD", ranked[::-1]) == names[:5]
    for likelier, other in itertools.pairwise(ranked):
        found = look_alikes("EUR///////USD", [other, likelier])
        assert found == (likelier.name, other.name)


def test_a_catalogue_knows_the_names_that_the_broker_has_to_the_letter() -> None:
    catalogue = Catalogue(listed("EURUSD.m", "XAUUSD"))
    assert len(catalogue) == 2
    assert [name in catalogue for name in ("EURUSD.m", "EURUSD", "eurusd.m")] == [
        True,
        False,
        False,
    ]


@given(
    st.text(max_size=12),
    st.lists(st.builds(Listed, st.text(max_size=12), st.text(max_size=4), st.text(max_size=4))),
)
def test_any_name_finds_only_what_there_is_in_any_order(wanted: str, symbols: list[Listed]) -> None:
    found = look_alikes(wanted, symbols)
    assert set(found) <= {symbol.name for symbol in symbols}
    assert len(set(found)) == len(found) <= SHOWN_MOST
    assert look_alikes(wanted, symbols[::-1]) == found
