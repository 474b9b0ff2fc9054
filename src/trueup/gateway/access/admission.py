"""From a gateway's options to its door and its gate: who may connect, and who may do what.

Whoever reaches a gateway's port in plain text can trade. So off this machine it is encrypted and
asks for keys, unless somebody says in so many words that it shall not, and then every start warns.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trueup.errors import KeysError, SettingsError
from trueup.gateway.access.allow_file import AllowFile
from trueup.gateway.access.descriptors import connections_max
from trueup.gateway.access.door import Door, Lock
from trueup.gateway.access.keys import default_folder, is_name, read_key_pair, read_public_key
from trueup.gateway.access.permissions import Gate
from trueup.gateway.access.rate_limit import Rate, Rates
from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

KEY_NAME: Final = "gateway.key_secret"
ALLOW_NAME: Final = "allow"
# A client may save up this many seconds of its rate.
_BURST_SEC: Final = 2


class Terms(msgspec.Struct, frozen=True):
    """On which terms a gateway is used.

    `key_file` is its own secret key, `allow_file` says whose keys are taken; without them the files
    `gateway.key_secret` and `allow` in the folder of keys are used off this machine. `is_plain`
    is the wish for plain text all the same. `rate_per_sec` is how often a client may ask, 0 for
    no limit.
    """

    key_file: Path | None = None
    allow_file: Path | None = None
    is_plain: bool = False
    rate_per_sec: float = 0.0


class Admission(NamedTuple):
    """Who may connect, and who may have what done."""

    door: Door
    gate: Gate


def admission(
    host: str, terms: Terms, now_ns: Callable[[], int], age_ns: Callable[[], int] | None = None
) -> Admission:
    """Return the door and the gate of a gateway that listens at `host`.

    `now_ns` is the date, by which files are dated, and `age_ns` the clock by which clients are
    counted, by default the same.

    Raises:
        SettingsError: plain text off this machine, keys beside plain text, or one file of two.
        KeysError: a file cannot be used.
    """
    lock = _lock(host, terms, now_ns)
    rates = None
    if terms.rate_per_sec:
        burst = max(1, round(terms.rate_per_sec * _BURST_SEC))
        rates = Rates(Rate(terms.rate_per_sec, burst), age_ns or now_ns)
    door = Door(lock, connections_max=connections_max())
    return Admission(door, Gate(None if lock is None else lock.allowed, rates))


def _lock(host: str, terms: Terms, now_ns: Callable[[], int]) -> Lock | None:
    key_file, allow_file = terms.key_file, terms.allow_file
    if terms.is_plain:
        if key_file is not None or allow_file is not None:
            given = str(key_file or allow_file)
            raise SettingsError("--plain", given, "--key and --allow encrypt: give them or --plain")
        if not is_loopback(host):
            log.warning(
                "[ACCESS] PLAIN TEXT at %s: whoever reaches this port can read the account and "
                "trade on it. Start with --key and --allow instead, or keep the port in a tunnel.",
                host,
            )
        return None
    if key_file is None and allow_file is None and is_loopback(host):
        return None
    return _open_lock(host, key_file, allow_file, now_ns)


def _open_lock(
    host: str, key_file: Path | None, allow_file: Path | None, now_ns: Callable[[], int]
) -> Lock:
    key_file = key_file or default_folder() / KEY_NAME
    allow_file = allow_file or default_folder() / ALLOW_NAME
    for option, path, how in (
        ("--key", key_file, "`trueup keys new gateway` makes it"),
        ("--allow", allow_file, f"write into it {_line(allow_file.parent)}"),
    ):
        if not path.exists():
            valid = f"off this machine ({host}) a gateway needs this file: {how}; or say --plain"
            raise SettingsError(option, str(path), valid)
    lock = Lock(read_key_pair(key_file), AllowFile(allow_file, now_ns))
    log.info(
        "[ACCESS] Encrypted, with public key %s; %s lets in %d clients",
        lock.keys.public,
        allow_file,
        len(lock.allowed),
    )
    return lock


def _line(folder: Path) -> str:
    """Return the line that lets a client in: that of a key which is in the folder, if any is."""
    for path in sorted(folder.glob("*.key")):
        if path.stem != Path(KEY_NAME).stem and is_name(path.stem):
            with contextlib.suppress(KeysError):
                return f"`{path.stem}  trade  *  {read_public_key(path)}`"
    return (
        "a line for each client, such as `bot1  trade  *  PUBLIC-KEY`, which `trueup keys new "
        "bot1` on the bot's machine prints with its key"
    )


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        # The name of an interface, or * for all.
        return False
