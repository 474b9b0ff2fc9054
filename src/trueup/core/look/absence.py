"""When an order that shows nowhere is absent, and not only not seen.

One look proves nothing. MetaTrader 5 can fill an order after it answered that it timed out (retcode
10012), a terminal can send it on when it has its trade server back, and its list of orders comes
late. A terminal whose link is dead does not know so at once: what it shows meanwhile is of before,
or less than that. So an order is absent when

* a look shows nothing of it, and every look after that,
* the grace period has passed since, by our clock for waiting and by the trade server's clock, which
  the latest quotation tells,
* and one more look, half of it later by the trade server's clock, shows nothing either: what a
  terminal missed while its link was dead comes a while after the first price that it has again.

A look that cannot be believed begins it anew: a moment that nobody watched proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Absence(msgspec.Struct, frozen=True):
    """Since when every look has shown nothing of an order.

    `since_ns` is the time of the first of them, `since_msc` what the trade server's clock showed
    then, 0 where nothing told it, and `again_msc` what it showed at the first look after the grace
    period, None before that.
    """

    since_ns: int
    since_msc: int
    again_msc: int | None = None
    is_settled: bool = False


Absences = Mapping[str, Absence]
"""What looks have shown nothing of, by order id."""

NONE_ABSENT: Absences = MappingProxyType({})


def absent_again(
    before: Absence | None, asked_ns: int, server_time_msc: int, grace_ms: int
) -> Absence:
    """Return what one more look that shows nothing makes of an absence.

    Args:
        before: what the looks before it came to, None for none.
        asked_ns: the time of the look, by the clock for waiting (ns).
        server_time_msc: the trade server's clock at that look, 0 where no quotation tells it. While
            none has ever told it, our own has to do.
        grace_ms: how long an order may take to show; 0 waits for nothing.
    """
    if not grace_ms:
        return Absence(asked_ns, server_time_msc, server_time_msc, is_settled=True)
    if before is None or asked_ns < before.since_ns:
        return Absence(asked_ns, server_time_msc)
    if before.since_msc and not server_time_msc:
        # The quotations are gone for now: no time passes by a clock that is not told.
        return before
    if server_time_msc < before.since_msc or bool(server_time_msc) is not bool(before.since_msc):
        # That clock was set back, or is told only now: what was measured is gone.
        return Absence(asked_ns, server_time_msc)
    if before.again_msc is not None:
        has_heard = 2 * (server_time_msc - before.again_msc) >= grace_ms or not server_time_msc
        return msgspec.structs.replace(before, is_settled=has_heard)
    has_waited = asked_ns - before.since_ns >= grace_ms * 1_000_000
    has_heard = server_time_msc - before.since_msc >= grace_ms or not server_time_msc
    if has_waited and has_heard:
        return msgspec.structs.replace(before, again_msc=server_time_msc)
    return before
