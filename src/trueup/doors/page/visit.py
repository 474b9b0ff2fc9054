"""A request of a person who may see the page, and the values that every screen shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from trueup.doors.page.people import Person, form_key
from trueup.doors.page.screens import values_of
from trueup.doors.watch import Seen, Watch, key_of

MOST_FORM_BYTES = 100_000
FORM_SEC = 15.0


class FormTooLarge(Exception):
    """A form is larger than any form of the page."""


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, the last value of each name.

    Raises:
        FormTooLarge: the form is none of this page.
        TimeoutError: the form did not arrive in time.
    """
    body = b""
    async with asyncio.timeout(FORM_SEC):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_FORM_BYTES:
                raise FormTooLarge
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


class Visit:
    """A request of a known person.

    Args:
        request: the request.
        person: the person.
        cookie: the cookie of the browser.
        watch: the statuses.
    """

    def __init__(self, request: Request, person: Person, cookie: str, watch: Watch) -> None:
        self.request: Request = request
        self.person: Person = person
        self.cookie: str = cookie
        self.watch: Watch = watch
        self.form: dict[str, str] = {}
        self.note: str = ""
        """What the screen also says."""

    def query(self, name: str) -> str:
        """Return a value of the address, empty if it has none."""
        return str(self.request.query_params.get(name, ""))

    async def seen(self) -> Seen:
        """Return the latest statuses, with that of the chosen book."""
        return await self.with_book(await asyncio.to_thread(self.watch.latest))

    async def with_book(self, seen: Seen) -> Seen:
        """Return statuses with that of the chosen book, which may be one that no bot has."""
        key = self.query("book")
        if not key or any(key_of(one) == key for one in seen.statuses):
            return seen
        found = await asyncio.to_thread(self.watch.book_without_bot, key, seen)
        return seen if found is None else seen._replace(statuses=(*seen.statuses, found))

    def link(self, path: str, **values: object) -> str:
        """Return the address of another screen for the same book."""
        given = {"book": self.query("book"), **{k: str(v) for k, v in values.items()}}
        kept = {name: value for name, value in given.items() if value}
        address = quote(path, safe="/")
        return f"{address}?{urlencode(kept)}" if kept else address

    async def values(self, **more: Any) -> dict[str, Any]:
        """Return the values of a screen's template."""
        seen = await self.seen()
        return self.of(seen, **more)

    def of(self, seen: Seen, **more: Any) -> dict[str, Any]:
        """Return the values of a screen's template at a gathering."""
        return {
            **values_of(seen, self.person, self.query("book"), self.query("find")),
            "link": self.link,
            "live": "",
            "note": self.note,
            "form_key": form_key(self.person, self.cookie),
            **more,
        }

    def live(self, screen: str) -> str:
        """Return the address of the live parts of a screen."""
        return self.link("/live", screen=screen, find=self.query("find"))


Screen: TypeAlias = Callable[[Visit], Awaitable[Response]]
"""A screen: answers a request of a known person."""
