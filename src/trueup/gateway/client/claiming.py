"""Claim a part of an account at a gateway, and renew the claim until it is released.

A thread renews the claim, so that a program that waits for an hour for its next bar keeps it, and a
program that ended, or stands still, loses it after the gateway's lease.
"""

from __future__ import annotations

import threading
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


class GatewayClaims:
    """What this program claims at one gateway; thread-safe.

    Args:
        new_link: makes a connection for this object alone.
        name: the gateway's name in error texts.
        timeout_ms: how long to wait for a connection, and for each reply.
    """

    def __init__(self, new_link: Callable[[], Link], name: str, timeout_ms: int) -> None:
        self._new_link, self._name, self._timeout_ms = new_link, name, timeout_ms
        self._turn = Turn()
        self._link: Link | None = None
        self._request: ClaimRequest | None = None
        self._lease_ms = LEASE_MS
        self._renewing: _Renewing | None = None
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
            if self._renewing is None:
                self._renewing = _Renewing(self._renew, self._lease_ms / RENEWALS_IN_A_LEASE)

    def name_journal(self, journal: str) -> None:
        """Renew the claim soon with the id of the writer's journal; does not wait.

        A journal gets its id with its first event, which may come after the claim.
        """
        request, renewing = self._request, self._renewing
        if request is not None and request.journal != journal and renewing is not None:
            self._request = msgspec.structs.replace(request, journal=journal)
            renewing.now()

    def release(self) -> None:
        """Give the claim up and close the connection; a second call does nothing.

        If the gateway cannot be reached, the claim ends with its lease.
        """
        with self._turn:
            renewing, self._renewing = self._renewing, None
            request, self._request = self._request, None
            if request is not None:
                with suppress(TrueupError):
                    self._ask(msgspec.structs.replace(request, release=True))
            link, self._link = self._link, None
            if link is not None:
                link.close()
        # Outside the turn, because the thread may be waiting for it.
        if renewing is not None:
            renewing.end()

    def _renew(self) -> None:
        with self._turn:
            if self._request is None:
                return
            try:
                self._ask(self._request)
                self._trouble = ""
            except (NotSent, OutcomeUnknown):
                # A gateway that is away for a moment: orders and syncs say so already.
                return
            except TrueupError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    log.error("[CLAIM] The claim was not renewed: %s", error)

    def _ask(self, request: ClaimRequest) -> None:
        """Send a request, and raise an error unless it was granted."""
        if self._link is None:
            self._link = self._new_link()
            self._require_claims()
        reply = decode_claim_reply(self._exchanged(encode_claim_request(request)))
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


class _Renewing:
    """A thread that calls a function at an interval (ms) until `end`."""

    def __init__(self, renew: Callable[[], None], every_ms: float) -> None:
        self._renew, self._every_sec = renew, every_ms / 1_000
        self._has_ended, self._wake = False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="claim", daemon=True)
        self._thread.start()

    def now(self) -> None:
        """Call the function now, and from then on at the interval."""
        self._wake.set()

    def end(self) -> None:
        """End the thread, and wait for its end."""
        self._has_ended = True
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._every_sec)
            self._wake.clear()
            if self._has_ended:
                return
            self._renew()
