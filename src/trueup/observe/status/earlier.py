"""Read the status in a bot's answer, also of a bot that runs an earlier or a later release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trueup.errors import TrueupError
from trueup.observe.status.status import (
    SCHEMA,
    BookRow,
    Held,
    InDoubt,
    LotsRow,
    Money,
    OverdueRow,
    RefusedRow,
    Side,
    State,
    Status,
    Verdict,
)

EARLIER = "The bot runs an earlier release: start it again with this one to see everything."
# The fields that both forms have, with the same meaning.
SAME = (
    *("pid", "symbol", "gateway", "started", "now", "needs", "entries_refused", "account"),
    *("trade_mode", "checked", "age_sec", "sync_count", "foreign", "journal", "journal_file"),
    *("stream", "journal_trouble", "endpoint", "neighbours"),
)


def read_status(values: Any) -> Status:
    """Return the status in an answer.

    Raises:
        TrueupError: the answer has a later version, or is no status.
    """
    try:
        version = values.get("schema")
        if version is None:
            return _of_before(values)
        if isinstance(version, int) and version > SCHEMA:
            raise TrueupError(
                f"The bot, process {values.get('pid')}, answers with version {version} of the "
                f"status, and this trueup reads versions up to {SCHEMA}: use the bot's release."
            )
        return msgspec.convert(values, Status)
    except (AttributeError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise TrueupError(
            f"The bot's answer cannot be read by this trueup: {error}. Use the bot's release, or "
            "start the bot again with this one."
        ) from error


def _of_before(values: Mapping[str, Any]) -> Status:
    """Return the status that a bot of an earlier release told, as far as the old form has it."""
    health = str(values["health"]).rstrip(".")
    is_well = not values["needs"] and not values.get("in_doubt") and "Degraded" not in health
    state = State.AGREES if is_well else State.DEGRADED
    owner = "Nothing is yours to do." if is_well else "The bot retries by itself."
    if values["needs"]:
        count = len(values["needs"])
        owner = "One action is yours." if count == 1 else f"{count} actions are yours."
        state = State.NEEDS_PERSON
    return msgspec.convert(
        {
            **{name: values[name] for name in SAME if name in values},
            "state": state.value,
            "sentence": f"{health}. {owner}",
            "detail": EARLIER,
            "works": "Entries wait." if values["entries_refused"] else "Entries are allowed.",
            "basis": f"The bot answered at {values['now'][11:19]} UTC.",
            "scope": values["policy"],
            "source": "bot",
            "money": msgspec.to_builtins(_money(values)),
            "held": [msgspec.to_builtins(_held(row)) for row in values.get("holds", [])],
            "in_doubt": [msgspec.to_builtins(_doubt(row)) for row in values.get("in_doubt", [])],
            "books": [msgspec.to_builtins(_book(row)) for row in values.get("positions", [])],
            "refused": [
                msgspec.to_builtins(RefusedRow(**row)) for row in values.get("restrictions", [])
            ],
            "strategies": [
                msgspec.to_builtins(LotsRow(**row)) for row in values.get("strategies", [])
            ],
            "overdue": [
                msgspec.to_builtins(OverdueRow(**row)) for row in values.get("overdue", [])
            ],
        },
        Status,
    )


def _money(values: Mapping[str, Any]) -> Money:
    return Money(
        currency=values.get("currency", ""),
        digits=values.get("currency_digits"),
        realised=values.get("realised", 0.0),
    )


def _held(row: Mapping[str, Any]) -> Held:
    return Held(**row)


def _doubt(row: Mapping[str, Any]) -> InDoubt:
    return InDoubt(
        order_id=row["order_id"],
        action=row["action"],
        lots=row["lots"],
        symbol=row["symbol"],
        since=row["since"],
        error=row["error"],
        decided="by the bot or by a person, as it says above",
    )


def _book(row: Mapping[str, Any]) -> BookRow:
    return BookRow(
        ticket=row["ticket"],
        identifier=row.get("identifier") or row["ticket"],
        symbol=row["symbol"],
        ours=Side(row["side"], row["lots"], row["price_open"], row["sl"], row["tp"]),
        broker=None,
        verdict=Verdict.NOT_ASKED,
        profit=row["profit"],
        magic=row["magic"],
    )
