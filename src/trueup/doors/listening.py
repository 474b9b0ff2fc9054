"""Listen at an address for HTTP; a port that is used is known before anything is printed."""

from __future__ import annotations

import socket

from trueup.errors import SettingsError, reason

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def listening_at(host: str, port: int, what: str) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: the address of this machine; an IPv6 address without brackets.
        port: the port; 0 takes a free one.
        what: what listens, for the error: "the page".

    Raises:
        SettingsError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_REUSEADDR") and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        valid = f"{what} cannot listen there, {reason(error)}: give another --host or --port"
        raise SettingsError("--port", f"{host}:{port}", valid) from error
    return listening


def address_of(host: str, listening: socket.socket) -> str:
    """Return host and port for a URL."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{listening.getsockname()[1]}"
