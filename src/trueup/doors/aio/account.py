"""`Account` for asyncio: orders and syncs are awaited, and the event loop never waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from typing import Any, Self, TypeVar, Unpack

from trueup.core.book.events import Event, TradingPaused
from trueup.doors import account as plain
from trueup.doors.aio.events import EventStream
from trueup.errors import NotSent
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal.terminal import Terminal
from trueup.logs import Logger, logger
from trueup.runtime.bot.order_checks import CloseTerms, OrderChanges, SideWord, Wish
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.bot.views import Position
from trueup.runtime.sync.results import ReconcilerStatus, SyncResult

log: Logger = logger("trueup.account")

Result = TypeVar("Result")
NOT_OPEN = "The account is not open: use it within `async with Account(...) as account`."


class Account:
    """The account of `trueup.Account`, for a program that uses asyncio.

    Open it with `async with Account(gateway, journal="bot.db") as account:`, or with
    `account = await Account(gateway, ...)` and `await account.aclose()`. One thread of its own
    opens the book, reads the broker, writes the journal and sends the orders, one call after the
    other. Errors are those of `trueup.Account`.

    An await may be cancelled at any time. A call that has not begun is then not made. An order that
    is being sent is sent to its end: the journal has the order with its outcome, and so do `orders`
    and `events`. A caller that gives a `key` can ask again and gets that order.

    Args:
        source: as for `trueup.Account`.
        options: the other arguments of `trueup.Account`.
    """

    def __init__(self, source: ExecutionGateway | Terminal, **options: Any) -> None:
        self._source, self._options = source, options
        self._plain: plain.Account | None = None
        self._closing: Future[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._streams: list[EventStream] = []

    async def _open(self) -> Self:
        if self._thread is not None:
            raise NotSent("The account is open already, or was closed: make another Account.")
        # One thread for everything: calls are made in the order in which they were asked for.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trueup-account")
        async with AsyncExitStack() as undo:
            # Also after a cancelled await, when the thread may still be opening.
            undo.push_async_callback(lambda: asyncio.shield(self.aclose()))
            await self._made(self._thread.submit(self._open_it))
            undo.pop_all()
        return self

    def _open_it(self) -> None:
        account = plain.Account(self._source, **self._options)
        account.manager.watch(self._applied)
        self._plain = account

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the journal and the connections, after the calls that were asked for before.

        A second call waits for the same. A cancelled await closes all the same.
        """
        if self._thread is None:
            return
        if self._closing is None:
            self._closing = self._thread.submit(self._close_it)
            self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(self._closing))

    def _close_it(self) -> None:
        account, self._plain = self._plain, None
        try:
            if account is not None:
                account.shut()
        finally:
            for stream in list(self._streams):
                stream.end()

    # Awaited calls.

    async def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; see `PortfolioManager.submit`."""
        return await self.run(lambda account: account.submit(side, volume, **wish))

    async def close(
        self,
        position: Any,
        volume: float | None = None,
        *,
        key: str = "",
        why: str = "",
        foreign: bool = False,
        who: str = "",
        **terms: Unpack[CloseTerms],
    ) -> Intent:
        """Close a position, or `volume` lots of the position; see `PortfolioManager.close`."""
        return await self.run(
            lambda account: account.manager.close(
                position, volume, key=key, why=why, foreign=foreign, who=who, **terms
            )
        )

    async def close_all(
        self, symbol: str | None = None, magic: int | None = None, *, why: str = "", who: str = ""
    ) -> list[Intent]:
        """Close every position that is meant; see `PortfolioManager.close_all`."""
        return await self.run(
            lambda account: account.manager.close_all(symbol, magic, why=why, who=who)
        )

    async def modify(
        self, position: Any, sl: float, tp: float, *, key: str = "", why: str = ""
    ) -> Intent:
        """Set both stops of a position; see `PortfolioManager.modify`."""
        return await self.run(
            lambda account: account.manager.modify(position, sl, tp, key=key, why=why)
        )

    async def modify_order(
        self, order: Any, *, key: str = "", why: str = "", **changes: Unpack[OrderChanges]
    ) -> Intent:
        """Change a pending order; see `PortfolioManager.modify_order`."""
        return await self.run(
            lambda account: account.manager.modify_order(order, key=key, why=why, **changes)
        )

    async def cancel(self, order: Any, *, key: str = "", why: str = "") -> Intent:
        """Cancel a pending order; see `PortfolioManager.cancel`."""
        return await self.run(lambda account: account.manager.cancel(order, key=key, why=why))

    async def pause(self, who: str, *, why: str = "") -> TradingPaused:
        """Send nothing that the strategy asks for; see `PortfolioManager.pause`."""
        return await self.run(lambda account: account.pause(who, why=why))

    async def close_only(self, who: str, *, why: str = "") -> TradingPaused:
        """Refuse entries, and let closes pass; see `PortfolioManager.close_only`."""
        return await self.run(lambda account: account.close_only(who, why=why))

    async def resume(self, who: str, *, why: str = "") -> bool:
        """Allow every order again; see `PortfolioManager.resume`."""
        return await self.run(lambda account: account.resume(who, why=why))

    async def sync(self) -> SyncResult:
        """Compare book and broker now, and correct the book."""
        return await self.run(lambda account: account.sync())

    async def run(self, function: Callable[[plain.Account], Result]) -> Result:
        """Call a function with the `trueup.Account`, in the account's own thread."""
        thread = self._refuse_closed()
        return await self._made(thread.submit(lambda: function(self._now)))

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event of the book from now on, as the journal has it, until it is closed.

        Raises:
            NotSent: the account is closed.
            TrueupError: the reader was so slow that events were dropped; the journal has them.
        """
        self._refuse_closed()
        stream = EventStream(asyncio.get_running_loop())
        self._streams.append(stream)
        try:
            async with aclosing(stream.read()) as found:
                async for event in found:
                    yield event
        finally:
            self._streams.remove(stream)

    # Values of the book: reading never waits.

    @property
    def positions(self) -> dict[int, Position]:
        """Each open position by its ticket."""
        return self._now.positions

    @property
    def orders(self) -> Mapping[str, Intent]:
        """All orders by order id, oldest first."""
        return self._now.orders

    @property
    def paused(self) -> TradingPaused | None:
        """The mode that a person has set; see `PortfolioManager.paused`."""
        return self._now.paused

    @property
    def realised(self) -> float:
        """The realised result of all counted deals, in the account's currency."""
        return self._now.realised

    @property
    def health(self) -> str:
        """The state of reconciliation in one sentence."""
        return self._now.health

    @property
    def status(self) -> ReconcilerStatus:
        """The state of reconciliation as plain values."""
        return self._now.status

    @property
    def name(self) -> str:
        """The account, as login@server."""
        return self._now.name

    @property
    def _now(self) -> plain.Account:
        if self._plain is None:
            raise NotSent(NOT_OPEN)
        return self._plain

    async def _made(self, call: Future[Result]) -> Result:
        """Wait for a call of the thread; a cancelled wait takes back a call that has not begun."""
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            call.add_done_callback(_log_unheard)
            raise

    def _refuse_closed(self) -> ThreadPoolExecutor:
        if self._thread is None or self._closing is not None:
            raise NotSent(NOT_OPEN)
        return self._thread

    def _applied(self, history: Sequence[Event]) -> None:
        for stream in list(self._streams):
            stream.put(history)


def _log_unheard(call: Future[Any]) -> None:
    """Log the error of a call whose caller does not wait any more."""
    error = None if call.cancelled() else call.exception()
    if error is not None:
        log.error("[ACCOUNT] A call that nobody waits for failed: %s", error)
