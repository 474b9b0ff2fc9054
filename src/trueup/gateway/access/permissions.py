"""Decide whether a client may have a request carried out.

Every request is checked twice: when it arrives, and again when the terminal is about to carry it
out. A connection proves a key (see `gateway.access.door`). The rights of the key are looked up in
the allow file each time, so removing a line takes effect with the next request. An action that is
not in the list of queries needs the right to trade: an action missing from that list is refused.
"""

from __future__ import annotations

from collections.abc import Callable

from trueup.gateway.access.allow_file import FULL_ACCESS, NO_ACCESS, Access, AllowFile
from trueup.gateway.access.door import Client
from trueup.gateway.access.rate_limit import Rates
from trueup.logs import Logger, logger
from trueup.protocol.requests import QUERIES, Request

log: Logger = logger("trueup.gate")


class Gate:
    """Returns the reason why a request is refused, or None if the request is allowed.

    Args:
        allowed: the allow file; None on a gateway that requires no keys.
        rates: the rate limits of the clients; None for no limit.
    """

    def __init__(self, allowed: AllowFile | None = None, rates: Rates | None = None) -> None:
        self._allowed, self._rates = allowed, rates

    def refusal(self, client: Client, request: Request | None) -> str | None:
        """Return why a request that just arrived is refused; never waits.

        `request` is None for a message that cannot be parsed: it costs the gateway as much as a
        valid request and counts towards the rate limit.
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
            client: the sender.
            request: its request.
            login: asks the terminal for its current account; may wait.
        """
        if self._allowed is None:
            return None
        access = self._allowed.find(client.user)
        if access is None:
            return NOT_ALLOWED
        return _role(access, request) or _account(access, login)

    def access(self, client: Client) -> Access:
        """Return the client's current rights; none if its line was removed from the allow file."""
        if self._allowed is None:
            return FULL_ACCESS
        return self._allowed.find(client.user) or NO_ACCESS

    def _too_often(self, sender: str, wait_ms: int) -> str:
        assert self._rates is not None
        rate = self._rates.rate
        return (
            f"{sender} asks more than {rate.per_sec:g} times a second (and {rate.burst} at once): "
            f"wait {wait_ms} ms"
        )


NOT_ALLOWED = "this key is no longer in the gateway's allow file"


def _role(access: Access, request: Request) -> str | None:
    if access.may_trade:
        return None
    if request.in_doubt:
        return f"key {access.name} may only read, and in_doubt can withdraw orders"
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
