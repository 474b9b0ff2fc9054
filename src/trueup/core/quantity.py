"""Lots and prices: parse, compare, add, format.

A float is a poor carrier of lots: 0.1 + 0.2 is not 0.3. MetaTrader 5 quotes volumes with at most
eight decimals (MQL5 reference, SYMBOL_VOLUME_STEP), so lots and prices are added and compared as
whole units of 1e-8. A symbol's step and tick apply to orders only: the volume of an open position
can be off the step, after a split, a bonus issue or a change of the step itself.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TypeGuard

UNITS_PER_LOT = 100_000_000
FINEST_STEP = 1 / UNITS_PER_LOT
# No account and no market goes beyond these bounds; a larger number is an error of its sender.
MOST_LOTS = 1e9
HIGHEST_PRICE = 1e12


def to_units(value: float) -> int:
    """Return lots (or a price) as a whole number of 1e-8 units."""
    # What `round` calls, without its search for the method, which takes three times as long.
    return (value * UNITS_PER_LOT).__round__()


def from_units(units: int) -> float:
    """Return the float nearest to a whole number of 1e-8 units."""
    return units / UNITS_PER_LOT


def add_lots(first: float, second: float) -> float:
    """Return first + second in lots without float dust: add_lots(0.1, 0.2) == 0.3."""
    return from_units(to_units(first) + to_units(second))


def same(first: float, second: float) -> bool:
    """Return whether two lots or two prices are the same multiple of 1e-8."""
    return first == second or abs(first - second) < FINEST_STEP / 2


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a finite float, or an int in the range of floats; not a bool."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, int | float)):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def is_volume(value: float) -> bool:
    """Return whether `value` can be the volume (lots) of an order or an open position."""
    return FINEST_STEP <= value < MOST_LOTS


def is_price(value: float) -> bool:
    """Return whether `value` can be the price of an execution."""
    return 0.0 < value < HIGHEST_PRICE


# An account has few different volumes, and a recovery writes ten thousand of them.
@lru_cache(maxsize=1_024)
def format_lots(volume: float) -> str:
    """Write lots as the guide does: two decimals at least, no float dust (0.01, 0.10, 0.005)."""
    units = to_units(volume)
    text = f"{units / UNITS_PER_LOT:.2f}"
    return (
        text if units % (UNITS_PER_LOT // 100) == 0 else f"{units / UNITS_PER_LOT:.8f}".rstrip("0")
    )


def format_money(
    amount: float, digits: int | None = None, currency: str = "", *, with_sign: bool = False
) -> str:
    """Write money with the decimals of its account: 8 for bitcoin, 0 for yen, never "-0.00".

    `digits` is ACCOUNT_CURRENCY_DIGITS (MQL5 reference, "Account Properties"). None means that the
    account's decimals are not known: the amount then has two decimals, or more if needed.
    `currency` follows the amount, if it is known. `with_sign` writes a plus before a gain.
    """
    if digits is None:
        text = format_lots(amount) if not with_sign or amount < 0 else f"+{format_lots(amount)}"
    else:
        rounded = round(amount, digits) or 0.0
        text = f"{rounded:+.{digits}f}" if with_sign else f"{rounded:.{digits}f}"
    return f"{text} {currency}".strip()


def format_price(price: float) -> str:
    """Write a price without float dust and without padding (1.0543)."""
    text = f"{from_units(to_units(price)):.8f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
