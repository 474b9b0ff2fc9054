"""Parse an endpoint option: tcp://HOST:PORT."""

from __future__ import annotations

import re
from typing import NamedTuple

from trueup.errors import SettingsError
from trueup.gateway.client.endpoints import bare, tcp

_ENDPOINT = re.compile(r"tcp://(?P<host>[^:/\s]+|\[[0-9a-fA-F:.]+(%\w+)?\]):(?P<port>\d{1,5})")


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
