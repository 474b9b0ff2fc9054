"""Build ZeroMQ endpoints from host and port; an IPv6 address is put in brackets (RFC 3986)."""

from __future__ import annotations


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
