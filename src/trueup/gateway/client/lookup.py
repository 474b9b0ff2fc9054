"""Look a host's name up without waiting: the name service may take many seconds to say no."""

from __future__ import annotations

import ipaddress
import socket
import threading

import msgspec

from trueup.gateway.client.endpoints import bare


class Found(msgspec.Struct, frozen=True):
    """What the name service said: why there is no such host, or whether it has IPv6 alone."""

    error: str = ""
    is_ipv6: bool = False


class Lookup:
    """One look-up of a name, in a thread of its own; an address is found at once.

    Args:
        host: a name or an address, with or without brackets.
    """

    def __init__(self, host: str) -> None:
        self._host = bare(host)
        self._found: Found | None = None
        self._done = threading.Event()
        try:
            self._found = Found(is_ipv6=ipaddress.ip_address(self._host).version == 6)
            self._done.set()
        except ValueError:
            threading.Thread(target=self._look_up, name="lookup", daemon=True).start()

    def wait(self, timeout_ms: int) -> Found | None:
        """Return what was found, or None when it is still under way after `timeout_ms`."""
        self._done.wait(timeout_ms / 1000)
        return self._found

    def _look_up(self) -> None:
        self._found = _found(self._host)
        self._done.set()


def _found(host: str) -> Found:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Found(error=getattr(error, "strerror", None) or str(error))
    families = {entry[0] for entry in entries}
    # Where there are both, IPv4 is what a gateway listens on unless it is told otherwise.
    return Found(is_ipv6=socket.AF_INET not in families)
