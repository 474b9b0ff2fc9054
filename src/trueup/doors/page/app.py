"""The web application of the page: who may see a screen, the screens themselves, and live parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from trueup.core.dates import iso
from trueup.doors.page.people import People, is_form_key, new_cookie
from trueup.doors.page.screens import HERE, render, render_parts
from trueup.doors.page.streams import Streams
from trueup.doors.page.visit import FormTooLarge, Screen, Visit, form_of
from trueup.doors.watch import Seen, Watch
from trueup.errors import TrueupError
from trueup.logs import Logger, logger
from trueup.observe.lines import clock_of

log: Logger = logger("trueup.page")
LiveValues: TypeAlias = Callable[[Visit], Awaitable[dict[str, Any]]]
"""Gives the values of a live screen."""
COOKIE = "trueup_page"
COOKIE_SEC = 90 * 86_400
STATIC = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "figures.js": "text/javascript",
}
SAFETY = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
        "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
WRONG_TOKEN_SEC = 1.0
# So many wrong tokens in a second; who has a cookie is not held up meanwhile.
MOST_WRONG = 10
BEAT_SEC = 1.0


class Page:
    """The application.

    Args:
        watch: the statuses.
        people: who may see the page.
        is_secure: whether browsers reach the page by HTTPS alone.
    """

    def __init__(self, watch: Watch, people: People, *, is_secure: bool = False) -> None:
        self._watch, self._people, self._is_secure = watch, people, is_secure
        self._streams = Streams(watch)
        self._live_values: Mapping[str, LiveValues] = {}
        # How many wrong tokens are being refused now.
        self._wrong = 0

    def end_streams(self) -> None:
        """End all open streams, because the page ends."""
        self._streams.end()

    def application(
        self, more: Mapping[str, Screen], live: Mapping[str, LiveValues] | None = None
    ) -> Starlette:
        """Return the ASGI application.

        Args:
            more: screens by their paths.
            live: what gives the values of live screens that are not of a book, by their names.
        """
        self._live_values = live or {}
        screens: dict[str, Screen] = {"/": now, "/books": _books, "/live": self._live, **more}
        routes = [
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out),
            Route("/static/{name}", _static),
            *(
                Route(path.removeprefix("POST "), self._known(screen), methods=_methods(path))
                for path, screen in screens.items()
            ),
        ]
        made = Starlette(routes=routes, exception_handlers=REFUSALS)
        # Such a redirect goes to the host that the request names, which a stranger may choose.
        made.router.redirect_slashes = False
        return made

    def _known(self, screen: Screen) -> Callable[[Request], Awaitable[Response]]:
        """Return a screen that only known persons get."""

        async def answer(request: Request) -> Response:
            cookie = request.cookies.get(COOKIE, "")
            person = self._people.by_cookie(cookie)
            if person is None:
                return _stranger(request)
            visit = Visit(request, person, cookie, self._watch)
            refusal = await _forged(visit) if request.method == "POST" else None
            response = refusal or await screen(visit)
            response.headers.update(SAFETY)
            return response

        return answer

    async def _sign_in(self, request: Request) -> Response:
        is_form = request.method == "POST"
        given = await form_of(request) if is_form else request.query_params
        if not is_form and "token" not in given:
            return _page("sign_in", again="", wrong="")
        if self._wrong >= MOST_WRONG:
            wrong = "Too many wrong tokens were given just now. Try again in a second."
            return _page("sign_in", 429, again="", wrong=wrong)
        person = self._people.by_token(str(given.get("token", "")).strip())
        if person is None:
            return await self._wrong_token()
        # A page that goes on by itself, since a browser that comes from another site would not
        # send a strict cookie with a redirect.
        response = _page("sign_in", again="/", wrong="")
        response.set_cookie(
            COOKIE,
            new_cookie(person),
            max_age=COOKIE_SEC,
            httponly=True,
            samesite="strict",
            secure=self._is_secure,
        )
        return response

    async def _wrong_token(self) -> Response:
        """Refuse a token after a second; so many are refused at once, and no more compared."""
        self._wrong += 1
        try:
            await asyncio.sleep(WRONG_TOKEN_SEC)
        finally:
            self._wrong -= 1
        return _page("sign_in", 401, again="", wrong="No person of this page has this token.")

    async def _sign_out(self, request: Request) -> Response:
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE)
        return response

    async def _live(self, visit: Visit) -> Response:
        """Return the parts of a screen that change: a stream, or once."""
        screen = visit.query("screen")
        if screen not in LIVE_SCREENS and screen not in self._live_values:
            return PlainTextResponse("There is no such screen.", 404)
        if visit.query("once"):
            values = await self._values(visit, screen)
            return PlainTextResponse(_news(screen, values, {}, ""))
        return StreamingResponse(
            self._stream(visit, screen),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def _stream(self, visit: Visit, screen: str) -> AsyncGenerator[str, None]:
        yield "retry: 1000\n\n"
        sent: dict[str, str] = {}
        async with self._streams.of(visit.cookie) as opened:
            values = await self._values(visit, screen)
            while not (opened.must_rest or opened.is_over):
                late = "" if screen in self._live_values else self._late(values["seen"])
                yield f"event: news\ndata: {_news(screen, values, sent, late)}\n\n"
                fresh = await opened.next_seen(BEAT_SEC)
                if screen in self._live_values:
                    values = await self._values(visit, screen)
                elif fresh is not None:
                    values = visit.of(await visit.with_book(fresh))
            if opened.must_rest:
                yield "event: rest\ndata: \n\n"

    async def _values(self, visit: Visit, screen: str) -> dict[str, Any]:
        of_screen = self._live_values.get(screen)
        return await (of_screen(visit) if of_screen is not None else visit.values())

    def _late(self, seen: Seen) -> str:
        """Say that what is shown is too old to be the present; empty if it is not."""
        words = f"The state is as of {clock_of(iso(seen.at_ns))} UTC: the bot answers late."
        return words if self._watch.is_late else ""


LIVE_SCREENS = frozenset({"now", "books", "approve", "orders"})


def _news(screen: str, values: Mapping[str, Any], sent: dict[str, str], late: str) -> str:
    """Return the parts that have changed since `sent`, which is brought up to date."""
    parts = render_parts(screen, values)
    changed = {name: text for name, text in parts.items() if sent.get(name) != text}
    sent.update(changed)
    news = {"title": values["title"], "parts": changed, "late": late}
    return json.dumps(news, ensure_ascii=False, separators=(",", ":"))


def _methods(path: str) -> list[str]:
    return ["POST"] if path.startswith("POST ") else ["GET"]


def _page(name: str, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(render(name, values), status, headers=SAFETY)


def _stranger(request: Request) -> Response:
    """Answer somebody without a valid cookie."""
    if request.method != "GET" or request.url.path == "/live":
        return PlainTextResponse("Sign in first.", 401, headers=SAFETY)
    if "again" in request.query_params:
        return _page("sign_in", 401, again="", wrong="")
    # After a link on another site the browser sends the cookie from the second request on.
    query = {**request.query_params, "again": "1"}
    return _page("sign_in", again=f"{request.url.path}?{urlencode(query)}", wrong="")


async def _forged(visit: Visit) -> Response | None:
    """Return a refusal of a form that this browser did not get from this page."""
    visit.form = await form_of(visit.request)
    if is_form_key(visit.form.pop("key", ""), visit.person, visit.cookie):
        return None
    return PlainTextResponse("This form is not of this page: load the page again.", 403)


async def _explained(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 409, headers=SAFETY)


async def _nothing(request: Request, error: Exception) -> Response:
    status = int(getattr(error, "status_code", 404))
    words = "There is no such page." if status == 404 else "This address takes no such request."
    return PlainTextResponse(words, status, headers=SAFETY)


async def _too_large(request: Request, error: Exception) -> Response:
    return PlainTextResponse("This form is not of this page.", 413, headers=SAFETY)


async def _too_slow(request: Request, error: Exception) -> Response:
    headers = {**SAFETY, "connection": "close"}
    return PlainTextResponse("This form took too long to arrive.", 408, headers=headers)


async def _failed(request: Request, error: Exception) -> Response:
    what = f"{type(error).__name__}: {error}"
    log.error("[PAGE] %s failed: %s", request.url.path, what, extra={"event": "page.failed"})
    sentence = f"This screen failed, and the others go on: {what}. See `trueup status`."
    return PlainTextResponse(sentence, 500, headers=SAFETY)


REFUSALS: Mapping[Any, Any] = {
    404: _nothing,
    405: _nothing,
    TrueupError: _explained,
    FormTooLarge: _too_large,
    TimeoutError: _too_slow,
    Exception: _failed,
}
"""What answers a request that a screen does not."""


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("There is no such file.", 404, headers=SAFETY)
    headers = {"cache-control": "max-age=3600", "x-content-type-options": "nosniff"}
    body = (HERE / "static" / name).read_bytes()
    return Response(body, headers=headers, media_type=STATIC[name])


async def now(visit: Visit) -> Response:
    """Show the state of the worst book, or of the chosen one."""
    return HTMLResponse(render("now", await visit.values(live=visit.live("now"))))


async def _books(visit: Visit) -> Response:
    return HTMLResponse(render("books", await visit.values(live=visit.live("books"))))
