"""The sentences of a status: the state and who has to act, what works, and the sources."""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.account.trust import Reason
from trueup.core.book.book import Book
from trueup.core.dates import iso
from trueup.observe.lines import moment_of
from trueup.observe.status.facts import Fate, JournalFacts, LiveFacts
from trueup.observe.status.findings import (
    Finding,
    at_start,
    counted,
    left_behind,
    refuses_orders,
)
from trueup.observe.status.persons import works_in_mode
from trueup.observe.status.status import State

# A sentence has room for so many findings; the rest is counted.
FACTS_MOST = 2
NOBODY = "Nothing is yours to do."
BY_ITSELF = "The bot retries by itself."
# Then no order reaches the account, whatever it is for.
UNREACHABLE = frozenset(
    {Reason.OFFLINE, Reason.UNREADABLE, Reason.NOT_CONNECTED, Reason.WRONG_ACCOUNT}
)


def state_of(findings: Sequence[Finding]) -> State:
    """Return the state by the findings, of which the worst is the first."""
    return findings[0].state if findings else State.AGREES


def sentence(findings: Sequence[Finding], agreement: str) -> str:
    """Return the one sentence of a status; `agreement` is the fact if there is no finding."""
    facts = [finding.fact for finding in findings] or [agreement]
    said = facts[0]
    for fact in facts[1:FACTS_MOST]:
        said += f", and {fact[:1].lower()}{fact[1:]}"
    if len(facts) > FACTS_MOST:
        said += f", and {counted(len(facts) - FACTS_MOST, 'more finding')}"
    return f"{said}. {owner(findings)}"


def owner(findings: Sequence[Finding]) -> str:
    """Say who has to act."""
    decisions = sum(finding.decisions for finding in findings)
    actions = len([finding for finding in findings if finding.need and not finding.decisions])
    parts = [(decisions, "decision"), (actions, "action")]
    yours = [counted(count, noun) for count, noun in parts if count]
    if yours:
        is_one = decisions + actions == 1
        return f"{at_start(' and '.join(yours))} {'is' if is_one else 'are'} yours."
    return BY_ITSELF if findings else NOBODY


def agreement(book: Book, passing: int, unread: int) -> str:
    """Say on what book and broker agree.

    `passing` counts the changes that still settle, and `unread` the rows of others at the broker
    that cannot be read.
    """
    counts = ((len(book.holdings), "position"), (len(book.pending), "pending order"))
    parts = [counted(count, noun) for count, noun in counts if count]
    said = f"Book and broker agree on {' and '.join(parts)}" if parts else "Both books are flat"
    if passing:
        said += f"; {counted(passing, 'change')} still settle{'s' * (passing == 1)}"
    if unread:
        said += f"; {counted(unread, 'row')} of others cannot be read"
    return said


def works(live: LiveFacts) -> str:
    """Say what a running bot can do now."""
    if live.is_fenced_out:
        return "This bot does nothing any more; the process that took over trades."
    if live.journal_trouble:
        return "The strategy can neither open nor close: use `trueup close TICKET` or the terminal."
    if live.unknown is not None and live.unknown.reason in UNREACHABLE:
        return "Entries wait, and no close gets through; stops at the broker work."
    if refuses_orders(live) is not None:
        return "No order gets through, neither to open nor to close; stops at the broker work."
    if live.paused is not None:
        return works_in_mode(live.paused)
    scopes = {row.symbol for row in (*live.restrictions, *live.limits)}
    if "" in scopes or (live.entries_refused and not scopes):
        return "Entries wait; exits and stops work."
    if scopes:
        return f"Entries in {', '.join(sorted(scopes))} wait; exits and stops work."
    return "Entries, exits and stops work."


def of_script(book: Book, fate: Fate) -> str:
    """Say what a running script has, which no command can ask."""
    return f"{fate.script} runs, and its book {left_behind(book)}. No command can ask a script."


def works_without_bot(fate: Fate) -> str:
    """Say what works while a bot gives no answer."""
    if fate.script:
        return "The script trades by itself, and takes no commands of another shell."
    who = "The bot" if fate.hangs else "No bot"
    trades = "opens and closes nothing" if fate.hangs else "opens or closes anything"
    return f"{who} {trades}: close by hand in the terminal. Stops at the broker work."


def basis(live: LiveFacts) -> str:
    """Say when the bot and the broker told these facts."""
    now = iso(live.now_ns)
    said = f"The bot answered at {moment_of(now, now)}"
    if live.seen_ns is None:
        return f"{said}; the broker has not answered yet."
    return f"{said}; the broker was asked at {moment_of(iso(live.seen_ns), now)}."


def basis_of_journal(journal: JournalFacts, fate: Fate) -> str:
    """Say how old the facts of a journal are."""
    now = iso(journal.now_ns)
    if journal.trouble:
        book = "its journal cannot be read"
    elif journal.last_ns is None:
        book = "its journal has no event"
    else:
        book = f"the book is as of {moment_of(iso(journal.last_ns), now)}"
    asked = "it is not known when the broker was last asked"
    if fate.asked is not None:
        asked = f"the broker was last asked at {moment_of(fate.asked, now)}"
    return f"{_last_seen(fate, now)}; {book}; {asked}."


def _last_seen(fate: Fate, now: str) -> str:
    if fate.script:
        return f"Process {fate.pid} runs"
    if fate.ended is not None:
        return f"The bot ended at {moment_of(fate.ended, now)}"
    if fate.alive is None:
        return "It is not known when the bot ended" if not fate.hangs else "The bot hangs"
    did = "took its last turn" if fate.hangs else "was last seen"
    return f"The bot {did} at {moment_of(fate.alive, now)}"
