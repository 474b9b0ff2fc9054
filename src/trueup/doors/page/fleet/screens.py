"""The screens of a fleet: its nodes and accounts, one account, and the actions of an approver."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.overview import ALL, PAUSED, STATES, UNWELL, Wanted, account_of
from trueup.doors.fleet.telling import Told
from trueup.doors.page.decide.outcomes import Outcomes
from trueup.doors.page.decide.question import Outcome
from trueup.doors.page.fleet.acts import ACTS, ask, carry_out
from trueup.doors.page.fleet.reading import FleetReader
from trueup.doors.page.fleet.words import (
    BAD,
    Headline,
    act_words,
    count_words,
    headline,
    node_words,
    notes_of,
    to_do,
)
from trueup.doors.page.fleet.worker import NoAnswer, Worker, answer_of
from trueup.doors.page.people import form_key
from trueup.doors.page.screens import render
from trueup.doors.page.visit import Screen, Visit
from trueup.errors import TrueupError
from trueup.logs import Logger, logger

log: Logger = logger("trueup.page")

# Longer than a connection to a database takes to fail.
ACT_SEC = 8.0
PAGE_MOST = 100_000
TEXT_MOST = 200
NEEDS = Told.NEEDS_PERSON.value
CHOICES = (ALL, UNWELL, *STATES, PAUSED)
# In the order in which a person looks at them.
NODE_ORDER = ("lost", "drained", "alive")


class FleetScreens:
    """The screens of the fleet in the page's journal.

    Args:
        url: the URL of the journal.
        books: the list of the books of a folder, for a journal without a fleet.
        home: the first screen of a page without a fleet.
    """

    def __init__(self, url: str, books: Screen, home: Screen) -> None:
        self._reader, self._books, self._home = FleetReader(url), books, home
        self._worker, self._outcomes = Worker("fleet acts"), Outcomes()
        # One action at a time: two persons who press at once get one after the other.
        self._turn = asyncio.Lock()

    @property
    def screens(self) -> Mapping[str, Screen]:
        """The screens, by their paths."""
        return {
            "/": self._first,
            "/accounts": self._accounts,
            "/fleet/account": self._account,
            "/fleet/node": self._node,
            "/fleet/act/{name}": self._ask,
            "POST /fleet/act/{name}": self._carry_out,
            "/fleet/done/{number}": self._done,
        }

    async def live(self, visit: Visit) -> dict[str, Any]:
        """Return the values of the live parts of the fleet's screen."""
        reading = await self._reader.read(_wanted(visit))
        visit.watch.leaves_journal_out = reading.may_be_there
        view = reading.view
        found = headline(view) if view else Headline(BAD, "not known · trueup", reading.trouble)
        nodes = sorted(view.nodes, key=lambda one: NODE_ORDER.index(one["state"])) if view else []
        return {
            **_values(visit, found.title),
            "view": view,
            "head": found,
            "nodes": nodes,
            "to_do": to_do(view) if view else [],
            "notes": notes_of(view) if view else [],
            "wanted": view.wanted if view else Wanted(),
            "choices": CHOICES,
            "fleet_pause": any(not one["account"] for one in view.pauses) if view else False,
            "needing": view.needing if view else (),
            "more_needing": view.counts[NEEDS] - len(view.needing) if view and view.counts else 0,
            "act_words": act_words,
            "count_words": count_words,
            "may_be_there": reading.may_be_there,
        }

    async def _first(self, visit: Visit) -> Response:
        """Show the fleet first, where it is what the page is about."""
        if visit.query("book") or not await self._reader.is_there():
            return await self._home(visit)
        visit.watch.leaves_journal_out = True
        seen = await visit.seen()
        has_bots = any(one.source == "bot" for one in seen.statuses)
        return await self._home(visit) if has_bots else RedirectResponse("/accounts", 303)

    async def _accounts(self, visit: Visit) -> Response:
        values = await self.live(visit)
        if visit.query("books"):
            return await self._books(visit)
        if not values["may_be_there"]:
            visit.note = str(values["head"].sentence)
            return await self._books(visit)
        asked = {name: visit.query(name) for name in ("find", "state", "node", "page")}
        live = visit.link("/live", screen="fleet", **asked)
        status = 200 if values["view"] else 503
        return HTMLResponse(render("fleet", {**values, "live": live}), status)

    async def _account(self, visit: Visit) -> Response:
        name, values = visit.query("account"), _values(visit, "account · trueup")
        try:
            line = await answer_of(self._worker.submit(partial(self._line, name)), ACT_SEC)
        except TrueupError as error:
            return _shown(values, Outcome(False, str(error)), 503)
        if line is None:
            return _shown(values, Outcome(False, f"The fleet has no account {name!r:.60}."), 404)
        return HTMLResponse(render("fleet_account", {**values, "row": line}))

    def _line(self, name: str) -> Any:
        with Fleet(self._reader.url) as fleet:
            return account_of(fleet, name) if fleet.tells_accounts else None

    async def _node(self, visit: Visit) -> Response:
        name, values = visit.query("node"), _values(visit, "node · trueup")
        try:
            nodes = await answer_of(self._worker.submit(self._nodes), ACT_SEC)
        except TrueupError as error:
            return _shown(values, Outcome(False, str(error)), 503)
        node = next((one for one in nodes if one["name"] == name), None)
        if node is None:
            return _shown(values, Outcome(False, f"The fleet has no node {name!r:.60}."), 404)
        return HTMLResponse(render("fleet_node", {**values, "node": node}))

    def _nodes(self) -> list[dict[str, Any]]:
        with Fleet(self._reader.url) as fleet:
            return fleet.nodes()

    # Actions.

    async def _ask(self, visit: Visit) -> Response:
        name, values = _named(visit), _values(visit, "asked · trueup")
        refused = _refused(values, name)
        if refused is not None:
            return refused
        given = dict(visit.request.query_params)
        call = partial(ask, self._reader.url, name, given)
        try:
            asked = await answer_of(self._worker.submit(call), ACT_SEC)
        except NoAnswer as error:
            asked = Outcome(False, str(error))
        if isinstance(asked, Outcome):
            return _shown(values, asked, 409)
        return HTMLResponse(render("fleet_act", {**values, "ask": asked, "name": name}))

    async def _carry_out(self, visit: Visit) -> Response:
        name, values = _named(visit), _values(visit, "asked · trueup")
        refused = _refused(values, name)
        if refused is not None:
            return refused
        form, who = visit.form, visit.person.name
        async with self._turn:
            call = partial(carry_out, self._reader.url, name, form, who)
            try:
                outcome = await answer_of(self._worker.submit(call), ACT_SEC)
            except NoAnswer:
                outcome = Outcome(False, "Not known: the database does not answer. See Accounts.")
        about = form.get("account") or form.get("node") or "the fleet"
        log.info(
            "[PAGE] %s: %s %s: %s",
            who,
            name,
            about,
            outcome.sentence,
            extra={"event": "page.act", "who": who, "act": f"fleet {name}"},
        )
        # A page that is loaded again shows the outcome, and does nothing again.
        number = self._outcomes.keep(f"{name} {about} by {who}", outcome)
        return RedirectResponse(f"/fleet/done/{number}", 303)

    async def _done(self, visit: Visit) -> Response:
        values = _values(visit, "done · trueup")
        found = self._outcomes.of(visit.request.path_params["number"])
        if found is None:
            gone = "This outcome is not kept any more: see Accounts."
            return _shown(values, Outcome(False, gone), 404)
        return _shown({**values, "about": found[0]}, found[1], 200)


def _wanted(visit: Visit) -> Wanted:
    """Return what the address asks for; what it cannot ask for counts as not asked."""
    state, page = visit.query("state"), visit.query("page")
    number = int(page) if page.isascii() and page.isdecimal() and len(page) < 10 else 1
    return Wanted(
        visit.query("find").strip()[:TEXT_MOST],
        state if state in CHOICES else "",
        visit.query("node")[:TEXT_MOST],
        min(max(1, number), PAGE_MOST),
    )


def _values(visit: Visit, title: str) -> dict[str, Any]:
    """Return what every screen of the fleet shows."""
    person = visit.person
    no_buttons = f"You read as {person.name}. Only an approver's token shows buttons."
    return {
        "person": person,
        "title": title,
        "link": visit.link,
        "live": "",
        "form_key": form_key(person, visit.cookie),
        "node_words": node_words,
        "no_buttons": "" if person.may_act else no_buttons,
    }


def _named(visit: Visit) -> str:
    name = str(visit.request.path_params["name"])
    return name if name in ACTS else ""


def _refused(values: dict[str, Any], name: str) -> Response | None:
    if not name:
        return PlainTextResponse("There is no such action.", 404)
    if values["no_buttons"]:
        return _shown(values, Outcome(False, values["no_buttons"]), 403)
    return None


def _shown(values: Mapping[str, object], outcome: Outcome, status: int) -> Response:
    shown = {"about": "", **values, "outcome": outcome, "is_fleet": True}
    return HTMLResponse(render("done", shown), status)
