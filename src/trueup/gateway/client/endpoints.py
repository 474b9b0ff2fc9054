"""Build and parse ZeroMQ endpoints; an IPv6 address is put in brackets (RFC 3986)."""

from __future__ import annotations

import re
from typing import NamedTuple

from trueup.errors import SettingsError

TERMINAL_HERE = "the terminal of this machine"
"""Stands for the endpoint of a client that calls a terminal itself: nothing listens anywhere."""

_ENDPOINT = re.compile(r"tcp://(?P<host>[^:/\s]+|\[[0-9a-fA-F:.]+(%\w+)?\]):(?P<port>\d{1,5})")


def bare(host: str) -> str:
    """Return a host without the brackets of an IPv6 address in an endpoint."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def tcp(host: str, port: int) -> str:
    """Return the ZeroMQ endpoint of a host and a port: tcp://[::1]:5555."""
    host = bare(host)
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def is_ipv6(endpoint: str) -> bool:
    """Return whether an endpoint has an IPv6 address, for which sockets need an option."""
    return "[" in endpoint


class Endpoint(NamedTuple):
    """A host and a TCP port; an IPv6 address without its brackets."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The endpoint in ZeroMQ's form."""
        return tcp(self.host, self.port)


def endpoint_of(text: str, option: str) -> Endpoint:
    """Return the endpoint in a text.

    Raises:
        SettingsError: the text is not an endpoint; the error names the option.
    """
    found = _ENDPOINT.fullmatch(text.strip())
    if found is None or not 0 < int(found["port"]) < 65_536:
        valid = "give tcp://HOST:PORT, such as tcp://127.0.0.1:5555 or tcp://[::1]:5555"
        raise SettingsError(option, text, valid)
    return Endpoint(bare(found["host"]), int(found["port"]))
