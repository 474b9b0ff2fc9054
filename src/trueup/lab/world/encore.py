"""The encore of a run: what a person and a former writer may still do, once the run was judged.

The acts use the journal and the gateway's record that the run has left, so that each seed tries
them on another history. Nothing of the run comes after them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.account.trust import Unknown
from trueup.core.book import events
from trueup.errors import JournalError, TrueupError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.system.bot import BotProcess
from trueup.lab.system.disk import Disk
from trueup.lab.system.gateway import GatewayProcess
from trueup.lab.system.record_disk import DiskStore
from trueup.protocol.snapshot import decode_snapshot
from trueup.sim.terminal.terminal_faults import Answered, DoneWithoutDeal

# More rows than a journal is read in at a time.
ROWS_MORE = 2_500
# The names of this act's orders, which are no tokens of an order of the bots.
NAME = "encore"
_read = msgspec.json.decode


class Stranger:
    """A process that writes a copy of the journal, and is asked for nothing else."""

    name = NAME

    def is_alive(self) -> bool:
        """Return True: nothing ends this process."""
        return True

    def must_live(self) -> None:
        """Do nothing: nothing ends this process."""

    def wait(self, ms: int) -> None:
        """Do nothing: nothing of its disk is slow."""

    def commits(self, *, is_done: bool) -> None:
        """Do nothing: no fault waits for its commits."""


def another_end(disk: Disk, now_ns: int) -> facts.OtherEnd | None:
    """Open a copy of the journal whose last event is another one; None without a noted end.

    The note beside the journal's file says which event was acknowledged there.
    """
    copy = disk.copied()
    rows = copy.connection.execute(
        "SELECT batch, count(*) FROM journal_events GROUP BY batch ORDER BY batch DESC LIMIT 1"
    ).fetchall()
    if not rows or copy.note is None or copy.note.position != rows[0][0]:
        return None
    batch, count = rows[0]
    for table, column in (("journal_events", "batch"), ("journal_checkpoints", "position")):
        copy.connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (batch,))
    copy.connection.execute("DELETE FROM journal_writers")
    copy.connection.commit()
    other = Disk(lambda name, token, rows: None, lambda fault, text: None)
    other.put_in_place(copy, with_note=False)
    told = events.SyncAsked(at_ns=now_ns, by=NAME)
    with other.open(Stranger(), lambda: now_ns, take_over=False) as journal:
        journal.append([told] * count)
    other.note = copy.note
    try:
        other.open(Stranger(), lambda: now_ns, take_over=False).close()
    except JournalError:
        return facts.OtherEnd(now_ns, batch, opened=False)
    return facts.OtherEnd(now_ns, batch, opened=True)


def read_by_time(disk: Disk, now_ns: int) -> facts.ReadByTime:
    """Read a copy of the journal that goes on for some pages, by a range of time."""
    other = Disk(lambda name, token, rows: None, lambda fault, text: None)
    other.put_in_place(disk.copied(), with_note=True)
    told = events.SyncAsked(at_ns=now_ns, by=NAME)
    with other.open(Stranger(), lambda: now_ns, take_over=False) as journal:
        journal.append([told] * ROWS_MORE)
        found = [record.position for record in journal.records(since_ns=0)]
    return facts.ReadByTime(now_ns, len(other.rows()), len(found))


def answered_oddly(bot: BotProcess) -> facts.OddlyAnswered | None:
    """Answer a market order of a bot as if it were a pending one; None if the bot asks nothing."""
    pm, status = bot.pm, "PLACED"
    if pm is None or pm.desk.gateway is None:
        return None
    odd = {"status": status, "ticket": 7}
    vars(pm.desk.gateway)["send_order"] = lambda order: odd | {"order_id": order["order_id"]}
    try:
        order = pm.submit("buy", 0.1, magic=pm.magic)
    except (TrueupError, ValueError):
        return None
    return facts.OddlyAnswered(bot.schedule.now_ns, bot.name, status, order.status.value)


class Encore:
    """The acts at a gateway; `tell` takes the facts.

    Args:
        gateway: the run's gateway, healed.
        order: the fields of an order that the broker takes.
        now_ns: the world's time.
    """

    def __init__(self, gateway: GatewayProcess, order: dict[str, Any], now_ns: int) -> None:
        self._gateway, self._fields, self._now_ns = gateway, order, now_ns
        self._orders = 0

    def use_a_key_again(self) -> facts.KeyReused:
        """Order three times under one key, as bots that have forgotten it; the first is refused."""
        self._gateway.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_NO_MONEY))
        book = {"stream": NAME, "journal": NAME, "key": NAME}
        answers = tuple(self._order(**book)["status"] for _ in range(3))
        return facts.KeyReused(self._now_ns, NAME, answers)

    def fill_without_a_price(self) -> facts.FillTold:
        """Order once, and let the terminal answer before it knows the price."""
        lacks = frozenset({"price"})
        self._gateway.terminal.faults.next_send(DoneWithoutDeal(lacks))
        answer = self._order()
        price, lots = answer.get("filled_price"), answer.get("filled_volume")
        return facts.FillTold(self._now_ns, answer.get("status", ""), price or 0.0, lots or 0.0)

    def come_as_a_former_writer(self) -> facts.TokensTold:
        """Name the token of a new writer while the disk is full, and order with the former one.

        The gateway is restarted in between, and knows only what is on its disk.
        """
        disk, told = self._gateway.disk, list[tuple[int, bool]]()
        # Each reading that is given says to the new writer that the former one is barred.
        disk.is_full, disk.is_quiet = True, True
        told += [(2, self._reads(2)) for _ in range(2)]
        disk.is_full = disk.is_quiet = False
        self._gateway.stop(0)
        self._gateway.start()
        told.append((1, self._is_taken(1)))
        told.append((2, self._reads(2)))
        told.append((1, self._is_taken(1)))
        return facts.TokensTold(self._now_ns, tuple(told))

    def ask_another_record(self) -> facts.MarkAsked | None:
        """Ask a record that was put back, and has another last order, about the order of before."""
        disk = self._gateway.disk
        copy = disk.copy(disk.connection)
        store = DiskStore(copy, NAME, lambda: self._now_ns)
        mark = store.mark()
        last = store.since(mark.came_ns)
        if not last or last[-1].number != mark.last:
            return None
        copy.execute("DELETE FROM requests WHERE number = ?", (mark.last,))
        copy.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'requests'", (mark.last - 1,))
        other = last[-1]._replace(order_id=f"{NAME} other", came_ns=mark.came_ns + 1)
        store.add(other)
        return facts.MarkAsked(self._now_ns, is_same=False, vouched=store.covers(mark))

    def list_twice(self) -> facts.ListedTwice:
        """Read a list in which two positions have one ticket, and each an identifier of its own."""
        question = {"action": "SNAPSHOT", "session": NAME, "id": 1, "symbols": [NAME]}
        reply = self._answer(question)
        rows = reply.get("positions", [])
        twins = [rows[0] | {"identifier": 2**40}] if rows else []
        raw = msgspec.json.encode(reply | {"positions": [*rows, *twins]})
        reading = decode_snapshot(raw, 1)
        is_whole = not isinstance(reading, Unknown) and not reading.faults
        return facts.ListedTwice(self._now_ns, len(twins), is_whole=is_whole)

    def _order(self, **more: Any) -> dict[str, Any]:
        self._orders += 1
        order = {"action": "BUY", "order_id": f"{NAME}-{self._orders}", **self._fields, **more}
        return self._answer(order)

    def _is_taken(self, token: int) -> bool:
        answer = self._order(journal=f"{NAME} fence", stream=NAME, token=token)
        return answer.get("status") != "REJECTED"

    def _reads(self, token: int) -> bool:
        """Return whether a reading is given to the writer with this token."""
        question = {"action": "SNAPSHOT", "session": NAME, "id": 1}
        answer = self._answer({**question, "journal": f"{NAME} fence", "token": token})
        return answer.get("status") in ("SUCCESS", "UNCHANGED")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        raw = self._gateway.serve(msgspec.json.encode(request))
        return {} if raw is None else dict(_read(raw))
