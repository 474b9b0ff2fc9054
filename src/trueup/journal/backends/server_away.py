"""Tell a PostgreSQL server that is away for now from an address that leads nowhere.

A driver has no code for a connection that failed, only a text in the server's language. So the
server is asked once more, by `PQping`: whether it answers needs neither user nor password.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import conninfo, pq

# How long the question may take (seconds); it cannot be interrupted.
PING_S: Final = 2


def is_away(address: str) -> bool:
    """Return whether a server may be reached later, with nothing changed at the address.

    So it is if the server does not answer, or answers that it starts or ends. It is not if the
    server has refused the user, the password or the database, and if no machine has that name.

    Args:
        address: where the server is, as psycopg takes it; a connection there has just failed.
    """
    parameters = conninfo.conninfo_to_dict(address)
    if not any(_may_be_found(host) for host in _hosts(parameters)):
        return False
    asked = conninfo.make_conninfo(address, connect_timeout=PING_S)
    answer = pq.Ping(pq.PGconn.ping(asked.encode()))
    if answer is pq.Ping.OK:
        return _is_of_another_kind(parameters)
    return answer in (pq.Ping.NO_RESPONSE, pq.Ping.REJECT)


def _hosts(parameters: dict[str, Any]) -> Iterator[str]:
    """Yield the names that the network has to find; '' for a server that needs no name."""
    if parameters.get("hostaddr"):
        yield ""
        return
    for host in (parameters.get("host") or os.environ.get("PGHOST", "")).split(","):
        # Others are the folders of sockets.
        yield "" if host.startswith(("/", "@")) else host


def _may_be_found(host: str) -> bool:
    """Return whether a machine has a name, or nobody can tell now, as without a name server."""
    if not host:
        return True
    try:
        socket.getaddrinfo(host, 0)
    except socket.gaierror as error:
        return error.errno == socket.EAI_AGAIN
    except UnicodeError:
        return False
    return True


def _is_of_another_kind(parameters: dict[str, Any]) -> bool:
    """Return whether a server accepts us that is not the wanted one of a pair.

    As a standby that was not promoted yet, where the address wants the server that takes writes.
    """
    if parameters.get("target_session_attrs", "any") == "any":
        return False
    try:
        psycopg.connect(**{**parameters, "target_session_attrs": "any"}).close()
    except psycopg.Error:
        return False
    return True
