"""What `trueup alerts` tells of an incident, to somebody who sees nothing else."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import msgspec

from tests.paper.deadline import wait_for
from tests.support.receivers import Received
from trueup.doors.alerts.deciding import Memory
from trueup.doors.alerts.store import FILE
from trueup.lab.incidents.incident import Incident, Where
from trueup.lab.incidents.stage import Stage

POSITIONS = ("One position", "Two positions", "Three positions", "Four positions")
# The alerts of these tests wait for a second only, so on a busy machine they may tell of a bot that
# finds its way back, too.
ON_THE_WAY_BACK = (
    *("The broker has not been seen yet", "The broker's list is not believed yet"),
    *("The last reading of the broker is too old", "The login of the terminal may not trade"),
)
# What a bot logs when it cannot read the broker, which happens on a busy machine, too.
OUTAGES = {
    "The gateway does not answer": "Gateway offline - ",
    "The terminal cannot be read": "The terminal could not be read: ",
}
# The dead bot may be told before its damaged journal, and the loss after the journal was mended. A
# terminal that comes back to its account has no positions for a moment.
ALSO_TOLD = {
    "journal-damaged": ("The bot has ended, and its book", "The journal lacks events"),
    "other-account": tuple(f"{count} left the broker's list" for count in POSITIONS),
}


def is_alerted(incident: Incident, phone: Received) -> None:
    """Wait until the alerts tell of the incident."""
    for sign in incident.signs:
        if sign.where is Where.ALERT:
            wait_for(
                lambda sign=sign: any(sign.is_in(one["message"]) for one in phone.messages),  # type: ignore[misc]
                lambda sign=sign: f"{sign.words!r} in {phone.messages}",  # type: ignore[misc]
            )


def is_alerted_once(
    incident: Incident, stage: Stage, phone: Received, begun_at: int, clock: str
) -> None:
    """The alerts alone tell of the incident: one message at its beginning, one at its end.

    `begun_at` is the length of the bot's log at the beginning of the incident, `clock` the time
    of day (UTC).
    """
    wait_for(lambda: not _conditions(stage), lambda: f"the end of {_conditions(stage)}")
    logged = stage.bot.log.read_bytes()[begun_at:].decode("utf-8")
    outages = [told for told, cause in OUTAGES.items() if cause in logged]
    told = [one for one in phone.messages if not one["message"].startswith("Over: ")]
    signs = [sign for sign in incident.signs if sign.where is Where.ALERT]
    if not signs:
        also = (*ON_THE_WAY_BACK, *outages)
        assert all(one["message"].startswith(also) for one in told), told
        return
    (begun,) = [one for one in told if all(sign.is_in(one["message"]) for sign in signs)]
    assert begun["message"].splitlines()[0].startswith(signs[0].words.partition("...")[0])
    also = (*ON_THE_WAY_BACK, *outages, *ALSO_TOLD.get(incident.name, ()))
    assert all(one is begun or one["message"].startswith(also) for one in told), "\n".join(
        one["message"] for one in told
    )
    wait_for(lambda: not _not_over(phone), lambda: f"the end of {_not_over(phone)}")
    names = [_name(one["message"]) for one in told]
    ends = [one["message"] for one in phone.messages if one["message"].startswith("Over: ")]
    assert len({_name(end) for end in ends}) == len(ends), ends
    # What began and ended between two decisions of the alerts is told once, by its end; that of the
    # incident before may come only now.
    alone = [end for end in ends if _name(end) not in names and not _is_older(end, clock)]
    assert all(end.removeprefix("Over: ").startswith(also) for end in alone), alone


def _conditions(stage: Stage) -> list[str]:
    """Return the conditions that the alerts still know; what began a moment ago is among them."""
    file = f"{(stage.folder / '.trueup' / FILE).as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(file, uri=True)) as store:
        (state,) = store.execute("SELECT state FROM memory").fetchone() or (b"{}",)
    books = msgspec.json.decode(state, type=Memory).books.values()
    return [one.sentence for book in books for one in book.conditions.values()]


def _not_over(phone: Received) -> list[str]:
    """Return the messages about conditions that were not called over yet."""
    every = [one["message"] for one in phone.messages]
    over = {_name(one) for one in every if one.startswith("Over: ")}
    return [one for one in every if _name(one) not in over]


def _is_older(end: str, clock: str) -> bool:
    began = re.search(r"^It began at (\d\d:\d\d:\d\d) UTC", end, re.MULTILINE)
    # The second in which the one incident was over is that in which the next one began.
    return began is not None and began[1] <= clock


def _name(message: str) -> str:
    return message.rpartition("condition ")[2].strip()
