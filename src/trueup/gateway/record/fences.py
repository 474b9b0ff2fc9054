"""Refuse requests of a journal's former writer: the fence at the gateway.

A journal gives each new writer a greater token, and refuses the appends of the former. But a writer
that was frozen may have recorded an order and not sent it yet, and sends it when it wakes. So the
claims, orders and questions of a writer carry its token, and the gateway records the newest token
of each journal on disk, before it answers. From then on it refuses every order with an older token,
so the new writer may judge what the former has left in doubt.

A request without a token or without a journal is not checked: clients of before go on as they did.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.store import FenceRow
from trueup.gateway.terminal.terminal import AccountInfo
from trueup.logs import Logger, logger

log: Logger = logger("trueup.record")

# How many fences are known without a look at the disk; far more than an account has journals.
KNOWN_MOST: Final = 1_000
_Key = tuple[int, str, str]


class Fences:
    """The newest token of each journal; only the thread of the terminal may use them.

    Args:
        store: the record of requests.
    """

    def __init__(self, store: RecordedRequests) -> None:
        self._store = store
        self._known: OrderedDict[_Key, FenceRow] = OrderedDict()

    def why_not(self, journal: str, token: int, account: AccountInfo) -> str:
        """Return why a token is refused, or an empty text; a newer token is on disk by then.

        Raises:
            StoreTrouble: the record cannot be read or written; nothing is recorded.
        """
        if not journal or not token:
            return ""
        fence = self.of(journal, account)
        if token > fence.token:
            self._keep(journal, account, fence._replace(token=token))
            return ""
        if token == fence.token:
            return ""
        return (
            f"another program writes its journal now: this gateway knows token {fence.token} of "
            f"journal {journal!r:.60}, and the token here is {token}"
        )

    def count_refused(self, journal: str, account: AccountInfo) -> None:
        """Count an order that was refused for its older token.

        Raises:
            StoreTrouble: the count could not be written.
        """
        fence = self.of(journal, account)
        self._keep(journal, account, fence._replace(refused=fence.refused + 1))
        log.warning(
            "[RECORD] Refused an order of a former writer of journal %.60s (%d so far)",
            journal,
            fence.refused + 1,
        )

    def of(self, journal: str, account: AccountInfo) -> FenceRow:
        """Return the fence of a journal; token 0 if none was recorded.

        Raises:
            StoreTrouble: the record cannot be read.
        """
        key = account.login, account.server, journal
        fence = self._known.get(key)
        if fence is None:
            fence = self._store.fence(*key)
            self._note(key, fence)
        return fence

    def _keep(self, journal: str, account: AccountInfo, fence: FenceRow) -> None:
        key = account.login, account.server, journal
        # Known only once it is on disk: a gateway that is killed in between has refused nothing.
        self._store.keep_fence(*key, fence)
        self._note(key, fence)

    def _note(self, key: _Key, fence: FenceRow) -> None:
        self._known[key] = fence
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)
