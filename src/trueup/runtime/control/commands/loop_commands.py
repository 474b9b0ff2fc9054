"""The commands about the loop itself: sync now, and stop."""

from __future__ import annotations

from typing import Any

from trueup.core.model import describe_at
from trueup.errors import JournalConflict, JournalError
from trueup.logs import Logger, logger
from trueup.runtime.control.commands.close_plan import doubt_words
from trueup.runtime.control.commands.command import Command, Commands, refuse_old
from trueup.runtime.control.commands.status import concerns_a_person
from trueup.runtime.sync.results import SyncResult
from trueup.runtime.trading.loop import TradingLoop

log: Logger = logger("trueup.portfolio")


class LoopCommands:
    """Carry out what a person tells the loop.

    Args:
        loop: the bot's trading loop.
    """

    def __init__(self, loop: TradingLoop) -> None:
        self._loop = loop
        self._wanted = self._begun = self._done = 0
        self._result: SyncResult | None = None
        # The latest result when the sync began: another one is the result of that sync.
        self._before: SyncResult | None = None
        self.commands: Commands = {"sync": self._sync, "stop": self._stop}

    def turn(self) -> None:
        """Begin a sync that a person asked for, and note its result; never waits."""
        reconciler = self._loop.reconciler
        if self._begun > self._done:
            if reconciler.latest is not self._before:
                self._done, self._result = self._begun, reconciler.latest
        # A sync under way may have read the broker before the person asked.
        elif self._wanted > self._begun and not reconciler.is_syncing:
            self._begun, self._before = self._begun + 1, reconciler.latest
            reconciler.sync_soon()

    def _sync(self, command: Command) -> dict[str, Any]:
        if self._result is not None and 0 < command.look <= self._done:
            return self._told(self._result)
        if not 0 < command.look <= self._wanted:
            self._note_sync(command)
            self._wanted = self._begun + 1
            return {"wait": self._wanted}
        return {"wait": command.look}

    def _note_sync(self, command: Command) -> None:
        try:
            self._loop.pm.note_sync(command.who, why=command.why)
        except JournalConflict:
            raise
        except JournalError as error:
            # A sync changes nothing by itself, and is what finds that the journal works again.
            log.error("[PERSON] %s asked for a sync; not journalled: %s", command.who, error)

    def _told(self, result: SyncResult) -> dict[str, Any]:
        reconciler, pm = self._loop.reconciler, self._loop.pm
        return {
            "status": result.status.value,
            "recovered": result.recovered,
            "closed": result.closed,
            "drifts": list(result.drifts),
            "errors": list(result.errors),
            "holds": [hold.reason_at(pm.counted_ns) for hold in result.holds],
            "needs_person": any(map(concerns_a_person, result.holds)),
            "sync_time_ms": round(result.sync_time_ms, 1),
            "health": reconciler.health,
        }

    def _stop(self, command: Command) -> dict[str, Any]:
        pm, trouble = self._loop.pm, ""
        refuse_old(command, pm.clock.now_ns())
        try:
            pm.note_stop(command.who, why=command.why)
        except JournalError as error:
            # A person may stop a bot whose journal takes nothing; the log has the name.
            trouble = str(error)
            log.error("[PERSON] %s stopped the bot; not journalled: %s", command.who, error)
        self._loop.stop()
        return {
            "journalled": pm.keeps_journal and not trouble,
            "trouble": trouble,
            "positions": [
                f"{one.position.ticket} {one.position.symbol} {describe_at(one.position)}"
                for one in pm.book.holdings.values()
            ],
            "pending": len(pm.book.pending),
            "in_doubt": [doubt_words(order) for order in pm.book.in_doubt.values()],
        }
