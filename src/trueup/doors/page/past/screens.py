"""The screens of the past: Orders, Story, a moment, an incident's file, Accounts and charts."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from trueup.core.dates import iso
from trueup.doors.page.past.accounts import Accounts, counts
from trueup.doors.page.past.figures import MISSING, charts, missing
from trueup.doors.page.past.incident import incident
from trueup.doors.page.past.landmarks import Landmarks, NotYet
from trueup.doors.page.past.story import (
    Scenes,
    Search,
    journal_of,
    newest,
    orders,
    steps,
)
from trueup.doors.page.samples import Samples
from trueup.doors.page.screens import render
from trueup.doors.page.visit import Screen, Visit
from trueup.doors.watch import key_of
from trueup.errors import SettingsError, TrueupError
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import COLUMNS
from trueup.observe.event_words.words import ACTIONS
from trueup.observe.status.status import Status
from trueup.runtime.time.clock import SystemClock
from trueup.runtime.time.moments import end_ns, moment_ns

CSV_MOST = 100_000
LARGEST = 2**63 - 1
# The names of an order's steps for people.
STEP_WORDS = {
    "INTENT": "recorded, before it left",
    "SENT": "sent",
    "FILLED": "filled",
    "APPLIED": "carried out",
    "REJECTED": "refused",
    "IN_DOUBT": "answer lost",
    "SETTLED": "looked for, and found out",
    "DELIVERED": "told to the program",
}
Read = TypeVar("Read")


class Past:
    """The screens of the past, each read from the journal of the chosen book.

    Args:
        accounts: lists the books.
        samples: what the page has seen since its start.
    """

    def __init__(self, accounts: Accounts, samples: Samples) -> None:
        self._accounts, self._samples = accounts, samples
        self._landmarks = Landmarks()

    @property
    def screens(self) -> Mapping[str, Screen]:
        """The screens, by their paths."""
        return {
            "/orders": _orders,
            "/orders/{order_id}": _order,
            "/story": _story,
            "/story.csv": _csv,
            "/moment": self._moment,
            "/incident.zip": self._incident,
            "/accounts": self._list,
            "/figures": self._figures,
        }

    async def _list(self, visit: Visit) -> Response:
        values = await visit.values()
        lines = await asyncio.to_thread(self._accounts.lines, values["seen"])
        return HTMLResponse(render("accounts", {**values, "lines": lines, "counts": counts(lines)}))

    async def _figures(self, visit: Visit) -> Response:
        values = await visit.values(missing=[MISSING], trouble="")
        status: Status = values["s"]
        samples = self._samples.of(key_of(status))
        try:
            drawn, values["missing"] = await _read(
                visit, status, lambda reader: (charts(reader, samples), missing(reader))
            )
        except TrueupError as error:
            values["trouble"] = str(error)
            drawn = charts(None, samples)
        values["shares"] = self._samples.answered(key_of(status), values["seen"].at_ns / 1e9)
        return HTMLResponse(render("figures", {**values, "charts": drawn}))

    async def _moment(self, visit: Visit) -> Response:
        values = await visit.values(scene=None, trouble="", not_yet="", end=0)
        given = visit.query("at")
        scenes = self._scenes(visit, values["s"])
        try:
            event = _number(visit, "event")
            if event is not None:
                read = partial(scenes.at_event, position=event)
            else:
                at_ns = end_ns(moment_ns(given or "now", "at", SystemClock().now_ns()))
                read = partial(scenes.at_moment, at_ns=at_ns)
            values["scene"] = await _read(visit, values["s"], read)
            values["end"] = await _read(visit, values["s"], lambda reader: reader.position)
        except NotYet as error:
            # A header, and no part of the page: it works without JavaScript.
            return HTMLResponse(
                render("moment", {**values, "not_yet": str(error)}), 200, {"refresh": "2"}
            )
        except TrueupError as error:
            values["trouble"] = str(error)
        return HTMLResponse(render("moment", values), 400 if values["trouble"] else 200)

    async def _incident(self, visit: Visit) -> Response:
        seen = await visit.seen()
        status = seen.book(visit.query("book"))
        values: dict[str, Any] = visit.of(seen)
        scenes = self._scenes(visit, status)
        made = await _read(visit, status, lambda reader: incident(reader, scenes, status, values))
        name = f"incident-{iso(seen.at_ns)[:19].replace(':', '')}.zip"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(made, media_type="application/zip", headers=headers)

    def _scenes(self, visit: Visit, status: Status) -> Scenes:
        return Scenes(status, visit.watch.place, self._landmarks)


async def _read(visit: Visit, status: Status, read: Callable[[JournalReader], Read]) -> Read:
    """Read the journal of a book in a thread, so that the live pages go on."""

    def in_thread() -> Read:
        with journal_of(status, visit.watch.place) as reader:
            return read(reader)

    return await asyncio.to_thread(in_thread)


async def _orders(visit: Visit) -> Response:
    values = await visit.values(live=visit.live("orders"), rows=[], trouble="")
    try:
        values["rows"] = await _read(visit, values["s"], orders)
    except TrueupError as error:
        values["trouble"] = str(error)
    return HTMLResponse(render("orders", values))


async def _order(visit: Visit) -> Response:
    values = await visit.values(words=STEP_WORDS)
    order_id = str(visit.request.path_params["order_id"])
    rows = await _read(visit, values["s"], lambda reader: steps(reader, order_id))
    if not rows:
        return PlainTextResponse(f"The journal has no order {order_id!r}.", 404)
    doubt = next((one for one in values["s"].in_doubt if one.order_id == order_id), None)
    return HTMLResponse(render("order", {**values, "rows": rows, "doubt": doubt, "id": order_id}))


async def _story(visit: Visit) -> Response:
    values = await visit.values(actions=ACTIONS, found=None, trouble="")
    try:
        wanted = _wanted(visit)
        values |= {"wanted": wanted}
        found = await _read(visit, values["s"], lambda reader: newest(reader, wanted))
        values |= {"found": found}
    except TrueupError as error:
        values |= {"trouble": str(error), "wanted": Search()}
    status = 400 if values["trouble"] else 200
    return HTMLResponse(render("story", values), status)


def _wanted(visit: Visit) -> Search:
    """Return what a search asks for.

    Raises:
        SettingsError: a value of the address is none.
    """
    action = visit.query("action").upper()
    if action and action not in ACTIONS:
        raise SettingsError("action", action, f"give one of {', '.join(ACTIONS)}")
    return Search(
        visit.query("text").strip(), _number(visit, "ticket"), action, _number(visit, "before") or 0
    )


def _number(visit: Visit, name: str) -> int | None:
    given = visit.query(name).strip()
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or not 0 < int(given) <= LARGEST:
        raise SettingsError(name, given, "give a whole number above 0")
    return int(given)


async def _csv(visit: Visit) -> Response:
    wanted = _wanted(visit)
    status = (await visit.seen()).book(visit.query("book"))
    found = await _read(visit, status, lambda reader: newest(reader, wanted, CSV_MOST))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(msgspec.structs.astuple, found.rows))
    headers = {"content-disposition": 'attachment; filename="story.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
