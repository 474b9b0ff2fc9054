"""Decide when an order without a trace counts as absent, that is as never executed.

A single snapshot proves nothing. MetaTrader 5 can fill an order after the reply "timed out"
(retcode 10012), a terminal can send an order later when its trade server is back, and the list of
orders is updated late. A terminal with a dead connection does not notice this at once, and shows an
old or incomplete state meanwhile. So an order is absent if

* a snapshot shows no trace of the order, and no later snapshot shows any,
* the grace period has passed since, by our clock for waiting and by the trade server's clock, which
  the latest quotation shows,
* and another snapshot, half a grace period later by the trade server's clock, shows no trace
  either: data that a terminal missed during a dead connection arrives some time after its first new
  price. If the prices paused in between, half a grace period must also have passed by our clock
  since the first price after that pause.

An untrusted snapshot starts the procedure again, because the time before it was not fully observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Absence(msgspec.Struct, frozen=True):
    """The time since when no snapshot has shown a trace of an order.

    `since_ns` is the time of the first such snapshot and `since_msc` the trade server's clock then,
    0 if not known. `again_msc` is the trade server's clock at the first snapshot after the grace
    period, None before that snapshot. `moved_ns` and `moved_msc` are our clock and the trade
    server's at the latest snapshot with a new price, 0 before that. `has_paused` says that
    snapshots have shown no new price for half a grace period, `resumed_ns` when a price came after
    such a pause, 0 for never.
    """

    since_ns: int
    since_msc: int
    again_msc: int | None = None
    is_settled: bool = False
    moved_ns: int = 0
    moved_msc: int = 0
    has_paused: bool = False
    resumed_ns: int = 0


Absences = Mapping[str, Absence]
"""The absence records of orders without a trace, by order id."""

NONE_ABSENT: Absences = MappingProxyType({})


def update_absence(
    before: Absence | None, asked_ns: int, server_time_msc: int, grace_ms: int
) -> Absence:
    """Update the absence record after another snapshot without a trace of the order.

    Args:
        before: the record so far, None if there is none.
        asked_ns: the time of the snapshot's question, by the clock for waiting (ns).
        server_time_msc: the trade server's clock at the snapshot, 0 if no quotation shows that
            clock. If no quotation ever showed that clock, our own clock decides alone.
        grace_ms: the grace period: how late an order may appear; 0 means no waiting.
    """
    if not grace_ms:
        return Absence(asked_ns, server_time_msc, server_time_msc, is_settled=True)
    if before is None or asked_ns < before.since_ns:
        return Absence(asked_ns, server_time_msc)
    if before.since_msc and not server_time_msc:
        # Without a quotation the trade server's clock is not known, so no time passes by it.
        return before
    if server_time_msc < before.since_msc or bool(server_time_msc) is not bool(before.since_msc):
        # That clock was set back, or is known only now, so the measurement must start again.
        return Absence(asked_ns, server_time_msc)
    before = _with_price(before, asked_ns, server_time_msc, grace_ms)
    # The grace period has passed before; now wait for data that arrives after the first new price.
    if before.again_msc is not None:
        has_contact = 2 * (server_time_msc - before.again_msc) >= grace_ms or not server_time_msc
        has_caught_up = 2 * (asked_ns - before.resumed_ns) >= grace_ms * 1_000_000
        return msgspec.structs.replace(before, is_settled=has_contact and has_caught_up)
    has_waited = asked_ns - before.since_ns >= grace_ms * 1_000_000
    # New prices prove that the terminal had contact with its trade server all the time.
    has_contact = server_time_msc - before.since_msc >= grace_ms or not server_time_msc
    if has_waited and has_contact:
        return msgspec.structs.replace(before, again_msc=server_time_msc)
    return before


def _with_price(before: Absence, asked_ns: int, server_time_msc: int, grace_ms: int) -> Absence:
    """Note whether a snapshot shows a new price, or that no price has come for a while."""
    if server_time_msc > max(before.since_msc, before.moved_msc):
        return msgspec.structs.replace(
            before,
            moved_ns=asked_ns,
            moved_msc=server_time_msc,
            has_paused=False,
            resumed_ns=asked_ns if before.has_paused else before.resumed_ns,
        )
    waited_ns = asked_ns - max(before.since_ns, before.moved_ns)
    has_paused = 2 * waited_ns >= grace_ms * 1_000_000
    return msgspec.structs.replace(before, has_paused=before.has_paused or has_paused)
