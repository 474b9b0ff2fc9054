"""Access control of a gateway: build the connection check and the request check from its options.

Anybody who reaches a plain-text port can trade on the account. So a gateway that listens beyond
this machine encrypts and requires keys. The operator can choose plain text explicitly; the gateway
then logs a warning at every start.
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
# Burst size of the rate limit: a client may use up to two seconds of its rate at once.
_BURST_SEC: Final = 2


class Terms(msgspec.Struct, frozen=True):
    """The access options of a gateway.

    Attributes:
        key_file: the gateway's own secret key. Default when listening beyond this machine:
            `gateway.key_secret` in the key folder.
        allow_file: the public keys of the clients that may connect. Default when listening beyond
            this machine: `allow` in the key folder.
        is_plain: use plain text even when listening beyond this machine.
        rate_per_sec: requests per second that a client may send; 0 for no limit.
    """

    key_file: Path | None = None
    allow_file: Path | None = None
    is_plain: bool = False
    rate_per_sec: float = 0.0


class Admission(NamedTuple):
    """The two access checks: `door` for connections, `gate` for requests."""

    door: Door
    gate: Gate


def admission(
    host: str, terms: Terms, now_ns: Callable[[], int], age_ns: Callable[[], int] | None = None
) -> Admission:
    """Return the connection check and the request check of a gateway that listens at `host`.

    Args:
        host: the address to listen on.
        terms: the access options.
        now_ns: nanoseconds of UTC since 1970, compared with file dates.
        age_ns: the clock for rate limits; by default `now_ns`.

    Raises:
        SettingsError: `terms` combine plain text with keys, or a file for keys does not exist.
        KeysError: a key file or the allow file cannot be used.
    """
    lock = _lock(host, terms, now_ns)
    rates = None
    if terms.rate_per_sec:
        # Less than one token in the bucket would refuse every request.
        burst = max(1, round(terms.rate_per_sec * _BURST_SEC))
        rates = Rates(Rate(terms.rate_per_sec, burst), age_ns or now_ns)
    door = Door(lock, connections_max=connections_max())
    return Admission(door, Gate(None if lock is None else lock.allowed, rates))


def _lock(host: str, terms: Terms, now_ns: Callable[[], int]) -> Lock | None:
    key_file, allow_file = terms.key_file, terms.allow_file
    if terms.is_plain:
        # Keys beside --plain would look as if they protected the gateway.
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
    # Without options use the default files, and say how to make a file that is missing.
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
    """Return an example line for the allow file, with a public key from `folder` if it has any."""
    for path in sorted(folder.glob("*.key")):
        # The gateway's own key is in the same folder and must not be listed as a client.
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
        # `host` is the name of a network interface, or * for all interfaces.
        return False
