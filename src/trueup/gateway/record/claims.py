"""Grant the claims of a gateway's clients, and refuse orders that contradict a claim.

A claim is a row of the account's record, so a gateway that was started again knows it. Its holder
renews it by any request that carries its name. A claim that was not renewed for a lease belongs to
its holder until another writer claims a part of it; then it is given to that writer, and the
former holder's orders are refused. So a holder that only slept goes on as before.

Renewals are not written: after a start of the gateway every claim has a whole lease again.

A restarted program has a new name for its claim. Where stream and journal are those of a claim, it
takes that claim over at once. A name that the record knows already never does: its claim was given
to another program of the same journal, and the two would take it from each other for ever.

Orders without a claim are not checked: clients of before go on as they did.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from trueup.core.claims import WriterClaim, has_order, why_taken
from trueup.gateway.record.fences import Fences
from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.store import DAY_NS, ClaimRow, StoreTrouble
from trueup.gateway.terminal.terminal import AccountInfo
from trueup.logs import Logger, logger
from trueup.protocol.claims import LEASE_MS, ClaimReply, ClaimRequest
from trueup.protocol.requests import TRADES, Request

log: Logger = logger("trueup.record")

LEASE_NS: Final = LEASE_MS * 1_000_000
# How many renewals are remembered; far more than an account has writers.
RENEWALS_KEPT: Final = 1_000
_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.Decoder(WriterClaim).decode


class _Held(msgspec.Struct, frozen=True):
    """A claim of the record, and its name."""

    name: str
    claim: WriterClaim
    given_to: str


class Claims:
    """The claims of the clients of one gateway; only the thread of the terminal may use them.

    Args:
        store: the record of requests.
        now_ns: nanoseconds of UTC since 1970.
        age_ns: the clock for leases.
        fences: the newest tokens of the journals; by default those of `store`.
    """

    def __init__(
        self,
        store: RecordedRequests,
        now_ns: Callable[[], int],
        age_ns: Callable[[], int],
        fences: Fences | None = None,
    ) -> None:
        self._store, self._now_ns, self._age_ns = store, now_ns, age_ns
        self._fences = fences or Fences(store)
        self._began_ns = age_ns()
        self._renewed: OrderedDict[str, int] = OrderedDict()

    def decide(self, request: ClaimRequest, account: AccountInfo) -> ClaimReply:
        """Grant, change or release a claim, or reject the request with the reason.

        Args:
            request: the request; its scope is from `core.claims.claimable`.
            account: the account that the terminal is logged in to.

        Raises:
            StoreTrouble: the record cannot be read or written; the claims are unchanged.
        """
        here = f"{account.login}@{account.server}"
        meant = request.scope.account
        if meant not in ("", here):
            why = f"it is for account {meant}, and the terminal is logged in to {here}"
            return ClaimReply("REJECTED", here, error=why)
        self._store.serve(account.login, account.server)
        if request.release:
            self._store.keep_claims(account.login, account.server, (), (request.scope.run,))
            return ClaimReply("SUCCESS", here)
        # First the fence: a former writer of the journal must not take its claim back.
        why = self._fences.why_not(request.journal, request.token, account)
        fence = self._fences.of(request.journal, account)
        if why:
            return ClaimReply("REJECTED", here, error=why, token=fence.token)
        scope = msgspec.structs.replace(request.scope, account=here)
        why = self._take(WriterClaim(scope, request.journal, self._now_ns()), account)
        if why:
            return ClaimReply("REJECTED", here, error=why)
        return ClaimReply("SUCCESS", here, LEASE_MS, token=fence.token, refused=fence.refused)

    def renew(self, name: str) -> None:
        """Begin a claim's lease anew, unless the claim was given to another writer."""
        self._renewed[name] = self._age_ns()
        self._renewed.move_to_end(name)
        if len(self._renewed) > RENEWALS_KEPT:
            self._renewed.popitem(last=False)

    def why_not(self, request: Request, account: AccountInfo) -> str:
        """Return why the claims forbid an order, or an empty text; renew the order's own claim.

        Raises:
            StoreTrouble: the record cannot be read.
        """
        name = request.claim
        if not name:
            return ""
        claims = {held.name: held for held in self._all(account)}
        own = claims.pop(name, None)
        if own is None:
            return f"this gateway does not know its claim {name!r:.60}: claim again"
        if own.given_to:
            return f"its claim was given to {own.given_to} meanwhile: claim again"
        self.renew(name)
        # A close or a change acts on what exists, whoever opened it, as it does by hand.
        if request.action not in TRADES or request.position:
            return ""
        for held in claims.values():
            is_its = has_order(held.claim.scope, request.symbol, request.magic)
            if is_its and not held.given_to and not self._silent_ns(held) > LEASE_NS:
                return (
                    f"magic {request.magic} in {request.symbol} is claimed by {held.claim.holder}"
                )
        return ""

    def _take(self, wanted: WriterClaim, account: AccountInfo) -> str:
        """Record a claim, or return why it cannot be granted."""
        others = {held.name: held for held in self._all(account)}
        own = others.pop(wanted.scope.run, None)
        live = [held for held in others.values() if not held.given_to]
        # Only a name that is new here is that of a restarted program.
        former = [held for held in live if own is None and held.claim.is_of_same_book(wanted)]
        silent = [held for held in live if self._silent_ns(held) > LEASE_NS]
        taken = why_taken(
            wanted.scope, (held.claim for held in live if held not in former and held not in silent)
        )
        if taken:
            return taken
        if own is not None and not own.given_to:
            # A claim that is widened has been held since it was granted first.
            wanted = msgspec.structs.replace(wanted, since_ns=own.claim.since_ns)
        overlapping = [held for held in silent if why_taken(wanted.scope, (held.claim,))]
        self._record(wanted, own, (*former, *overlapping), silent, account)
        self.renew(wanted.scope.run)
        return ""

    def _record(
        self,
        wanted: WriterClaim,
        own: _Held | None,
        ended: Iterable[_Held],
        silent: Iterable[_Held],
        account: AccountInfo,
    ) -> None:
        gone = {held.name: held for held in ended}
        if not gone and own is not None and (own.claim, own.given_to) == (wanted, ""):
            # Only renewed.
            return
        rows = [ClaimRow(wanted.scope.run, _encode(wanted))]
        for held in gone.values():
            rows.append(ClaimRow(held.name, _encode(held.claim), wanted.holder))
            # A restart is an everyday event; that another writer gets the claim is not.
            level = logging.INFO if held.claim.is_of_same_book(wanted) else logging.WARNING
            words = "[RECORD] %s has the claim of %s now"
            log.log(level, words, wanted.holder, held.claim.holder)
        # Claims of programs that never came back.
        old = [held for held in silent if self._silent_ns(held) > DAY_NS and held.name not in gone]
        dropped = [held.name for held in old]
        self._store.keep_claims(account.login, account.server, rows, dropped)

    def _all(self, account: AccountInfo) -> list[_Held]:
        rows = self._store.claims(account.login, account.server)
        return [_Held(row.name, _read(row), row.given_to) for row in rows]

    def _silent_ns(self, held: _Held) -> int:
        """Return for how long the holder has sent nothing, as far as this gateway knows."""
        return self._age_ns() - self._renewed.get(held.name, self._began_ns)


def _read(row: ClaimRow) -> WriterClaim:
    try:
        return _decode(row.claim)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise StoreTrouble(f"the record of claim {row.name!r:.60} is damaged ({error})") from error
