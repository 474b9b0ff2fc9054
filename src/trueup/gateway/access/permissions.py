"""May this client have this done? Asked for every request, at the moment it comes and again when
the terminal is about to do it.

A connection proves a key (see `gateway.access.door`); what the key opens is in the allow file, and
is looked up each time, so a line that is taken out counts from the next request on. Actions that
are not known to be queries need the right to trade: what is forgotten here is refused, not let
through.
"""

from __future__ import annotations

from collections.abc import Callable

from trueup.gateway.access.allow_file import ANYBODY, NOBODY, Access, AllowFile
from trueup.gateway.access.door import Client
from trueup.gateway.access.rate_limit import Rates
from trueup.logs import Logger, logger
from trueup.protocol.requests import QUERIES, Request

log: Logger = logger("trueup.gate")


class Gate:
    """Says for each request why it is refused, or nothing.

    Args:
        allowed: who may do what; None where nobody has to log in.
        rates: how often a client may ask; None for no limit.
    """

    def __init__(self, allowed: AllowFile | None = None, rates: Rates | None = None) -> None:
        self._allowed, self._rates = allowed, rates

    def refusal(self, client: Client, request: Request | None) -> str | None:
        """Return why a request that just came is refused; never waits.

        None is what cannot be read: it costs the gateway as much, and counts as much.
        """
        wait_ms = 0 if self._rates is None else self._rates.take(client.party)
        if self._allowed is None:
            return self._too_often("this connection", wait_ms) if wait_ms else None
        access = self._allowed.find(client.user)
        if access is None:
            return NOT_ALLOWED
        if wait_ms:
            return self._too_often(f"key {access.name}", wait_ms)
        return None if request is None else _role(access, request)

    def last_refusal(
        self, client: Client, request: Request, login: Callable[[], int | None]
    ) -> str | None:
        """Return why a request that is about to be carried out is refused.

        Args:
            login: asks the terminal for the account that it has; may wait.
        """
        if self._allowed is None:
            return None
        access = self._allowed.find(client.user)
        if access is None:
            return NOT_ALLOWED
        return _role(access, request) or _account(access, login)

    def access(self, client: Client) -> Access:
        """Return what a client may by now; nothing where its line is gone."""
        if self._allowed is None:
            return ANYBODY
        return self._allowed.find(client.user) or NOBODY

    def _too_often(self, who: str, wait_ms: int) -> str:
        assert self._rates is not None
        rate = self._rates.rate
        return (
            f"{who} asks more than {rate.per_sec:g} times a second (and {rate.burst} at once): "
            f"wait {wait_ms} ms"
        )


NOT_ALLOWED = "this key is no longer in the gateway's allow file"


def _role(access: Access, request: Request) -> str | None:
    if access.may_trade:
        return None
    if request.in_doubt:
        return f"key {access.name} may only read, and to be in doubt of an order withdraws it"
    return None if request.action in QUERIES else f"key {access.name} may only read"


def _account(access: Access, login: Callable[[], int | None]) -> str | None:
    if access.accounts is None:
        return None
    here = login()
    if here in access.accounts:
        return None
    scope = ", ".join(map(str, sorted(access.accounts)))
    if here is None:
        return (
            f"the terminal does not say which account it has, and key {access.name} is for {scope}"
        )
    return f"key {access.name} is for account {scope}, and the terminal has another"
