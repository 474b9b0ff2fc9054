"""The risk limits that a user sets, and the checks of their values."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from trueup.core.limits.times import DAYS, Window
from trueup.core.quantity import MOST_LOTS
from trueup.core.scope import EVERY_SYMBOL

EQUITY, BALANCE = "equity", "balance"
BASES = (EQUITY, BALANCE)
MINUTES_A_DAY = 24 * 60
_WINDOW = re.compile(r"([0-2]?\d):([0-5]\d)\s*-\s*([0-2]?\d):([0-5]\d)", re.ASCII)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Risk limits of an account: a limit that is reached refuses entries, and closes nothing.

    Every limit counts the whole account, with the positions and pending orders of other programs
    and of people. A limit that is not given is off. Money is in the account's currency.

    Args:
        lots_per_symbol: the most lots in a symbol, both sides added; a number for each symbol, or a
            mapping from symbol to lots, where "*" stands for all other symbols.
        lots: the most lots of the account.
        positions: the most open positions and pending orders.
        daily_loss: the loss since the reset (money) at which entries end until the next reset.
        daily_loss_percent: the same in percent of the figure at the reset.
        daily_loss_basis: "equity" (with the floating result) or "balance" (closed trades alone).
        reset_hour: the local hour at which a day begins, 0 to 23.
        reset_zone: the IANA zone of that hour, such as "Europe/Prague".
        drawdown: the fall from the highest figure (money) at which entries are refused.
        drawdown_percent: the same in percent of the highest figure.
        drawdown_basis: "equity" or "balance".
        spread: the widest spread of an entry, in points (units of the price's last digit).
        hours: when entries are allowed: weekday (mon to sun) to windows, as
            {"mon": "08:00-12:00, 13:00-17:30"}. A weekday that is not named is closed.
        hours_zone: the IANA zone of the hours.

    Raises:
        LimitError: a value is not valid; the message names the limit and valid values. It is a
            ValueError.
    """

    lots_per_symbol: float | Mapping[str, float] | None = None
    lots: float | None = None
    positions: int | None = None
    daily_loss: float | None = None
    daily_loss_percent: float | None = None
    daily_loss_basis: str = EQUITY
    reset_hour: int = 0
    reset_zone: str = "UTC"
    drawdown: float | None = None
    drawdown_percent: float | None = None
    drawdown_basis: str = EQUITY
    spread: float | None = None
    hours: Mapping[str, str] | None = None
    hours_zone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, and keep tables that nobody else can change."""
        for name in ("lots_per_symbol", "hours"):
            table = getattr(self, name)
            if isinstance(table, Mapping):
                msgspec.structs.force_setattr(self, name, MappingProxyType(dict(table)))
        _check_lots_per_symbol(self.lots_per_symbol)
        _check_above_0("lots", self.lots, "lots above 0", MOST_LOTS)
        if self.positions is not None and (type(self.positions) is not int or self.positions < 1):
            raise _invalid("positions", self.positions, "give a whole number, 1 or above")
        for name in ("daily_loss", "drawdown"):
            _check_above_0(name, getattr(self, name), "money above 0")
            percent = f"{name}_percent"
            _check_above_0(
                percent, getattr(self, percent), "a percentage above 0, at most 100", 100
            )
            basis = getattr(self, f"{name}_basis")
            if basis not in BASES:
                raise _invalid(f"{name}_basis", basis, "give 'equity' or 'balance'")
        if type(self.reset_hour) is not int or not 0 <= self.reset_hour <= 23:
            raise _invalid("reset_hour", self.reset_hour, "give an hour from 0 to 23")
        _check_above_0("spread", self.spread, "points above 0")
        _zone("reset_zone", self.reset_zone)
        _zone("hours_zone", self.hours_zone)
        _windows(self.hours)

    @property
    def is_off(self) -> bool:
        """Whether no limit is set."""
        return self == msgspec.structs.replace(
            Limits(),
            daily_loss_basis=self.daily_loss_basis,
            reset_hour=self.reset_hour,
            reset_zone=self.reset_zone,
            drawdown_basis=self.drawdown_basis,
            hours_zone=self.hours_zone,
        )

    @property
    def has_daily_loss(self) -> bool:
        """Whether the loss of a day is limited."""
        return self.daily_loss is not None or self.daily_loss_percent is not None

    @property
    def has_drawdown(self) -> bool:
        """Whether the drawdown is limited."""
        return self.drawdown is not None or self.drawdown_percent is not None

    @property
    def needs_figures(self) -> bool:
        """Whether a limit needs the account's balance and equity."""
        return self.has_daily_loss or self.has_drawdown

    @property
    def needs_exposure(self) -> bool:
        """Whether a limit counts lots or positions."""
        return not (self.lots is None and self.positions is None and self.lots_per_symbol is None)

    @property
    def reset_in(self) -> ZoneInfo:
        """The zone of the reset."""
        return ZoneInfo(self.reset_zone)

    @property
    def hours_in(self) -> ZoneInfo:
        """The zone of the trading hours."""
        return ZoneInfo(self.hours_zone)

    @property
    def windows(self) -> dict[str, tuple[Window, ...]]:
        """The windows of each weekday, in minutes of the local day."""
        return _windows(self.hours)

    def lots_in(self, symbol: str) -> float | None:
        """Return the most lots in a symbol, or None without a limit."""
        if isinstance(self.lots_per_symbol, Mapping):
            return self.lots_per_symbol.get(symbol, self.lots_per_symbol.get(EVERY_SYMBOL))
        return self.lots_per_symbol


class LimitError(ValueError):
    """A limit that is not valid: `name`, `value` as given, and in `valid` what would be valid."""

    def __init__(self, name: str, value: object, valid: str) -> None:
        if isinstance(value, MappingProxyType):
            value = dict(value)
        super().__init__(f"{name}={value!r:.40} is not valid: {valid}.")
        self.name, self.value, self.valid = name, value, valid


def limits_from(table: Mapping[str, Any]) -> Limits:
    """Return the limits of a table, such as that of a file.

    Raises:
        LimitError: a name is unknown, or a value is not valid.
    """
    known = Limits.__struct_fields__
    for name, value in table.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise LimitError(name, value, f"{meant}the limits are {', '.join(known)}")
    return Limits(**table)


def _check_lots_per_symbol(value: object) -> None:
    if not isinstance(value, Mapping):
        _check_above_0("lots_per_symbol", value, "lots above 0, or a mapping as {'EURUSD': 1.0}")
        return
    if not value:
        # No limit at all is written by leaving it out: a table that is empty was not meant so.
        raise _invalid("lots_per_symbol", dict(value), "give lots by symbol, as {'EURUSD': 1.0}")
    for symbol, lots in value.items():
        if not isinstance(symbol, str) or not symbol or lots is None:
            raise _invalid("lots_per_symbol", value, "give names of symbols, as {'EURUSD': 1.0}")
        _check_above_0(f"lots_per_symbol[{symbol!r}]", lots, "lots above 0", MOST_LOTS)


def _check_above_0(name: str, value: object, valid: str, most: float = math.inf) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= most or math.isinf(value):  # type: ignore[operator, arg-type]
        raise _invalid(name, value, f"give {valid}, or leave the limit out")


def _zone(name: str, value: object) -> ZoneInfo:
    try:
        if not isinstance(value, str):
            raise TypeError
        return ZoneInfo(value)
    # A name that is no zone may be a folder or a file of the system's database.
    except (KeyError, ValueError, TypeError, OSError):
        raise _invalid(name, value, "give an IANA zone, such as 'Europe/Prague' or 'UTC'") from None


def _windows(hours: object) -> dict[str, tuple[Window, ...]]:
    if hours is None:
        return {}
    if not isinstance(hours, Mapping) or not hours:
        raise _invalid("hours", hours, "give weekdays and windows, as {'mon': '08:00-17:30'}")
    windows: dict[str, tuple[Window, ...]] = {}
    for day, text in hours.items():
        if day not in DAYS:
            raise _invalid("hours", day, f"the weekdays are {', '.join(DAYS)}")
        found = [_window(day, part) for part in str(text).split(",")]
        windows[day] = tuple(sorted(found))
    return windows


def _window(day: str, text: str) -> Window:
    match = _WINDOW.fullmatch(text.strip())
    if match is not None:
        begin_hour, begin_minute, end_hour, end_minute = map(int, match.groups())
        begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
        if begin < end <= MINUTES_A_DAY:
            return begin, end
    raise _invalid(
        f"hours[{day!r}]",
        text,
        "give HH:MM-HH:MM within the day, as '08:00-17:30'; the end may be 24:00",
    )


def _invalid(name: str, value: object, valid: str) -> LimitError:
    return LimitError(name, value, valid)


NO_LIMITS = Limits()
"""No limit at all."""
