"""The judge of a bot's book and journal: the broker's own ledger.

It asks the gateway's wire and the person's endpoint with bare sockets, reads the journal with bare
SQL, and folds it with nothing but the book itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.crash_world import Terminal
from trueup.core.book.book import Book
from trueup.journal import open_reader

MAGIC = 7
"""The magic number of every order that `crash_bot` sends."""

Report = dict[str, Any]
Rows = list[dict[str, Any]]


class Judgement(NamedTuple):
    """What the ledger says of a report; each fault is a sentence.

    `orders` counts the broker's orders of ours. `lost` are orders that the broker has and the
    journal or the book lacks; `doubled` were done twice under one key; `in_doubt` are those that
    the bot cannot tell; `differs` is everything else that is not as at the broker.
    """

    orders: int
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong."""
        return [*self.lost, *self.doubled, *self.in_doubt, *self.differs]


def judge(terminal: Terminal, report: Report) -> Judgement:
    """Compare a bot's report and its journal with the broker's ledger."""
    history, intents = terminal.history(), journalled(terminal.folder)
    ours = [o for o in (*history["orders"], *history["working"]) if o.get("magic") == MAGIC]
    executed = [o for o in history["orders"] if o.get("filled", 0) > 0 and o.get("magic") == MAGIC]
    unsettled = [
        f"order {token} of key {key} is {status}: {error}"
        for key, (status, token, error) in sorted(report["orders"].items())
        if status == "IN_DOUBT"
    ]
    return Judgement(
        orders=len(ours),
        lost=tuple(_lost(ours, executed, intents, report)),
        doubled=tuple(_doubled(ours, executed, intents)),
        in_doubt=tuple(unsettled + [f"held: {reason}" for reason in report["holds"]]),
        differs=tuple(_differs(terminal, history, report)),
    )


def ledger_agrees(terminal: Terminal, report: Report) -> None:
    """Fail unless all promises were kept."""
    assert judge(terminal, report).faults == []


def replay_is_live(folder: Path, report: Report) -> None:
    """Fold the journal from its first event, and from its checkpoint: both give the live book."""
    with open_reader(folder / "bot.db") as reader:
        assert reader.verify().sound
        whole = Book().replay(reader.read())
        saved = reader.latest_checkpoint()
        if saved is not None:
            tail = Book.restore(saved.state).replay(reader.read(after=saved.position))
            assert tail.state() == whole.state()
    # The bot may have journalled more since, but only after its report.
    assert whole.version == report["version"]
    assert hashlib.sha256(whole.state()).hexdigest() == report["state"]


def journalled(folder: Path) -> dict[str, dict[str, Any]]:
    """Every intent in the journal, by its token, read with bare SQL."""
    intents = [json.loads(payload) for payload in _payloads(folder, "OrderCreated")]
    return {intent["token"]: intent for intent in intents}


def adopted(folder: Path) -> set[int]:
    """The identifiers of all positions that the reconciler ever took in."""
    rows = _payloads(folder, "PositionAdopted")
    return {json.loads(payload)["position"]["identifier"] for payload in rows}


def _payloads(folder: Path, kind: str) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'bot.db'}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT payload FROM journal_events WHERE kind = ? ORDER BY position", (kind,)
        ).fetchall()
    return [payload for (payload,) in rows]


def _lost(ours: Rows, executed: Rows, intents: dict[str, Any], report: Report) -> list[str]:
    """Whatever bears our magic is in the journal, and what was executed is in the book as that."""
    lost = [
        f"the journal lacks order {order['ticket']}, {order['comment']}"
        for order in ours
        if intents.get(order["comment"], {}).get("volume") != order["volume"]
    ]
    done = {order["comment"] for order in executed}
    return lost + [
        f"order {token} of key {key} is {status}, and was executed: {error}"
        for key, (status, token, error) in sorted(report["orders"].items())
        if _is_market(intents, token) and token in done and status not in ("FILLED", "IN_DOUBT")
    ]


def _doubled(ours: Rows, executed: Rows, intents: dict[str, Any]) -> list[str]:
    """No token is on two orders, and no key on two executions, whatever the tokens."""
    tokens = Counter(order["comment"] for order in ours)
    keys = Counter(intents.get(order["comment"], {}).get("key", "") for order in executed)
    return [
        *(f"token {token} is on {count} orders" for token, count in tokens.items() if count > 1),
        *(f"key {key} was executed {count} times" for key, count in keys.items() if count > 1),
    ]


def _differs(terminal: Terminal, history: dict[str, Any], report: Report) -> list[str]:
    executed = {order["comment"] for order in history["orders"] if order.get("filled", 0) > 0}
    intents, truth = journalled(terminal.folder), terminal.positions()
    pending = sorted(order["ticket"] for order in history["working"])
    invented = [
        f"order {token} of key {key} is FILLED, and was not executed"
        for key, (status, token, _) in sorted(report["orders"].items())
        if _is_market(intents, token) and status == "FILLED" and token not in executed
    ]
    result = _realised(terminal, history, report, {position[0] for position in truth})
    pairs = [
        ("positions", report["positions"], truth),
        ("pending orders", report["pending"], pending),
        ("realised result", report["realised_closed"], result),
        ("health", "Everything agrees" in report["health"], True),
    ]
    return invented + [f"{what}: {ours}, not {due}" for what, ours, due in pairs if ours != due]


def _realised(
    terminal: Terminal, history: dict[str, Any], report: Report, is_open: set[int]
) -> int:
    """Return what the positions of ours that are closed came to (1e-8 of the currency)."""
    # What came and went by somebody else's hand while nobody looked is no result of ours.
    known = {deal["position"] for deal in history["deals"] if deal.get("magic") == MAGIC}
    known |= adopted(terminal.folder)
    # A position that was changed and changed back while nobody looked shows nothing in a list: its
    # deals are taken in when it closes.
    known -= is_open | set(report["identifiers"])
    return sum(
        round(deal.get(name, 0.0) * 1e8)
        for deal in history["deals"]
        for name in ("profit", "swap", "commission", "fee")
        if deal["position"] in known
    )


def _is_market(intents: dict[str, Any], token: str) -> bool:
    return token in intents and intents[token].get("kind", "market") == "market"
