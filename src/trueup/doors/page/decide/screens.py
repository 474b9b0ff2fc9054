"""The screens of actions: Approve, the question of an action, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from trueup.core.dates import iso
from trueup.doors.page.decide.acts import ACTS, ask, carry_out
from trueup.doors.page.decide.outcomes import Outcomes
from trueup.doors.page.decide.question import Outcome, line_to
from trueup.doors.page.screens import render
from trueup.doors.page.visit import Screen, Visit
from trueup.errors import TrueupError
from trueup.logs import Logger, logger
from trueup.observe.lines import time_of
from trueup.runtime.control.line import Line

log: Logger = logger("trueup.page")


class Acting:
    """Ask, carry out, and keep the outcomes for the readers who load them again."""

    def __init__(self) -> None:
        self._outcomes = Outcomes()
        # One action at a time: two persons who press at once get one after the other.
        self._turn = asyncio.Lock()

    @property
    def screens(self) -> Mapping[str, Screen]:
        """The screens, by their paths."""
        return {
            "/approve": self._approve,
            "/act/{name}": self._ask,
            "POST /act/{name}": self._carry_out,
            "/done/{number}": self._done,
        }

    async def _approve(self, visit: Visit) -> Response:
        values = await visit.values(live=visit.live("approve"))
        return HTMLResponse(render("approve", values))

    async def _ask(self, visit: Visit) -> Response:
        name, values = _named(visit), await visit.values()
        if name is None:
            return PlainTextResponse("There is no such action.", 404)
        if values["no_buttons"]:
            return _shown(values, Outcome(False, values["no_buttons"]), 403)
        given = dict(visit.request.query_params)
        try:
            line = await asyncio.to_thread(line_to, values["s"])
            asked = await asyncio.to_thread(ask, name, line, given)
        except TrueupError as error:
            asked = Outcome(False, str(error))
        if isinstance(asked, Outcome):
            return _shown(values, asked, 409)
        return HTMLResponse(render("act", {**values, "ask": asked, "name": name}))

    async def _carry_out(self, visit: Visit) -> Response:
        name, values = _named(visit), await visit.values()
        if name is None:
            return PlainTextResponse("There is no such action.", 404)
        if values["no_buttons"]:
            return _shown(values, Outcome(False, values["no_buttons"]), 403)
        form, who = visit.form, visit.person.name
        try:
            line: Line = await asyncio.to_thread(line_to, values["s"])
        except TrueupError as error:
            return _shown(values, Outcome(False, str(error)), 409)
        async with self._turn:
            outcome = await asyncio.to_thread(carry_out, name, line, form, who)
        await asyncio.to_thread(visit.watch.renew)
        log.info(
            "[PAGE] %s: %s %s: %s",
            who,
            name,
            form.get("id") or form.get("ticket") or "",
            outcome.sentence,
            extra={"event": "page.act", "who": who, "act": name},
        )
        number = self._outcomes.keep(
            f"{name} by {who}, {time_of(iso(line.clock.now_ns()))}", outcome
        )
        # A page that is loaded again shows the outcome, and does nothing again.
        return RedirectResponse(visit.link(f"/done/{number}"), 303)

    async def _done(self, visit: Visit) -> Response:
        found = self._outcomes.of(visit.request.path_params["number"])
        values = await visit.values()
        if found is None:
            gone = "This outcome is not kept any more: see Story."
            return _shown(values, Outcome(False, gone), 404)
        return _shown({**values, "about": found[0]}, found[1], 200)


def _named(visit: Visit) -> str | None:
    name = str(visit.request.path_params["name"])
    return name if name in ACTS else None


def _shown(values: Mapping[str, object], outcome: Outcome, status: int) -> Response:
    return HTMLResponse(render("done", {"about": "", **values, "outcome": outcome}), status)
