"""Resolve a host name without blocking, since a name service may take many seconds to fail."""

from __future__ import annotations

import ipaddress
import socket
import threading

import msgspec

from trueup.gateway.client.endpoints import bare


class Found(msgspec.Struct, frozen=True):
    """The result of a lookup: an error, or whether the host has only IPv6 addresses."""

    error: str = ""
    is_ipv6: bool = False


class Lookup:
    """Resolves a host name in a thread; an IP address needs no thread.

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
        """Return the result, or None if the lookup is still running after `timeout_ms`."""
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
    # If the host has both, prefer IPv4: gateways listen on IPv4 unless told otherwise.
    return Found(is_ipv6=socket.AF_INET not in families)
