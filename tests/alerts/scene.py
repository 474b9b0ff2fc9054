"""Statuses, one after the other, and what is told of them; time is in the test's hand."""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.dates import iso
from trueup.doors.alerts.conditions import Observation, Rules, observed
from trueup.doors.alerts.deciding import BookMemory, Memory, Policy, decide
from trueup.doors.alerts.quiet import QuietHours
from trueup.doors.alerts.texts import Message
from trueup.observe.status.status import FindingRow, State, Status

SEC = 1_000_000_000
# 2026-01-05 14:00:00 UTC.
START_NS = 1_767_621_600 * SEC
PERSON, HALTED, DEGRADED = State.NEEDS_PERSON, State.HALTED, State.DEGRADED
UNSEEN = "The gateway does not answer. The bot retries by itself."


def finding(
    kind: str, state: State = PERSON, sentence: str = "", since_ns: int | None = None
) -> FindingRow:
    """A finding of a status."""
    sentence = sentence or f"The {kind} is wrong. One action is yours."
    since = None if since_ns is None else iso(since_ns)
    fact = sentence.partition(". ")[0]
    return FindingRow(kind=kind, state=state, sentence=sentence, fact=fact, since=since)


def status_of(
    findings: Sequence[FindingRow] = (), *, bot: bool = True, seen: bool = True, book: str = "a"
) -> Status:
    """A status of a bot, or of a journal; `seen` says whether the bot has read the broker."""
    worst = findings[0] if findings else None
    return Status(
        state=State.AGREES if worst is None else worst.state,
        sentence="Both books are flat. Nothing is yours to do." if worst is None else "See.",
        works="Entries, exits and stops work.",
        basis="The bot answered.",
        findings=list(findings),
        source="bot" if bot else "journal",
        now=iso(START_NS),
        checked=iso(START_NS) if seen else None,
        account="5000001@Simulated-Demo",
        trade_mode="demo",
        stream=book,
    )


class Scene:
    """What is told of statuses by the rules."""

    def __init__(
        self,
        after_sec: float = 0.0,
        calm_sec: float = 0.0,
        quiet: QuietHours | None = None,
        least: State = DEGRADED,
    ) -> None:
        rules = Rules(round(after_sec * SEC), round(calm_sec * SEC), least)
        self.policy = Policy(rules, quiet)
        self.memory = Memory()
        self.now_ns = START_NS
        self.told: list[Message] = []

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * SEC)

    def see(self, *statuses: Status) -> list[Message]:
        """Show the statuses of books; return what is told now."""
        return self.observe({one.stream: [observed(one, self.now_ns)] for one in statuses})

    def bad(self, *findings: FindingRow) -> list[Message]:
        """Show a book with findings."""
        return self.see(status_of(findings))

    def well(self) -> list[Message]:
        """Show a book without findings."""
        return self.see(status_of())

    def observe(self, seen: dict[str, list[Observation]]) -> list[Message]:
        """Show observations of books."""
        books = {key: BookMemory(name=key) for key in seen} | self.memory.books
        memory = Memory(
            books=books,
            held=self.memory.held,
            left_out=self.memory.left_out,
            told_ns=self.memory.told_ns,
            digest_ns=self.memory.digest_ns,
            was_quiet=self.memory.was_quiet,
        )
        self.memory, messages = decide(memory, seen, self.now_ns, self.policy)
        self.told += messages
        return messages
