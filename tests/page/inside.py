"""The page's application in this process, beside a bot in this process whose time a test moves."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.cli.bot_world import FACTS, BotWorld
from trueup.doors.page.app import COOKIE, Page
from trueup.doors.page.decide.screens import Acting
from trueup.doors.page.people import People, Person, new_cookie
from trueup.doors.watch import Place, Watch
from trueup.runtime.control.bots import Bot

ANNA = Person("anna", True, "approver-token-of-the-tests")
RITA = Person("rita", False, "reader-token-of-the-tests")
_KEY = re.compile(r'name="key" value="([0-9a-f]+)"')
_HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


class Inside:
    """A person at the page of a bot in this process.

    Args:
        world: the bot; it takes a turn after each command.
        patch: ends with the test.
        person: who is signed in.
    """

    def __init__(self, world: BotWorld, patch: pytest.MonkeyPatch, person: Person = ANNA) -> None:
        self.world, self.asked = world, list[str]()
        bot = Bot(FACTS.pid, "tcp://127.0.0.1:1", "EURUSD", FACTS.started)
        patch.setattr("trueup.doors.page.decide.question.find_bots", lambda: [bot])
        patch.setattr("trueup.doors.watch.statuses_of_bots", lambda *_: [world.status()])
        line = "trueup.runtime.control.line"
        patch.setattr(f"{line}.ask_bot", lambda _, name, **fields: self._answer(name, **fields))
        patch.setattr(f"{line}.SystemClock", lambda: world.broker.pm.clock)
        self._watch = Watch(Place("trueup.db"))
        self._people = People([ANNA, RITA])
        self._cookie = new_cookie(person)
        self._app = Page(self._watch, self._people).application(Acting().screens)

    def _answer(self, name: str, **fields: Any) -> dict[str, Any]:
        self.asked.append(name)
        answer = self.world.tell(name, **fields)
        self.world.turn()
        return answer

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a screen as it is now; a redirect is followed."""
        self._watch.renew()
        return self._fetch("GET", html.unescape(path), b"")

    def send(self, path: str, form: str, **fields: str) -> tuple[int, str]:
        """Send the form of a screen that was read, with all its hidden fields."""
        (key, *_) = _KEY.findall(form)
        hidden = {name: html.unescape(value) for name, value in _HIDDEN.findall(form)}
        self._watch.renew()
        return self._fetch("POST", path, urlencode({**hidden, "key": key, **fields}).encode())

    def _fetch(self, method: str, target: str, body: bytes) -> tuple[int, str]:
        status, headers, text = asyncio.run(self._ask(method, target, body))
        if status == 303:
            return self._fetch("GET", headers["location"], b"")
        return status, text

    async def _ask(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, str], str]:
        path, _, query = target.partition("?")
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"cookie", f"{COOKIE}={self._cookie}".encode())],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        text = b"".join(part.get("body", b"") for part in sent).decode()
        return int(sent[0]["status"]), headers, text


def headline(text: str) -> str:
    """Return the one sentence of a screen."""
    found = re.search(r"<h1>(.*?)</h1>", text)
    assert found is not None, text
    return html.unescape(found[1])
