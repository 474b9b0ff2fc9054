"""The result and the status of a sync, as the guide defines them, with additions."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import Literal, NotRequired, TypedDict, assert_never

from trueup.core.book import events
from trueup.core.holds import Hold
from trueup.core.sync.plan import Plan
from trueup.core.tables import table
from trueup.observe.event_words.table import words_of
from trueup.runtime.time.clock import utc

NO_PLAN = Plan()


class SyncStatus(enum.Enum):
    """How a sync ended.

    SUCCESS: the reading was believed, and the book is corrected. PARTIAL: some rows of the reading
    cannot be read. FAILED: the wrong account, or the journal refused the corrections. DEGRADED: the
    broker could not be read, or the reading is not believed.
    """

    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    DEGRADED = "DEGRADED"


@dataclasses.dataclass
class RemotePosition:
    """A position as a gateway of the guide lists it; `type` is "buy" or "sell", volume in lots."""

    ticket: int
    symbol: str
    type: str
    volume: float
    price_open: float
    profit: float = 0.0
    time: int = 0
    comment: str = ""


class ReconcilerStatus(TypedDict):
    """The state of reconciliation as plain values; times are seconds of UTC since 1970.

    `sync_count` counts believed readings. `last_sync_time` is None until the first of them.
    `next_sync_due` is the time of the next sync. `audit_trail_entries` counts entries.
    `portfolio_position` is FLAT when the book holds no position. `health` is one sentence.
    `account` is login@server, None while the book is bound to no account. `foreign` counts
    positions and pending orders outside the policy. `holds` has one sentence for each held
    difference. `neighbours` names the other books that count the same positions.
    `settle_window_ms` is the settle window now, in milliseconds. `limits` has one sentence for each
    risk limit that refuses every entry of its scope; the key is missing if no limit is set.
    `paused` says which mode a person has set, who and why; the key is missing without a mode.
    """

    sync_count: int
    last_sync_time: float | None
    next_sync_due: float
    audit_trail_entries: int
    portfolio_position: Literal["OPEN", "FLAT"]
    health: str
    account: str | None
    foreign: int
    holds: list[str]
    neighbours: list[str]
    settle_window_ms: int
    limits: NotRequired[list[str]]
    paused: NotRequired[str]


@dataclasses.dataclass(repr=False)
class SyncResult:
    """The findings and corrections of a sync.

    `recovered` and `closed` count positions. `drifts` has one sentence for each position with
    different fields. `errors` names what could not be read or done. `sync_time_ms` runs from the
    question to the end. `plan` is the plan that was carried out, `holds` are the differences that
    were left alone, `explanations` tell from their deals how positions closed or changed, and
    `orders` lists the changes of pending orders.
    """

    status: SyncStatus
    recovered: int = 0
    closed: int = 0
    drifts: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    timestamp: dt.datetime = dataclasses.field(default_factory=lambda: utc(None))
    sync_time_ms: float = 0.0
    plan: Plan = NO_PLAN
    holds: tuple[Hold, ...] = ()
    explanations: list[str] = dataclasses.field(default_factory=list)
    orders: list[str] = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        said = f"{self.status.value}: +{self.recovered} -{self.closed} ~{len(self.drifts)} drifts"
        counts = {"orders": self.orders, "holds": self.holds, "errors": self.errors}
        more = [f"{what}={len(rows)}" for what, rows in counts.items() if rows]
        return f"SyncResult({', '.join([said, *more])}, {self.sync_time_ms:.1f} ms)"

    def _repr_html_(self) -> str:
        """Return the result as a table, for a notebook."""
        rows = [
            (what, text)
            for what, texts in (
                ("drift", self.drifts),
                ("explained", self.explanations),
                ("order", self.orders),
                ("held", [f"{hold.scope}: {hold.reason}" for hold in self.holds]),
                ("error", self.errors),
            )
            for text in texts
        ]
        return table(repr(self), ("", "details"), rows)

    def count(self, found: Plan) -> SyncResult:
        """Add the corrections of a plan, and return this result."""
        self.plan, self.holds = found, found.holds
        drifted: dict[int, list[str]] = {}
        tickets: dict[int, int] = {}
        for event in found.events:
            words = words_of(event)
            if not words.is_correction(event):
                continue
            match words.counts_as:
                case "recovered":
                    self.recovered += 1
                case "closed":
                    self.closed += 1
                    self.explanations.append(words.count(event))
                case "explained":
                    self.explanations.append(words.count(event))
                case "order":
                    self.orders.append(words.count(event))
                case "drift":
                    # Several events may correct one position; the guide has one sentence for each
                    # position.
                    assert isinstance(event, events.PositionCorrected)
                    remote = event.remote
                    tickets[remote.identifier] = remote.ticket
                    drifted.setdefault(remote.identifier, []).append(words.count(event))
                case "nothing":
                    pass
                case _:
                    assert_never(words.counts_as)
        self.drifts += [f"Ticket {tickets[key]}: {', '.join(v)}" for key, v in drifted.items()]
        return self
