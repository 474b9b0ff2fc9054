"""One account of a file or a table: its keys, and the check of each value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from pydantic import TypeAdapter, ValidationError

from trueup.core.limits.limits import LimitError, Limits, limits_from
from trueup.doors.running.opening import policy_of
from trueup.errors import SettingsError
from trueup.gateway.client.endpoints import Endpoint, endpoint_of
from trueup.runtime.control.state_files import state_folder
from trueup.settings import Settings, listed, shown, valid_values

SETTINGS: Final[Mapping[str, str]] = {
    "gateway": "trueup_gateway",
    "server_key": "gtw_server_key",
    "key_file": "gtw_key_file",
    "timeout_ms": "gtw_timeout_ms",
    "account": "trueup_account",
    "symbols": "trueup_symbols",
    "magic": "trueup_magic",
    "comment_prefix": "trueup_comment_prefix",
    "strategy": "trueup_strategy",
    "volume": "trueup_volume",
    "adopt": "trueup_adopt",
    "ask": "trueup_ask",
    "alert": "trueup_alert",
    "expects_stop_loss": "trueup_expects_stop_loss",
    "real_money": "trueup_real_money",
    "journal": "trueup_journal",
    "interval": "sync_interval_sec",
}
"""The keys with the meaning and the valid values of a setting, and the field of the setting."""

PACE_SEC: Final = 1.0
JOURNAL: Final = "accounts.db"
"""The file in the state folder that has the streams of all accounts without a journal."""
PAUSED, PACE, LIMITS = "paused", "pace", "limits"
KEYS: Final = (*SETTINGS, PACE, PAUSED, LIMITS)
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
FILE_WHO: Final = "accounts.toml"
"""The name in the journal of what the file asks for, where no person is known."""
TABLE_WHO: Final = "trueup_accounts"
"""The same for the table, whose name it is."""
_FIELDS = {field: key for key, field in SETTINGS.items()}
_NEVER_EMPTY = {"gateway": "give tcp://HOST:PORT, such as tcp://127.0.0.1:5555"}


class AccountEntry(msgspec.Struct, frozen=True):
    """The options of one account, all of them valid.

    Attributes:
        name: the name of the entry.
        endpoint: the gateway.
        settings: the values that have the meaning of a setting; the others have their defaults.
        limits: the risk limits.
        pace_sec: seconds from one question for prices to the next.
        is_paused: whether the strategy of this account sends nothing.
        paused_by: who paused the whole fleet or this account in it; empty for nobody.
        paused_why: the reason of that, for the journal.
        who: the name in the journal of what the file or table asks for.
    """

    name: str
    endpoint: Endpoint
    settings: Settings
    limits: Limits = Limits()
    pace_sec: float = PACE_SEC
    is_paused: bool = False
    paused_by: str = ""
    paused_why: str = ""
    who: str = FILE_WHO

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the account's scope; empty for every symbol."""
        return listed(self.settings.trueup_symbols)

    @property
    def magics(self) -> tuple[int, ...]:
        """The magic numbers of the account's scope; empty for every position."""
        magic = self.settings.trueup_magic
        return () if magic is None else (magic,)


class KeyFault(Exception):
    """A key of an entry that cannot be used: `key`, the `value` as shown, what would be `valid`."""

    def __init__(self, key: str, value: object, valid: str) -> None:
        super().__init__(key)
        self.key, self.value, self.valid = key, shown(value), valid


def value_of(key: str, value: object) -> Any:
    """Return the checked value of a key.

    Raises:
        KeyFault: the value cannot be used.
    """
    return _CHECKS.get(key, _checked_setting)(key, value)


def entry_of(name: str, values: Mapping[str, Any], origin: str = FILE_WHO) -> AccountEntry:
    """Return the entry of checked values from a file or table with a name.

    Raises:
        KeyFault: a key is missing, or two keys contradict each other.
    """
    if not values.get("gateway"):
        raise KeyFault("gateway", "", _NEVER_EMPTY["gateway"])
    for key, other in (("server_key", "key_file"), ("key_file", "server_key")):
        if values.get(other) and not values.get(key):
            field = SETTINGS[key]
            raise KeyFault(key, "", f"{other} is set: {valid_values(field)}, or remove {other}")
    found = {SETTINGS[key]: value for key, value in values.items() if key in SETTINGS}
    # A book without a journal would forget its orders in doubt at the end of the process.
    if not found.get("trueup_journal"):
        found["trueup_journal"] = str(state_folder() / JOURNAL)
    # Not read from the environment: each account has the values of the file and no others.
    settings = Settings.model_construct(**found)
    try:
        endpoint = endpoint_of(settings.trueup_gateway, "gateway")
        policy_of(settings)
    except SettingsError as error:
        key = _FIELDS.get(error.variable.lower(), error.variable)
        raise KeyFault(key, error.value, _in_file(error.valid)) from None
    return AccountEntry(
        name,
        endpoint,
        settings,
        values.get(LIMITS, Limits()),
        values.get(PACE, PACE_SEC),
        values.get(PAUSED, False),
        who=TABLE_WHO if origin == TABLE_WHO else FILE_WHO,
    )


def _in_file(valid: str) -> str:
    """Return what is valid with the keys of the file in place of the names of settings."""
    for field, key in _FIELDS.items():
        valid = valid.replace(field.upper(), key)
    return valid


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    found = Settings.model_fields[field]
    kind: Any = found.annotation
    for extra in found.metadata:
        kind = Annotated[kind, extra]
    return TypeAdapter(kind)


def _checked_setting(key: str, value: object) -> Any:
    field = SETTINGS[key]
    try:
        return _adapter(field).validate_python(value)
    except ValidationError:
        raise KeyFault(key, value, valid_values(field)) from None


def _checked_pace(key: str, value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0.01 <= float(value) <= 3_600 or math.isnan(float(value)):  # type: ignore[arg-type]
        raise KeyFault(key, value, "give a number of seconds from 0.01 to 3600")
    return float(value)  # type: ignore[arg-type]


def _checked_flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise KeyFault(key, value, "give true or false")
    return value


def _checked_limits(key: str, value: object) -> Limits:
    if not isinstance(value, Mapping):
        valid = 'give limits by name, as { lots = 1.0 } in a file and {"lots": 1.0} in a table'
        raise KeyFault(key, value, valid)
    try:
        return limits_from(value)
    except LimitError as error:
        raise KeyFault(f"{key}.{error.name}", error.value, error.valid) from None


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    PACE: _checked_pace,
    PAUSED: _checked_flag,
    LIMITS: _checked_limits,
}
