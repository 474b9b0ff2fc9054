"""Check the accounts of a file or a table: entries that can run, and each fault by its place.

An entry with a fault is left out, and all other entries are used.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from trueup.core.claims import shared_by_streams, stream_of
from trueup.core.limits.limits import Limits
from trueup.doors.accounts.entry import (
    KEYS,
    LIMITS,
    NAME,
    AccountEntry,
    KeyFault,
    entry_of,
    value_of,
)
from trueup.errors import SettingsError
from trueup.passwords import HIDDEN


class Accounts(NamedTuple):
    """The content of a file or a table.

    `entries` are the accounts that can run, in the order of the file,
    or by name. `faults` are the sentences
    about the others, by the account's name; the name is empty for a fault of the defaults.
    """

    entries: tuple[AccountEntry, ...]
    faults: tuple[tuple[str, SettingsError], ...] = ()


class Words(NamedTuple):
    """How a fault names its place: the defaults, an account by its name, and a key."""

    defaults: str
    account: str
    key: str


class Checking:
    """Makes the entries of one file or table, and collects the faults.

    Args:
        origin: the name of the file or table.
        words: how a fault names its place.
        defaults: the values of accounts that have none of their own.
    """

    def __init__(self, origin: str, words: Words, defaults: Mapping[str, Any]) -> None:
        self._origin, self._words, self._defaults = origin, words, defaults
        self._faults: dict[tuple[str, str], tuple[str, SettingsError]] = {}

    def of(self, accounts: Mapping[str, Any]) -> Accounts:
        """Return the entries without a fault, and the faults of all."""
        common = self._checked("", self._defaults)
        entries: list[AccountEntry] = []
        for name, own in accounts.items():
            entry = self._entry(name, own, common)
            other = None if entry is None else _first_overlap(entry, entries)
            if entry is None:
                continue
            if other is None:
                entries.append(entry)
                continue
            valid = (
                f"{self._words.account.format(other.name)} counts the same positions at this "
                "gateway: give one of the two other magic numbers, other symbols, or another "
                "account"
            )
            self._add(name, KeyFault("magic", entry.settings.trueup_magic, valid))
        return Accounts(tuple(entries), tuple(self._faults.values()))

    def _entry(self, name: str, own: Any, common: Mapping[str, Any]) -> AccountEntry | None:
        if not NAME.fullmatch(name):
            valid = "name an account with at most 64 letters, digits, - and _"
            self._add(name, KeyFault("", name, valid))
            return None
        if not isinstance(own, Mapping):
            valid = f"write a table, as {self._words.account.format(name)}"
            self._add(name, KeyFault("", own, valid))
            return None
        known = len(self._faults)
        values = self._checked(name, self._with_common_limits(own))
        # A default that cannot be used is no fault of an account that has a value of its own.
        is_whole = all(key in own or key in common for key in self._defaults)
        if len(self._faults) > known or not is_whole:
            return None
        try:
            return entry_of(name, {**common, **values}, self._origin)
        except KeyFault as fault:
            self._add(name, fault)
            return None

    def _with_common_limits(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values of an account with its limits over those of the defaults."""
        common, limits = self._defaults.get(LIMITS), own.get(LIMITS)
        if isinstance(common, Mapping) and isinstance(limits, Mapping):
            return {**own, LIMITS: {**common, **limits}}
        return own

    def _checked(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that can be used, and note the faults of the others."""
        values: dict[str, Any] = {}
        for key, value in table.items():
            try:
                if key not in KEYS:
                    raise _unknown(key)
                values[key] = value_of(key, value)
            except KeyFault as fault:
                self._add(name, fault)
        return values

    def _add(self, name: str, fault: KeyFault) -> None:
        words = self._words
        place = words.account.format(name) if name else words.defaults
        key = words.key.format(fault.key) if fault.key else ""
        error = SettingsError(f"{self._origin}: {place}{key}", fault.value, fault.valid)
        self._faults[name, fault.key] = name, error


def _unknown(key: str) -> KeyFault:
    close = difflib.get_close_matches(key, KEYS, 1)
    meant = f"did you mean {close[0]}? " if close else ""
    # The value of an unknown key may be a password.
    return KeyFault(key, HIDDEN, f"{meant}the keys are {', '.join(KEYS)}")


def _first_overlap(entry: AccountEntry, others: list[AccountEntry]) -> AccountEntry | None:
    """Return an entry that counts the same positions of the same terminal, or None."""
    for other in others:
        if other.endpoint == entry.endpoint and _may_be_one(entry, other):
            return other
    return None


def _may_be_one(entry: AccountEntry, other: AccountEntry) -> bool:
    accounts = {one.settings.trueup_account for one in (entry, other)} - {""}
    if len(accounts) > 1:
        return False
    first, second = (_stream(one) for one in (entry, other))
    return first == second or bool(shared_by_streams(first, second))


def _stream(entry: AccountEntry) -> str:
    """Return a stream with the scope of an entry; the account is that of its gateway."""
    counts_all = entry.settings.trueup_adopt == "all" or entry.settings.trueup_comment_prefix
    return stream_of("0@gateway", () if counts_all else entry.magics, entry.symbols)


def limits_shown(limits: Limits) -> Iterator[tuple[str, Any]]:
    """Yield the limits that differ from the defaults, with plain values."""
    usual = Limits()
    for name in Limits.__struct_fields__:
        value = getattr(limits, name)
        if value != getattr(usual, name):
            yield name, dict(value) if isinstance(value, Mapping) else value
