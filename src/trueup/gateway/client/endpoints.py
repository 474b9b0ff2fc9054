"""An endpoint from a host and a port: an IPv6 address stands in brackets (RFC 3986)."""

from __future__ import annotations


def bare(host: str) -> str:
    """Return a host without the brackets that an IPv6 address has in an endpoint."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def tcp(host: str, port: int) -> str:
    """Return the endpoint of a host and a port as ZeroMQ wants it: tcp://[::1]:5555."""
    host = bare(host)
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def is_ipv6(endpoint: str) -> bool:
    """Return whether an endpoint names an IPv6 address, which sockets have to be told."""
    return "[" in endpoint
