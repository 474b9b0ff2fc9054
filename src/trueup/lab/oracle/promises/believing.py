"""Promise 3, before any close: a bot trusts only readings that deserve trust.

For each reading, the world records the true state of the terminal at that time, and the bot that
received the reading. `_wrong` has the reasons for which a bot must not trust a reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.closing import NoFalseGhost

# The server's clock is read off quotations, which arrive out of step by fractions of a second.
JITTER_MSC = 1_000


class Believed(Checker):
    """Compares each trusted reading with the true state of the terminal when that was read.

    Excluded are states that no reading shows: a terminal that still reports a connection although
    the link is lost, and may be back by the next reading; and a terminal that has not caught up
    yet, if two readings in a row are alike, or if the reading is the first of a process. Excluded
    too are an outage that only a lost reply told of, and an old list that no figure contradicts: as
    long as the true list, with the same result in all.
    """

    number = 3
    promise: ClassVar[str] = NoFalseGhost.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Remember the readings that were served and received, and judge the trusted readings."""
        self._served: dict[tuple[str, str, int], facts.Served] = {}
        # The reading that each bot judges, and the newest of its earlier readings.
        self._judged: dict[str, facts.Served] = {}
        self._before: dict[str, facts.Served] = {}
        self._is_bound = False
        return {
            facts.Served: self._serve,
            facts.Heard: self._hear,
            facts.Journalled: self._journalled,
            facts.Started: self._started,
            facts.Synced: self._synced,
        }

    def _serve(self, fact: facts.Served) -> Iterator[str]:
        self._served[fact.reading] = fact
        yield from ()

    def _hear(self, fact: facts.Heard) -> Iterator[str]:
        judged, heard = self._judged.get(fact.bot), self._served.get(fact.reading)
        before = self._before.get(fact.bot)
        if judged is not None and (before is None or judged.at_ns >= before.at_ns):
            self._before[fact.bot] = judged
        if heard is not None:
            self._judged[fact.bot] = heard
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        self._is_bound = self._is_bound or fact.kind == "AccountBound"
        yield from ()

    def _started(self, fact: facts.Started) -> Iterator[str]:
        self._judged.pop(fact.bot, None)
        self._before.pop(fact.bot, None)
        yield from ()

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        if not fact.believed:
            return
        if fact.reading is None:
            if self._is_bound:
                yield f"{fact.bot} believed a reading that proves nothing, after others that did"
            return
        served = self._served.get(fact.reading)
        if served is None:
            yield f"{fact.bot} believed a reading that no gateway served: {fact.reading}"
            return
        for wrong in self._wrong(fact, served):
            yield f"{fact.bot} believed a reading {wrong}"

    def _wrong(self, fact: facts.Synced, served: facts.Served) -> Iterator[str]:
        """Yield the reasons not to trust a reading."""
        # Faults that the reading itself shows to the bot.
        before = self._before.get(fact.bot)
        if served.login != self.scope.login:
            yield f"of the account {served.login}"
        if not served.says_connected:
            yield "of a terminal that said that it has no connection"
        elif served.catches_up and self._was_away(before, served):
            yield "of a terminal that had not caught up, which no other one confirms"
        is_true = fact.rows is None or sorted(fact.rows) == sorted(served.rows)
        if not is_true and not served.fits:
            yield f"that lists {fact.rows}, and the terminal listed {served.rows}"
        if served.contradicts:
            yield "without a position, while the account's own figures said that there are some"
        # Faults in the order of time: a reading must be newer than the question, and than the last.
        if served.at_ns < fact.asked_ns:
            yield "of before it had asked"
        if before is None:
            return
        if served.at_ns < before.at_ns:
            yield "that is older than one that it had before"
        back_msc = before.server_time_msc - served.server_time_msc
        if served.server_time_msc and back_msc > JITTER_MSC:
            yield f"whose server's clock went back by {back_msc / 1000:g} s"

    def _was_away(self, before: facts.Served | None, now: facts.Served) -> bool:
        """Return whether a bot could see that terminal or gateway were away since the last reading.

        A list taken while the link was lost confirms nothing, even if the next list is equal. A bot
        cannot see an outage that only a lost reply told of.
        """
        if before is None:
            return False
        session, gateway, number = now.reading
        if gateway != before.reading[1] or not before.says_connected:
            return True
        between = range(before.reading[2] + 1, number)
        unheard = (self._served.get((session, gateway, one)) for one in between)
        is_told_in_vain = any(one is not None and not one.says_connected for one in unheard)
        return before.outages != now.outages and not is_told_in_vain
