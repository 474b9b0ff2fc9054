"""Claim a part of an account at a gateway, and renew the claim until it is released.

A thread of the process renews the claim (`renewals`). So a program that waits for an hour for its
next bar keeps the claim, and one that ended, or stands still, loses it after the gateway's lease.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from trueup.core.claims import claimable
from trueup.core.scope import Scope
from trueup.errors import (
    ClaimRefused,
    FormerWriter,
    NotSent,
    OutcomeUnknown,
    Refused,
    TrueupError,
)
from trueup.gateway.client.link import Link, exchange
from trueup.gateway.client.renewals import RENEWALS, Renewing
from trueup.logs import Logger, logger
from trueup.processes import this_process
from trueup.protocol import guide
from trueup.protocol.claims import (
    CAPABILITY,
    LEASE_MS,
    ClaimRequest,
    decode_claim_reply,
    encode_claim_request,
)
from trueup.protocol.text import read_json
from trueup.turns import Turn

log: Logger = logger("trueup.gateway")

# Two renewals may be lost before the lease ends.
RENEWALS_IN_A_LEASE = 3
# From one look for a connection, or for a reply, to the next.
CONNECTED_EVERY_SEC, REPLIED_EVERY_SEC = 0.25, 0.05


class GatewayClaims:
    """What this program claims at one gateway; thread-safe.

    Args:
        new_link: makes a connection for this object alone.
        name: the gateway's name in error texts.
        timeout_ms: how long to wait for a connection, and for each reply.
        is_served: whether the gateway has said already that it serves CLAIM.
        renewals: takes the steps of the renewals; by default a thread of this process.
    """

    def __init__(
        self,
        new_link: Callable[[], Link],
        name: str,
        timeout_ms: int,
        is_served: Callable[[], bool] = lambda: False,
        renewals: Renewing | None = None,
    ) -> None:
        self._new_link, self._name, self._timeout_ms = new_link, name, timeout_ms
        self._is_served = is_served
        self._renewals: Renewing = RENEWALS if renewals is None else renewals
        self._turn = Turn()
        self._link: Link | None = None
        self._request: ClaimRequest | None = None
        self._lease_ms = LEASE_MS
        # The renewal under way: the request that was sent, if it was, and when it is given up.
        self._sent: ClaimRequest | None = None
        self._until: float | None = None
        self._trouble = ""
        self.recorded_token: int = 0
        """The token in the gateway's latest reply; 0 for a gateway that records none."""
        self.refused_orders: int = 0
        """How many orders of former writers the gateway has refused, by its latest reply."""

    @property
    def claimed(self) -> Scope | None:
        """The scope that was claimed last, or None."""
        request = self._request
        return None if request is None else request.scope

    @property
    def fence(self) -> tuple[str, int]:
        """Journal and token of the claim; an empty text and 0 without them."""
        request = self._request
        return ("", 0) if request is None else (request.journal, request.token)

    def claim(self, scope: Scope, journal: str = "", token: int = 0) -> None:
        """Claim a scope; see `ExecutionGateway.claim`."""
        process = this_process()
        names = {"process": scope.process or process.number, "host": scope.host or process.host}
        scope = claimable(msgspec.structs.replace(scope, **names))
        request = ClaimRequest(scope, journal, token=token)
        with self._turn:
            self._ask(request)
            self._request, self._trouble = request, ""
            self._renewals.add(self, self._interval_sec)

    def name_journal(self, journal: str) -> None:
        """Renew the claim soon with the id of the writer's journal; does not wait.

        A journal gets its id with its first event, which may come after the claim.
        """
        request = self._request
        if request is not None and request.journal != journal:
            self._request = msgspec.structs.replace(request, journal=journal)
            self._renewals.soon(self)

    def release(self) -> None:
        """Give the claim up and close the connection; a second call does nothing.

        If the gateway cannot be reached, the claim ends with its lease.
        """
        with self._turn:
            request, self._request = self._request, None
            if request is not None:
                with suppress(TrueupError):
                    self._ask(msgspec.structs.replace(request, release=True))
            link, self._link = self._link, None
            if link is not None:
                link.close()
        # Outside the turn, because the thread may be at a step of this claim.
        self._renewals.remove(self)

    def step(self, now: float) -> float | None:
        """Take the next step of a renewal without waiting; see `Renewable`."""
        with self._turn.if_free() as is_ours:
            if not is_ours:
                return now + REPLIED_EVERY_SEC
            if self._request is None or self._link is None:
                return None
            try:
                return self._stepped(self._link, self._request, now)
            except (NotSent, OutcomeUnknown):
                # A gateway that is away for a moment: orders and syncs say so already. Until the
                # next renewal ZeroMQ need not try to connect.
                self._link.reset()
            except TrueupError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    log.error("[CLAIM] The claim was not renewed: %s", error)
            self._sent = self._until = None
            return now + self._interval_sec

    def _stepped(self, link: Link, request: ClaimRequest, now: float) -> float:
        """Send a request that is not sent yet, or take its reply; return when to look again."""
        if self._until is None:
            self._until = now + self._timeout_ms / 1_000
        if self._sent is None:
            try:
                link.send(encode_claim_request(request), 0)
            except NotSent:
                if now < self._until:
                    return now + CONNECTED_EVERY_SEC
                raise
            self._sent, self._until = request, now + self._timeout_ms / 1_000
        reply = link.receive(0)
        if reply is None:
            if now < self._until:
                return now + REPLIED_EVERY_SEC
            raise OutcomeUnknown(f"{self._name} gave no reply within {self._timeout_ms} ms")
        sent, self._sent, self._until = self._sent, None, None
        self._take(sent, reply)
        self._trouble = ""
        # It may have got the id of its journal meanwhile.
        return now if self._request is not sent else now + self._interval_sec

    @property
    def _interval_sec(self) -> float:
        return self._lease_ms / RENEWALS_IN_A_LEASE / 1_000

    def _ask(self, request: ClaimRequest) -> None:
        """Send a request, and raise an error unless it was granted."""
        if self._link is not None and self._sent is not None:
            # The reply to the renewal under way must not be taken for this one's.
            self._link.reset()
        self._sent = self._until = None
        if self._link is None:
            self._link = self._new_link()
            if not self._is_served():
                self._require_claims()
        self._take(request, self._exchanged(encode_claim_request(request)))

    def _take(self, request: ClaimRequest, raw: bytes) -> None:
        """Take the reply to a request, and raise an error unless it was granted."""
        reply = decode_claim_reply(raw)
        self.recorded_token, self.refused_orders = reply.token, reply.refused
        if reply.status == "REJECTED" and reply.token > request.token:
            why = f"Nothing was claimed at {self._name}: {reply.error}."
            raise FormerWriter(why, token=reply.token)
        if reply.status == "REJECTED":
            raise ClaimRefused(f"Nothing was claimed at {self._name}: {reply.error}.")
        self._lease_ms = reply.lease_ms or self._lease_ms

    def _require_claims(self) -> None:
        """Ask on the guide's wire whether CLAIM is served; a gateway may not know CLAIM itself."""
        assert self._link is not None
        try:
            reply: object = read_json(self._exchanged(guide.GET_POSITIONS))
        except (ValueError, RecursionError):
            reply = None
        except TrueupError:
            self._forget_link()
            raise
        if CAPABILITY not in guide.capabilities_of(reply):
            self._forget_link()
            raise Refused(
                f"{self._name} does not serve {CAPABILITY}: it takes a `trueup gateway` of this "
                "version or a later one"
            )

    def _forget_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _exchanged(self, message: bytes) -> bytes:
        assert self._link is not None
        return exchange(self._link, message, self._timeout_ms, self._name)
