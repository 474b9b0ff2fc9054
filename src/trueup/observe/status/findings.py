"""Find what is not well in a book, and who has to act: the bot by itself, or a person.

A finding of which waiting may be the remedy is the bot's at first. If the finding lasts, waiting
has not helped, so the finding becomes a person's (`PATIENCE_SEC`, `DOUBT_PATIENCE_SEC`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.book.book import Book
from trueup.observe.status.facts import Began, Fate, JournalFacts, LiveFacts
from trueup.observe.status.status import State

PATIENCE_SEC = 120
"""How long the bot retries by itself before a person should look at the cause."""
DOUBT_PATIENCE_SEC = 600
"""The same for an order in doubt, which a broker may show late."""
# A last reading that is older than this many intervals is late.
INTERVALS_LATE = 3
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# A reading is not believed for these reasons until a person changes something.
BY_PERSON = frozenset({Reason.WRONG_ACCOUNT, Reason.REAL_MONEY, Reason.NO_EVIDENCE})
UNSEEN: dict[Reason, str] = {
    Reason.OFFLINE: "The gateway does not answer",
    Reason.UNREADABLE: "The terminal cannot be read",
    Reason.NO_EVIDENCE: "The gateway no longer proves its readings",
    Reason.WRONG_ACCOUNT: "The terminal is logged in to another account",
    Reason.REAL_MONEY: "The account has or may have real money",
    Reason.NOT_CONNECTED: "The terminal has no connection to its trade server",
}
UNBELIEVED = "The broker's list is not believed yet"
REMEDIES: dict[Reason, str] = {
    Reason.OFFLINE: "See to the gateway: start it again if it has ended.",
    Reason.UNREADABLE: "See to the terminal of the gateway: start it again if it hangs.",
    Reason.NOT_CONNECTED: "See to the terminal: it has lost its trade server.",
    Reason.NO_EVIDENCE: "Start the gateway of trueup again, which proves its readings.",
}
SEE_BROKER = "See to the gateway and its terminal, whose readings are not believed."
SEE_LOG = "See to the bot, whose readings are late: its log says more."
GOES_ON = "The bot then goes on by itself."
SEE_JOURNAL = f"Repair the disk or the connection of the journal. {GOES_ON}"
ONE_BOT = "Check that one bot only is meant to trade this book, and end the other."
ALGO_TRADING_OFF = "Algo Trading is off in the terminal"
# Kinds of findings: the bot has not read the broker yet, gives no answer, and its journal neither.
FIRST, SILENT, UNREADABLE = "first", "silent", "unreadable"
BADNESS = {State.HALTED: 0, State.NEEDS_PERSON: 1, State.DEGRADED: 2, State.AGREES: 3}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not well.

    Args:
        kind: the kind of finding; a status has at most one finding that means the same.
        keys: the names of the parts of the finding, the same in every reading.
        state: the state that the finding puts the book into.
        fact: the finding as a sentence without its full stop.
        detail: the reason in full.
        need: the action for a person, empty while the bot retries by itself.
        decisions: the number of decisions that the finding asks a person for.
        since_ns: when the finding began (ns of UTC), None if that is not known.
    """

    kind: str
    keys: tuple[str, ...]
    state: State
    fact: str
    detail: str = ""
    need: str = ""
    decisions: int = 0
    since_ns: int | None = None


def counted(count: int, noun: str) -> str:
    """Write a number of things: one position, 12 positions, two orders in doubt."""
    number = WORDS[count] if count < len(WORDS) else str(count)
    first, _, rest = noun.partition(" in ")
    plural = first if count == 1 else f"{first}s"
    return f"{number} {plural}{f' in {rest}' if rest else ''}"


def at_start(text: str) -> str:
    """Return a text with an upper-case first letter, as at the start of a sentence."""
    return text[:1].upper() + text[1:]


def oldest(began: Mapping[str, Began], keys: tuple[str, ...]) -> Began | None:
    """Return when the oldest part of a finding began, None if that is not known."""
    known = [began[key] for key in keys if key in began]
    return max(known, key=lambda one: one.age_ns, default=None)


def by_person(finding: Finding, need: str) -> Finding:
    """Return a finding as a person's."""
    return msgspec.structs.replace(finding, state=State.NEEDS_PERSON, need=need)


def lasting(
    began: Mapping[str, Began], finding: Finding, need: str, patience_sec: int = PATIENCE_SEC
) -> Finding:
    """Return a finding with its start, and as a person's if it has lasted too long."""
    first = oldest(began, finding.keys)
    if first is None:
        return finding
    if finding.since_ns is None:
        finding = msgspec.structs.replace(finding, since_ns=first.at_ns)
    return by_person(finding, need) if first.age_ns >= patience_sec * 1e9 else finding


def of_journal_trouble(live: LiveFacts) -> Iterator[Finding]:
    """Yield the finding of a journal that takes no events."""
    if not live.journal_trouble and not live.is_fenced_out:
        return
    finding = Finding(
        kind="journal",
        keys=("journal",),
        state=State.NEEDS_PERSON,
        fact="The journal takes nothing, so the bot can neither open nor close",
        detail=live.journal_trouble,
        need=f"{at_start(live.journal_remedy)}. {GOES_ON}" if live.journal_remedy else SEE_JOURNAL,
    )
    if live.is_fenced_out:
        fact = "Another process took this book over, so this bot neither records nor sends"
        finding = msgspec.structs.replace(finding, state=State.HALTED, fact=fact, need=ONE_BOT)
    first = oldest(live.began, finding.keys)
    yield msgspec.structs.replace(finding, since_ns=None if first is None else first.at_ns)


def of_readings(live: LiveFacts) -> Iterator[Finding]:
    """Yield the finding of a broker that is not seen, or not believed."""
    if live.unknown is not None:
        yield _of_unknown(live.unknown, live)
    elif live.age_ns is None:
        fact = "The broker has not been seen yet"
        first = Finding(kind=FIRST, keys=(FIRST,), state=State.DEGRADED, fact=fact)
        yield lasting(live.began, first, SEE_BROKER)
    elif live.age_ns > INTERVALS_LATE * max(live.interval_sec, 1.0) * 1e9:
        fact = "The last reading of the broker is too old"
        late = Finding(
            kind="late", keys=("late",), state=State.DEGRADED, fact=fact, since_ns=live.seen_ns
        )
        yield lasting(live.began, late, SEE_LOG)


def of_permission(live: LiveFacts) -> Iterator[Finding]:
    """Yield the finding of a terminal or a login that takes no orders."""
    refused = refuses_orders(live)
    if refused is None:
        return
    what, need = refused
    fact = f"{what}, so every order is refused"
    finding = Finding(kind="orders", keys=(f"orders {what}",), state=State.DEGRADED, fact=fact)
    if what is ALGO_TRADING_OFF:
        # No terminal switches its button on again by itself.
        first = oldest(live.began, finding.keys)
        since_ns = None if first is None else first.at_ns
        yield by_person(msgspec.structs.replace(finding, since_ns=since_ns), need)
    else:
        # While a terminal loads its account it says the same of the login.
        yield lasting(live.began, finding, need)


def refuses_orders(live: LiveFacts) -> tuple[str, str] | None:
    """Return why the terminal takes no order, and what to do; None if it takes orders."""
    evidence = None if live.snapshot is None else live.snapshot.evidence
    if evidence is None or live.unknown is not None:
        return None
    if not evidence.terminal.trade_allowed:
        return ALGO_TRADING_OFF, "Press Algo Trading in the terminal's toolbar (Ctrl+E)."
    if not evidence.account.trade_allowed:
        return "The login of the terminal may not trade", (
            "Log the terminal in with the trading password; if it is so already, ask the broker."
        )
    return None


def _of_unknown(unknown: Unknown, live: LiveFacts) -> Finding:
    reason = unknown.reason
    finding = Finding(
        # A gateway in trouble gives several reasons in turn, and is one trouble.
        kind="unseen",
        keys=("unseen",),
        state=State.DEGRADED,
        fact=UNSEEN.get(reason, UNBELIEVED),
        detail=f"{unknown.sentence}. This ends with {unknown.until}",
        # The last believed reading is when the broker was last seen.
        since_ns=live.seen_ns,
    )
    remedy = live.wanted_login or REMEDIES.get(reason, SEE_BROKER)
    if reason in BY_PERSON:
        return by_person(finding, remedy)
    return lasting(live.began, finding, remedy)


def of_silent_bot(book: Book, journal: JournalFacts, fate: Fate) -> Finding:
    """Return the finding of a bot that gives no answer, or does not run."""
    detail = f"Written last by {journal.holder}" if journal.holder else ""
    fact = f"{_what_happened(fate)}, and its book {left_behind(book)}"
    need = "Start the bot again, or look after the account in the terminal."
    if fate.hangs:
        need = "Look at the account in the terminal, then end the bot and start it again."
    if journal.trouble and not journal.journal:
        detail, fact = journal.trouble, f"{_what_happened(fate)}, and it keeps no journal here"
    elif journal.trouble:
        detail, fact = journal.trouble, f"{_what_happened(fate)}, and its journal cannot be read"
        need = (
            "Look after the account in the terminal. `trueup doctor` says how to mend the journal; "
            "then start the bot again."
        )
    if journal.successor:
        detail = f"Stream {journal.successor} took this book over and goes on with it"
    return Finding(
        kind=UNREADABLE if journal.trouble else SILENT,
        keys=("silent",),
        state=State.NEEDS_PERSON,
        fact=fact,
        detail=detail,
        need=need,
    )


def _what_happened(fate: Fate) -> str:
    if fate.hangs:
        return "The bot does not answer"
    return "The bot has ended" if fate.pid else "No bot runs"


def left_behind(book: Book) -> str:
    """Say what a book has: is flat, or has one position and two pending orders."""
    counts = (
        (len(book.holdings), "position"),
        (len(book.pending), "pending order"),
        (len(book.in_doubt), "order in doubt"),
    )
    parts = [counted(count, noun) for count, noun in counts if count]
    if not parts:
        return "is flat"
    return f"has {' and '.join([', '.join(parts[:-1]), parts[-1]] if parts[1:] else parts)}"
