"""Journal what a person or an assistant told the bot, and tell of it in log and audit trail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trueup.core.book import events
from trueup.journal import JournalAhead
from trueup.logs import Logger, logger
from trueup.observe.event_words.table import words_of
from trueup.runtime.bot.kept_book import KeptBook

log: Logger = logger("trueup.portfolio")


def note(
    kept: KeptBook, audit: Callable[[Sequence[events.Event]], None], event: events.Event
) -> None:
    """Journal an event, and tell of it in log and audit trail.

    Raises:
        JournalError: the journal takes nothing.
    """
    try:
        kept.commit([event])
    except JournalAhead:
        # The book has newer events now, which change nothing about a person's word.
        kept.commit([event])
    audit([event])
    for line in words_of(event).lines(event):
        log.log(line.level, line.text, extra={"event": line.event})
