"""Bugs seeded on purpose, and the first seed of the simulated world that shows each of them.

`make mutants` writes the table into docs/internals/simulator.md. Each mutant changes one thing of
the product for as long as a context lasts, from outside: the product has no hooks for it.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from trueup.core import deals, explain
from trueup.core.account import trust
from trueup.core.account.trust import Trusted, Unknown
from trueup.core.book import lifecycle
from trueup.core.book.diff import Ghost
from trueup.core.book.events import OrderFilled, OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.outcome import Filled
from trueup.core.deals import History
from trueup.core.doubt import traces
from trueup.core.doubt.trace import Trace
from trueup.core.explain import Exit
from trueup.core.gateway_record import RecordMark
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Deal, PendingOrder, Position, Snapshot
from trueup.core.realised import counting, leaving
from trueup.core.recovery import BrokerShows
from trueup.core.sync import ghosts
from trueup.errors import JournalConflict
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.reading import rows
from trueup.gateway.reading.row_digest import RowDigest
from trueup.gateway.record.store import RequestStore
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.journal import Tip
from trueup.journal.rows import chain
from trueup.journal.rows.chain import Prover, Row
from trueup.journal.writing.store import StoredJournal
from trueup.lab.plan.plan import draw
from trueup.lab.runs.run import run
from trueup.lab.system.wire import WorldLink
from trueup.protocol import orders
from trueup.runtime.bot.order_desk import OrderDesk
from trueup.runtime.bot.outcomes import record_outcome
from trueup.runtime.sync.observation import Asked, BrokerObserver, Observation
from trueup.runtime.sync.reading_judge import ReadingJudge
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import moment

SEEDS = 1_500
PAGE = Path(__file__).resolve().parents[2] / "docs" / "internals" / "simulator.md"
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"

Patch = contextlib.AbstractContextManager[Any]


def timeout_as_rejected() -> Patch:
    """A timeout is read as a rejection."""
    send = ExecutionGateway.send_order

    def mutated(self: ExecutionGateway, order: Mapping[str, Any]) -> dict[str, Any]:
        outcome = send(self, order)
        return {**outcome, "status": "REJECTED"} if outcome["status"] == "UNKNOWN" else outcome

    return mock.patch.object(ExecutionGateway, "send_order", mutated)


def empty_list_while_disconnected() -> Patch:
    """The list of a disconnected terminal is believed, as a plain list was in the beginning."""
    judge = ReadingJudge.judge

    def mutated(self: ReadingJudge, reading: Any, bound: Any) -> Trusted | Unknown:
        evidence = reading.evidence if isinstance(reading, Snapshot) else None
        if evidence is not None and not evidence.terminal.connected:
            return Trusted(msgspec.structs.replace(reading, evidence=None))
        return judge(self, reading, bound)

    return mock.patch.object(ReadingJudge, "judge", mutated)


def ghost_inside_settle_window() -> Patch:
    """What we touched a moment ago is closed, unproven, as soon as the list does not have it.

    With the window alone left out nothing goes wrong: the deals still have to prove the end.
    """
    for_ghost = ghosts.for_ghost

    def mutated(ghost: Ghost, look: SyncInputs, outcome: Outcome) -> None:
        holding = look.book.holdings[ghost.local.identifier]
        if look.is_settling(holding.touched_ns):
            ghosts._close_unproven(ghost.local, look, outcome)
        else:
            for_ghost(ghost, look, outcome)

    return mock.patch("trueup.core.sync.plan.for_ghost", mutated)


def outcome_before_send() -> Patch:
    """The outcome is journalled before the order is sent."""
    message = OrderDesk._message

    def mutated(self: OrderDesk, order: Any) -> dict[str, Any]:
        if order.kind.value == "market":
            price = order.entry_price or 1.1
            filled = Filled(order.position or 1, order.volume, price)
            record_outcome(self._kept, order, filled, self._kept.clock.now_ns())
        return message(self, order)

    return mock.patch.object(OrderDesk, "_message", mutated)


def store_without_sync() -> Patch:
    """The journal's commits are not synced."""
    prepare = SqliteDatabase._prepare_to_write

    def mutated(self: SqliteDatabase) -> None:
        prepare(self)
        self.run("PRAGMA synchronous=OFF")

    return mock.patch.object(SqliteDatabase, "_prepare_to_write", mutated)


def record_without_sync() -> Patch:
    """The gateway's record of a request is not synced before the order is sent."""
    prepared = RequestStore._prepared

    def mutated(self: RequestStore, connection: sqlite3.Connection) -> RecordMark:
        mark = prepared(self, connection)
        connection.execute("PRAGMA synchronous=OFF")
        return mark

    return mock.patch.object(RequestStore, "_prepared", mutated)


def hint_as_truth() -> Patch:
    """A hint is taken for a reading: what is known becomes current by it."""
    is_hinted = StateReconciler._is_hinted

    def mutated(self: StateReconciler, now_ns: int) -> bool:
        if is_hinted(self, now_ns) and self.portfolio.seen is not None:
            self.portfolio.seen = moment(self.portfolio.clock)
        return False

    return mock.patch.object(StateReconciler, "_is_hinted", mutated)


def ticket_as_identity() -> Patch:
    """A position is known by its ticket, which can change."""
    position_of = rows.position_of

    def mutated(row: Any) -> Position:
        position = position_of(row)
        return msgspec.structs.replace(position, identifier=position.ticket)

    return mock.patch("trueup.gateway.reading.rows.position_of", mutated)


def older_snapshot() -> Patch:
    """A plan is made from the reading before the one that was asked for."""
    consider = BrokerObserver._consider
    before: dict[int, Any] = {}

    def mutated(self: BrokerObserver, reading: Any, asked: Asked) -> Observation:
        known, before[id(self)] = before.get(id(self)), reading
        old, new = (getattr(one, "evidence", None) for one in (known, reading))
        if isinstance(known, Snapshot) and old is not None and new is not None:
            stale = msgspec.structs.replace(
                old,
                epoch=new.epoch,
                sequence=new.sequence,
                server_time_msc=new.server_time_msc,
            )
            reading = msgspec.structs.replace(known, evidence=stale)
        return consider(self, reading, asked)

    return mock.patch.object(BrokerObserver, "_consider", mutated)


def fencing_ignored() -> Patch:
    """A writer that was fenced out writes on, behind the new one."""
    append = StoredJournal._append

    def mutated(self: StoredJournal, rows: Sequence[Row]) -> None:
        try:
            append(self, rows)
        except JournalConflict:
            writer = self._table.writer()
            assert writer is not None
            self._fenced_out, self._token, self._tip = "", writer.token, writer.tip
            moved = [row._replace(position=self._tip.position + n) for n, row in enumerate(rows, 1)]
            append(self, moved)

    return mock.patch.object(StoredJournal, "_append", mutated)


def digest_without_empty() -> Patch:
    """The digest of an empty list is that of the list before."""
    of = RowDigest.of
    last: dict[int, str] = {}

    def mutated(self: RowDigest, rows: Any, orders: Any) -> str:
        if rows or orders or id(self) not in last:
            last[id(self)] = of(self, rows, orders)
        return last[id(self)]

    return mock.patch.object(RowDigest, "of", mutated)


def journal_gap_ignored() -> Patch:
    """The journal leaves a position out now and then, and its reader does not mind."""
    chained, count = chain.chained, itertools.count(1)

    def skipping(stream: str, tip: Tip, history: Any) -> list[Row]:
        skipped = next(count) % 10 == 0
        return chained(stream, Tip(tip.position + skipped, tip.hash), history)

    def not_minding(self: Prover, row: Row) -> list[Row] | None:
        self._before = self.tip = Tip(row.position, row.hash)
        return [row]

    both = contextlib.ExitStack()
    both.enter_context(mock.patch("trueup.journal.writing.store.chained", skipping))
    both.enter_context(mock.patch.object(Prover, "take", not_minding))
    return both


def duplicate_fill_counted() -> Patch:
    """A fill that is told twice is counted twice."""
    ways = lifecycle.TRANSITIONS[OrderStatus.FILLED]
    return mock.patch.dict(ways, {OrderFilled: OrderStatus.FILLED})


def deals_counted_twice() -> Patch:
    """A deal that is told twice is counted twice."""

    def mutated(identifier: int, deals: Iterable[Deal]) -> History:
        own = [deal for deal in deals if deal.position == identifier]
        return History(tuple(sorted(own, key=lambda deal: (deal.time_msc, deal.ticket))))

    return mock.patch("trueup.core.look.inputs.history_of", mutated)


def deals_as_told() -> Patch:
    """Deals are taken in the order in which they are told."""

    def mutated(identifier: int, deals: Iterable[Deal]) -> History:
        own = {deal.ticket: deal for deal in deals if deal.position == identifier}
        return History(tuple(own.values()))

    return mock.patch("trueup.core.look.inputs.history_of", mutated)


def fee_not_counted() -> Patch:
    """The fee of a deal is not counted."""

    def mutated(deal: Deal) -> int:
        return money_units(msgspec.structs.replace(deal, fee=0.0))

    money_units = deals.money_units
    return mock.patch.object(deals, "money_units", mutated)


def stops_without_take_profit() -> Patch:
    """A change of stops leaves out the take profit."""
    message = OrderDesk._message

    def mutated(self: OrderDesk, order: Any) -> dict[str, Any]:
        sent = message(self, order)
        return {**sent, "tp": 0.0} if order.kind.value == "modify" else sent

    return mock.patch.object(OrderDesk, "_message", mutated)


def exit_at_last_price() -> Patch:
    """The price of an exit is that of its last deal, however many there are."""

    def mutated(*args: Any) -> Exit | None:
        ended = exit_of(*args)
        return ended and msgspec.structs.replace(ended, price=args[0][-1].price)

    exit_of = explain.exit_of
    both = contextlib.ExitStack()
    for module in (leaving, counting):
        both.enter_context(mock.patch.object(module, "exit_of", mutated))
    return both


def _without(rule: Callable[..., Any]) -> Patch:
    """Return the judgement of readings without one of its rules."""
    return mock.patch.object(trust, "RULES", tuple(one for one in trust.RULES if one is not rule))


def trust_without_evidence() -> Patch:
    """A book that is bound to an account believes a reading that proves nothing."""
    return mock.patch.object(trust, "_without_evidence", return_value=None)


def trust_any_account() -> Patch:
    """A reading of any account is believed."""
    return _without(trust._wrong_account)


def trust_disconnected() -> Patch:
    """A reading of a terminal without its trade server is believed."""
    return _without(trust._not_connected)


def trust_restarted_gateway() -> Patch:
    """The first reading of a gateway that was started anew is believed."""
    return _without(trust._epoch_changed)


def trust_clock_jump() -> Patch:
    """A reading is believed whose trade server's clock went back."""
    return _without(trust._clock_jump)


def trust_reconnected() -> Patch:
    """A terminal that has just come back is believed at its first word."""
    return _without(trust._reconnected)


def trust_empty() -> Patch:
    """An empty list is believed, whatever the account's figures say."""
    return _without(trust._contradicts_empty)


def trust_torn() -> Patch:
    """A reading is believed whose lists do not have what was counted before and after them."""
    return _without(trust._torn)


def trust_older() -> Patch:
    """A reading is believed that is older than another one which was here before."""
    return _without(trust._older)


def late_reply_by_order() -> Patch:
    """A reply is taken for the answer to the request before it, whatever it says it answers."""

    def stay(self: WorldLink) -> None:
        """Keep the connection, and what comes on it."""

    def send(self: WorldLink, message: bytes, timeout_ms: int) -> None:
        connection = self._connection
        self._network.request(message, lambda reply: self._take(reply, connection))

    def decode(raw: bytes, order: Mapping[str, Any]) -> dict[str, Any]:
        named = msgspec.json.decode(raw).get("order_id", order["order_id"])
        outcome = decode_outcome(raw, {**order, "order_id": named})
        return {**outcome, "order_id": order["order_id"]}

    decode_outcome = orders.decode_outcome
    both = contextlib.ExitStack()
    both.enter_context(mock.patch.object(WorldLink, "reset", stay))
    both.enter_context(mock.patch.object(WorldLink, "send", send))
    both.enter_context(mock.patch.object(orders, "decode_outcome", decode))
    return both


def identifier_sent() -> Patch:
    """An order names the identifier of its position, and not the ticket that it has now."""
    message = OrderDesk._message

    def mutated(self: OrderDesk, order: Any) -> dict[str, Any]:
        sent = message(self, order)
        return {**sent, "position": order.position} if "position" in sent else sent

    return mock.patch.object(OrderDesk, "_message", mutated)


def rest_as_filled() -> Patch:
    """A market order is recorded with all its lots when a part is filled and the rest works."""
    found = traces._of_working

    def mutated(order: Order, working: PendingOrder, *seen: Any) -> Trace:
        trace = found(order, working, *seen)
        if not trace.position or order.kind is not OrderKind.MARKET:
            return trace
        return msgspec.structs.replace(trace, shows=BrokerShows.OPEN, volume=order.volume)

    return mock.patch.object(traces, "_of_working", mutated)


MUTANTS: tuple[Callable[[], Patch], ...] = (
    timeout_as_rejected,
    empty_list_while_disconnected,
    ghost_inside_settle_window,
    outcome_before_send,
    store_without_sync,
    record_without_sync,
    hint_as_truth,
    ticket_as_identity,
    older_snapshot,
    fencing_ignored,
    digest_without_empty,
    journal_gap_ignored,
    duplicate_fill_counted,
    deals_counted_twice,
    deals_as_told,
    fee_not_counted,
    stops_without_take_profit,
    exit_at_last_price,
    trust_without_evidence,
    trust_any_account,
    trust_disconnected,
    trust_restarted_gateway,
    trust_clock_jump,
    trust_reconnected,
    trust_empty,
    trust_torn,
    trust_older,
    late_reply_by_order,
    identifier_sent,
    rest_as_filled,
)


def bug_of(mutant: Callable[[], Patch]) -> str:
    """Return what a mutant does, in the first sentence that it says of itself."""
    return (mutant.__doc__ or "").partition("\n")[0].rstrip(".")


def first_seed(mutant: Callable[[], Patch], seeds: int = SEEDS) -> tuple[int, int, str] | None:
    """Return the first seed that shows a mutant, the promise that broke, and how; or None."""
    with mutant():
        for seed in range(seeds):
            violations = run(draw(seed)).violations
            if violations:
                return seed, violations[0].invariant, violations[0].sentence
    return None


def table(found: Mapping[str, tuple[int, int, str] | None]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| bug | first seed | promise | what the checker said |"
    yield "| --- | --- | --- | --- |"
    for bug, caught in found.items():
        if caught is None:
            yield f"| {bug} | not within {SEEDS} | | |"
        else:
            seed, number, sentence = caught
            yield f"| {bug} | {seed} | {number} | {sentence.replace('|', '/'):.160} |"


def write_table(
    page: Path, begin: str, end: str, found: Mapping[str, tuple[int, int, str] | None]
) -> None:
    """Write the table of mutants between two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    lines = "\n".join(table(found))
    page.write_text(f"{before}{begin}\n{lines}\n{end}{after}", encoding="utf-8")


def main() -> int:
    """Try all mutants, write the table, and return 1 when one was not caught."""
    found = {}
    for mutant in MUTANTS:
        bug = bug_of(mutant)
        found[bug] = first_seed(mutant)
        sys.stdout.write(f"{mutant.__name__}: {found[bug]}\n")
        sys.stdout.flush()
    write_table(PAGE, BEGIN, END, found)
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
