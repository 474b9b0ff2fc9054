"""The commands by which an assistant reads the book of a running bot; they change nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.account.health import Restriction
from trueup.core.dates import iso
from trueup.runtime.assistants.views import (
    ReachedView,
    book_view,
    find_order,
    limits_view,
    order_view,
    proposals_view,
)
from trueup.runtime.control.commands.command import Command, Commands
from trueup.runtime.trading.loop import TradingLoop

MOST_ROWS = 200
"""The most orders in an answer."""


class ReadingCommands:
    """Tell the book and the limits, as of the bot's own last reading.

    Args:
        loop: the bot's trading loop.
    """

    def __init__(self, loop: TradingLoop) -> None:
        self._loop, self._pm = loop, loop.pm
        self.commands: Commands = {
            "book": self._book,
            "find": self._find,
            "limits": lambda _: self._limits(),
            "proposals": lambda _: self._proposals(),
        }

    def _book(self, command: Command) -> dict[str, Any]:
        view = book_view(
            self._pm.book,
            stream=self._pm.stream,
            source="bot",
            count=max(0, min(command.count, MOST_ROWS)),
            seen=self._loop.reconciler.remote,
            read_ns=self._pm.as_of_ns,
        )
        return {"book": msgspec.to_builtins(view)}

    def _find(self, command: Command) -> dict[str, Any]:
        """Return an order by its id, its key or its ticket; None if the book has no such order."""
        order = find_order(
            self._pm.book, order_id=command.id, key=command.key, ticket=command.ticket
        )
        return {"order": None if order is None else msgspec.to_builtins(order_view(order))}

    def _proposals(self) -> dict[str, Any]:
        return {"proposals": msgspec.to_builtins(proposals_view(self._pm.book, "bot"))}

    def _limits(self) -> dict[str, Any]:
        view = limits_view(self._pm.book, self._pm.limits, self._pm.entries_refused())
        # A running bot knows more reasons than its journal, and has them as restrictions.
        reached = [_reached(one) for one in self._pm.restrictions]
        view = msgspec.structs.replace(view, reached=reached)
        return {"limits": msgspec.to_builtins(view)}


def _reached(one: Restriction) -> ReachedView:
    return ReachedView(one.symbol, one.reason, one.until, iso(one.since_ns))
